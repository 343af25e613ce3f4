"""The benchmark: cost and speed of the monitor and of the baselines, in one run."""
