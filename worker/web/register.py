"""The tokens of the store as they were a moment ago, so that asking the API costs no question about who asks.

A token that was revoked, on whichever host, opens nothing after `FRESH_SECONDS`. One that is not known makes us look
again, but at most every second: a token that was just made is good at once, and a flood of wrong ones is no flood of
questions.
"""

import asyncio
import hmac
import math
import time
from collections.abc import Callable, Mapping, Sequence

from aiohttp import web

from schemas.tokens import Token
from worker.store.tokens import all_tokens
from worker.web.keys import ask

FRESH_SECONDS = 5.0
AGAIN_SECONDS = 1.0


class Register:
    """What one process knows of the tokens in the store.

    Args:
        clock: reads seconds of a clock that is never set.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: Sequence[tuple[str, Token]] = ()
        self._by_id: Mapping[str, Token] = {}
        self._read_at = -math.inf
        self._changes = 0
        self._looking: asyncio.Task[None] | None = None

    async def find(self, request: web.Request, digest: str) -> Token | None:
        """Find the token of a hash, ended or not.

        Raises:
            StoreUnavailable: nobody can say.
        """
        await self._read(request, FRESH_SECONDS)
        if (found := self._match(digest)) is None:
            await self._read(request, AGAIN_SECONDS)
            found = self._match(digest)
        return found

    async def get(self, request: web.Request, id_: str) -> Token | None:
        """Give a token by its id, ended or not: for whoever has shown it before.

        Raises:
            StoreUnavailable: nobody can say.
        """
        await self._read(request, FRESH_SECONDS)
        return self._by_id.get(id_)

    def outdate(self) -> None:
        """Look again at the next question: this process has just changed a token, and a look under way may miss it."""
        self._changes += 1
        self._read_at = -math.inf

    async def is_empty(self, request: web.Request) -> bool:
        """Tell whether there is no token at all."""
        await self._read(request, FRESH_SECONDS)
        return not self._known

    async def _read(self, request: web.Request, seconds: float) -> None:
        """Look, unless that was done a moment ago. Whoever comes meanwhile shares what comes of it, a failure too."""
        if self._clock() - self._read_at < seconds:
            return
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(request))
            self._looking.add_done_callback(self._looked)
        await asyncio.shield(self._looking)

    async def _look(self, request: web.Request) -> None:
        began, changes = self._clock(), self._changes
        self._known = await ask(request, all_tokens)
        self._by_id = {token.id: token for _, token in self._known}
        self._read_at = began if changes == self._changes else -math.inf

    def _looked(self, _: "asyncio.Task[None]") -> None:
        self._looking = None

    def _match(self, digest: str) -> Token | None:
        # Every comparison is made, so that the time tells neither which hash was near nor how many there are.
        same = [token for known, token in self._known if hmac.compare_digest(known, digest)]
        return same[0] if same else None


REGISTER = web.AppKey("register", Register)
