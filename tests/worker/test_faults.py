"""One dead subscriber takes nothing from the others, however it is dead.

Real: backends on loopback, sockets, the HTTP client, the SQLite outbox. No double.
"""

import asyncio
import socket
import struct
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from sqlalchemy import func, select

from tests.store.outbox_story import announce, event, subscribe_by_api, subscriber
from tests.worker.backend import Backend, Clock, new_runtime
from worker.delivery import Deliverer
from worker.lanes import Limits
from worker.store.tables import attempts, deliveries

CUSTOMERS, EACH = 100, 10
LINGER_NOT = struct.pack("ii", 1, 0)
"""Close with a reset instead of an end."""


@asynccontextmanager
async def resetting() -> AsyncIterator[str]:
    """Run a server that resets every connection as soon as it is told something."""

    async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
        writer.close()

    async with await asyncio.start_server(reset, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/refunds"


async def test_one_dead_subscriber_takes_nothing_from_the_others(tmp_path):
    """Beside one that hangs, one that answers 500 and one that resets, the healthy one has all of 1,000 events."""
    runtime = new_runtime(tmp_path, Clock())
    deliverer = Deliverer(runtime, jitter=lambda: 0.0, limits=Limits(grace_seconds=0.1))
    told = [event(number, user=f"user-{user}") for number in range(1, EACH + 1) for user in range(CUSTOMERS)]
    async with Backend() as hanging, Backend(lambda _told: web.Response(status=500)) as broken, Backend() as healthy:
        hanging.answer = hanging.hang
        async with resetting() as reset_url:
            urls = [hanging.url, broken.url, reset_url, healthy.url]
            hangs, breaks, resets, works = subscribe_by_api(
                runtime.store,
                # Nobody's patience ends while the others are told, however slow the machine.
                *(subscriber(url, allow_private=True, timeout_seconds=60.0) for url in urls),
                now=runtime.clock(),
            )
            await deliverer.deliver(announce(runtime.store, told, now=runtime.clock()))
            await asyncio.wait_for(healthy.has_been_told(len(told)), 60)
            still_hanging = len(hanging.told)
            await deliverer.close()

    with runtime.store.read() as connection:
        d, a = deliveries.c, attempts.c
        done = {
            (one, status): count
            for one, status, count in connection.execute(
                select(d.subscriber, d.status, func.count()).group_by(d.subscriber, d.status)
            )
        }
        joined = select(d.subscriber, a.error).distinct().join_from(attempts, deliveries, d.id == a.delivery)
        errors = defaultdict(set)
        for one, error in connection.execute(joined):
            errors[one].add(error)
    runtime.store.close()

    assert len(told) == len(set(healthy.ids)) == len(healthy.ids)
    assert {(one, "pending"): len(told) for one in (hangs, breaks, resets)} == {
        key: count for key, count in done.items() if key[0] != works
    }
    assert Limits().lane_in_flight == still_hanging
    assert ({"not_2xx"}, {"disconnected"}, {None}) == (errors[breaks], errors[resets], errors[works])
    by_customer = defaultdict(list)
    order = {one.id: (one.customer.user_id, one.sequence) for one in told if one.customer}
    for id_ in healthy.ids:
        user, sequence = order[id_]
        by_customer[user].append(sequence)
    assert {tuple(range(1, EACH + 1))} == {tuple(heard) for heard in by_customer.values()}
