"""Fuzzing: what comes of a platform that says anything at all. `make fuzz` runs it, CI runs it with Hypothesis."""
