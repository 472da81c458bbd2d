"""Genuinely signed notifications of every platform, from keys we made ourselves: for demo, tests and rehearsals."""
