"""Collect everything that must be in no log, as it goes over the wire, and look for it: whole, or a piece of it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import aiohttp

PIECE = 20
"""So many characters in a row, of a text that nobody may see, are a leak."""
TELLING = re.compile(r"[A-Za-z0-9+/=_-]{20,}")
"""What ids, tokens, keys and signatures are made of. They have digits, as no platform's word for what happened has."""
QUIET_HEADERS = frozenset({"authorization", "stripe-signature", "idempotency-key", "x-goog-pubsub-message-id"})
"""Request headers that prove or name somebody."""


@dataclass
class Spills:
    """What must not be seen, and where it was seen.

    Attributes:
        words: whole ones: secrets, tokens, ids of receipts, e-mail addresses.
        bodies: texts of which no piece may be seen.
    """

    words: set[str] = field(default_factory=set)
    bodies: set[bytes] = field(default_factory=set)

    def add(self, *words: str) -> None:
        """Remember words."""
        self.words.update(word for word in words if word)

    def tracing(self) -> aiohttp.TraceConfig:
        """Make what remembers the bodies and headers that a client sends."""
        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(self._started)
        trace.on_request_chunk_sent.append(self._sent)
        return trace

    async def _started(self, _http: Any, _context: SimpleNamespace, said: aiohttp.TraceRequestStartParams) -> None:
        own = [value for name, value in said.headers.items() if name.lower() in QUIET_HEADERS]
        self.add(*(value.removeprefix("Bearer ") for value in own))

    async def _sent(self, _http: Any, _context: SimpleNamespace, said: aiohttp.TraceRequestChunkSentParams) -> None:
        self.bodies.add(bytes(said.chunk))

    def found_in(self, text: str) -> list[str]:
        """List what is there and must not be, by its first characters, with its surroundings."""
        here = {text[at : at + PIECE] for at in range(max(0, len(text) - PIECE + 1))}
        pieces = {piece for body in self.bodies for piece in _pieces(body.decode("utf-8", "replace"))}
        seen = {*(here & pieces), *(word for word in self.words if word in text)}
        return [f"{one[:PIECE]!r} in {_around(text, one)!r}" for one in sorted(seen)]


def _pieces(body: str) -> Iterable[str]:
    runs = (found.group() for found in TELLING.finditer(body))
    pieces = (run[at : at + PIECE] for run in runs for at in range(len(run) - PIECE + 1))
    return (piece for piece in pieces if any(map(str.isdigit, piece)))


def _around(text: str, word: str) -> str:
    at = text.index(word)
    return text[max(0, at - 80) : at + len(word) + 20]
