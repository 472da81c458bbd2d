"""Everything this service counts and times, under the names that dashboards hold on to.

Counters and histograms live here and are touched by the stations. What is true of the store or the broker, like
how much waits there, is asked of them at scrape time: `worker/web/scrape.py`. Labels come from the configuration
and from closed vocabularies, never from what a stranger sent, so their number is bounded.

Processes of one host share their counts through `PROMETHEUS_MULTIPROC_DIR`
(https://prometheus.github.io/client_python/multiprocess/), which is set before they start. Each counts in files under
its own name there. A worker that is restarted has the name of the one that died, so it counts on where that ended:
nothing that was counted is lost or goes back, and however often a worker dies, no file is added. Named by number, as
the library does it, each death would leave two more files for every scrape to read. What a process counted stays when
it ends; what it had open does not.

The files are mapped into memory, where a page that the disk has no room for is no error but the end of the process
(SIGBUS: mmap(2)). So all the room that counts will need is taken at the start, and none when the disk is full.
"""

import collections
import errno
import itertools
import os
import socket
import sys
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, values
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from config.settings import Settings
from handlers.announce import ENTITLEMENT_CHANGES
from handlers.platforms import PLATFORMS

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""Where processes share their counts: the client library's own switch, read by it at import."""
NAME = "PROMETHEUS_MULTIPROC_NAME"
"""Under which name a process counts there; its supervisor says."""

RECEIVED = ("accepted", "duplicate", "malformed", "unauthentic", "wrong_app", "too_large", "unavailable")
PROCESSED = ("processed", "ignored", "quarantined", "dead", "failed", "looking_up")
ENDED = ("processed", "ignored", "quarantined", "dead", "lost", "unfollowed")
SHED = ("too_many_waiting", "too_many_bytes", "too_busy", "workers_behind")
ATTEMPTED = ("delivered", "failed", "dead")
DISABLED = ("gone", "long_failure")
"""The closed vocabularies that begin at zero. A dashboard sees the first of a kind only if it saw none before."""

UNKNOWN = "unknown"
"""The label of a platform or app that nobody configured."""

WITHIN_SECONDS = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
"""Buckets of what one process does by itself: a verification with a cached key takes tens of microseconds."""

LAG_SECONDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0),
    *(60.0, 300.0, 1800.0, 7200.0),
)
"""Buckets of what waits in queues: milliseconds when all is well, hours when a subscriber is away."""

CHILDREN_KEPT = 1024
"""More than there are of platforms, apps and outcomes; whatever is forgotten is found again."""

LIVE: Final = "livesum"
"""How the client library calls the sum over processes that run; its files are `gauge_livesum_<name>.db`."""

KINDS: Final = ("counter", "histogram", f"gauge_{LIVE}")
"""What there is a file of for each process: `<kind>_<name>.db`."""
ROOM_BYTES: Final = 1 << 17
"""How large a file begins. Hundreds of series have room in it; where there are more, the library doubles it."""
SPARE_BYTES: Final = 1 << 15
"""More than what is counted only once it happens: an unknown app, a look-up, a token that is none."""

M = TypeVar("M", Counter, Gauge, Histogram)


class NoRoom(Exception):
    """There is no room for the files in which processes share their counts; the text says where."""


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """What the broker holds of one queue, at one moment.

    Attributes:
        messages: state → how many; the states are `ready`, `delayed`, `in_flight` and `dead`.
        oldest_seconds: the age of the oldest message that is ready or in flight; 0: none.
    """

    queue: str
    messages: dict[str, int]
    oldest_seconds: float


class Times(Histogram):
    """A histogram that also takes many at once: it is the calls that cost, and the most where processes share files."""

    def observe_all(self, amounts: Sequence[float]) -> None:
        """Observe each of these, as `observe` does one, with one addition for the sum and one for each bucket."""
        self._sum.inc(sum(amounts))
        for place, count in collections.Counter(bisect_left(self._upper_bounds, amount) for amount in amounts).items():
            self._buckets[place].inc(count)


