"""The truth: one store, on SQLite or PostgreSQL, under one set of contract tests."""
