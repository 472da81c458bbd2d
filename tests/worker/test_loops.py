"""Which event loop a process runs on."""

import asyncio
import importlib.util
import sys

import pytest

from worker.loops import new_loop


def kind(loop: asyncio.AbstractEventLoop) -> str:
    """Name whose loop it is, and close it."""
    loop.close()
    return type(loop).__module__.partition(".")[0]


def test_loop_is_the_fast_one_where_it_is_installed():
    """An installation with the extra runs on it without being told."""
    pytest.importorskip("uvloop")
    assert "uvloop" == kind(new_loop())


def test_loop_is_asyncios_where_nothing_else_is(monkeypatch):
    """Without the extra everything works on what Python brings."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    monkeypatch.delitem(sys.modules, "worker.loops")

    from worker.loops import new_loop as new  # noqa: PLC0415 - as in a process without the extra

    assert "asyncio" == kind(new())
