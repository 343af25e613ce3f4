"""Texts and HTML for people: emails, chat messages, badges, and the dashboard widget."""
