"""Measure how many notifications a second one worker thread processes, in sets, on SQLite and on PostgreSQL.

    .venv/bin/python -m tests.benchmarks.process [--profile] [WORD …]

Real: bodies of the simulators, configuration, log lines (rendered, thrown away), store with fsync, its migrations, one
subscriber whose deliveries are written. Left out: broker, HTTP, verification (it is paid for at the door). Each set is
new: customers buy, renew and are refunded once. A WORD limits it to cases whose names have it. "cpu" is this process
alone, in milliseconds for each notification: PostgreSQL's own work is in the rate and not in that. With `--profile`
each case is profiled instead, which makes Python's calls look dearer than they are.
"""

import cProfile
import os
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

from prometheus_client import CollectorRegistry

from config.load import load
from config.logs import configure_logs
from handlers.platforms import PLATFORMS
from schemas.base import PlatformName
from tests.clusters import Cluster
from tests.worker.house import ListQueue
from worker.demo.trust import APP, LIFETIME_PRODUCT, PRODUCT, demo_directory, prepare
from worker.inbox import Arrival, Inbox
from worker.metrics import Metrics
from worker.process import process
from worker.runtime import Runtime
from worker.simulator.registry import SPEAKERS
from worker.simulator.sale import Sale, Shot, Simulator
from worker.simulator.sales import DAY_MS, Till
from worker.store import inbox, migrate
from worker.store.engine import Store
from worker.store.subscribers import sync_subscribers
from worker.work import spare_collector

SET, SETS, WARM = 256, 7, 2
"""Notifications of one set; measured sets; sets before them that do not count."""

Say = Callable[[Simulator, Till, float], Shot]


class Case(NamedTuple):
    """What every customer of a set hears, one after the other; only the last is measured."""

    name: str
    platform: PlatformName
    says: tuple[Say, ...]


class Measured(NamedTuple):
    """Of one notification: how many a second, and how many milliseconds of our own processor."""

    rate: float
    cpu_ms: float


def _sale(till: Till, now: float, *, number: int = 0, lifetime: bool = False) -> Sale:
    return till.sell(number, bought_ms=int(now * 1000) - (9 - number) * 30 * DAY_MS, subscription=not lifetime)


CASES = (
    Case("Stripe, charges", "stripe", (lambda s, t, now: s.purchase(_sale(t, now, lifetime=True), now),)),
    Case(
        "Stripe, refunds of charges",
        "stripe",
        (
            lambda s, t, now: s.purchase(_sale(t, now, lifetime=True), now),
            lambda s, t, now: s.refund(_sale(t, now, lifetime=True), now),
        ),
    ),
    Case(
        "Apple, renewals",
        "apple",
        (lambda s, t, now: s.purchase(_sale(t, now), now), lambda s, t, now: s.renew(_sale(t, now, number=1), now)),
    ),
    Case(
        "Apple, refunds",
        "apple",
        (lambda s, t, now: s.purchase(_sale(t, now), now), lambda s, t, now: s.refund(_sale(t, now), now)),
    ),
)


class Bench:
    """One database, and everybody who speaks to it."""

    def __init__(self, directory: Path, url: str) -> None:
        settings = load(prepare(directory, any_port=True), {})
        store = Store(url)
        migrate.upgrade(store)
        self.directory, self.settings = demo_directory(directory), settings
        self.runtime = Runtime(settings, store, ListQueue(), Metrics(CollectorRegistry()), time.time)
        with store.write() as connection:
            sync_subscribers(connection, settings.subscribers, time.time())

    def simulator(self, platform: str) -> Simulator:
        """Speak as a platform."""
        return SPEAKERS[platform].simulator(self.directory, self.settings.apps[APP].platform(platform))

    def accept(self, platform: str, shots: Sequence[Shot]) -> list[str]:
        """Store what was posted as the door does, without proving it."""
        door, now = Inbox(self.runtime.store, self.runtime.queue), time.time()
        arrivals = [
            Arrival(APP, platform, PLATFORMS[platform].identify(read), shot.body, {}, now, now)
            for shot in shots
            for read in [PLATFORMS[platform].read(shot.body, {})]
        ]
        with self.runtime.store.write() as connection:
            inbox.insert_absent(connection, [door._row(arrival) for arrival in arrivals])
        return [arrival.id for arrival in arrivals]

    def sets(self, case: Case, count: int) -> Iterator[list[str]]:
        """Prepare sets of new customers, everything done but the last word."""
        simulator, now = self.simulator(case.platform), time.time()
        for _ in range(count):
            tills = [
                Till(case.platform, Random(), product_id=PRODUCT, lifetime_product_id=LIFETIME_PRODUCT)
                for _ in range(SET)
            ]
            *before, last = case.says
            for say in before:
                process(self.runtime, self.accept(case.platform, [say(simulator, till, now) for till in tills]))
            yield self.accept(case.platform, [last(simulator, till, now) for till in tills])


def measure(bench: Bench, case: Case) -> Measured:
    """Process a few sets, and take the medians."""
    walls, cpus = [], []
    for ids in bench.sets(case, WARM + SETS):
        wall, cpu = time.perf_counter(), time.process_time()
        process(bench.runtime, ids)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return Measured(SET / statistics.median(walls[WARM:]), 1000 * statistics.median(cpus[WARM:]) / SET)


def profile(bench: Bench, case: Case) -> None:
    """Show where the time goes."""
    profiler = cProfile.Profile()
    for number, ids in enumerate(bench.sets(case, WARM + SETS)):
        if number >= WARM:
            profiler.runcall(process, bench.runtime, ids)
        else:
            process(bench.runtime, ids)
    pstats.Stats(profiler).strip_dirs().sort_stats("cumulative").print_stats(70)
    pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(35)


@contextmanager
def databases() -> Iterator[dict[str, str]]:
    """Make one database of each kind, and remove both."""
    cluster = Cluster.create()
    try:
        with tempfile.TemporaryDirectory(prefix="clawback-bench-") as directory:
            yield {"SQLite": f"sqlite:///{directory}/clawback.db", "PostgreSQL": cluster.url(cluster.new())}
    finally:
        cluster.remove()


def main(arguments: Sequence[str]) -> None:
    """Print one table: rate and processor time of each case on each database."""
    words = [word for word in arguments if not word.startswith("--")]
    with databases() as urls, Path(os.devnull).open("w") as nowhere, tempfile.TemporaryDirectory() as keys:
        configure_logs(nowhere, as_json=True)
        spare_collector()
        print(f"{f'sets of {SET}, medians of {SETS}':<44}{'a second':>10}{'cpu ms':>8}")  # noqa: T201 - it is a report
        for database, url in urls.items():
            bench = Bench(Path(keys) / database, url)
            for case in CASES:
                name = f"{database}: {case.name}"
                if not all(word.lower() in name.lower() for word in words):
                    continue
                if "--profile" in arguments:
                    profile(bench, case)
                    continue
                found = measure(bench, case)
                print(f"{name:<44}{found.rate:>10,.0f}{found.cpu_ms:>8.2f}", flush=True)  # noqa: T201 - it is a report


if __name__ == "__main__":
    main(sys.argv[1:])
