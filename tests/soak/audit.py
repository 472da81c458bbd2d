"""Hold what subscribers saw against the feed and the tables, and name whatever does not fit.

| law | how it is seen |
|---|---|
| none is missed, none is told that was not asked for | events that were thanked for = events of the feed that fit |
| what is told is what the feed says | fingerprints |
| order | of a customer's events none comes before those before it were thanked for, and none after a later one |
| the table explains every arrival | each is a row of `attempts`, or was lost with a worker that was killed right then |
| every repeat has a reason | before it: a row that is no success, or a lost attempt whose claim has lapsed |
| patience | after a first failure 5 s, after a 429 what Retry-After says |
| pace | never more attempts in a stretch than the rate allows |

An attempt that was made by a worker which died before it could be recorded leaves no row: those are *lost*. Each has
a kill, within its claim, and a kill loses at most what one lane can have on its way.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.soak.listeners import RETRY_AFTER_SECONDS, TIMEOUT_SECONDS, Arrival, Wish, fingerprint
from worker.lanes import Limits
from worker.store.outbox import LEASE_SLACK_MS

CLAIM_SECONDS = TIMEOUT_SECONDS + LEASE_SLACK_MS / 1000
FIRST_WAIT_SECONDS = 5.0
LOST_AT_ONCE_MAX = 2 * Limits().lane_in_flight
"""What is in flight, and what has ended since the turn that is being recorded began."""
STRETCH_SECONDS = 5.0
LATENESS_SECONDS = 2.0
"""How much later than its claim an attempt may begin on a busy machine."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of `attempts`, with the event that it is about."""

    event: str
    attempted_at_ms: int
    status: int | None
    error: str | None

    @property
    def succeeded(self) -> bool:
        """Tell whether it was delivered."""
        return self.error is None


@dataclass(frozen=True)
class Case:
    """Everything that is known of how one subscriber was told.

    Attributes:
        feed: all events, as `/v1/events` has them, oldest first.
        arrivals: in order of arrival.
        rows: in order of recording.
        statuses: event → status of its delivery.
        kills: when workers were killed, Unix seconds.
    """

    wish: Wish
    feed: Sequence[Mapping[str, Any]]
    arrivals: Sequence[Arrival]
    rows: Sequence[Row]
    statuses: Mapping[str, str]
    kills: Sequence[float] = ()

    @property
    def wanted(self) -> dict[str, Mapping[str, Any]]:
        """Find what it should be told: event → event."""
        return {event["id"]: event for event in self.feed if self.wish.hears(event)}


@dataclass
class Verdict:
    """What was found.

    Attributes:
        complaints: what fits no law; nothing, if all is well.
        lost: arrivals without a row, each explained by a kill: when it was → which.
    """

    complaints: list[str] = field(default_factory=list)
    lost: dict[float, list[Arrival]] = field(default_factory=lambda: defaultdict(list))
    repeats: int = 0

    def named(self) -> dict[str, Any]:
        """Write down what was lost with which kill, for a person to read."""
        lost = {f"killed at {kill:.3f}": [one.event for one in gone] for kill, gone in sorted(self.lost.items())}
        return {"repeats": self.repeats, "attempts lost": lost}


def audit(case: Case) -> Verdict:
    """Look for everything that breaks a law."""
    verdict = Verdict()
    verdict.complaints += _missed(case)
    if case.wish.order == "per_customer":
        verdict.complaints += _misordered(case)
    verdict.complaints += _unexplained(case, verdict)
    verdict.complaints += _hurried(case)
    return verdict


def _missed(case: Case) -> Iterator[str]:
    wanted = case.wanted
    thanked = {arrival.event for arrival in case.arrivals if arrival.status == 200}
    yield from (f"{event} never got through" for event in wanted if event not in thanked)
    yield from (f"{event} was not asked for" for event in {a.event for a in case.arrivals} - wanted.keys())
    said = {event: fingerprint(document) for event, document in wanted.items()}
    for arrival in case.arrivals:
        if said.get(arrival.event, arrival.fingerprint) != arrival.fingerprint:
            yield f"{arrival.event} is not what the feed says"
    if (stand := dict(case.statuses)) != (expected := dict.fromkeys(wanted, "delivered")):
        yield f"deliveries stand wrong: {sorted(stand.items() ^ expected.items())[:10]}"