class Metrics:
    """The counters and histograms of one process.

    Args:
        registry: where they are registered; each process has one, each test its own.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        count = partial(Counter, namespace="clawback", registry=registry)
        time = partial(Times, namespace="clawback", registry=registry, buckets=WITHIN_SECONDS)
        lag = partial(Times, namespace="clawback", registry=registry, buckets=LAG_SECONDS)

        self.notifications = count(
            "notifications", "Notifications received, by what became of them", ("platform", "app", "outcome")
        )
        self.ended = count("notifications_ended", "Accepted ones, by how they were seen to end", ("platform", "status"))
        self.in_flight = Gauge(
            "notifications_in_flight",
            "Accepted ones that were not seen to end",
            ("platform",),
            namespace="clawback",
            registry=registry,
            multiprocess_mode=LIVE,
        )
        self.shed = count(
            "notifications_shed", "Notifications refused for want of room, by the reason", ("platform", "app", "reason")
        )
        self.verify_seconds = time("verify_seconds", "Proving who sent a notification", ("platform",))
        self.accept_seconds = time("accept_seconds", "Making a notification durable", ("platform",))

        self.processed = count(
            "notifications_processed", "Notifications processed, by their new status", ("platform", "status")
        )
        self.process_seconds = time("process_seconds", "Deciding on notifications and committing", ("platform",))
        self.receive_to_effect_seconds = lag(
            "receive_to_effect_seconds", "From the receipt of a notification to its effect", ("platform",)
        )
        self.lookups = count(
            "lookups", "Questions to the platforms' APIs, by what came of them", ("platform", "kind", "outcome")
        )
        self.lookup_seconds = time("lookup_seconds", "From a question to a platform's API to its answer", ("platform",))
        self.entitlement_changes = count("entitlement_changes", "Entitlements changed, by event type", ("type",))

        self.store_conflicts = count(
            "store_conflicts", "Transactions in which another one came in between, so that they were done again"
        )

        self.authentication_failures = count(
            "authentication_failures", "Requests to the admin side that showed nothing good, by the reason", ("reason",)
        )

        self.deliveries = count("deliveries", "Attempts to tell a subscriber", ("outcome",))
        self.subscribers_disabled = count(
            "subscribers_disabled", "Subscribers that are told no more, by the reason", ("reason",)
        )
        self.delivery_lag_seconds = lag("delivery_lag_seconds", "From an event to its successful delivery")

        self.streams_open = Gauge(
            "streams_open",
            "Listeners of /v1/events/stream",
            namespace="clawback",
            registry=registry,
            multiprocess_mode=LIVE,
        )


@lru_cache(maxsize=CHILDREN_KEPT)
def child(metric: M, *labels: str) -> M:
    """Give what counts under these labels, in the order of their names: found once, and not for every notification."""
    return metric.labels(*labels)


def begin_at_zero(metrics: Metrics, settings: Settings) -> None:
    """Show what may be counted before it is: a rate sees a step from 0 to 1, and nothing of a series that begins at 1.

    https://prometheus.io/docs/practices/instrumentation/#avoid-missing-metrics
    """
    on = [(name, app) for app, one in settings.apps.items() for name in PLATFORMS if one.platform(name) is not None]
    for (platform, app), outcome in itertools.product(on, RECEIVED):
        metrics.notifications.labels(platform, app, outcome)
    for (platform, app), reason in itertools.product(on, SHED):
        metrics.shed.labels(platform, app, reason)
    platforms = sorted({name for name, _ in on})
    for platform, status in itertools.product(platforms, PROCESSED):
        metrics.processed.labels(platform, status)
    for platform, end in itertools.product(platforms, ENDED):
        metrics.ended.labels(platform, end)
    for platform in platforms:
        _forgo_in_flight(metrics, platform)
    timed = (metrics.verify_seconds, metrics.accept_seconds, metrics.process_seconds, metrics.receive_to_effect_seconds)
    for histogram, platform in itertools.product(timed, platforms):
        histogram.labels(platform)
    for change in dict.fromkeys(ENTITLEMENT_CHANGES.values()):
        metrics.entitlement_changes.labels(f"entitlement.{change}")
    for outcome in ATTEMPTED:
        metrics.deliveries.labels(outcome)
    for reason in DISABLED:
        metrics.subscribers_disabled.labels(reason)


def _forgo_in_flight(metrics: Metrics, platform: str) -> None:
    """Count as unfollowed what the process followed that died under this one's name: nobody will see it end."""
    followed = metrics.in_flight.labels(platform)
    ((sample,),) = (metric.samples for metric in followed.collect())
    if sample.value:
        metrics.ended.labels(platform, "unfollowed").inc(sample.value)
        followed.set(0)


