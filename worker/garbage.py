"""When Python looks for circles of garbage: seldom while a process starts, and never through what it started with.

What a start imports stays, and to look through it again and again is a tenth of the start. What is there when a process
is ready is looked through no more (https://docs.python.org/3/library/gc.html#gc.freeze).
"""

import gc
from typing import Final

USUAL: Final = gc.get_threshold()
"""As Python itself has it, read before anybody changes it."""
SELDOM: Final = 20_000
"""So many more objects made than freed before it looks: a few sets' worth, about ten megabytes."""


def look_seldom() -> None:
    """Have Python look after many objects only."""
    gc.set_threshold(SELDOM)


def look_as_usual() -> None:
    """Have Python look as often as it does by itself."""
    gc.set_threshold(*USUAL)


def leave_out_what_is_there() -> None:
    """Have Python never look through what is there now."""
    gc.freeze()
