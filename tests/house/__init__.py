"""The house rules, as tests: packaging, imports, style that no linter knows, locks, documents."""
