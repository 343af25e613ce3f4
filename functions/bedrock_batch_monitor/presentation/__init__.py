"""Texts and HTML for people: mails, chat messages, and the dashboard's table of jobs."""
