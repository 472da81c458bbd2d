"""What the platforms send, in their own words."""
