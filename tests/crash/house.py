"""A running installation whose wires to its broker and its database can be held, cut and taken away."""

import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import redis

from tests.clusters import Cluster
from tests.crash.proxy import Proxy
from tests.crash.statements import statements
from tests.e2e.running import Installation, Service, client, install
from tests.services import require_valkey
from tests.worker.backend import Backend
from worker.store.engine import Store
from worker.valkey import EmbeddedValkey


@dataclass(frozen=True)
class House:
    """Everything that runs, and the wires between it.

    Attributes:
        store: the database, without the wire.
        database: the wire to PostgreSQL; None: it is SQLite, and there is none.
        given: our ids of all that got a 200.
    """

    installation: Installation
    service: Service
    backend: Backend
    store: Store
    valkey: EmbeddedValkey
    broker: Proxy
    database: Proxy | None
    given: set[str] = field(default_factory=set)

    def with_service(self, service: Service) -> "House":
        """Be the same house, started again."""
        return replace(self, service=service)

    @contextmanager
    def valkey_client(self) -> Iterator[Any]:
        """Talk to the broker, without the wire."""
        connection = redis.Redis(unix_socket_path=str(self.valkey.socket))
        try:
            yield connection
        finally:
            connection.close()


@asynccontextmanager
async def open_house(
    directory: Path,
    cluster: Cluster | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    tablespace: str = "pg_default",
) -> AsyncIterator[House]:
    """Run everything on a broker of its own, and on a new database of this cluster, or else on SQLite."""
    with ExitStack() as stack:
        valkey = EmbeddedValkey(directory / "broker", require_valkey())
        stack.callback(valkey.stop)
        valkey.start()
        broker = stack.enter_context(Proxy(lambda: to_socket(valkey.socket)))
        variables = {"CLAWBACK_BROKER__URL": f"redis://127.0.0.1:{broker.port}", **(environment or {})}
        database = None
        if cluster is None:
            # A writer that waits for another is no fault: one write at a time may be slow on a busy machine.
            variables.setdefault("CLAWBACK_STORE__WAIT_TIMEOUT_SECONDS", "30")
        if cluster is not None:
            name = cluster.new()
            with cluster.connect() as connection:
                connection.execute(f"ALTER DATABASE {name} SET TABLESPACE {tablespace}")
            stack.callback(cluster.drop, name)
            database = stack.enter_context(Proxy(lambda: to_port(cluster.port), statements))
            variables["CLAWBACK_STORE__URL"] = cluster.url(name, port=database.port)
        async with Backend() as backend:
            installation = install(directory / "home", backend=backend.url, environment=variables)
            backend.secrets = installation.settings.subscribers[0].secrets
            store = Store(cluster.url(name)) if cluster is not None else installation.store()
            stack.enter_context(closing(store))
            async with installation.up("run", "--json") as process, client(installation) as service:
                service.process = process
                yield House(installation, service, backend, store, valkey, broker, database)


def to_port(port: int) -> socket.socket:
    """Connect to a port of loopback."""
    return socket.create_connection(("127.0.0.1", port), 10)


def to_socket(path: Path) -> socket.socket:
    """Connect to a socket in the file system."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection
