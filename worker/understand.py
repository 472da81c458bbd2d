"""Understand notifications: read them, ask their platforms for what they leave out, and normalize.

All of it is outside of any write transaction: nobody waits for our thinking, nor for a platform's. What could not be
learned in time is asked for again later, with growing waits; meanwhile what is known takes effect.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, assert_never

import structlog

from handlers.errors import Rejected
from handlers.platforms import PLATFORMS
from schemas.entry import Entry, Said
from schemas.meaning import Confirm, Facts, Ignored, Lookup, Meaning, Normalized, Quarantined
from schemas.resources import Event, NotificationStatus
from worker.lookups import Question
from worker.runtime import Runtime
from worker.store.inbox import LOOKING_UP, Stored

DETAIL_CHARACTERS_MAX = 500
"""Of what a platform wrote; it is a word or two, unless somebody plays."""
WAIT_SECONDS_MAX = 3600.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Understood:
    """A notification with what it means.

    Attributes:
        picked_at: Unix seconds at which a worker took it up.
        said: what it says of purchases.
        answered: the kinds of look-ups that were answered.
        partly: something that it needs was not looked up.
        retry_at: Unix seconds from which its look-ups are worth another try; 0: there is nothing to try again for.
        entries: what is told to the ledger, once that is locked.
        repeated: it was finished before, so its entries are those that the ledger has.
        events: what followed from it, once decided.
        error: the name of what broke, if our own code did.
    """

    row: Stored
    picked_at: float
    status: NotificationStatus = "accepted"
    reason: str | None = None
    detail: str | None = None
    said: tuple[Said, ...] = ()
    answered: frozenset[str] = frozenset()
    partly: bool = False
    retry_at: float = 0.0
    entries: tuple[Entry, ...] = ()
    repeated: bool = False
    events: tuple[Event, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class _Read:
    """A notification that was read, or with `section` None: what became of it instead."""

    blank: Understood
    section: Any = None
    payload: Any = None
    questions: tuple[Question, ...] = ()


def understand(runtime: Runtime, rows: Sequence[Stored]) -> list[Understood]:
    """Say what each of these means. Whatever one of them does to us, the others never notice."""
    read = [_read(runtime, row) for row in rows]
    answers = _ask(runtime, [question for each in read for question in each.questions])
    return [_understand(runtime, each, answers) for each in read]


def broken(each: Understood, error: Exception) -> Understood:
    """Keep what broke our own code for another try. The error's text may quote the body, so only its name is kept."""
    name = type(error).__name__
    return replace(each, status="accepted", said=(), entries=(), events=(), retry_at=0.0, error=name)


def _read(runtime: Runtime, row: Stored) -> _Read:
    blank = Understood(row, picked_at=runtime.clock())
    app = runtime.settings.apps.get(row.app)
    section = app.platform(row.platform) if app else None
    if section is None:
        return _Read(_concluded(blank, Quarantined("not_configured")))
    platform = PLATFORMS[row.platform]
    try:
        payload = platform.read(row.body, row.headers)
        wanted = platform.needs(payload) if section.looks_up else ()
    except Rejected as refused:
        return _Read(_concluded(blank, Quarantined(refused.reason)))
    except Exception as error:  # noqa: BLE001 - a row that breaks us is kept, counted and shown, never lost
        return _Read(broken(blank, error))
    since = row.received_at_ms / 1000
    return _Read(blank, section, payload, tuple(Question(row.app, row.platform, w, row.id, since) for w in wanted))


def _ask(runtime: Runtime, questions: Sequence[Question]) -> Mapping[Question, Any]:
    try:
        return runtime.lookups.ask(questions) if questions else {}
    except Exception as error:  # noqa: BLE001 - what is known takes effect, whatever becomes of asking
        # Without a traceback: it could quote an address that holds a secret.
        log.error("lookup.broke", error=type(error).__name__)  # noqa: TRY400 - see above
        return {}


def _understand(runtime: Runtime, each: _Read, answers: Mapping[Question, Any]) -> Understood:
    if each.section is None:
        return each.blank
    facts = {question.lookup: answers[question] for question in each.questions if question in answers}
    answered = frozenset(lookup.kind for lookup in facts)
    blank = replace(each.blank, answered=answered) if answered else each.blank
    try:
        return _settled(runtime, blank, _meaning(each, facts))
    except Rejected as refused:
        return _concluded(each.blank, Quarantined(refused.reason))
    except Exception as error:  # noqa: BLE001 - as in `_read`
        return broken(each.blank, error)


def _meaning(each: _Read, facts: Facts) -> Normalized:
    meaning: Normalized = PLATFORMS[each.blank.row.platform].normalize(each.payload, facts, settings=each.section)
    return meaning


def _settled(runtime: Runtime, blank: Understood, meaning: Normalized) -> Understood:
    """Conclude, unless there is something that the platform can still be asked."""
    if isinstance(meaning, Confirm):
        return _confirmed(runtime, blank, meaning)
    concluded = _concluded(blank, meaning)
    wanted = () if isinstance(meaning, Quarantined) else meaning.unlearned
    if not wanted or not _worth_another_try(runtime, blank.row, wanted):
        return concluded
    return replace(
        concluded,
        status="accepted",
        reason=f"{LOOKING_UP}{_kinds(wanted)}",
        retry_at=_next_try(runtime, blank.row),
    )


def _confirmed(runtime: Runtime, blank: Understood, confirm: Confirm) -> Understood:
    """Confirm a subscription if the app wants that done; else an operator finds token and address in the API."""
    amazon = runtime.settings.apps[blank.row.app].amazon
    if amazon is not None and amazon.auto_confirm and runtime.visit(confirm):
        return _concluded(blank, Ignored("subscription_confirmed"))
    return _concluded(blank, Quarantined("confirm_subscription"))


def _concluded(blank: Understood, meaning: Meaning | Ignored | Quarantined) -> Understood:
    match meaning:
        case Meaning(said=said, unlearned=unlearned):
            reason = f"not_looked_up:{_kinds(unlearned)}" if unlearned else None
            return replace(blank, status="processed", reason=reason, said=said, partly=bool(unlearned))
        case Ignored(reason=reason, unlearned=unlearned):
            return replace(blank, status="ignored", reason=reason, partly=bool(unlearned))
        case Quarantined(reason=reason, detail=detail):
            return replace(blank, status="quarantined", reason=reason, detail=detail[:DETAIL_CHARACTERS_MAX] or None)
        case _:
            assert_never(meaning)


def _kinds(lookups: Sequence[Lookup]) -> str:
    return ",".join(sorted({lookup.kind for lookup in lookups}))


def _worth_another_try(runtime: Runtime, row: Stored, wanted: Sequence[Lookup]) -> bool:
    if row.attempts + 1 >= runtime.settings.lookups.max_attempts:
        return False
    return any(runtime.lookups.can_ask(row.app, row.platform, lookup.kind) for lookup in wanted)


def _next_try(runtime: Runtime, row: Stored) -> float:
    """Wait twice as long each time, and at least until the platform takes questions again."""
    doubled: float = runtime.settings.lookups.retry_after_seconds * 2 ** min(row.attempts, 16)
    return max(runtime.clock() + min(doubled, WAIT_SECONDS_MAX), runtime.lookups.reopens_at(row.app, row.platform))
