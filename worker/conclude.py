"""Conclude a notification: tie what it says to the ledger, write down what became of it, and report it.

What is said of one notification grows from station to station: `worker/understand.py: Understood`, then `Tied`, then
`Decided`. Each is made once and holds the one before.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

import structlog

from config.logs import together
from config.news import News
from handlers.revise import Origin, revise
from schemas.entry import Entry
from schemas.resources import Event
from worker.runtime import Runtime
from worker.store.inbox import REPLAYED, Outcome, Stations
from worker.tracing import Processed
from worker.understand import Understood, Verdict

ALARMS = frozenset({"unsubscribed"})
"""Reasons of a quarantine after which notifications stop coming until somebody acts."""

LINES = {
    "processed": "process.decided",
    "ignored": "process.decided",
    "looking_up": "process.looking_up",
    "quarantined": "process.quarantined",
    "failed": "process.failed",
}
"""How the canonical line of a notification is called, by what became of it."""

_NAMES: Final = ("notification", "platform", "app", "type", "status", "reason", "attempt", "events", "ms")
"""What a canonical line says."""
_NEWS: Final = {event: News(event, *_NAMES) for event in set(LINES.values())}

PARTLY = "partly_decided"
"""The station of a notification that took effect while something it needs was not looked up yet. It goes once all is
known: what stays marked may be understood anew, all else was understood for good."""

LOOKED_UP = "looked_up:"
"""How the stations of a notification begin that was told something by its platform's API: `looked_up:orders`."""

MONEY_CONTRADICTS = "money_contradicts"
"""Why a notification is quarantined with which more was refunded than was paid, or in another currency."""

CONTRADICTS = "contradicts"
"""The station of a notification that completed a contradiction of money. While that stands, so does the quarantine,
however often it is replayed; of two that contradict each other, the earlier one is not blamed."""


class Tied(NamedTuple):
    """A notification whose row is ours alone, with what it tells the ledger.

    Attributes:
        stations: how far it was when it was claimed.
        entries: what is told to the ledger, once that is locked; of a repetition those that the ledger has.
    """

    understood: Understood
    stations: Stations
    verdict: Verdict
    entries: tuple[Entry, ...] = ()


class Decided(NamedTuple):
    """A notification with what followed from it."""

    tied: Tied
    verdict: Verdict
    events: tuple[Event, ...] = ()


def tie(each: Understood, held: Sequence[Entry]) -> Tied:
    """Tie what is said to where it was said: as the first word, as a better one, or as a repetition that adds nothing.

    What was understood for good is not said anew, however often it is replayed: a platform's API answers for the
    present, and tells nothing of a moment that is long past.
    """
    row, verdict, stations = each.row, each.verdict, each.row.stations
    if not row.body:  # it was erased: what it said stands, and is not taken back for it
        return Tied(each, stations, verdict._replace(status="processed" if held else "ignored"))
    if verdict.error or verdict.status == "quarantined":
        return Tied(each, stations, verdict)
    if held and PARTLY not in stations:
        if verdict.status != "ignored":
            verdict = verdict._replace(status="processed", reason=None)
        return Tied(each, stations, verdict._replace(partly=False), tuple(held))
    entries: tuple[Entry, ...] = ()
    if not held or _knows_enough(each, stations):
        origin = Origin(row.app, row.platform, row.id, row.notification_id, row.type)
        entries = revise(each.said, origin, held)
    return Tied(each, stations, verdict, entries or tuple(held))


def outcome(runtime: Runtime, each: Decided, now: float) -> Outcome:
    """Write down what became of it, and when it is tried again if it has not come to its end."""
    row, verdict, settings = each.tied.understood.row, each.verdict, runtime.settings
    attempts = row.attempts + 1
    retry_at = verdict.retry_at or now + settings.work.sweep_after_seconds * 2 ** min(attempts, 10)
    return Outcome(
        id=row.id,
        status="dead" if _is_dead(runtime, each) else verdict.status,
        reason=_reason(verdict),
        detail=verdict.detail,
        attempts=attempts,
        stations=_stations(each, runtime.clock()),
        retry_at_ms=int(retry_at * 1000),
    )


def report(runtime: Runtime, decided: Sequence[Decided]) -> None:
    """Count a set that was committed just now, and write the canonical line of each of its notifications."""
    now = runtime.clock()
    _count(runtime, decided, now)
    if runtime.traces.on:
        runtime.traces.processed([_traced(each) for each in decided], now)
    _write_lines(decided, now)


