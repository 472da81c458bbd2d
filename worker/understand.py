"""Understand notifications: read them, ask their platforms for what they leave out, and normalize.

Whatever asks anybody is outside of any transaction: no row is locked while a platform thinks. What could not be learned
in time is asked for again later, with growing waits; meanwhile what is known takes effect.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, assert_never

import structlog

from handlers.errors import Rejected
from handlers.platforms import PLATFORMS
from schemas.entry import Said
from schemas.meaning import Confirm, Ignored, Lookup, Meaning, Normalized, Quarantined
from schemas.resources import NotificationStatus
from worker.lookups import Question
from worker.runtime import Runtime
from worker.store.inbox import ERASED, LOOKING_UP, Stored

DETAIL_CHARACTERS_MAX = 500
"""Of what a platform wrote; it is a word or two, unless somebody plays."""
WAIT_SECONDS_MAX = 3600.0
SUBSCRIPTION: Final = "SubscriptionConfirmation"
"""The type of what Amazon SNS wants to be confirmed by a visit."""

log = structlog.get_logger()


class Verdict(NamedTuple):
    """What becomes of a notification.

    Attributes:
        partly: something that it needs was not looked up.
        retry_at: Unix seconds from which its look-ups are worth another try; 0: there is nothing to try again for.
        error: the name of what broke, if our own code did.
    """

    status: NotificationStatus
    reason: str | None = None
    detail: str | None = None
    partly: bool = False
    retry_at: float = 0.0
    error: str | None = None


PROCESSED: Final = Verdict("processed")
"""What becomes of nearly all."""


class Understood(NamedTuple):
    """A notification with what it means.

    Attributes:
        picked_at: Unix seconds at which a worker took it up.
        said: what it says of purchases.
        answered: the kinds of look-ups that were answered.
    """

    row: Stored
    picked_at: float
    verdict: Verdict
    said: tuple[Said, ...] = ()
    answered: frozenset[str] = frozenset()


class _Read(NamedTuple):
    """A notification that was read, or with a `verdict`: what became of it instead."""

    row: Stored
    picked_at: float
    section: Any = None
    payload: Any = None
    questions: tuple[Question, ...] = ()
    verdict: Verdict | None = None


def understand(runtime: Runtime, rows: Iterable[Stored]) -> list[Understood]:
    """Say what each of these means. Whatever one of them does to us, the others never notice."""
    read = _read_all(runtime, rows)
    answers = _ask(runtime, [question for each in read for question in each.questions])
    return [_understand(runtime, each, answers) for each in read]


def understand_unasked(runtime: Runtime, rows: Iterable[Stored]) -> list[Understood] | None:
    """Say what each of these means, if nobody must be asked for that; None: somebody must, and nobody was."""
    read = _read_all(runtime, rows)
    if any(_asks(runtime, each) for each in read):
        return None
    return [_understand(runtime, each, {}) for each in read]


def broken(verdict: Verdict, error: Exception) -> Verdict:
    """Keep what broke our own code for another try. The error's text may quote the body, so only its name is kept."""
    return verdict._replace(status="accepted", retry_at=0.0, error=type(error).__name__)


def _asks(runtime: Runtime, each: _Read) -> bool:
    """Tell whether understanding it may ask a platform's API, or visit an address that it names."""
    if each.row.type == SUBSCRIPTION and each.section is not None and getattr(each.section, "auto_confirm", False):
        return True
    return any(runtime.lookups.can_ask(asked.app, asked.platform, asked.lookup.kind) for asked in each.questions)


def _read_all(runtime: Runtime, rows: Iterable[Stored]) -> list[_Read]:
    sections: dict[tuple[str, str], Any] = {}
    read = []
    for row in rows:
        at = (row.app, row.platform)
        if at not in sections:
            sections[at] = _section(runtime, *at)
        read.append(_read(runtime, row, sections[at]))
    return read


def _section(runtime: Runtime, app: str, platform: str) -> Any:
    """Find how an app has a platform; None: not at all, or no longer."""
    configured = runtime.settings.apps.get(app)
    return configured.platform(platform) if configured else None


