"""When Python looks for circles of garbage: seldom while a process starts, and never through what it started with.

What a start imports stays, and to look through it again and again is a tenth of the start. What is there when a process
is ready is looked through no more (https://docs.python.org/3/library/gc.html#gc.freeze).
"""

import gc
from typing import Final

USUAL: Final = gc.get_threshold()
"""As Python itself has it, read before anybody changes it."""
SELDOM: Final = 60_000
"""So many more objects made than freed before it looks: more than the sets that are under way hold at a time, which are
freed without it. What it would look through there, one set after the other, is no garbage."""

RARELY: Final = 7_000
"""A server's requests are many at a time and leave no circles: to look through those under way was 4 % of its time."""


def look_seldom() -> None:
    """Have Python look after many objects only."""
    gc.set_threshold(SELDOM)


def look_as_usual() -> None:
    """Have Python look as often as it does by itself."""
    gc.set_threshold(*USUAL)


def look_rarely() -> None:
    """Have Python look ten times as seldom as it does by itself."""
    gc.set_threshold(RARELY, *USUAL[1:])


def leave_out_what_is_there() -> None:
    """Have Python never look through what is there now."""
    gc.freeze()
