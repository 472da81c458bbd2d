"""What ten million ledger rows cost: one notification, one set, a page of events, a customer's timeline.

    python -m tests.benchmarks.growth [ROWS]          # 10,000,000 unless said; about ten minutes and 20 GB for a while
    python -m tests.benchmarks.growth --keep DIRECTORY         # fill once, and ask again without filling
    python -m tests.benchmarks.growth --as-it-comes            # PostgreSQL with no setting of an operator's
    python -m tests.benchmarks.growth --set wal_compression=lz4     # with this one too; as often as wanted

Two databases of one server, one small, one large, each asked the same in turns by the real code: one operation on the
one, then on the other, and the other way round the next time. Processor time is that of this process and of the server
together, and of each below it; wall time and what was logged are beside it. Every plan is shown with the pages that it
looked at in both, and a table that is read from end to end is named.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from config.logs import configure_logs
from tests.benchmarks.figures import Figure, Goal, table
from tests.benchmarks.fill import IDS
from tests.benchmarks.ledgers import Ledger, served
from tests.benchmarks.piles import APPLE
from tests.benchmarks.plans import OPTIONS, Plan, read_log
from tests.benchmarks.scope import Scope
from tests.benchmarks.usage import PROC, family
from tests.clusters import Cluster
from worker.demo.trust import APP
from worker.process import process
from worker.store import feed, timeline
from worker.store.engine import Store
from worker.work import spare_collector

SMALL, LARGE = 10_000, 10_000_000
SET, SETS, PAGES = 50, 6, 200
PAGE = 100
"""As many events as a reader of the feed usually asks for, and rows of a timeline."""
QUARTER_MB = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4 // 2**20
ADVISED = (f"shared_buffers={QUARTER_MB}MB", "max_wal_size=8GB", "checkpoint_timeout=30min")
"""What docs/operations.md advises for a database of that size: a quarter of the memory, and few checkpoints.
https://www.postgresql.org/docs/current/runtime-config-resource.html (shared_buffers) has both."""


@dataclass
class Spent:
    """What an operation cost each time: milliseconds, and kilobytes of PostgreSQL's log."""

    wall: list[float] = field(default_factory=list)
    python: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)
    logged: list[float] = field(default_factory=list)

    @property
    def processor(self) -> list[float]:
        """Give the processor time of both."""
        return [ours + theirs for ours, theirs in zip(self.python, self.server, strict=True)]


@dataclass(frozen=True)
class Clock:
    """What can be read of a server from outside."""

    cluster: Cluster

    def read(self) -> tuple[float, float, float, float]:
        """Read wall time, our processor time and the server's, and what it logged: milliseconds and kilobytes."""
        return 1000 * time.perf_counter(), 1000 * time.process_time(), self._server_ms(), self._logged_kb()

    def timed(self, spent: Spent, parts: int, work: Callable[[Any], None], on: Sequence[Any]) -> None:
        """Do something to each, and note what one of `parts` of it all cost."""
        before = self.read()
        for each in on:
            work(each)
        for kept, was, now in zip(
            (spent.wall, spent.python, spent.server, spent.logged), before, self.read(), strict=True
        ):
            kept.append((now - was) / parts)

    def _server_ms(self) -> float:
        """Add up what its living processes ran, in nanoseconds and not in ticks (sched-stats of Linux)."""
        server: Any = self.cluster._process
        ran = 0
        for pid in family(server.pid):
            with suppress(FileNotFoundError, ProcessLookupError):  # it ended while we looked
                ran += int((PROC / str(pid) / "schedstat").read_text().split()[0])
        return ran / 1e6

    def _logged_kb(self) -> float:
        with self.cluster.connect() as connection:
            (position,) = connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone() or (0,)
        return float(position) / 1e3


OPERATIONS = (
    "one notification, alone",
    "one notification, in a set of 50",
    "a page of 100 events",
    "a customer's timeline",
)
Work = Mapping[str, tuple[int, Callable[[Any], None], Sequence[Any]]]
"""Operation → how many it is, and what is to be done to each of what."""


