"""The demo app's own backend: a subscriber as anyone would write one. It verifies, remembers ids, and answers 204."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiohttp import web

from handlers import outgoing

TOLERANCE_SECONDS = 300
SEEN_MAX = 10_000
DELIVERY_SECONDS_MAX = 15.0


class Backend:
    """Receives events on loopback.

    Args:
        secrets: Standard Webhooks secrets, any of which may have signed.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._keys = outgoing.keys(secrets)
        self._seen: dict[str, float] = {}
        self._news = asyncio.Condition()
        self.refused = 0

    async def receive(self, request: web.Request) -> web.Response:
        """Take one event: 401 if it was not signed for us, 204 if it was, however often it comes."""
        body = await request.read()
        if not outgoing.verify(
            request.headers, body, keys=self._keys, now=time.time(), tolerance_seconds=TOLERANCE_SECONDS
        ):
            self.refused += 1
            return web.Response(status=401)
        async with self._news:
            self._seen.setdefault(request.headers["webhook-id"], time.perf_counter())
            while len(self._seen) > SEEN_MAX:
                del self._seen[next(iter(self._seen))]
            self._news.notify_all()
        return web.Response(status=204)

    async def arrived(self, event: str) -> float | None:
        """Wait for an event; give the moment it came, in `time.perf_counter` seconds, or None if it did not."""
        try:
            async with asyncio.timeout(DELIVERY_SECONDS_MAX), self._news:
                await self._news.wait_for(lambda: event in self._seen)
        except TimeoutError:
            return None
        return self._seen[event]

    @asynccontextmanager
    async def listening(self, host: str, port: int) -> AsyncIterator["Backend"]:
        """Serve `POST /events` until left."""
        app = web.Application()
        app.router.add_post("/events", self.receive)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, host, port).start()
        try:
            yield self
        finally:
            await runner.cleanup()
