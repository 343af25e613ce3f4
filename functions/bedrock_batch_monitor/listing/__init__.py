"""Learns from lists which jobs need no Get of their own."""
