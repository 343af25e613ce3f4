"""The README's pictures: sample jobs, rendered by the real code in a real browser."""
