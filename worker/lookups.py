"""Ask the platforms' APIs for what notifications leave out, and wait no longer than the configuration says.

All look-ups of a process run on one event loop in a thread of its own, so that the worker threads share connections,
tokens, answers and bounds. What is not answered in time goes on there, and its answer is there for the next attempt.

An answer describes the moment at which it was asked for, so it is given only to notifications that came before that,
and to each of them once: whoever asks again does so because the last answer left something open.
"""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

import structlog

from config.settings import App, Settings
from config.settings import Lookups as Bounds
from schemas.meaning import Lookup
from worker.clients import amazon, google, stripe
from worker.clients.answers import Answer, Client, Fetches, Outcome
from worker.clients.google_key import KeyFileError
from worker.fetch import FetchFailed, HttpFetch
from worker.metrics import Metrics
from worker.setback import SetBack

ANSWER_BYTES_MAX = 1024 * 1024
KEPT_MAX = 2048
"""Answers remembered of one app and platform; the oldest go first."""
GIVEN_MAX = 256
"""Notifications that share one remembered answer; the next one asks anew."""
FAILURES_MAX = 3
"""So many in a row, and the API counts as away for a while."""
PAUSE_SECONDS: Final[Mapping[Outcome, float]] = {"refused": 60.0, "throttled": 5.0, "failed": 15.0}
"""How long nothing more is asked after a refusal, a "slow down" that names no time, or so many failures in a row."""
PAUSE_SECONDS_MAX = 3600.0
"""A platform may ask for more patience than that, up to so much."""
GRACE_SECONDS = 5.0
"""What the loop may take beyond the time it was given. It never does, unless it is gone."""

LINES: Final[Mapping[Outcome, str]] = {
    "answered": "lookup.asked",
    "missing": "lookup.asked",
    "refused": "lookup.refused",
    "rejected": "lookup.failed",
    "throttled": "lookup.failed",
    "failed": "lookup.failed",
}
"""How the canonical line of a look-up is called, by what came of it."""

log = structlog.get_logger()
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Question:
    """One look-up that a notification needs.

    Attributes:
        notification: our id of it.
        since: Unix seconds at which it came: an answer asked for later knows of what it tells.
    """

    app: str
    platform: str
    lookup: Lookup = field(repr=False)
    notification: str
    since: float


@dataclass(slots=True)
class _Kept:
    """An answer, when it was asked for, and the notifications that had it."""

    answer: Answer
    asked_at: float
    given: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Flight:
    """A look-up under way."""

    asked_at: float
    task: "asyncio.Task[Answer]"


class Lookups:
    """What the worker threads of a process ask. Nothing is connected, read or started before the first question.

    Args:
        settings: the bounds, and each app's credentials.
        metrics: where look-ups are counted.
        clock: Unix seconds.
    """

    def __init__(self, settings: Settings, metrics: Metrics, *, clock: Callable[[], float]) -> None:
        self._bounds = settings.lookups
        self._apps = settings.apps
        self._metrics = metrics
        self._clock = clock
        self._windows: dict[tuple[str, str], _Window] = {}
        self._starting = threading.Lock()
        self._loop: _Loop | None = None

    def can_ask(self, app: str, platform: str, kind: str) -> bool:
        """Tell whether an app has what it takes to ask for this."""
        return _may_ask(self._apps.get(app), platform) and kind in KINDS[platform]

    def reopens_at(self, app: str, platform: str) -> float:
        """Tell from when on, in Unix seconds, a question can be answered; 0: at once."""
        window = self._windows.get((app, platform))
        return 0.0 if window is None else window.closed_until

    def ask(self, questions: Iterable[Question]) -> Mapping[Question, Any]:
        """Ask all of it at once, and wait for as long as notifications may wait.

        Returns:
            The facts: JSON objects, or `Missing`. A question that is not among them was not answered in time.
        """
        askable = [q for q in questions if self.can_ask(q.app, q.platform, q.lookup.kind)]
        if not askable:
            return {}
        with self._starting:
            if self._loop is None:
                self._loop = _Loop(self._bounds.timeout_seconds)
            loop = self._loop
        return loop.run(self._ask(loop.fetch, askable), self._bounds.wait_seconds + GRACE_SECONDS)

    def close(self) -> None:
        """End what is under way, and close every connection."""
        with self._starting:
            loop, self._loop = self._loop, None
            self._windows.clear()
        if loop is not None:
            loop.close()

    async def _ask(self, fetch: Fetches, questions: Sequence[Question]) -> Mapping[Question, Any]:
        asked = {q: asyncio.create_task(self._window(fetch, q).answer(q)) for q in questions}
        done, late = await asyncio.wait(asked.values(), timeout=self._bounds.wait_seconds)
        for task in late:
            task.cancel()  # only the waiting: what is under way goes on
        facts = {q: task.result().fact if task in done else None for q, task in asked.items()}
        # What was learned once is not forgotten over a question that gets no answer.
        known = {q: self._window(fetch, q).known(q) if fact is None else fact for q, fact in facts.items()}
        return {q: fact for q, fact in known.items() if fact is not None}

    def _window(self, fetch: Fetches, question: Question) -> "_Window":
        at = (question.app, question.platform)
        if at not in self._windows:
            self._windows[at] = _Window(at, self._apps[question.app], self._bounds, fetch, self._metrics, self._clock)
        return self._windows[at]


