"""Use cases: what one invocation of a function does, from settings to results."""
