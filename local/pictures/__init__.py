"""The README's pictures: sample jobs through the real rendering, looked at by a real browser."""
