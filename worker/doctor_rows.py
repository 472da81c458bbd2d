"""Look at the rows for `clawback doctor`: what came in, what became of it, and what was told must add up."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, get_args

from schemas.resources import NotificationStatus
from worker.doctor_seals import Said
from worker.runtime import Runtime
from worker.store import outbox, soundness

LATE_SECONDS_MIN: Final = 60.0
LATE_ROUNDS: Final = 6
"""After so many times what the sweeper waits, nobody sweeps."""
DUE_MAX: Final = 1_000

_REPORT = "report it, and keep a copy of the database"


def look_at_inbox(runtime: Runtime) -> Iterator[Said]:
    """Tell whether received = processed + ignored + quarantined + dead + in flight, and whether that is the truth.

    The sum alone would always be right: each row has one status. So what a status claims is held against what else is
    stored: the entries of what was processed, the causes of what took effect, the age of what is in flight.
    """
    counted, unheard = soundness.count_inbox(runtime.store)
    strange = {status: number for status, number in counted.items() if status not in get_args(NotificationStatus)}
    with runtime.store.read() as connection:
        late = soundness.overdue(connection, before_ms=_late_ms(runtime))
    lost = soundness.lost_causes(runtime.store)
    if strange:
        yield "failed", f"notifications of no status that there is: {strange}", _REPORT
    if unheard.count:
        detail = f"processed, and the ledger holds nothing of it: {unheard}"
        yield "failed", detail, "clawback replay these, then report it"
    if lost.count:
        detail = f"in the ledger or the feed, and gone from the inbox: {lost}"
        yield "failed", detail, "was the database restored in part? Else report it"
    if late.count:
        detail = f"accepted, and nobody has looked at them since {_moment(_late_ms(runtime))}: {late}"
        yield "failed", detail, "start `clawback work`, and look for sweep.failed in its log"
    if not (strange or unheard.count or lost.count or late.count):
        parts = ", ".join(f"{counted[status]} {status}" for status in _ENDS)
        yield "ok", f"{counted.total()} received = {parts} and {counted['accepted']} in flight", ""


def look_at_feed(runtime: Runtime) -> Iterator[Said]:
    """Tell whether the events of every customer are numbered without a gap."""
    seen, broken = soundness.broken_sequences(runtime.store)
    if broken.count:
        yield "failed", f"customers whose events have a gap or are too few: {broken}", _REPORT
    else:
        yield "ok", f"the events of {seen} customers have no gap", ""


def look_at_deliveries(runtime: Runtime) -> Iterator[Said]:
    """Tell whether what waits has its event and is attempted, and what arrived has an attempt that did."""
    counted, orphans, unproved = soundness.count_deliveries(runtime.store)
    with runtime.store.read() as connection:
        late = soundness.Wrong()
        late.add(list(outbox.due(connection, now_ms=_late_ms(runtime), limit=DUE_MAX)))
    if orphans.count:
        yield "failed", f"deliveries that wait without an event: {orphans}", _REPORT
    if unproved.count:
        yield "failed", f"delivered, and no attempt says so: {unproved}", _REPORT
    if late.count:
        detail = f"due since {_moment(_late_ms(runtime))}, and nobody attempts them: {late}"
        yield "warning", detail, "does `clawback work` run? Else their subscriber takes fewer than there are"
    if not (orphans.count or unproved.count or late.count):
        parts = ", ".join(f"{counted[status]} {status}" for status in ("pending", "delivered", "failed"))
        yield "ok", f"deliveries: {parts}; each as it says", ""


_ENDS: Final = ("processed", "ignored", "quarantined", "dead")


def _late_ms(runtime: Runtime) -> int:
    """Give the moment before which nothing should still wait for a first look."""
    grace = max(LATE_SECONDS_MIN, LATE_ROUNDS * runtime.settings.work.sweep_after_seconds)
    return int((runtime.clock() - grace) * 1000)


def _moment(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"