def prepared(ledger: Ledger) -> Work:
    """Prepare everything once for one database."""
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
    return dict(zip(OPERATIONS, work, strict=True))


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


def measure(
    scope: Scope, rows: int, settings: Sequence[str], keep: Path | None
) -> tuple[list[Figure], list[Plan], list[Plan]]:
    """Fill both, ask both in turns; give the figures, and the plans of the small and of the large one."""
    sizes = {f"{SMALL:,}": SMALL, f"{rows:,}": rows}
    with served(sizes, settings, keep, scope.say) as (cluster, ledgers):
        small, large = ledgers
        clock = Clock(cluster)
        turn(clock, ledgers, {ledger.name: {name: Spent() for name in OPERATIONS} for ledger in ledgers})
        spent = {ledger.name: {name: Spent() for name in OPERATIONS} for ledger in ledgers}
        for number in scope.turns("growth"):
            turn(clock, ledgers if number % 2 else ledgers[::-1], spent)
        found = figures(spent[small.name], spent[large.name], large.name)
        return found, plans(small, cluster), plans(large, cluster)


def turn(clock: Clock, ledgers: Sequence[Ledger], spent: Mapping[str, Mapping[str, Spent]]) -> None:
    """Do everything once on each database, each operation on the one right after the other."""
    work = {ledger.name: prepared(ledger) for ledger in ledgers}
    for operation in OPERATIONS:
        for name, own in work.items():
            clock.timed(spent[name][operation], *own[operation])


def figures(small: Mapping[str, Spent], large: Mapping[str, Spent], name: str) -> list[Figure]:
    """Compare the two."""
    goal, other = Goal("ratio", "most", 1.2), f"with {SMALL:,}"
    found = []
    for operation in OPERATIONS:
        here, there = large[operation], small[operation]
        what = f"{operation}, {name} ledger rows"
        found += [
            Figure(5, what, "ms of processor", here.processor, there.processor, other, goal),
            Figure(5, "  ours (Python)", "ms of processor", here.python, there.python, other),
            Figure(5, "  the server's", "ms of processor", here.server, there.server, other),
            Figure(5, "  until it is done", "ms of wall time", here.wall, there.wall, other),
            Figure(5, "  logged", "kB", here.logged, there.logged, other),
        ]
    return found


def report(small: Sequence[Plan], large: Sequence[Plan]) -> str:
    """Write each statement with what it read and how many pages that took, and what was read from end to end."""
    whole = sorted({name for plan in large for name in plan.whole if name in IDS})
    verdict = f"READ FROM END TO END: {', '.join(whole)}" if whole else "No table that grows is read from end to end."
    beside = {plan.statement: plan for plan in small}
    said = [f"{plan}\n    {_pages(plan, beside.get(plan.statement))}" for plan in large]
    return "\n".join([*said, "", verdict])


def _pages(plan: Plan, small: Plan | None) -> str:
    there = f", with {SMALL:,} rows {small.pages:.0f} and {small.images:.1f}" if small else ""
    return f"pages looked at {plan.pages:.0f}, logged whole {plan.images:.1f}{there}"


def main(arguments: Sequence[str]) -> None:
    """Print the table, and below it every plan."""
    asked = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings = (*(() if asked.as_it_comes else ADVISED), *asked.set)
    with Path(os.devnull).open("w") as nowhere:
        configure_logs(nowhere, as_json=True)
        spare_collector()
        found, *seen = measure(Scope(), asked.rows, settings, asked.keep)
    said = " ".join(settings) or "as it comes"
    sys.stdout.write(f"PostgreSQL: {said}\n\n{table(found)}\n\n{report(*seen)}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.growth", allow_abbrev=False)
    parser.add_argument("rows", nargs="?", default=LARGE, type=lambda text: int(text.replace(",", "").replace("_", "")))
    parser.add_argument(
        "--keep", type=lambda text: Path(text).resolve(), help="a directory: fill it once, and ask it again"
    )
    parser.add_argument("--as-it-comes", action="store_true", help="no setting of PostgreSQL's but its own")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="one more setting of it")
    return parser


if __name__ == "__main__":
    main(sys.argv[1:])
