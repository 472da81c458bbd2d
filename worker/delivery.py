"""Tell subscribers, each at its own pace: one that is slow or dead delays no other.

The outbox decides what is due and who may attempt it; here it is only attempted. Each subscriber has a lane with a few
attempts in flight, a single one while it fails, none while it rests. Everything that waits at the same moment shares
one transaction, a *turn*: it records the attempts that ended and claims the deliveries that begin. A lane where
something arrived late looks for more once it has worked off what it was hinted at: one hint is enough for whatever
gathered while nobody could be hinted at. An attempt that was made and could not be recorded is made again when its
claim lapses, with the same `webhook-id`: at least once, never not at all.
"""

import asyncio
import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

import structlog
from sqlalchemy import Connection

from handlers.backoff import judge, parse_retry_after
from worker.keyring import Keyring
from worker.lanes import Lane, Limits
from worker.post import Answer, Poster
from worker.runtime import Runtime
from worker.setback import SetBack
from worker.signing import post_signed
from worker.store import outbox
from worker.store.attempts import Attempt, Recorded, record
from worker.store.contexts import find_contexts
from worker.store.engine import StoreUnavailable
from worker.store.listening import Listener
from worker.store.outbox import Claim, Claimed, Owners
from worker.store.postgresql import may_be_lost

log = structlog.get_logger()

_NEW = Lane()
"""Of a subscriber that nothing was told of yet."""

T = TypeVar("T")


async def deliver(runtime: Runtime, ids: Collection[str]) -> None:
    """Attempt these deliveries and what they held back, to the end; for callers without a `Deliverer` of their own."""
    deliverer = Deliverer(runtime)
    try:
        await deliverer.deliver(ids)
        await deliverer.drained()
    finally:
        await deliverer.close()