def _read(runtime: Runtime, row: Stored, section: Any) -> _Read:
    picked_at = runtime.clock()
    if section is None:
        return _Read(row, picked_at, verdict=_quarantined(Quarantined("not_configured")))
    if not row.body:
        return _Read(row, picked_at, verdict=Verdict("ignored", ERASED))
    platform = PLATFORMS[row.platform]
    try:
        body, headers = runtime.bodies.take(row.id, row.body, row.headers)
        payload = platform.recall(body, headers)
        wanted = platform.needs(payload) if section.looks_up else ()
    except Rejected as refused:
        return _Read(row, picked_at, verdict=_quarantined(Quarantined(refused.reason)))
    except Exception as error:  # noqa: BLE001 - a row that breaks us is kept, counted and shown, never lost
        return _Read(row, picked_at, verdict=broken(PROCESSED, error))
    since = row.received_at_ms / 1000
    questions = tuple([Question(row.app, row.platform, each, row.id, since) for each in wanted])
    return _Read(row, picked_at, section, payload, questions)


def _ask(runtime: Runtime, questions: Sequence[Question]) -> Mapping[Question, Any]:
    try:
        return runtime.lookups.ask(questions) if questions else {}
    except Exception as error:  # noqa: BLE001 - what is known takes effect, whatever becomes of asking
        # Without a traceback: it could quote an address that holds a secret.
        log.error("lookup.broke", error=type(error).__name__)  # noqa: TRY400 - see above
        return {}


def _understand(runtime: Runtime, each: _Read, answers: Mapping[Question, Any]) -> Understood:
    if each.verdict is not None:
        return Understood(each.row, each.picked_at, each.verdict)
    facts = {question.lookup: answers[question] for question in each.questions if question in answers}
    try:
        meaning: Normalized = PLATFORMS[each.row.platform].normalize(each.payload, facts, settings=each.section)
        verdict = _verdict(runtime, each.row, meaning)
    except Rejected as refused:
        return Understood(each.row, each.picked_at, _quarantined(Quarantined(refused.reason)))
    except Exception as error:  # noqa: BLE001 - as in `_read`
        return Understood(each.row, each.picked_at, broken(PROCESSED, error))
    said = meaning.said if isinstance(meaning, Meaning) else ()
    return Understood(each.row, each.picked_at, verdict, said, frozenset([lookup.kind for lookup in facts]))


def _verdict(runtime: Runtime, row: Stored, meaning: Normalized) -> Verdict:
    """Conclude, unless there is something that the platform can still be asked."""
    match meaning:
        case Meaning(unlearned=()):
            return PROCESSED
        case Meaning(unlearned=wanted):
            return _partial(runtime, row, "processed", f"not_looked_up:{_kinds(wanted)}", wanted)
        case Ignored(reason=reason, unlearned=()):
            return Verdict("ignored", reason)
        case Ignored(reason=reason, unlearned=wanted):
            return _partial(runtime, row, "ignored", reason, wanted)
        case Quarantined():
            return _quarantined(meaning)
        case Confirm():
            return _confirmed(runtime, row, meaning)
        case _:
            assert_never(meaning)


def _partial(
    runtime: Runtime, row: Stored, status: NotificationStatus, reason: str, wanted: Sequence[Lookup]
) -> Verdict:
    """Ask again for what was not looked up, while that is worth it; else that is where it ends."""
    if not _worth_another_try(runtime, row, wanted):
        return Verdict(status, reason, partly=True)
    again = _next_try(runtime, row)
    return Verdict("accepted", f"{LOOKING_UP}{_kinds(wanted)}", partly=True, retry_at=again)


def _confirmed(runtime: Runtime, row: Stored, confirm: Confirm) -> Verdict:
    """Confirm a subscription if the app wants that done; else an operator finds token and address in the API."""
    amazon = runtime.settings.apps[row.app].amazon
    if amazon is not None and amazon.auto_confirm and runtime.visit(confirm):
        return Verdict("ignored", "subscription_confirmed")
    return _quarantined(Quarantined("confirm_subscription"))


def _quarantined(why: Quarantined) -> Verdict:
    return Verdict("quarantined", why.reason, detail=why.detail[:DETAIL_CHARACTERS_MAX] or None)


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
