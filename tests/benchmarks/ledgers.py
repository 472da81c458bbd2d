"""Ledgers to be asked, of any size, on one server of their own, which may be kept and opened again.

    DIRECTORY/cluster    PostgreSQL's files
    DIRECTORY/NAME       keys and settings of whoever wrote that ledger
    DIRECTORY/names      which database is whose, once all of them are filled

To fill ten million rows takes ten times as long as to ask them: whoever searches keeps what was filled. A kept server
has no guard: if this process is killed, end it by hand.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry

from config.load import load
from config.settings import Settings
from tests.benchmarks.fill import SETTINGS, fill
from tests.benchmarks.ingest import Kept, stored
from tests.benchmarks.piles import APPLE, Kind
from tests.clusters import Cluster, find_programs
from worker.demo.trust import APP, demo_directory, prepare
from worker.metrics import Metrics
from worker.process import process
from worker.runtime import Runtime
from worker.simulator.registry import SPEAKERS
from worker.simulator.sale import Sale, Shot, Simulator
from worker.simulator.sales import DAY_MS
from worker.store import migrate
from worker.store.engine import Store
from worker.store.subscribers import sync_subscribers

SEEDS, RENEWALS = 100, 6
Say = Callable[[str], None]


@dataclass
class Ledger:
    """One database, and everybody who speaks to it."""

    name: str
    url: str
    settings: Settings
    directory: Path
    store: Store
    users: list[str] = field(default_factory=list)

    def runtime(self, store: Store | None = None) -> Runtime:
        """Make what a worker has; what it hints at goes nowhere."""
        return Runtime(self.settings, store or self.store, Kept(), Metrics(CollectorRegistry()), time.time)

    def simulator(self, kind: Kind) -> Simulator:
        """Speak as a platform."""
        return SPEAKERS[kind.platform].simulator(self.directory, self.settings.apps[APP].platform(kind.platform))

    def tell(self, kind: Kind, shots: Sequence[Shot]) -> list[str]:
        """Store what was posted."""
        return stored(self.store, kind.platform, shots, retry_after_seconds=3600)

    def refunds(self, kind: Kind, count: int) -> list[str]:
        """Prepare refunds of new customers: everything is processed but them."""
        now, simulator = time.time(), self.simulator(kind)
        sales = kind.sales(count, now)
        self.users += [sale.user_id for sale in sales]
        process(self.runtime(), self.tell(kind, [simulator.purchase(sale, now) for sale in sales]))
        return self.tell(kind, [kind.says(simulator, sale, now) for sale in sales])


@contextmanager
def served(
    sizes: Mapping[str, int], settings: Sequence[str], keep: Path | None, say: Say
) -> Iterator[tuple[Cluster, list[Ledger]]]:
    """Serve a ledger of each size, filled now or kept from before, with these settings once they are filled.

    Args:
        sizes: name → how many rows.
        settings: what the server has while it is asked, as postgresql.conf has it; all else is as it comes.
        keep: the directory of a server that stays; none: it is gone afterwards.
        say: is told how far it is.
    """
    with tempfile.TemporaryDirectory(prefix="clawback-bench-") as temporary:
        directory = keep or Path(temporary)
        with _server(keep) as cluster:
            databases = _filled(cluster, directory, sizes, say)
            cluster.stop()
            cluster.settings = tuple(settings)
            cluster.start()
            ledgers = [_opened(directory / name, cluster, name, databases[name]) for name in sizes]
            try:
                yield cluster, ledgers
            finally:
                for ledger in ledgers:
                    ledger.store.close()


@contextmanager
def _server(keep: Path | None) -> Iterator[Cluster]:
    if keep is None:
        cluster = Cluster.create(*SETTINGS)
        try:
            yield cluster
        finally:
            cluster.remove()
        return
    cluster = Cluster(find_programs(), keep / "cluster", settings=SETTINGS)
    if not cluster.home.exists():
        cluster.home.mkdir(parents=True)
        cluster.initialize()
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()


def _filled(cluster: Cluster, directory: Path, sizes: Mapping[str, int], say: Say) -> dict[str, str]:
    """Fill each ledger, unless that was done; give the database of each."""
    known = directory / "names"
    if not known.exists():
        made = {name: _fill(cluster, directory / name, name, rows, say) for name, rows in sizes.items()}
        known.write_text(json.dumps(made))
    found: dict[str, str] = json.loads(known.read_text())
    return found


def _fill(cluster: Cluster, home: Path, name: str, rows: int, say: Say) -> str:
    database = cluster.new()
    connect = partial(cluster.connect, database)
    ledger = _opened(home, cluster, name, database)
    migrate.upgrade(ledger.store)
    with ledger.store.write() as connection:
        sync_subscribers(connection, ledger.settings.subscribers, time.time())
    seed(ledger)
    ledger.store.close()
    fill(connect, rows, lambda text: say(f"{name} rows: {text}"))
    with connect() as connection:
        (taken,) = connection.execute("SELECT pg_database_size(current_database()) / 1e9").fetchone() or (0,)
        say(f"{name} rows take {taken:.1f} GB")
    return database


def _opened(home: Path, cluster: Cluster, name: str, database: str) -> Ledger:
    settings = load(prepare(home, any_port=True), {})
    url = cluster.url(database)
    return Ledger(name, url, settings, demo_directory(home), Store(url, settings.store))


def seed(ledger: Ledger) -> None:
    """Let some customers live through everything: bought, renewed, refunded."""
    simulator, now = ledger.simulator(APPLE), time.time()
    sales = APPLE.sales(SEEDS, now)
    process(ledger.runtime(), ledger.tell(APPLE, [simulator.purchase(sale, now) for sale in sales]))
    for number in range(1, RENEWALS + 1):
        later = [_later(sale, number) for sale in sales]
        process(ledger.runtime(), ledger.tell(APPLE, [simulator.renew(sale, now) for sale in later]))
    process(ledger.runtime(), ledger.tell(APPLE, [simulator.refund(sale, now) for sale in later]))
    with ledger.store.write() as connection:
        connection.exec_driver_sql("UPDATE deliveries SET status = 'delivered', finished_at_ms = created_at_ms")


def _later(sale: Sale, number: int) -> Sale:
    """Renew a subscription for another month, which Apple calls another transaction."""
    at_ms = sale.purchased_at_ms + number * 30 * DAY_MS
    purchase_id = f"{int(sale.purchase_id) + number}"
    return replace(
        sale, purchase_id=purchase_id, period=number, purchased_at_ms=at_ms, expires_at_ms=at_ms + 30 * DAY_MS
    )