class Deliverer:
    """Everything that this process is telling subscribers right now. It belongs to one event loop.

    Args:
        runtime: the parts of this process.
        jitter: draws numbers from 0 to 1.
        limits: how much at once, and how long.
    """

    def __init__(
        self, runtime: Runtime, *, jitter: Callable[[], float] = random.random, limits: Limits | None = None
    ) -> None:
        self._runtime = runtime
        self._limits = limits or Limits()
        self._jitter = jitter
        self._poster = Poster()
        self._keyring = Keyring(runtime.settings.subscribers, runtime.sealer)
        # One thread of our own: turns never overlap, and never wait for anyone else's work.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outbox")
        self._lanes: dict[str, Lane] = {}
        self._open: set[str] = set()
        self._idle = asyncio.Event()
        self._ended: list[Attempt] = []
        self._attempting: set[asyncio.Task[None]] = set()
        self._turns: asyncio.Task[None] | None = None
        self._closing = False
        self._clock = SetBack(runtime.clock)
        self._post_signed = runtime.traces.telling(post_signed)

    async def deliver(self, ids: Collection[str]) -> None:
        """Line these deliveries up to be attempted, and after them what they held back.

        The store is asked whose they are, unless that is said: a mapping names the subscriber of each.

        Returns at once: a worker that waited here for a slow subscriber would be missing for all others. What is
        lined up and lost with this process is still due in the outbox.

        Raises:
            StoreUnavailable: nothing was lined up.
        """
        self._line_up(ids if isinstance(ids, Mapping) else await self._in_thread(self._owners, ids))

    def room(self, whom: Listener) -> int:
        """Tell, in whichever thread, how many deliveries of a subscriber may be born claimed for `begin`."""
        lane = self._lanes.get(whom.id, _NEW)
        is_open = not self._closing and self._keyring.knows(whom)
        return lane.room(self._limits, self._runtime.clock()) if is_open else 0

    async def begin(self, claims: Sequence[Claim]) -> None:
        """Attempt what was claimed for us where it was decided; what there is no room for any more goes back."""
        refused = [claim for claim in claims if not self._admit(claim)]
        self._begin(claim for claim in claims if claim not in refused)
        if refused:
            await self._give_back(refused)
            self._line_up({claim.id: claim.subscriber for claim in refused})

    def _admit(self, claim: Claim) -> bool:
        lane = self._lanes.setdefault(claim.subscriber, Lane())
        if self._closing or not lane.free(self._limits):
            return False
        lane.in_flight += 1
        self._open.add(claim.id)
        self._idle.clear()
        return True

    async def drained(self) -> None:
        """Wait until nothing is in flight and nothing waits."""
        while self._open:
            await self._idle.wait()

    async def close(self) -> None:
        """Begin nothing more, give what is in flight a moment, record it, and close every connection."""
        self._closing = True
        for lane in self._lanes.values():
            lane.rings(None)
        if self._attempting:
            await asyncio.wait(self._attempting, timeout=self._limits.grace_seconds)
        for task in self._attempting:
            task.cancel()
        await asyncio.gather(*self._attempting, return_exceptions=True)
        last = self._wake()
        await asyncio.wait([last], timeout=self._limits.grace_seconds)
        last.cancel()
        self._close_all(list(self._open))
        await self._poster.close()
        self._thread.shutdown(wait=False)

    def _line_up(self, owners: Mapping[str, str]) -> None:
        """Put deliveries into their subscribers' lanes; what is in one already stays where it is."""
        self._wake_lanes()
        for delivery, subscriber in owners.items():
            lane = self._lanes.setdefault(subscriber, Lane())
            if delivery not in self._open and self._has_room(lane):
                lane.waiting[delivery] = None
                self._open.add(delivery)
                self._idle.clear()
        self._wake()

    def _has_room(self, lane: Lane) -> bool:
        return not self._closing and len(lane.waiting) < self._limits.lane_waiting and not self._rests_long(lane)

    def _wake_lanes(self) -> None:
        """Forget every rest where the clock was set back: it would last that much longer, and the store knows of it."""
        if self._clock.noticed():
            for lane in self._lanes.values():
                lane.rests_until = 0.0
                lane.rings(None)

    def _rests_long(self, lane: Lane) -> bool:
        return lane.rests_until - self._runtime.clock() > self._limits.lane_rest_seconds

    def _rest(self, lane: Lane, until: float) -> None:
        """Begin nothing of this lane before; keep what waits only for a moment."""
        lane.rests_until = max(lane.rests_until, min(until, self._runtime.clock() + self._limits.lane_memory_seconds))
        if self._rests_long(lane):
            lane.rings(None)
            forgotten, lane.waiting = lane.waiting, {}
            self._close_all(forgotten)
        elif not self._closing:
            wait = max(0.0, lane.rests_until - self._runtime.clock())
            lane.rings(asyncio.get_running_loop().call_later(wait, self._rested, lane))

    def _rested(self, lane: Lane) -> None:
        """Begin again; where the clock has gone back a little since, rest for that much longer."""
        if lane.rests_until > self._runtime.clock():
            self._rest(lane, lane.rests_until)
        else:
            self._wake()

    def _wake(self) -> asyncio.Task[None]:
        if self._turns is None or self._turns.done():
            self._turns = asyncio.get_running_loop().create_task(self._take_turns())
        return self._turns

    async def _take_turns(self) -> None:
        """Take turns until there is nothing to record and nothing to claim."""
        while True:
            ended, self._ended = self._ended, []
            taken = self._take()
            dry = self._dry()
            if not ended and not taken and not dry:
                return
            try:
                recorded, claimed, more = await self._in_thread(self._turn, ended, list(taken), dry)
            except StoreUnavailable as error:
                log.warning("deliver.store_unavailable", error=str(error), unrecorded=len(ended), waiting=len(taken))
                self._ended[:0] = [replace(attempt, doubtful=True) for attempt in ended]
                self._put_back(taken, dry)
                await asyncio.sleep(self._limits.store_retry_seconds)
            except Exception:
                # A mistake of ours: these claims lapse and are swept, the others must not suffer for it.
                log.exception("deliver.turn_failed", unrecorded=len(ended), waiting=len(taken))
                self._let_go(ended, taken, Claimed())
            else:
                self._report(ended, recorded)
                self._line_up({**recorded.following, **more})
                self._let_go(ended, taken, claimed)
                if self._closing:
                    await self._give_back(claimed.claims)
                else:
                    self._begin(claimed.claims)

    def _take(self) -> dict[str, str]:
        """Take what may begin, delivery → subscriber: least busy lanes first, so that busy ones crowd nobody out."""
        self._wake_lanes()
        taken: dict[str, str] = {}
        now = self._runtime.clock()
        busy = sum(lane.in_flight for lane in self._lanes.values())
        room = 0 if self._closing else self._limits.in_flight - busy
        for subscriber, lane in sorted(self._lanes.items(), key=lambda item: item[1].in_flight):
            while lane.waiting and lane.rests_until <= now and lane.free(self._limits) and len(taken) < room:
                delivery = next(iter(lane.waiting))
                del lane.waiting[delivery]
                lane.in_flight += 1
                taken[delivery] = subscriber
        return taken

    def _dry(self) -> list[str]:
        """List the lanes that want more. Each asks once for what arrived late, so that it never asks in a circle."""
        now = self._runtime.clock()
        dry = [] if self._closing else [one for one, lane in self._lanes.items() if lane.wants_more(now)]
        for subscriber in dry:
            self._lanes[subscriber].late = False
        return dry

    def _put_back(self, taken: Mapping[str, str], dry: Iterable[str] = ()) -> None:
        """Let deliveries wait again, before all others and in their order, and lanes that asked for more ask again."""
        for subscriber in dry:
            self._lanes[subscriber].late = True
        for delivery, subscriber in reversed(list(taken.items())):
            lane = self._lanes[subscriber]
            lane.in_flight -= 1
            lane.waiting = {delivery: None, **lane.waiting}

    def _let_go(self, ended: Iterable[Attempt], taken: Mapping[str, str], claimed: Claimed) -> None:
        """Close what is over, and what could not be claimed: it is not due, or another process has it.

        What only its subscriber's pace held back waits on. What this process cannot sign for is left to those that can:
        it stays due, and the sweeper hints at it again.
        """
        mine = {claim.id for claim in claimed.claims}
        refused = {delivery: subscriber for delivery, subscriber in taken.items() if delivery not in mine}
        held = {delivery: subscriber for delivery, subscriber in refused.items() if subscriber in claimed.resting}
        self._put_back(held)
        for subscriber, until_ms in claimed.resting.items():
            self._rest(self._lanes[subscriber], until_ms / 1000)
        for subscriber in claimed.strange:
            self._leave(subscriber)
        over = refused.keys() - held.keys()
        for delivery in over:
            self._lanes[taken[delivery]].in_flight -= 1
        self._close_all([*over, *(attempt.claim.id for attempt in ended)])

    def _leave(self, subscriber: str) -> None:
        """Forget what waits of a subscriber that is not in this process's configuration, and say so once."""
        lane = self._lanes[subscriber]
        forgotten, lane.waiting = lane.waiting, {}
        self._close_all(forgotten)
        if not lane.strange:
            lane.strange = True
            log.warning("deliver.left_to_others", subscriber=subscriber)

    def _close_all(self, deliveries: Iterable[str]) -> None:
        self._open.difference_update(deliveries)
        if not self._open:
            self._idle.set()

    def _begin(self, claims: Iterable[Claim]) -> None:
        for claim in claims:
            task = asyncio.get_running_loop().create_task(self._attempt(claim))
            self._attempting.add(task)
            task.add_done_callback(self._attempting.discard)

    async def _attempt(self, claim: Claim) -> None:
        """Make one attempt, and leave what it came to for the next turn."""
        attempted_at = self._runtime.clock()
        if attempted_at + claim.timeout_seconds > claim.claimed_until_ms / 1000:
            self._forgo(claim)
            return
        try:
            answer = await self._post(claim, attempted_at)
        except Exception:
            # A mistake of ours must cost this delivery an attempt, not the lane its place.
            log.exception("deliver.attempt_broke", delivery=claim.id)
            answer = Answer(error="internal")
        attempt = self._judged(claim, answer, attempted_at)
        lane = self._lanes[claim.subscriber]
        lane.in_flight -= 1
        lane.failing = attempt.verdict.outcome != "delivered"
        lane.late = lane.late or (claim.late and not lane.failing)
        if attempt.verdict.rest_seconds:
            self._rest(lane, self._runtime.clock() + attempt.verdict.rest_seconds)
        self._ended.append(attempt)
        self._wake()

    def _forgo(self, claim: Claim) -> None:
        """Attempt nothing under a claim that may lapse meanwhile: we were stopped, and whoever takes over will."""
        log.warning("deliver.claim_lapsed", delivery=claim.id, subscriber=claim.subscriber)
        self._lanes[claim.subscriber].in_flight -= 1
        self._close_all([claim.id])
        self._wake()

    async def _post(self, claim: Claim, attempted_at: float) -> Answer:
        return await self._post_signed(
            self._poster, self._keyring, claim, event_id=claim.event_id, document=claim.document, now=attempted_at
        )

    def _judged(self, claim: Claim, answer: Answer, attempted_at: float) -> Attempt:
        verdict = judge(
            answer.status_code,
            attempts=claim.attempts + 1,
            jitter=self._jitter(),
            retry_after_seconds=parse_retry_after(answer.retry_after, now=self._runtime.clock()),
        )
        return Attempt(
            claim=claim,
            verdict=verdict,
            attempted_at_ms=int(attempted_at * 1000),
            duration_ms=answer.duration_ms,
            status_code=answer.status_code,
            error=answer.error,
            response=answer.response,
        )

    def _report(self, ended: Iterable[Attempt], recorded: Recorded) -> None:
        """Count and log what was recorded: one line for each attempt, with all there is to know."""
        for attempt in ended:
            _log(attempt)
            self._runtime.metrics.deliveries.labels(outcome=attempt.verdict.outcome).inc()
            if attempt.verdict.outcome == "delivered":
                lag_ms = attempt.attempted_at_ms + attempt.duration_ms - attempt.claim.created_at_ms
                self._runtime.metrics.delivery_lag_seconds.observe(max(0.0, lag_ms / 1000))
        for subscriber, reason in recorded.disabled.items():
            log.error("deliver.subscriber_disabled", subscriber=subscriber, reason=reason)
            self._runtime.metrics.subscribers_disabled.labels(reason=reason).inc()

    def _owners(self, ids: Collection[str]) -> dict[str, str]:
        with self._runtime.store.look() as connection:
            return outbox.owners(connection, ids)

    def _turn(
        self, ended: Sequence[Attempt], wanted: Sequence[str], dry: Iterable[str]
    ) -> tuple[Recorded, Claimed, Owners]:
        now_ms = int(self._runtime.clock() * 1000)

        def change(connection: Connection) -> tuple[Recorded, Claimed, Owners]:
            if not ended:
                # Claims alone: a server that dies forgets them, and all that comes of it is another attempt.
                may_be_lost(connection)
            recorded = record(connection, ended, now_ms)
            claimed = outbox.claim(connection, wanted, now_ms, knows=self._keyring.knows)
            if self._runtime.traces.on:
                claimed = find_contexts(connection, claimed)
            # Behind the claims, so that what was taken just now is not found.
            most = self._limits.lane_more
            return recorded, claimed, {id_: one for one in dry for id_ in outbox.due_of(connection, one, now_ms, most)}

        return self._runtime.store.change(change)

    async def _give_back(self, claims: Sequence[Claim]) -> None:
        """Leave what was claimed while closing to whoever goes on, who would have to wait until the claims lapse."""
        with suppress(StoreUnavailable):
            await self._in_thread(self._runtime.store.change, lambda connection: outbox.give_back(connection, claims))

    async def _in_thread(self, function: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)


def _log(attempt: Attempt) -> None:
    claim, verdict = attempt.claim, attempt.verdict
    log.info(
        "deliver.attempted",
        delivery=claim.id,
        event_id=claim.event_id,
        subscriber=claim.subscriber,
        app=claim.app,
        sequence=claim.sequence,
        attempt=claim.attempts + 1,
        outcome=verdict.outcome,
        status_code=attempt.status_code,
        error=attempt.error,
        duration_ms=round(attempt.duration_ms, 1),
        retry_in_seconds=None if verdict.wait_seconds is None else round(verdict.wait_seconds, 1),
    )
