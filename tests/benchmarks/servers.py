"""What ours is held against, as processes: `python -m tests.benchmarks.servers bare|mute|slow|noop …`.

- `bare`: aiohttp on uvloop that reads a body and says ok. What any service on this framework pays.
- `mute`: a protocol that answers without reading: what the load generator itself can do at most.
- `slow`: not a server but a crowd: a thousand clients that send one byte a second to a port.
- `noop`: a Dramatiq worker as it comes, whose actor does nothing: one message for each notification.
"""

import asyncio
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import dramatiq
import redis
import uvloop
from aiohttp import web
from dramatiq.brokers.redis import RedisBroker

from tests.benchmarks.load import END_OF_HEAD, ends_at
from worker.control import Control

BACKLOG = 1024
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SLOW_CLIENTS, SLOW_PAUSE_SECONDS = 1_000, 1.0
SLOW_HEAD = b"POST /webhooks/stripe/demo HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 4082\r\nstripe-signature: t=1"
NOOP_NAMESPACE, NOOP_QUEUE, NOOP_THREADS = "noop", "notifications", 8


class _Mute(asyncio.Protocol):
    """Answers as soon as a request is complete, the first one of each connection in its own way."""

    def __init__(self, answer: bytes = ANSWER, first: bytes = b"") -> None:
        self._answer = answer
        self._first = first or answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.WriteTransport = transport  # type: ignore[assignment]  # a TCP transport is one
        self._held = b""
        self._left = 0

    def data_received(self, data: bytes) -> None:
        if not self._left:
            self._held += data
            if not (end := ends_at(self._held)):
                return
            self._left, data, self._held = end, self._held, b""
        self._left -= len(data)
        if self._left <= 0:
            self._left = 0
            self._transport.write(self._first)
            self._first = self._answer


async def _ok(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(text="ok")


async def bare(port: int, control: Control) -> None:
    """Serve the bare framework until told to stop."""
    app = web.Application(client_max_size=2**20)
    app.router.add_post("/{path:.*}", _ok)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=BACKLOG, reuse_port=True).start()
    await _until_told(control)
    await runner.cleanup()


async def mute(port: int, control: Control) -> None:
    """Serve nothing at all until told to stop."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Mute, "127.0.0.1", port, backlog=BACKLOG, reuse_port=True)
    await _until_told(control)
    server.close()


@contextmanager
def answering(answer: bytes, new_loop: Callable[[], asyncio.AbstractEventLoop], first: bytes = b"") -> Iterator[int]:
    """Give the port of a server in a thread that answers everything alike, but the first on each connection."""
    ports: queue.SimpleQueue[int] = queue.SimpleQueue()
    stop = threading.Event()

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(lambda: _Mute(answer, first), "127.0.0.1", 0)
        ports.put(server.sockets[0].getsockname()[1])
        await asyncio.to_thread(stop.wait)
        server.close()

    def run() -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield ports.get(timeout=10)
    finally:
        stop.set()
        thread.join()


async def slow(port: int, control: Control) -> None:
    """Be a thousand slow clients until told to stop: half of them dawdle over the head, half over the body."""
    crowd = [asyncio.create_task(_dawdle(port, number)) for number in range(SLOW_CLIENTS)]
    await asyncio.sleep(SLOW_PAUSE_SECONDS)  # all of them have connected and said something
    await _until_told(control)
    for each in crowd:
        each.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)


async def _dawdle(port: int, number: int) -> None:
    """Send a byte a second, and come again when the server has had enough of it."""
    said = SLOW_HEAD if number % 2 else SLOW_HEAD + END_OF_HEAD
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(said)
            while not writer.is_closing():
                await asyncio.sleep(SLOW_PAUSE_SECONDS)
                writer.write(b"x")
        except OSError:
            await asyncio.sleep(SLOW_PAUSE_SECONDS)


async def _until_told(control: Control) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    control.stop_with_parent()
    control.ready()
    await stop.wait()


def noop_actor(socket: str) -> "dramatiq.Actor[[str], None]":
    """Declare the actor that does nothing on a broker as Dramatiq makes it."""
    broker = RedisBroker(client=redis.Redis(unix_socket_path=socket), namespace=NOOP_NAMESPACE)

    def nothing(_id: str) -> None:
        return

    return dramatiq.actor(broker=broker, queue_name=NOOP_QUEUE)(nothing)


def noop(socket: str, control: Control) -> None:
    """Work at nothing until told to stop."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    worker = dramatiq.Worker(noop_actor(socket).broker, worker_threads=NOOP_THREADS)
    worker.start()
    control.stop_with_parent()
    control.ready()
    stop.wait()
    worker.stop()


def main(arguments: Sequence[str]) -> None:
    """Be one of them: `bare PORT LINE`, `mute PORT LINE`, `slow PORT LINE` or `noop SOCKET LINE`."""
    kind, where, line = arguments
    control = Control(int(line))
    if kind == "noop":
        noop(where, control)
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run({"bare": bare, "mute": mute, "slow": slow}[kind](int(where), control))


if __name__ == "__main__":
    main(sys.argv[1:])