def _misordered(case: Case) -> Iterator[str]:
    """Walk along the arrivals, with a finger on the place that each customer's line has come to."""
    place: dict[str, tuple[str, int]] = {}
    lines: dict[str, list[str]] = defaultdict(list)
    told = [event for event in case.wanted.values() if event["customer"]]
    for event in sorted(told, key=lambda event: int(event["sequence"])):
        user = event["customer"]["user_id"]
        place[event["id"]] = (user, len(lines[user]))
        lines[user].append(event["id"])
    newest, thanked = Counter[str](), Counter[str]()
    for arrival in case.arrivals:
        if arrival.event in place:
            user, at = place[arrival.event]
            if at > thanked[user]:
                yield f"{arrival.event} came before {lines[user][thanked[user]]} had got through"
            if at < newest[user]:
                yield f"{arrival.event} came again after {lines[user][newest[user]]}"
            newest[user] = max(newest[user], at)
            if arrival.status == 200 and at == thanked[user]:
                thanked[user] += 1


def _unexplained(case: Case, verdict: Verdict) -> Iterator[str]:
    arrivals, rows = _by_event(case.arrivals), _by_event(case.rows)
    all_lost: list[Arrival] = []
    for event in arrivals.keys() | rows.keys():
        came, recorded = arrivals.get(event, []), rows.get(event, [])
        verdict.repeats += max(0, len(came) - 1)
        lost, odd = _match(came, recorded)
        yield from odd
        yield from _repeated(event, recorded, lost)
        for arrival in lost:
            yield from _too_soon(arrival, came)
        all_lost += lost
    yield from _blamed(sorted(all_lost, key=lambda one: one.attempted_at), case.kills, verdict.lost)


def _match(came: Sequence[Arrival], recorded: Sequence[Row]) -> tuple[list[Arrival], list[str]]:
    """Find the row of each arrival, by the second in which the attempt began: arrivals without one, and what is odd."""
    free, odd = list(recorded), []
    lost = []
    for arrival in came:
        row = next((row for row in free if row.attempted_at_ms // 1000 == arrival.attempted_at), None)
        if row is None:
            lost.append(arrival)
            continue
        free.remove(row)
        # What came too late for us may well have been said.
        if row.status != arrival.status and not (row.status is None and row.error == "timeout"):
            odd.append(f"{row.event}: the row says {row.status} ({row.error}), the backend {arrival.status}")
    odd += [f"{row.event}: {row.status} is on record, and nothing came" for row in free if row.status is not None]
    return lost, odd


def _repeated(event: str, recorded: Sequence[Row], lost: Iterable[Arrival]) -> Iterator[str]:
    """After a recorded success nothing follows."""
    successes = [place for place, row in enumerate(recorded) if row.succeeded]
    if successes != [len(recorded) - 1]:
        yield f"{event}: its rows are {[(row.status, row.error) for row in recorded]}"
    ends = [recorded[place].attempted_at_ms // 1000 for place in successes]
    yield from (f"{event} came again at {one.attempted_at}" for one in lost if ends and one.attempted_at > ends[0])


def _blamed(lost: Iterable[Arrival], kills: Sequence[float], blamed: dict[float, list[Arrival]]) -> Iterator[str]:
    """Find a kill that may have taken each attempt with it, the earliest that has not taken all it can."""
    for arrival in lost:
        until = arrival.attempted_at + 1 + CLAIM_SECONDS
        then = [kill for kill in sorted(kills) if arrival.attempted_at <= kill <= until]
        free = [kill for kill in then if len(blamed.get(kill, ())) < LOST_AT_ONCE_MAX]
        if free:
            blamed[free[0]].append(arrival)
        elif then:
            yield f"{arrival.event}: the kill at {then[0]} lost more attempts than a lane can hold"
        else:
            yield f"{arrival.event}, attempted at {arrival.attempted_at}, has no row, and no worker was killed then"


def _too_soon(arrival: Arrival, came: Iterable[Arrival]) -> Iterator[str]:
    """What was lost comes again when its claim has lapsed, and not before."""
    after = [other.attempted_at for other in came if other.attempted_at > arrival.attempted_at]
    if after and min(after) - arrival.attempted_at < CLAIM_SECONDS - 1:
        yield f"{arrival.event} came again {min(after) - arrival.attempted_at} s after an attempt that was claimed"


def _hurried(case: Case) -> Iterator[str]:
    for event, rows in _by_event(case.rows).items():
        first, second = rows[0], rows[min(1, len(rows) - 1)]
        wait = (second.attempted_at_ms - first.attempted_at_ms) / 1000
        if second is not first and wait < (RETRY_AFTER_SECONDS if first.status == 429 else FIRST_WAIT_SECONDS):
            yield f"{event} was tried again {wait:.1f} s after {first.status} ({first.error})"
    if rate := case.wish.rate_per_second:
        begun = sorted(row.attempted_at_ms / 1000 for row in case.rows)
        many = int(rate * STRETCH_SECONDS)
        for early, late in zip(begun, begun[many:], strict=False):
            if late - early < STRETCH_SECONDS - LATENESS_SECONDS:
                yield f"{many + 1} attempts began within {late - early:.1f} s"


def _by_event(those: Iterable[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = defaultdict(list)
    for one in those:
        found[one.event].append(one)
    return found
