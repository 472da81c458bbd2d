"""What a forgery is: a genuine request with one thing wrong, and the one reason for which it must be refused."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from worker.simulator.sale import Shot

if TYPE_CHECKING:
    from tests.forgeries.desk import Desk

CRLF = "\r\n"
ANSWER_SECONDS_MAX = 20.0


@dataclass(frozen=True, slots=True)
class Post:
    """One request, down to its bytes: a client that corrects what it is given can forge nothing.

    Attributes:
        headers: in their order, names as they are sent, possibly twice.
        framing: what stands in the place of Content-Length and body, if those are the forgery.
    """

    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...]
    method: str = "POST"
    framing: bytes | None = None

    def to(self, path: str) -> "Post":
        """Send it somewhere else."""
        return replace(self, path=path)

    def saying(self, body: bytes | Mapping[str, Any]) -> "Post":
        """Say something else under the same headers."""
        return replace(self, body=body if isinstance(body, bytes) else json.dumps(body, indent=2).encode())

    def having(self, *headers: tuple[str, str]) -> "Post":
        """Put headers in the place of those of the same names."""
        names = {name.lower() for name, _ in headers}
        kept = tuple(each for each in self.headers if each[0].lower() not in names)
        return replace(self, headers=(*kept, *headers))

    def lacking(self, name: str) -> "Post":
        """Leave a header out."""
        return replace(self, headers=tuple(each for each in self.headers if each[0].lower() != name.lower()))

    def header(self, name: str) -> str:
        """Give what a header says."""
        (value,) = [value for known, value in self.headers if known.lower() == name.lower()]
        return value

    def wire(self) -> bytes:
        """Write it as it goes over the wire."""
        head = [f"{self.method} {self.path} HTTP/1.1", "Host: hooks.acme.example", "Connection: close"]
        head += [f"{name}: {value}" for name, value in self.headers]
        written = CRLF.join(head).encode("utf-8", "surrogateescape") + CRLF.encode()
        framing = self.framing
        if framing is None:
            framing = f"Content-Length: {len(self.body)}{CRLF}{CRLF}".encode() + self.body
        return written + framing


Forge = Callable[["Desk", Post], Post]
"""Make a forged request of a genuine one."""


@dataclass(frozen=True, slots=True)
class Forgery:
    """One way to deceive, and how it ends.

    Attributes:
        reason: the word in the log and in the answer. Another one would mean that it failed by accident.
    """

    status: int
    reason: str
    forge: Forge


Table = Mapping[str, Forgery]


def refused(status: int, reason: str, **forgeries: Forge) -> dict[str, Forgery]:
    """List forgeries that end alike; underscores in their names are spaces."""
    return {name.replace("_", " "): Forgery(status, reason, forge) for name, forge in forgeries.items()}


def post_of(shot: Shot, path: str) -> Post:
    """Send a simulator's shot."""
    return Post(path, shot.body, tuple(shot.headers.items()))


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back until the connection ended."""

    raw: bytes

    @property
    def statuses(self) -> list[int]:
        """List the statuses of all answers, in their order."""
        return [int(line.split()[1]) for line in self.raw.split(b"\r\n") if line.startswith(b"HTTP/1.")]

    @property
    def says(self) -> Any:
        """Read the JSON of the last answer."""
        return json.loads(self.raw.rpartition(b"\r\n\r\n")[2])


async def send(port: int, wire: bytes) -> Answered:
    """Say something on a connection of its own, and read until the other side hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            writer.write(wire)
            while chunk := await reader.read(65536):
                answer += chunk
    except ConnectionError:
        pass
    finally:
        writer.close()
    return Answered(answer)


def texts(wire: bytes) -> Iterator[str]:
    """List every stretch of a request that is long enough to be told from the words of a log line."""
    run = bytearray()
    for byte in (*wire, 0):
        if chr(byte).isascii() and (chr(byte).isalnum() or byte in b"_-+/=.:@"):
            run.append(byte)
        else:
            if len(run) >= 16:
                yield run.decode()
            run.clear()
