"""Listen to the stream as a client would that was written from the specification alone.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.web.service import Service

SECONDS_MAX = 10.0


@dataclass
class Ear:
    """What came of one stream."""

    response: aiohttp.ClientResponse
    last_id: str = ""
    retry: str = ""
    comments: list[str] = field(default_factory=list)
    _event: str = ""
    _data: list[str] = field(default_factory=list)

    async def hear(self, count: int, *, seconds: float = SECONDS_MAX) -> list[dict[str, Any]]:
        """Wait for so many events, as they come: `id` and `type` are the message's, `data` is the event."""
        heard: list[dict[str, Any]] = []
        async with asyncio.timeout(seconds):
            while len(heard) < count:
                line = await self.response.content.readline()
                assert line, "the stream has ended"
                heard += self._line(line.decode().rstrip("\n"))
        return heard

    async def comment(self) -> str:
        """Wait for a comment."""
        self.comments.clear()
        async with asyncio.timeout(SECONDS_MAX):
            while not self.comments:
                assert not self._line((await self.response.content.readline()).decode().rstrip("\n"))
            while (await self._next()) != "":
                pass
        return self.comments[0]

    async def end(self) -> bytes:
        """Wait until the other side ends it, and give what else it said."""
        async with asyncio.timeout(SECONDS_MAX):
            return await self.response.content.read()

    async def _next(self) -> str:
        line = (await self.response.content.readline()).decode().rstrip("\n")
        self._line(line)
        return line

    def _line(self, line: str) -> list[dict[str, Any]]:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if line.startswith(":"):
            self.comments.append(value)
        elif name == "id":
            self.last_id = value
        elif name == "event":
            self._event = value
        elif name == "data":
            self._data.append(value)
        elif name == "retry":
            self.retry = value
        elif not line and self._data:
            heard = {"id": self.last_id, "type": self._event, "data": json.loads("\n".join(self._data))}
            self._event, self._data = "", []
            return [heard]
        return []


@asynccontextmanager
async def listening(
    service: Service, *, last_id: str | None = None, headers: Mapping[str, str] | None = None, **query: Any
) -> AsyncIterator[Ear]:
    """Open a stream, and close it."""
    sent = {**(headers or {}), **({} if last_id is None else {"Last-Event-ID": last_id})}
    async with service.http.get("/v1/events/stream", params=query, headers=sent) as response:
        assert 200 == response.status, await response.text()
        yield Ear(response)
