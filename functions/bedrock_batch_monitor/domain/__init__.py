"""Pure decisions on typed values: nothing in here reads a clock, a network or the environment."""
