"""Pending events and task callbacks: sent at least once, then acknowledged."""
