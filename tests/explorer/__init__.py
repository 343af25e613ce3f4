"""Runs the real monitor on in-memory clients, stopped or failed at every call, and checks it."""
