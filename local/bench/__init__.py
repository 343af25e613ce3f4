"""What the monitor costs and how fast it is, beside what people write today, in one run."""