def share_counts() -> None:
    """Count under this process's name where processes share. Call it before the first metric is made.

    Without a supervisor the name is that of the host and the process: containers that share a directory are all
    number 1. A name instead of a number is the library's own door: `MultiProcessValue(process_identifier=…)`.

    Raises:
        NoRoom: the disk is full.
    """
    if os.environ.get(DIRECTORY):
        take_room()
        name = _own_name_there()
        values.ValueClass = values.MultiProcessValue(lambda: name)  # type: ignore[no-untyped-call]  # untyped there


def take_room() -> None:
    """Take the room for everything that this process will count where processes share, beyond what has counts already.

    Raises:
        NoRoom: the disk is full.
    """
    directory = os.environ.get(DIRECTORY)
    for kind in KINDS if directory else ():
        file = Path(directory or "") / f"{kind}_{_own_name_there()}.db"
        try:
            _take_room(file)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                line = f"there is no room for {file}, where processes share their counts: make some on its disk"
                raise NoRoom(line) from None
            # This file system makes no such promise: https://man7.org/linux/man-pages/man3/posix_fallocate.3.html


def _take_room(file: Path) -> None:
    """Have the blocks of the disk, and not the holes that truncate(2) leaves.

    The library writes first how much of a file is used, begins with whatever size it finds, and doubles it: what is
    twice as large already is what it asks for then.
    """
    with os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT, 0o600), "rb") as opened:
        used, room = int.from_bytes(opened.read(4), sys.byteorder), ROOM_BYTES
        while room < used + SPARE_BYTES:
            room *= 2
        size = max(room, os.fstat(opened.fileno()).st_size)
        # macOS has no such call: a full disk may end a process there.
        getattr(os, "posix_fallocate", _no_promise)(opened.fileno(), 0, size)


def _no_promise(_file: int, _offset: int, _size: int) -> None:
    """Take no room."""


def _own_name_there() -> str:
    return os.environ.get(NAME) or own_name()


def own_name() -> str:
    """Name this process among all that may share a directory."""
    return f"{socket.gethostname()}-{os.getpid()}"


def shared_registry(own: CollectorRegistry) -> CollectorRegistry:
    """Give the registry to scrape: that of all processes of this host where they share, else `own`.

    One registry per scrape is the library's advice.
    """
    directory = os.environ.get(DIRECTORY)
    if not directory:
        return own
    _forget_what_ended(Path(directory))
    registry = CollectorRegistry()
    registry.register(_Shared(Path(directory)))
    return registry


def _forget_what_ended(directory: Path) -> None:
    """Remove what processes had open that run no more, however they ended.

    The library leaves that to a parent that hears of each end (`mark_process_dead`); not every process has one here.
    One that counts under a name begins anew there once it is restarted.
    """
    ours = f"gauge_{LIVE}_{socket.gethostname()}-"
    for open_then in directory.glob(f"{ours}*.db"):
        pid = open_then.stem.removeprefix(ours)
        if pid.isdecimal() and not _runs(int(pid)):
            open_then.unlink(missing_ok=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class _Shared(Collector):
    """Add up what processes counted in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        """Read every file but those that were made a moment ago and hold nothing yet, over which the library trips."""
        files = [str(file) for file in self._directory.glob("*.db") if file.stat().st_size]
        found: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]  # untyped there
        return found
