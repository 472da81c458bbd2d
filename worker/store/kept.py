"""Keep one connection from transaction to transaction while one follows the other, where each would take it anew."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from sqlalchemy import Connection, QueuePool


class NotAtHand(Exception):
    """No connection is kept that lives: one is to be taken first, for which an event loop cannot wait."""


class Kept:
    """A connection that stays out of its pool as long as there is more to do. For one thread at a time.

    Everybody else shares what the pool has left: while that is nothing, it is given back each time. After any error it
    goes back to the pool too, which treats what died as ever.

    Args:
        take: takes a connection from its pool.
        may_be_dead: tells whether a connection may have died that nobody used for so many seconds.
        more: tells whether the next transaction follows at once.
    """

    def __init__(
        self,
        take: Callable[[], Connection],
        may_be_dead: Callable[[Connection, float], bool],
        more: Callable[[], bool],
    ) -> None:
        self._take = take
        self._may_be_dead = may_be_dead
        self._more = more
        self._held: Connection | None = None
        self._used_at = 0.0

    def __enter__(self) -> Connection:
        self._look()
        if self._held is None:
            self._held = self._take()
        return self._held

    @contextmanager
    def at_hand(self) -> Iterator[Connection]:
        """Use the connection that is kept; raises `NotAtHand` where one would have to be taken."""
        self._look()
        if self._held is None:
            raise NotAtHand
        try:
            yield self._held
        except BaseException:
            self.give_back()
            raise
        self._used()

    def give_back(self) -> None:
        """Keep none until the next transaction."""
        held, self._held = self._held, None
        if held is not None:
            held.close()

    def _used(self) -> None:
        self._used_at = time.monotonic()
        if not self._more() or not self._is_spare():
            self.give_back()

    def _look(self) -> None:
        if self._held is not None and self._may_be_dead(self._held, time.monotonic() - self._used_at):
            self._held.invalidate()
            self.give_back()

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.give_back()
        else:
            self._used()

    def _is_spare(self) -> bool:
        """Tell whether somebody else who needs a connection finds one."""
        pool = self._held.engine.pool if self._held is not None else None
        return isinstance(pool, QueuePool) and pool.checkedout() < pool.size()
