"""What ten million ledger rows cost: one notification, one set, a page of events, a customer's timeline.

    python -m tests.benchmarks.growth [ROWS]     # 10,000,000 unless said; about ten minutes and 20 GB for a while

Two databases of one server, one small, one large, each asked the same in turns by the real code. Processor time is that
of this process and of the server together; wall time is beside it. Every plan is shown, and a table that is read from
end to end is named.
"""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from prometheus_client import CollectorRegistry

from config.load import load
from config.logs import configure_logs
from config.settings import Settings
from tests.benchmarks.figures import Figure, Goal, table
from tests.benchmarks.fill import IDS, SETTINGS, fill
from tests.benchmarks.ingest import Kept, stored
from tests.benchmarks.piles import APPLE, Kind
from tests.benchmarks.plans import OPTIONS, Plan, read_log
from tests.benchmarks.scope import Scope
from tests.benchmarks.usage import cpu_seconds
from tests.clusters import Cluster
from worker.demo.trust import APP, demo_directory, prepare
from worker.metrics import Metrics
from worker.process import process
from worker.runtime import Runtime
from worker.simulator.registry import SPEAKERS
from worker.simulator.sale import Sale, Shot, Simulator
from worker.simulator.sales import DAY_MS
from worker.store import feed, migrate, timeline
from worker.store.engine import Store
from worker.store.subscribers import sync_subscribers
from worker.work import spare_collector

SMALL, LARGE = 10_000, 10_000_000
SEEDS = 100
RENEWALS = 6
SET, SETS, PAGES = 50, 6, 200
PAGE = 100
"""As many events as a reader of the feed usually asks for, and rows of a timeline."""


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
def opened(home: Path, cluster: Cluster, name: str) -> Iterator[Ledger]:
    """Open an empty database of its own."""
    settings = load(prepare(home, any_port=True), {})
    url = cluster.url(cluster.new())
    store = Store(url, settings.store)
    migrate.upgrade(store)
    with store.write() as connection:
        sync_subscribers(connection, settings.subscribers, time.time())
    yield Ledger(name, url, settings, demo_directory(home), store)
    store.close()


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


