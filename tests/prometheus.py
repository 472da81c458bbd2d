"""Prometheus, where a machine has it: Debian's package brings `prometheus` and `promtool`."""

import shutil

import pytest


def program(name: str) -> str:
    """Find a program of Prometheus; without it, skip: no package index brings it."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not on PATH: apt-get install prometheus")
    return found
