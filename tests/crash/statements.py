"""Read what a client says to PostgreSQL: message by message, each with the text of the statement that it runs.

A driver sends the text of a statement once (Parse) and runs it by a name from then on (Bind); a startup message has no
type, and the first thing that is said may be a question about TLS, which has none either.

https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

import struct
from collections.abc import Callable, Iterable, Iterator

QUERY, PARSE, BIND = b"Q", b"P", b"B"


def statements() -> Callable[[bytes], Iterable[tuple[bytes, bytes]]]:
    """Make the reader of one connection."""
    return _Reader().read


class _Reader:
    def __init__(self) -> None:
        self._rest = b""
        self._started = False
        self._texts: dict[bytes, bytes] = {}

    def read(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Give every message that is complete, with the text that it runs; a name means what it was last given."""
        self._rest += data
        while (size := self._size()) and len(self._rest) >= size:
            message, self._rest = self._rest[:size], self._rest[size:]
            yield message, self._said(message)

    def _size(self) -> int:
        """Tell how long the next message is; 0: too little of it is here."""
        start = 1 if self._started else 0
        if len(self._rest) < start + 4:
            return 0
        return start + int(struct.unpack("!i", self._rest[start : start + 4])[0])

    def _said(self, message: bytes) -> bytes:
        if not self._started:
            # SSLRequest and GSSENCRequest have codes above this; what follows their answer is the startup message.
            self._started = struct.unpack("!i", message[4:8])[0] < 80_877_000
            return b""
        kind, body = message[:1], message[5:]
        if kind == PARSE:
            name, text = body.split(b"\0", 2)[:2]
            self._texts[name] = text
            return b""  # it is not run yet
        if kind == BIND:
            return self._texts.get(body.split(b"\0", 2)[1], b"")
        return body if kind == QUERY else b""
