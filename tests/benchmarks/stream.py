"""Thousands who listen to the feed and hear nothing: what they cost, and how soon all of them hear what is new.

Listeners are sockets of this process, which reads them one after the other: that is in the figures too. An event is
committed as processing does it, and the clock starts when that is done.
"""

import asyncio
import resource
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack

from handlers.samples import sample
from tests.benchmarks.figures import Figure, percentile
from tests.benchmarks.place import POSTGRESQL, Grounds, Place
from tests.benchmarks.scope import Scope
from tests.benchmarks.usage import cpu_seconds, resident_mb
from worker.store import feed

LISTENERS, LISTENERS_QUICK = 2_000, 500
AT_ONCE = 100
EVENTS, EVENTS_QUICK = 20, 5
QUIET_SECONDS, QUIET_SECONDS_QUICK = 30.0, 5.0
FILES_TO_SPARE = 200


def measure(grounds: Grounds, scope: Scope) -> Iterator[Figure]:
    """Let them listen, look what that costs, and tell them something."""
    count = scope.size(LISTENERS, quick=LISTENERS_QUICK)
    name = f"stream: {count:,} idle listeners"
    if not scope.wants(name, "listener"):
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < 2 * count + FILES_TO_SPARE:
        scope.say(f"{name}: left out, this machine allows {most} open files only (ulimit -Hn)")
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with grounds.place(POSTGRESQL) as place, place.running("serve") as serve:
        yield from asyncio.run(_measured(place, serve.pid, name, count, scope))


async def _measured(place: Place, pid: int, name: str, count: int, scope: Scope) -> list[Figure]:
    # The first who asks pays for what is imported and opened once.
    _tell(place, 0)
    async with AsyncExitStack() as stack:
        first = await _listen(place, stack)
        await _heard(first)
        before = resident_mb(pid)
        scope.say(f"{name}: connecting")
        crowd = [first]
        while len(crowd) < count:
            crowd += await asyncio.gather(*(_listen(place, stack) for _ in range(min(AT_ONCE, count - len(crowd)))))
        await asyncio.gather(*(_heard(each) for each in crowd[1:]))
        kept = resident_mb(pid) - before
        scope.say(f"{name}: quiet")
        cpu, began = cpu_seconds(pid), time.monotonic()
        await asyncio.sleep(scope.size(int(QUIET_SECONDS), quick=int(QUIET_SECONDS_QUICK)))
        idle = 1000 * (cpu_seconds(pid) - cpu) / (time.monotonic() - began)
        scope.say(f"{name}: telling")
        waits = [await _round(place, crowd, number) for number in range(1, scope.size(EVENTS, quick=EVENTS_QUICK) + 1)]
        spent = 1000 * (cpu_seconds(pid) - cpu - idle * (time.monotonic() - began) / 1000) / len(waits)
    return [
        Figure(6, f"{name}: memory of serve for each", "kB", [1000 * kept / (count - 1)], more={"all_mb": kept}),
        Figure(6, f"{name}: processor time of serve", "ms/s", [idle]),
        Figure(3, f"{name}: commit to the last of them", "ms", [1000 * max(each) for each in waits]),
        Figure(3, f"{name}: commit to half of them", "ms", [1000 * percentile(each, 0.5) for each in waits]),
        Figure(6, f"{name}: processor time of serve for an event", "ms", [spent]),
    ]


async def _listen(place: Place, stack: AsyncExitStack) -> asyncio.StreamReader:
    reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
    stack.callback(writer.close)
    token = place.settings.admin.tokens[0]
    head = f"GET /v1/events/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
    writer.write(head.encode())
    return reader


async def _heard(reader: asyncio.StreamReader) -> float:
    """Wait for the next event, and give the moment at which it was here."""
    await reader.readuntil(b"data: ")
    at = time.perf_counter()
    await reader.readuntil(b"\n\n")
    return at


async def _round(place: Place, crowd: list[asyncio.StreamReader], number: int) -> list[float]:
    """Tell something; give how long each waited for it."""
    waiting = [asyncio.create_task(_heard(each)) for each in crowd]
    await asyncio.sleep(0.3)
    began = await asyncio.to_thread(_tell, place, number)
    return [at - began for at in await asyncio.gather(*waiting)]


def _tell(place: Place, number: int) -> float:
    now = time.time()
    with place.store().write() as connection:
        told = sample("entitlement.revoked", app="demo", mark=str(number), at_ms=int(now * 1000))
        feed.append(connection, [told], now_ms=int(now * 1000))
    return time.perf_counter()
