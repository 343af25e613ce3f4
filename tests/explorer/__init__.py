"""The fault explorer: it stops or fails the real monitor at every call, and checks the result."""
