"""Backends that break at random, and remember everything that came and what they said to it."""

import asyncio
import hashlib
import json
import socket
import struct
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.worker.backend import Backend, Told, ok

TIMEOUT_SECONDS = 2.0
RETRY_AFTER_SECONDS = 6
SLOW_SECONDS_MAX = 0.5
FAULTS_IN_A_ROW_MAX = 2
"""The first retry comes after 5 s, the second after 5 min: an event that fails twice needs somebody to retry it."""

_LINGER_NOT = struct.pack("ii", 1, 0)
"""Close with a reset instead of an end."""

FAILS = frozenset({"refuses", "hangs", "resets", "is_busy"})


@dataclass(frozen=True, slots=True)
class Wish:
    """What a subscriber asks for, and how often it breaks.

    Attributes:
        families: the first words of the types that it hears of; none: it hears of all.
        faults: what it does instead of saying thank you → with which probability; each once at the least.
        again: with which probability what failed once fails once more.
    """

    name: str
    order: str
    families: tuple[str, ...] = ()
    signature: str = "v1"
    rate_per_second: float | None = None
    faults: Mapping[str, float] = field(default_factory=dict)
    again: float = 0.1

    @property
    def types(self) -> list[str]:
        """Write the filter."""
        return [f"{family}.*" for family in self.families] or ["*"]

    def hears(self, event: Mapping[str, Any]) -> bool:
        """Tell whether an event of the feed is for it, without asking the code that is tested."""
        return not self.families or event["type"].split(".")[0] in self.families


@dataclass(frozen=True, slots=True)
class Arrival:
    """One POST that came.

    Attributes:
        attempted_at: Unix seconds, whole ones, as the POST itself says.
        fingerprint: of the body.
        status: what was answered; None: nothing.
    """

    event: str
    attempted_at: int
    fingerprint: str
    status: int | None


def fingerprint(event: Any) -> str:
    """Make a short word of an event, the same however its JSON is written."""
    return hashlib.sha256(json.dumps(event, sort_keys=True).encode()).hexdigest()[:16]


class Listener:
    """A backend that breaks as its wish says. Open its `backend` with `async with`."""

    def __init__(self, wish: Wish, random: Random) -> None:
        self.wish = wish
        self.secret, believed = _new_secret(wish.signature, random)
        self.arrivals: list[Arrival] = []
        self.did: Counter[str] = Counter()
        self.backend = Backend(self._answer, secrets=[believed], clock=time.time)
        self._random = random
        self._failed: Counter[str] = Counter()
        # Each once for sure, or whether a short run shows the seldom ones would be luck.
        self._owed = list(wish.faults)

    async def _answer(self, told: Told) -> web.StreamResponse:
        """Choose what happens, remember it, and do it."""
        self.backend.told.clear()  # remembered here, without the request's memory
        what = self._choose(told.id)
        self.did[what] += 1
        status = {"refuses": 500, "is_busy": 429, "hangs": None, "resets": None}.get(what, 200)
        at = int(told.headers["webhook-timestamp"])
        self.arrivals.append(Arrival(told.id, at, fingerprint(json.loads(told.body)), status))
        return await self._do(what, told)

    def _choose(self, event: str) -> str:
        failed = self._failed[event]
        draw = self._random.random()
        if failed:
            what = "refuses" if failed < FAULTS_IN_A_ROW_MAX and draw < self.wish.again else "thanks"
        elif self._owed:
            what = self._owed.pop()
        else:
            what = "thanks"
            for fault, share in self.wish.faults.items():
                if 0 <= draw < share:
                    what = fault
                draw -= share
        self._failed[event] += what in FAILS
        return what

    async def _do(self, what: str, told: Told) -> web.StreamResponse:
        match what:
            case "refuses":
                return web.Response(status=500)
            case "is_busy":
                return web.Response(status=429, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
            case "hangs":
                return await self.backend.hang(told)
            case "resets":
                return _reset(told)
            case "is_slow":
                await asyncio.sleep(self._random.uniform(0, SLOW_SECONDS_MAX))  # slowness is what is shown
        return ok(told)


def _reset(told: Told) -> web.Response:
    """Hang up in the rudest way."""
    transport = told.request.transport
    if transport is not None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        transport.abort()
    return web.Response(status=500)


def _new_secret(signature: str, random: Random) -> tuple[str, str]:
    """Make a secret, and what its signatures are believed by."""
    raw = random.randbytes(32)
    if signature == "v1":
        return (shared := "whsec_" + b64encode(raw).decode()), shared
    public = Ed25519PrivateKey.from_private_bytes(raw).public_key().public_bytes_raw()
    return "whsk_" + b64encode(raw).decode(), "whpk_" + b64encode(public).decode()


def heard(listeners: Sequence[Listener]) -> int:
    """Count everything that came to any of them."""
    return sum(len(listener.arrivals) for listener in listeners)
