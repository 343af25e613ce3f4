"""Lambda handlers: each parses an event, makes one call, and publishes the result."""
