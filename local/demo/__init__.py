"""The demo: the real stack in the local cloud, watched while simulated jobs run through it."""
