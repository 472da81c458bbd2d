"""The verbs, pure: bytes, values and a clock reading in, values out."""
