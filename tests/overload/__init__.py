"""More than it can bear, done to a running service."""