def _traced(each: Decided) -> Processed:
    row, verdict = each.tied.understood.row, each.verdict
    return Processed(
        id=row.id,
        app=row.app,
        platform=row.platform,
        type=row.type,
        attempt=row.attempts + 1,
        began=each.tied.understood.picked_at,
        traceparent=row.traceparent,
        status=verdict.status,
        reason=verdict.reason,
        error=verdict.error,
        events=[event.type for event in each.events],
    )


def _is_dead(runtime: Runtime, each: Decided) -> bool:
    """Tell whether it failed so often that nobody tries again."""
    if each.verdict.error is None:
        return False
    settings = runtime.settings
    # What was asked for again and again has not failed so often.
    extra = settings.lookups.max_attempts if PARTLY in each.tied.stations else 0
    return each.tied.understood.row.attempts + 1 >= settings.work.max_attempts + extra


def _count(runtime: Runtime, decided: Sequence[Decided], now: float) -> None:
    """Count each, and time it until now: to what counts and times them a set is one call for each platform."""
    ends: Counter[tuple[str, str]] = Counter()
    took: defaultdict[str, list[float]] = defaultdict(list)
    waited: defaultdict[str, list[float]] = defaultdict(list)
    for each in decided:
        understood = each.tied.understood
        row = understood.row
        ends[row.platform, "dead" if _is_dead(runtime, each) else _status(each.verdict)] += 1
        # A clock that was set back in between took no time, not less than none.
        took[row.platform].append(max(0.0, now - understood.picked_at))
        if each.tied.stations.keys().isdisjoint((PARTLY, REPLAYED)):  # else it was finished once, long ago
            waited[row.platform].append(max(0.0, now - row.received_at_ms / 1000))
    metrics = runtime.metrics
    for labels, count in ends.items():
        metrics.processed.labels(*labels).inc(count)
    for platform, seconds in took.items():
        metrics.process_seconds.labels(platform).observe_all(seconds)
    for platform, seconds in waited.items():
        metrics.receive_to_effect_seconds.labels(platform).observe_all(seconds)


def _knows_enough(each: Understood, stations: Stations) -> bool:
    """Tell whether it adds anything to the last time: whoever knows less has nothing to add."""
    knew = {station.removeprefix(LOOKED_UP) for station in stations if station.startswith(LOOKED_UP)}
    return not each.verdict.partly or knew <= each.answered


def _reason(verdict: Verdict) -> str | None:
    return f"error:{verdict.error}" if verdict.error else verdict.reason


def _status(verdict: Verdict) -> str:
    """Give the word of metrics and log lines for what became of it."""
    return "failed" if verdict.error else "looking_up" if verdict.status == "accepted" else verdict.status


def _stations(each: Decided, now: float) -> dict[str, float | str]:
    """Write down when it came how far, and whether something is left to learn."""
    tied, understood, verdict = each.tied, each.tied.understood, each.verdict
    since = understood.row.received_at_ms / 1000
    decided = round((now - since) * 1000, 3)
    before = {**tied.stations, "picked_up": round((understood.picked_at - since) * 1000, 3), "decided": decided}
    if verdict.error:
        return before
    marks = {name: before.pop(name) for name in (PARTLY, CONTRADICTS) if name in before}
    known = {**{f"{LOOKED_UP}{kind}": decided for kind in sorted(understood.answered)}, **before}
    if verdict.reason == MONEY_CONTRADICTS and tied.entries:
        known[CONTRADICTS] = marks.get(CONTRADICTS, decided)
    return {PARTLY: marks.get(PARTLY, decided), **known} if verdict.partly else known


def _write_lines(decided: Sequence[Decided], now: float) -> None:
    """Write them in their order; what is no alarm, as nearly all is, many at once."""
    said = [(_level(each.verdict), LINES[_status(each.verdict)], _line(each, now)) for each in decided]
    usual = structlog.get_logger()
    with together():
        for (level, event), lines in groupby(said, itemgetter(0, 1)):
            if level == "info":
                _NEWS[event].tell([line for _, _, line in lines])
            else:
                for _, _, line in lines:
                    getattr(usual, level)(event, **dict(zip(_NAMES, line, strict=True)))


def _level(verdict: Verdict) -> str:
    if verdict.error is not None or verdict.reason in ALARMS:
        return "error"
    return "warning" if verdict.status == "quarantined" else "info"


def _line(each: Decided, now: float) -> tuple[Any, ...]:
    """Say what is under `_NAMES`."""
    understood, verdict = each.tied.understood, each.verdict
    row = understood.row
    return (
        row.id,
        row.platform,
        row.app,
        row.type,
        _status(verdict),
        _reason(verdict),
        row.attempts + 1,
        [event.type for event in each.events],
        round((now - understood.picked_at) * 1000, 2),
    )