class _Loop:
    """An event loop in a thread of its own, with the one connection pool of all look-ups."""

    def __init__(self, timeout_seconds: float) -> None:
        self.fetch = HttpFetch(timeout_seconds=timeout_seconds, body_bytes_max=ANSWER_BYTES_MAX)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="lookups", daemon=True)
        self._thread.start()
        self._ready.wait()

    def run(self, asking: Coroutine[Any, Any, T], timeout_seconds: float) -> T:
        """Run a coroutine there, and wait for its result here."""
        return asyncio.run_coroutine_threadsafe(asking, self._loop).result(timeout_seconds)

    def close(self) -> None:
        """Stop, and wait until everything is closed."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with self.fetch:
            self._ready.set()
            await self._stop.wait()
            flying = asyncio.all_tasks() - {asyncio.current_task()}
            for task in flying:
                task.cancel()
            await asyncio.gather(*flying, return_exceptions=True)


class _Window:
    """Where one app asks one platform: its client, its bounds, what is under way, and what is remembered."""

    def __init__(
        self,
        at: tuple[str, str],
        app: App,
        bounds: Bounds,
        fetch: Fetches,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._app, self._platform = at
        self._make_client: Callable[[], Client] = partial(
            MAKERS[self._platform], app.platform(self._platform), fetch, clock=clock
        )
        self._bounds = bounds
        self._metrics = metrics
        self._clock = clock
        self._client: Client | None = None
        self._places = asyncio.Semaphore(bounds.concurrency)
        self._pace = _Pace(bounds.per_second)
        self._failures = 0
        self.closed_until = 0.0
        self._set_back = SetBack(clock)
        self._flying: dict[Lookup, _Flight] = {}
        self._kept: OrderedDict[Lookup, _Kept] = OrderedDict()

    async def answer(self, question: Question) -> Answer:
        """Give what is remembered, else join whoever asks the same, else ask."""
        if (kept := self._remembered(question)) is not None:
            self._count(question.lookup, "cached")
        else:
            flight = self._flying.get(question.lookup)
            if flight is None or flight.asked_at < question.since:
                flight = self._take_off(question)
            answer = await asyncio.shield(flight.task)
            kept = self._kept.get(question.lookup)
            if kept is None or kept.answer is not answer:
                return answer
        kept.given.add(question.notification)
        return kept.answer

    def known(self, question: Question) -> Any:
        """Give what is remembered and true of this notification, though it had it before; None: nothing is."""
        kept = self._kept.get(question.lookup)
        return kept.answer.fact if kept is not None and kept.asked_at >= question.since else None

    def _remembered(self, question: Question) -> _Kept | None:
        kept = self._kept.get(question.lookup)
        if kept is None or question.notification in kept.given or len(kept.given) >= GIVEN_MAX:
            return None
        fresh = self._clock() - kept.asked_at <= self._bounds.cache_seconds
        return kept if fresh and kept.asked_at >= question.since else None

    def _take_off(self, question: Question) -> _Flight:
        asked_at = self._clock()
        flight = _Flight(asked_at, asyncio.create_task(self._fly(question, asked_at)))
        self._flying[question.lookup] = flight
        flight.task.add_done_callback(lambda _: self._land(question.lookup, flight))
        return flight

    def _land(self, lookup: Lookup, flight: _Flight) -> None:
        if self._flying.get(lookup) is flight:
            del self._flying[lookup]

    async def _fly(self, question: Question, asked_at: float) -> Answer:
        """Ask, within every bound, and remember what was learned."""
        async with self._places:
            if self._is_closed() or not await self._pace.turn(self._bounds.timeout_seconds):
                self._count(question.lookup, "paused")
                return Answer("paused")
            loop = asyncio.get_running_loop()
            started = loop.time()
            answer = await self._ask(question.lookup)
            self._heed(answer)
            if answer.fact is not None:
                self._keep(question.lookup, _Kept(answer, asked_at))
            self._report(question, answer, loop.time() - started)
            return answer

    async def _ask(self, lookup: Lookup) -> Answer:
        try:
            async with asyncio.timeout(self._bounds.timeout_seconds):
                self._client = self._client or self._make_client()
                return await self._client.ask(lookup)
        except TimeoutError:
            return Answer("failed", reason="timeout")
        except FetchFailed as failed:
            return Answer("failed", reason=failed.reason)
        except KeyFileError:
            # `clawback doctor` says what is wrong with it. It is read again with the next question.
            return Answer("refused", reason="key_file")
        except Exception as error:  # noqa: BLE001 - a mistake of ours must not keep a revocation waiting
            return Answer("failed", reason=f"error:{type(error).__name__}")

    def _is_closed(self) -> bool:
        """Tell whether nothing may be asked now; a pause that a clock was set back in would last that much longer."""
        if self._set_back.noticed():
            self.closed_until = 0.0
        return self._clock() < self.closed_until

    def _heed(self, answer: Answer) -> None:
        """Ask nothing more for a while of an API that refuses us, is busy or seems to be away."""
        self._failures = self._failures + 1 if answer.outcome == "failed" else 0
        pause = PAUSE_SECONDS.get(answer.outcome, 0.0)
        if answer.outcome == "failed" and self._failures < FAILURES_MAX:
            pause = 0.0
        pause = min(max(pause, answer.retry_after_seconds or 0.0), PAUSE_SECONDS_MAX)
        if pause:
            self.closed_until = max(self.closed_until, self._clock() + pause)

    def _keep(self, lookup: Lookup, kept: _Kept) -> None:
        self._kept.pop(lookup, None)
        self._kept[lookup] = kept
        if len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)

    def _count(self, lookup: Lookup, outcome: str) -> None:
        self._metrics.lookups.labels(self._platform, lookup.kind, outcome).inc()

    def _report(self, question: Question, answer: Answer, seconds: float) -> None:
        """Write the canonical line of one look-up, and count it. Keys and addresses hold tokens and secrets."""
        self._count(question.lookup, answer.outcome)
        self._metrics.lookup_seconds.labels(self._platform).observe(seconds)
        line = LINES[answer.outcome]
        write = {"lookup.asked": log.info, "lookup.refused": log.error}.get(line, log.warning)
        write(
            line,
            notification=question.notification,
            platform=self._platform,
            app=self._app,
            kind=question.lookup.kind,
            outcome=answer.outcome,
            status=answer.status,
            reason=answer.reason,
            ms=round(seconds * 1000, 2),
        )


class _Pace:
    """Let through so many a second: a leaky bucket (GCRA) that lets one second's worth go at once."""

    def __init__(self, per_second: float) -> None:
        self._gap_seconds = 1 / per_second
        self._next = 0.0

    async def turn(self, wait_seconds: float) -> bool:
        """Wait for the next turn; False: it would take too long."""
        now = asyncio.get_running_loop().time()
        due = max(self._next, now)
        wait = due - now - 1.0
        if wait > wait_seconds:
            return False
        self._next = due + self._gap_seconds
        if wait > 0:
            await asyncio.sleep(wait)
        return True


def _may_ask(app: App | None, platform: str) -> bool:
    section = app.platform(platform) if app is not None else None
    return section is not None and section.looks_up and platform in MAKERS


MAKERS: Final[Mapping[str, Callable[..., Client]]] = {
    "google": google.GoogleClient,
    "stripe": stripe.StripeClient,
    "amazon": amazon.AmazonClient,
}
KINDS: Final[Mapping[str, Mapping[str, str]]] = {
    "google": google.PATHS,
    "stripe": stripe.PATHS,
    "amazon": amazon.PATHS,
}
"""What each platform can be asked for."""
