"""Write and read server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

LINE_CHARACTERS_MAX: Final = 1_000_000
RETRY_DIGITS_MAX: Final = 9
"""Eleven days; Python reads no number of more than 4,300 digits at all."""
MEDIA_TYPE: Final = "text/event-stream"


class StreamBroken(Exception):
    """What came is no stream of events."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes:
        id: of the last message that had one.
        event: its type; empty: none was said.
        data: empty: only the id moved on.
    """

    id: str
    event: str
    data: str = field(repr=False)


def message(*, id_: str, event: str, data: str) -> bytes:
    """Write one message; `data` is one line."""
    return f"id: {id_}\nevent: {event}\ndata: {data}\n\n".encode()


def beat(*, id_: str | None = None, retry_ms: int | None = None) -> bytes:
    """Write a comment that keeps a connection open, and what else there is to say; no client takes it for an event."""
    moved = f"id: {id_}\n" if id_ is not None else ""
    again = f"retry: {retry_ms}\n" if retry_ms is not None else ""
    return f": still here\n{again}{moved}\n".encode()


class Reader:
    """Make messages of bytes, however they are cut.

    Attributes:
        last_id: to ask with for what comes next; empty: none was said.
        retry_ms: how long the server wants us to wait before that; None: it did not say.
    """

    def __init__(self) -> None:
        self.last_id = ""
        self.retry_ms: int | None = None
        self._held = b""
        self._event = ""
        self._data: list[str] = []

    def feed(self, data: bytes) -> Iterator[Message]:
        """Take some more bytes in, and give the messages that are complete.

        Raises:
            StreamBroken: a line has no end.
        """
        *lines, self._held = (self._held + data).split(b"\n")
        if len(self._held) > LINE_CHARACTERS_MAX:
            raise StreamBroken(f"a line is longer than {LINE_CHARACTERS_MAX:,} characters")
        for line in lines:
            found = self._line(line.removesuffix(b"\r").decode(errors="replace"))
            if found is not None:
                yield found

    def _line(self, line: str) -> Message | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id" and "\0" not in value:
            self.last_id = value
        elif name == "event":
            self._event = value
        elif name == "data":
            self._data.append(value)
        elif name == "retry" and value.isascii() and value.isdecimal() and len(value) <= RETRY_DIGITS_MAX:
            self.retry_ms = int(value)
        return None

    def _dispatch(self) -> Message | None:
        event, data = self._event, "\n".join(self._data)
        self._event, self._data = "", []
        return Message(self.last_id, event, data) if data else None
