"""Keep the connection to the broker that hints go over, and let an event loop hint that must not wait for it."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from redis.commands.core import Script


class WouldWait(Exception):
    """Whoever wants this now would have to wait for it, as a thread can, and an event loop cannot."""


class KeptConnection:
    """Run a script over a connection that is kept from one time to the next.

    To take one from the pool, to look whether it still lives and to give it back was a fifth of what a hint takes.
    One that died in between costs the second try that every command has (`connect`). Who finds it in use takes one of
    the pool, as ever: nobody waits for an answer to somebody else.
    """

    def __init__(self, script: Script, pool: redis.ConnectionPool) -> None:
        self._script = script
        self._pool = pool
        self._turn = threading.Lock()
        self._client: redis.Redis | None = None
        self._only_says: int | None = None
        """The thread that waits for no answer just now."""

    def __call__(self, *, args: Sequence[Any], keys: Sequence[Any]) -> Any:
        """Run the script, and give its answer; within `said` there is none yet."""
        if self._only_says == threading.get_ident() and self._client is not None:
            connection: Any = self._client.connection
            return connection.send_command("EVALSHA", self._script.sha, len(keys), *keys, *args)
        if not self._turn.acquire(blocking=False):
            return self._script(args=args, keys=keys)
        try:
            return self._script(args=args, keys=keys, client=self._kept())
        except BaseException:
            self._drop()
            raise
        finally:
            self._turn.release()

    @contextmanager
    def said(self, put: Callable[[], object]) -> Iterator[int]:
        """Say what `put` runs, and give the socket of its answer, which is to be there when this ends.

        Raises:
            WouldWait: no connection is kept that lives, or somebody else uses it; nothing was said.
            redis.RedisError: at the end, where the answer is a refusal, or did not come.
        """
        if not self._turn.acquire(blocking=False):
            raise WouldWait
        try:
            connection = self._living()
            self._only_says = threading.get_ident()
            try:
                put()
            finally:
                self._only_says = None
            yield connection._sock.fileno()  # noqa: SLF001 - redis-py has no other way to it
            _hear(connection)
        except WouldWait:
            raise
        except BaseException:
            self._drop()
            raise
        finally:
            self._turn.release()

    def _living(self) -> Any:
        """Give the connection that is kept, unless its server said something unasked, as that it ended it."""
        connection: Any = None if self._client is None else self._client.connection
        if connection is None or not connection.is_connected or connection.can_read(0):
            raise WouldWait
        return connection

    def _kept(self) -> redis.Redis:
        if self._client is None:
            self._client = redis.Redis(connection_pool=self._pool, single_connection_client=True)
        return self._client

    def _drop(self) -> None:
        """Give it back to the pool, closed: whoever was interrupted left an answer in it that is nobody else's."""
        if self._client is not None and (connection := self._client.connection):
            connection.disconnect()  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
            self._client.close()
        self._client = None


def _hear(connection: Any) -> None:
    """Read an answer that is there."""
    if not connection.can_read(0):
        raise redis.TimeoutError("it did not answer in time")
    connection.read_response()
