"""Let an event loop wait for what PostgreSQL answers, and serve others meanwhile.

A thread that waits for Python's one lock beside a busy loop is woken, and sent back to wait, each time the loop lets
go of it, which is at every packet that comes in: a hundred times for one commit (docs/performance.md).
"""

import asyncio
import select
from typing import Final

from sqlalchemy import Connection

from worker.store import postgresql

LOOK_SECONDS: Final = 1.0
"""A socket that broke may say nothing to the loop; whoever looks is told."""


async def answered(connection: Connection) -> None:
    """Wait until all is answered that was sent over a connection; then nobody waits who reads it."""
    for socket, events in postgresql.answering(connection):
        await ready(socket, events)


async def ready(socket: int, events: int = select.POLLIN, *, seconds: float = LOOK_SECONDS) -> None:
    """Wait until a socket may be read or written, or for so long."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[None] = loop.create_future()
    late = loop.call_later(seconds, _tell, told)
    loop.add_reader(socket, _tell, told)
    if events & select.POLLOUT:
        loop.add_writer(socket, _tell, told)
    try:
        await told
    finally:
        late.cancel()
        loop.remove_reader(socket)
        if events & select.POLLOUT:
            loop.remove_writer(socket)


def _tell(told: "asyncio.Future[None]") -> None:
    if not told.done():
        told.set_result(None)
