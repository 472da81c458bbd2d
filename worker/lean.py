"""Import packages without what they bring along for what nobody here asks of them: each process is 6 MB smaller."""

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

_BROUGHT_ALONG: Final[Mapping[str, str]] = {
    "structlog": "rich",  # paints tracebacks, which `config/logs.py` has written plainly
    "redis": "opentelemetry",  # counts what we count ourselves
    "aiohttp": "frozenlist._frozenlist",  # brings the library of C++ for a few lists of callbacks, which Python can do
}
"""Package → what it takes where that is installed, and does without where it is not."""


def import_alone(*packages: str) -> None:
    """Import these before anybody else does; whoever wants what they bring along imports it later, as ever."""
    for package in packages:
        with _as_if_absent(_BROUGHT_ALONG[package]):
            importlib.import_module(package)


@contextmanager
def _as_if_absent(name: str) -> Iterator[None]:
    """Have whoever imports a module meanwhile hear that it is not there, unless it was imported before.

    https://docs.python.org/3/reference/import.html#the-module-cache
    """
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # which is how it is said
    try:
        yield
    finally:
        del sys.modules[name]
