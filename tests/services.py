"""Real services for tests: a Valkey server of our own, skipped at home where there is none, missed in CI."""

import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.settings import Broker, Settings
from worker.valkey import EmbeddedValkey, ValkeyUnavailable, find_server


def require_valkey() -> Path:
    """Find a server; without one, skip at home and fail in CI."""
    try:
        return find_server()
    except ValkeyUnavailable as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def valkey() -> Iterator[EmbeddedValkey]:
    """Run one server for the whole session."""
    server = require_valkey()
    with tempfile.TemporaryDirectory(prefix="clawback-") as directory:
        running = EmbeddedValkey(Path(directory), server)
        running.start()
        yield running
        running.stop()


@pytest.fixture
def on_valkey(valkey: EmbeddedValkey) -> Settings:
    """Name the server, with a namespace that is the test's alone."""
    return Settings(broker=Broker(url=valkey.url, namespace=f"test-{uuid.uuid4().hex[:12]}"))
