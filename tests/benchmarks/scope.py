"""How much is measured, which lines, and how progress is told."""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

ROUNDS, ROUNDS_QUICK = 5, 3


@dataclass(frozen=True)
class Scope:
    """What one run of the benchmarks covers.

    Attributes:
        words: measure only what has all of them in its name.
        quick: fewer and smaller runs, to look while working.
        long: what takes an hour too.
    """

    words: Sequence[str] = ()
    quick: bool = False
    long: bool = False
    began: float = field(default_factory=time.monotonic)

    @property
    def rounds(self) -> int:
        """Give how often each pair is run in turns."""
        return ROUNDS_QUICK if self.quick else ROUNDS

    def turns(self, what: str) -> Iterator[int]:
        """Count the rounds of a pair, and say so."""
        for number in range(self.rounds):
            self.say(f"{what}: run {number + 1} of {self.rounds}")
            yield number

    def size(self, usual: int, *, quick: int, long: int | None = None) -> int:
        """Choose a size."""
        return quick if self.quick else usual if long is None or not self.long else long

    def lasting(self, rate: float, seconds: float, *, least: int, most: int) -> int:
        """Choose a size that lasts for so long at a rate, a third of it where one only wants to look."""
        return max(least, min(most, int(rate * seconds / (3 if self.quick else 1))))

    def wants(self, *names: str) -> bool:
        """Tell whether something of these names is to be measured."""
        name = " ".join(names).lower()
        return all(word.lower() in name for word in self.words)

    def say(self, text: str) -> None:
        """Tell a person who waits; what is piped on stays clean."""
        sys.stderr.write(f"{time.monotonic() - self.began:6.0f} s  {text}\n")
        sys.stderr.flush()
