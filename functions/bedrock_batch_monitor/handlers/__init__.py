"""Lambda handlers: each takes an event in, makes one call, and reports what came of it."""
