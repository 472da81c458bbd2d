"""Say what happens by the thousand: the same lines that structlog writes, at a fraction of what it takes for each.

What its processors add, as the time and the level, is the same for all that is said together, as in one turn of an
event loop: they run once for all of it. Where lines are for people, or a test reads along, each goes the ordinary way.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from json.encoder import encode_basestring
from math import isfinite
from typing import Any

import structlog

from config.logs import LEADING, NEVER_LOGGED, encode, for_machines

TURN_MAX = 64
"""So many are written in one turn: in a storm others wait to be heard."""


class News:
    """Lines of one event that all have the same names. To `say` them, make one per event loop.

    Args:
        event: what happened.
        names: of what each line says of it.
    """

    def __init__(self, event: str, *names: str) -> None:
        if NEVER_LOGGED.intersection(names):
            raise ValueError("what is never logged is no news")
        self._event = event
        self._names = names
        self._form = "%s" + "".join(f', "{name}": %s' for name in names) + "}"
        self._waiting: deque[Sequence[Any]] = deque()

    def say(self, *values: Any) -> None:
        """Say it once more, with these under the names, before the event loop's next turn is over."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._turn)
        self._waiting.append(values)

    def _turn(self) -> None:
        each = [self._waiting.popleft() for _ in range(min(TURN_MAX, len(self._waiting)))]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._turn)
        self.tell(each)

    def tell(self, each: Sequence[Sequence[Any]]) -> None:
        """Say it once for each of these, from any thread, and now."""
        usual = structlog.get_logger()
        if (ours := for_machines()) is None:
            for values in each:
                usual.info(self._event, **dict(zip(self._names, values, strict=True)))
        elif usual.is_enabled_for(logging.INFO):
            processors, lines = ours
            head = self._head(processors)
            written = _WRITTEN.get
            lines.info(
                "\n".join([self._form % (head, *[written(type(v), encode)(v) for v in values]) for values in each]),
                len(each),
            )

    def _head(self, processors: Sequence[structlog.typing.Processor]) -> str:
        """Write how every line of this turn begins: with what the eye looks for first."""
        common: Any = {"event": self._event}
        for process in processors:
            common = process(None, "info", common)
        first = {name: common[name] for name in LEADING if name in common}
        return encode({**first, **common})[:-1]


def _number(number: float) -> str:
    return repr(number) if isfinite(number) else encode(number)


def _list(values: Sequence[Any]) -> str:
    return f"[{', '.join([_WRITTEN.get(type(value), encode)(value) for value in values])}]"


_WRITTEN: Mapping[type, Callable[[Any], str]] = {
    str: encode_basestring,
    int: repr,
    float: _number,
    type(None): lambda _: "null",
    list: _list,
}
"""How JSON writes what lines hold, past its encoder, which is made for documents."""
