"""What the door refuses for want of room, whom, and what it says then.

Real: the gate, and in the later half the server, the signatures, the inbox, the store. Doubles: how fast commits go, a
verification that waits to be let go on. What may be asserted: answers, counts, lines, rows.
"""

import asyncio
import time
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import aiohttp
import pytest
from sqlalchemy import event as watch
from sqlalchemy.exc import ProgrammingError
from structlog.testing import capture_logs

from config.settings import Door
from handlers.behind import Behind
from handlers.platform import Platform
from schemas.received import Identity, Received
from tests.e2e.running import until
from tests.web.service import NoNetwork, Service, running, settings
from tests.web.test_ingest import GOOD, STRIPE, event, signed
from worker.flow import Flow
from worker.inbox import BATCH_MAX
from worker.trust import Trust
from worker.web.behind import LOOK_SECONDS
from worker.web.errors import Refused
from worker.web.gate import BEHIND_RETRY_SECONDS, FEW, LARGE_BYTES, Gate
from worker.web.ingest import DOOR

STORM, OTHER = ("stripe", "acme"), ("amazon", "acme")


class Steady(Flow):
    """An inbox that commits so many a second, as its last commits of so many rows showed."""

    def __init__(self, per_second: float, rows: float = BATCH_MAX) -> None:
        super().__init__()
        self.rows, self._rate = rows, per_second

    def per_second(self) -> float:
        """Say so."""
        return self._rate


def entered(gate: Gate, source: tuple[str, str], most: int = 5_000) -> int:
    """Enter as often as is permitted; give how often that was."""
    for count in range(most):
        try:
            gate.enter(source)
        except Refused:
            return count
    return most


def why(gate: Gate, source: tuple[str, str]) -> tuple[str, int]:
    """Ask to be let in, and give the reason why not, and when to come again."""
    with pytest.raises(Refused) as refused:
        gate.enter(source)
    return refused.value.refusal.code, int(refused.value.refusal.headers["Retry-After"])


@pytest.mark.parametrize(
    ("flow", "room"),
    [
        (Steady(1_000), 2_000),
        (Steady(100), 200),
        (Steady(1), FEW),
        (Steady(1, rows=1), BATCH_MAX),
        (Steady(1e6), 2_000),
        (Flow(), 2_000),
    ],
    ids=["in two seconds", "a slow store", "one that hangs", "one that was not tried with many", "a fast one", "new"],
)
async def test_as_many_wait_as_are_committed_in_time(flow: Flow, room: int):
    """The slower the store, the fewer wait for it; a few always may."""
    gate = Gate(Door(wait_seconds=2), flow)

    assert room == entered(gate, STORM)
    gate.leave(STORM)
    assert 1 == entered(gate, STORM)


async def test_a_storm_takes_no_room_that_others_need():
    """While a storm fills the room, another platform comes in, up to its share; the storm waits until there is room."""
    gate = Gate(Door(wait_seconds=2), Steady(100))
    entered(gate, STORM)

    assert 160 == entered(gate, OTHER), "four parts of five of what two seconds bear"
    assert "too_many_waiting" == why(gate, STORM)[0]
    for _ in range(160):
        gate.leave(OTHER)
    gate.leave(STORM)
    assert 1 == entered(gate, STORM)


async def test_whoever_is_refused_hears_when_there_is_room_again():
    """Retry-After is how long those before him wait, at least a second and at most a minute."""
    for per_second, seconds in ((1000.0, 2), (20.0, 4), (0.1, 60)):
        gate = Gate(Door(wait_seconds=2), Steady(per_second))
        entered(gate, STORM)
        assert ("too_many_waiting", seconds) == why(gate, STORM)


async def test_a_turn_of_the_event_loop_is_bounded():
    """Who would make a turn too long for all who wait for the next is refused; others are not, nor in the next."""
    gate = Gate(Door(wait_seconds=0.1), Flow())
    gate.enter(STORM)
    time.sleep(0.02)  # noqa: ASYNC251 - the turn it takes is what is tested

    assert FEW - 1 == entered(gate, STORM)
    assert "too_busy" == why(gate, STORM)[0]
    assert 0 < entered(gate, OTHER)
    await asyncio.sleep(0)
    assert 10 == entered(gate, STORM, most=10)


async def test_a_busy_machine_alone_is_no_reason():
    """A few come in in one turn, however long it takes: the machine may have had something else to do."""
    gate = Gate(Door(wait_seconds=0.1), Flow())
    for _ in range(3):
        time.sleep(0.015)  # noqa: ASYNC251 - as above
        gate.enter(STORM)


async def test_a_storm_is_slowed_down_while_workers_are_behind():
    """So many a second come in, others beside them, and the rest hears to come a minute later."""
    gate = Gate(Door(), Flow())
    gate.behind = Behind(pace=50)

    assert 50 == entered(gate, STORM)
    assert ("workers_behind", BEHIND_RETRY_SECONDS) == why(gate, STORM)
    assert 40 == entered(gate, OTHER)