@dataclass
class Spent:
    """What an operation cost each time, in milliseconds."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


def timed(server: int, spent: Spent, parts: int, work: Callable[[Any], None], on: Sequence[Any]) -> None:
    """Do something to each, and note what one of `parts` of it all cost."""
    cpu, own, wall = cpu_seconds(server), time.process_time(), time.perf_counter()
    for each in on:
        work(each)
    spent.wall.append(1000 * (time.perf_counter() - wall) / parts)
    spent.processor.append(1000 * (time.process_time() - own + cpu_seconds(server) - cpu) / parts)


OPERATIONS = (
    "one notification, alone",
    "one notification, in a set of 50",
    "a page of 100 events",
    "a customer's timeline",
)


def turn(ledger: Ledger, server: int, spent: dict[str, Spent]) -> None:
    """Do everything once on one database."""
    runtime, random = ledger.runtime(), Random()
    singles, many = ledger.refunds(APPLE, SET), [ledger.refunds(APPLE, SET) for _ in range(SETS)]
    with ledger.store.read() as connection:
        newest = feed.newest_position(connection)
    places = [random.randrange(max(1, newest - PAGE)) for _ in range(PAGES)]
    work: Sequence[tuple[int, Callable[[Any], None], Sequence[Any]]] = (
        (SET, partial(process, runtime), [[one] for one in singles]),
        (SET * SETS, partial(process, runtime), many),
        (PAGES, partial(_page, ledger.store), places),
        (PAGES, partial(_timeline, ledger.store), ledger.users[-PAGES:]),
    )
    for name, (parts, each, on) in zip(OPERATIONS, work, strict=True):
        timed(server, spent[name], parts, each, on)


def _page(store: Store, after: int) -> None:
    with store.read() as connection:
        page = feed.read_feed(connection, after=after, wanted=feed.Wanted(app=APP), limit=PAGE)
    if len(page.events) != PAGE:
        raise RuntimeError(f"a page of {len(page.events)}")


def _timeline(store: Store, user_id: str) -> None:
    filters = {"user_id": user_id, "app": APP, "environment": None}
    with store.read() as connection:
        if not timeline.list_timeline(connection, filters, after=None, limit=PAGE):
            raise RuntimeError(f"nothing happened to {user_id}")


def plans(ledger: Ledger, cluster: Cluster) -> list[Plan]:
    """Do everything a few times under auto_explain, until statements are prepared; give what the server did."""
    singles = ledger.refunds(APPLE, 12)
    log = cluster.home / "log"
    offset = log.stat().st_size
    store = Store(f"{ledger.url}?options={OPTIONS.replace(' ', '%20').replace('=', '%3D')}", ledger.settings.store)
    for one in singles:
        process(ledger.runtime(store), [one])
    process(ledger.runtime(store), ledger.refunds(APPLE, SET))
    for user in ledger.users[-8:]:
        _timeline(store, user)
        _page(store, 1_000)
    store.close()
    return read_log(log, offset)


def measure(scope: Scope, rows: int) -> tuple[list[Figure], list[Plan]]:
    """Fill both, ask both in turns."""
    cluster = Cluster.create(*SETTINGS)
    try:
        with tempfile.TemporaryDirectory(prefix="clawback-bench-") as home:
            return _measured(scope, rows, cluster, Path(home))
    finally:
        cluster.remove()


def _measured(scope: Scope, rows: int, cluster: Cluster, home: Path) -> tuple[list[Figure], list[Plan]]:
    server: Any = cluster._process
    with opened(home / "small", cluster, f"{SMALL:,}") as small, opened(home / "large", cluster, f"{rows:,}") as large:
        for ledger, wanted in ((small, SMALL), (large, rows)):
            seed(ledger)
            connect = partial(cluster.connect, ledger.url.rpartition("/")[2])
            fill(connect, wanted, partial(_tell, scope, ledger))
            with connect() as connection:
                (taken,) = connection.execute("SELECT pg_database_size(current_database()) / 1e9").fetchone() or (0,)
                scope.say(f"{ledger.name} rows take {taken:.1f} GB")
        spent = {ledger.name: {name: Spent() for name in OPERATIONS} for ledger in (small, large)}
        for ledger in (small, large):
            turn(ledger, server.pid, {name: Spent() for name in OPERATIONS})
        for _ in scope.turns("growth"):
            for ledger in (small, large):
                turn(ledger, server.pid, spent[ledger.name])
        return figures(spent[small.name], spent[large.name], large.name), plans(large, cluster)


def _tell(scope: Scope, ledger: Ledger, text: str) -> None:
    scope.say(f"{ledger.name} rows: {text}")


def figures(small: dict[str, Spent], large: dict[str, Spent], name: str) -> list[Figure]:
    """Compare the two."""
    goal, other = Goal("ratio", "most", 1.2), f"with {SMALL:,}"
    found = []
    for operation in OPERATIONS:
        here, there = large[operation], small[operation]
        what = f"{operation}, {name} ledger rows"
        found += [Figure(5, what, "ms of processor", here.processor, there.processor, other, goal)]
        found += [Figure(5, f"  {what}", "ms of wall time", here.wall, there.wall, other)]
    return found


def report(found: Sequence[Plan]) -> str:
    """Write each statement with what it read, and what was read from end to end."""
    whole = sorted({name for plan in found for name in plan.whole if name in IDS})
    verdict = f"READ FROM END TO END: {', '.join(whole)}" if whole else "No table that grows is read from end to end."
    return "\n".join([*map(str, found), "", verdict])


def main(arguments: Sequence[str]) -> None:
    """Print the table, and below it every plan."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rows = int(arguments[0].replace(",", "").replace("_", "")) if arguments else LARGE
    with Path(os.devnull).open("w") as nowhere:
        configure_logs(nowhere, as_json=True)
        spare_collector()
        found, seen = measure(Scope(), rows)
    sys.stdout.write(f"{table(found)}\n\n{report(seen)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
