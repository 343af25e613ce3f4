"""The HTML report: one page for a period, which needs no script and no other file."""