async def test_bodies_are_bounded_and_large_ones_take_nothing_from_small_ones():
    """Half of the memory is for large bodies, which no platform sends, and half for all others."""
    gate = Gate(Door(megabytes_max=4), Flow())
    gate.receive(STORM, 1_900_000)

    with pytest.raises(Refused, match="too_many_bytes"):
        gate.receive(STORM, 200_000)
    for _ in range(2_000_000 // LARGE_BYTES):
        gate.receive(STORM, LARGE_BYTES)
    with pytest.raises(Refused, match="too_many_bytes"):
        gate.receive(STORM, LARGE_BYTES)
    gate.receive(OTHER, LARGE_BYTES)
    gate.forget(STORM, 1_900_000)
    gate.receive(STORM, 200_000)


@pytest.fixture(name="lines")
def _lines() -> Iterator[list[dict[str, Any]]]:
    with capture_logs() as captured:
        yield captured  # type: ignore[misc]  # structlog's entries are these


class Waiting(Trust):
    """The real verification, which begins when it is told to."""

    waiting = 0

    async def verify(self, platform: Platform, received: Received, settings: Any, now: float) -> Identity:
        """Wait, and do it."""
        self.waiting += 1
        await self.go_on.wait()
        return await super().verify(platform, received, settings, now)

    @cached_property
    def go_on(self) -> asyncio.Event:
        """Be what it waits for."""
        return asyncio.Event()


def crowd(service: Service) -> aiohttp.ClientSession:
    """Be a client with as many connections as it wants."""
    return aiohttp.ClientSession(f"http://127.0.0.1:{service.port}", connector=aiohttp.TCPConnector(limit=0))


def shed(service: Service) -> dict[tuple[str, ...], float]:
    """Read what was refused for want of room."""
    samples = [s for metric in service.runtime.metrics.shed.collect() for s in metric.samples]
    return {tuple(s.labels.values()): s.value for s in samples if s.name == "clawback_notifications_shed_total"}


async def test_a_full_door_says_so_and_keeps_what_it_took(url: str, lines: list[dict[str, Any]]):
    """Beyond the bound it is 503 at once, with the time to come again, one line and one count; who was in gets 200."""
    chosen = settings().model_copy(update={"door": Door(waiting_max=BATCH_MAX)})
    trust = Waiting(chosen.apps, NoNetwork())
    async with running(url, chosen, trust=trust) as service, crowd(service) as http:

        async def post(number: int) -> int:
            body = event(id=f"evt_{number}")
            async with http.post(STRIPE, data=body, headers=signed(body)) as response:
                return response.status

        inside = [asyncio.create_task(post(number)) for number in range(BATCH_MAX)]
        assert await until(lambda: trust.waiting == BATCH_MAX)
        async with http.post(STRIPE, data=GOOD, headers=signed(GOOD)) as response:
            said, after = await response.json(), response.headers["Retry-After"]
        trust.go_on.set()

        assert [200] * BATCH_MAX == await asyncio.gather(*inside)
        assert (503, "too_many_waiting", "1") == (response.status, said["error"]["code"], after)
        assert {("stripe", "acme", "accepted"): BATCH_MAX, ("stripe", "acme", "unavailable"): 1} == service.counted()
        assert {("stripe", "acme", "too_many_waiting"): 1} == shed(service)
        (line,) = [line for line in lines if line["event"] == "ingest.rejected"]
        assert ("too_many_waiting", 503) == (line["reason"], line["status"])
        assert 200 == await post(-1), "and it is over"


async def test_whoever_announces_much_and_sends_little_keeps_nobody_out(url: str):
    """Slow and large bodies share their own part of the memory; beyond it they are refused before they have come."""
    chosen = settings().model_copy(update={"door": Door(megabytes_max=4)})
    async with running(url, chosen) as service:
        head = f"POST {STRIPE} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n".encode()
        answers = []
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
            writer.write(head)
            answers.append((reader, writer))
        said = await asyncio.wait_for(answers[2][0].readuntil(b"\r\n\r\n"), 5)
        async with service.http.post(STRIPE, data=GOOD, headers=signed(GOOD)) as response:
            assert 200 == response.status
        for _, writer in answers:
            writer.close()

        assert said.startswith(b"HTTP/1.1 503 ")
        assert {("stripe", "acme", "too_many_bytes"): 1} == shed(service)


async def test_the_gate_looks_at_the_inbox_while_something_comes(url: str):
    """Off the hot path the door learns what waits in the inbox, and how old that is."""
    async with running(url) as service:
        for number in range(2):
            body = event(id=f"evt_{number}")
            async with service.http.post(STRIPE, data=body, headers=signed(body)) as response:
                assert 200 == response.status
        gate = service.runner.app[DOOR].gate

        assert await until(lambda: gate.behind.last is not None, seconds=LOOK_SECONDS + 10)
        assert gate.behind.last is not None
        assert (2, service.clock.now) == (gate.behind.last.pending, gate.behind.last.oldest)
        assert gate.behind.pace is None


async def test_a_look_that_breaks_is_not_the_last(url: str):
    """A mistake of ours ends no looks: what was slowed down before it would stay so until somebody starts it anew."""
    broken: list[str] = []

    def break_once(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not broken and "FROM notifications" in statement:
            broken.append(statement)
            raise ProgrammingError(statement, {}, Exception("no such column"))

    async with running(url) as service:
        gate = service.runner.app[DOOR].gate
        gate.behind = Behind(pace=50)
        with capture_logs() as lines:
            watch.listen(service.store.engine, "before_cursor_execute", break_once)
            assert await until(lambda: gate.behind.last is not None or gate.behind.pace is None)

    assert 1 == len(broken)
    assert {"ingest.look_failed", "ingest.paced"} == {line["event"] for line in lines}
