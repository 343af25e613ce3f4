"""`bbm doctor`: a module for each group of checks, the list of all, and the repairs."""
