"""Thousands of events, subscribers with faults, workers that die: nothing is missed, doubted, misordered or unclear."""
