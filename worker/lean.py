"""Import packages without what they bring along for what nobody here asks of them: each process is 5 MB smaller.

structlog takes rich, to paint tracebacks, which `config/logs.py` has written plainly; redis-py takes OpenTelemetry
where that is installed, to count what we count ourselves. Both do without.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def import_structlog() -> None:
    """Import structlog before anybody else does, without rich; whoever wants rich imports it later, as ever."""
    with _as_if_absent("rich"):
        importlib.import_module("structlog")


def import_redis() -> None:
    """Import redis-py before anybody else does, without OpenTelemetry; traces import that later, as ever."""
    with _as_if_absent("opentelemetry"):
        importlib.import_module("redis")


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
