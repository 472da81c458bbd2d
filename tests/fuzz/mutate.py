"""Change JSON as a fuzzer does: somewhere, by anything, and within the JSON, base64 and tokens that texts carry.

Mutating bytes alone breaks the JSON almost every time, and the fuzzer would never come past the parser.
"""

import base64
import binascii
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, Final

from tests.fuzz.samples import NUMBERS
from tests.fuzz.story import SILENCE

Bytes = Callable[[bytes, int], bytes]
"""The fuzzer's own mutation of bytes, to at most so many."""

_TOKEN: Final = re.compile(r"(?:Bearer )?[\w-]+\.[\w-]+\.[\w-]*", re.ASCII)
_SCALARS: Final[Sequence[Any]] = (None, True, False, "", [], {}, SILENCE, 404, 410, *NUMBERS)
_CHARACTERS: Final = "\x00\t\n \"'./:;=_{}\u00e9\u2028\ud800\U0001f600AZaz09-"


class Mutator:
    """Make a changed copy of an input.

    Args:
        words: what the code compares with.
        seeds: JSON documents; what stands under a name there may stand under the same name elsewhere.
        by_bytes: what mutates texts and broken inputs.
    """

    def __init__(self, words: Sequence[str], seeds: Iterable[bytes], by_bytes: Bytes) -> None:
        self._words = words
        self._known = frozenset(words)
        self._by_bytes = by_bytes
        found: defaultdict[Any, list[Any]] = defaultdict(list)
        for key, value in (pair for seed in seeds for pair in _named(json.loads(seed))):
            if value not in found[key]:
                found[key].append(value)
        self._seen: Mapping[Any, Sequence[Any]] = dict(found)

    def mutate(self, data: bytes, size_max: int, seed: int) -> bytes:
        """Change one to four places of a JSON document; what is none, byte by byte."""
        random = Random(seed)
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            return self._by_bytes(data, size_max)
        for _ in range(random.choice((1, 1, 1, 2, 2, 3))):
            value = self._changed(value, value, random)
        changed = json.dumps(value).encode()
        return changed if len(changed) <= size_max else data

    def cross(self, data: bytes, other: bytes, size_max: int, seed: int) -> bytes:
        """Put something of one document into another; what is no document stays."""
        random = Random(seed)
        try:
            value, donor = json.loads(data), json.loads(other)
        except (ValueError, RecursionError):
            return data
        crossed = json.dumps(self._changed(value, donor, random, graft=True)).encode()
        return crossed if len(crossed) <= size_max else data

    def _changed(self, value: Any, whole: Any, random: Random, key: Any = None, *, graft: bool = False) -> Any:
        """Go down at random, and change what is there. Nothing given is changed itself."""
        if isinstance(value, dict | list) and value and (value is whole or random.random() < 0.95):
            copy = value.copy()
            key = self._chosen(value, random)
            if random.random() < 0.1:
                return self._rearranged(copy, key, random)
            copy[key] = self._changed(value[key], whole, random, key, graft=graft)
            return copy
        if isinstance(value, str) and (opened := _open(value)) and random.random() < 0.8:
            inner, close = opened
            return close(self._changed(inner, whole, random, graft=graft))
        return _anywhere(whole, random) if graft or random.random() < 0.15 else self._other(value, key, random)

    def _chosen(self, value: Any, random: Random) -> Any:
        """Choose where to go down: all leaves alike, but for those that the code has a word for."""
        items = list(value.items() if isinstance(value, dict) else enumerate(value))
        weights = [_leaves(inner) * (10 if key in self._known else 1) for key, inner in items]
        return random.choices([key for key, _ in items], weights)[0]

    def _rearranged(self, copy: Any, key: Any, random: Random) -> Any:
        """Leave something out, double it, rename it or put something beside it."""
        way = random.randrange(4)
        if isinstance(copy, list):
            if way == 0:
                del copy[key]
            elif way == 1:
                copy.insert(random.randint(0, len(copy)), copy[key])
            else:
                other = random.randrange(len(copy))
                copy[key], copy[other] = copy[other], copy[key]
        elif way == 0:
            del copy[key]
        elif way == 1:
            copy[random.choice(self._words)] = copy.pop(key)
        else:
            copy[random.choice(self._words)] = random.choice((copy[key], self._other(None, None, random)))
        return copy

    def _other(self, value: Any, key: Any, random: Random) -> Any:
        """Take something else in the place of a value, often of its own kind."""
        if (seen := self._seen.get(key)) and random.random() < 0.4:
            return random.choice(seen)
        if isinstance(value, str) and random.random() < 0.5:
            return self._misspelled(value, random)
        if type(value) is int and random.random() < 0.8:
            return random.choice(
                (0, 1, -1, value - 1, value + 1, 2 * value, -value, value // 2, value * 1000, *NUMBERS)
            )
        return random.choice((random.choice(self._words), random.choice(_SCALARS)))

    def _misspelled(self, text: str, random: Random) -> str:
        at = random.randint(0, len(text))
        if random.random() < 0.5:
            return text[:at] + random.choice(_CHARACTERS) + text[at + random.randint(0, 1) :]
        changed = self._by_bytes(text.encode("utf-8", "surrogatepass"), 2 * len(text) + 8)
        return changed.decode("latin-1")


def _leaves(value: Any) -> int:
    """Count what can be changed; a long text may carry more."""
    if isinstance(value, dict | list):
        return 1 + sum(map(_leaves, value.values() if isinstance(value, dict) else value))
    return 1 + len(value) // 100 if isinstance(value, str) else 1


def _named(value: Any) -> Iterator[tuple[str, Any]]:
    """List every name in a document with what stands under it, objects and lists left out."""
    if isinstance(value, list):
        for inner in value:
            yield from _named(inner)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(inner, dict | list):
                yield key, inner
            yield from _named(inner)


def _anywhere(whole: Any, random: Random) -> Any:
    """Pick any part of a value."""
    while isinstance(whole, dict | list) and whole and random.random() < 0.8:
        whole = random.choice(list(whole.values()) if isinstance(whole, dict) else whole)
    return whole


def _open(text: str) -> tuple[Any, Callable[[Any], str]] | None:
    """Open what a text carries, and say how to close it again."""
    if text[:1] in ("{", "["):
        try:
            return json.loads(text), json.dumps
        except (ValueError, RecursionError):
            return None
    if _TOKEN.fullmatch(text):
        return text.split("."), lambda parts: ".".join(map(str, parts)) if isinstance(parts, list) else str(parts)
    return _open_base64(text)


def _open_base64(text: str) -> tuple[Any, Callable[[Any], str]] | None:
    try:
        inner = base64.b64decode(text.translate(_URL_SAFE) + "=" * (-len(text) % 4), validate=True).decode()
        value = json.loads(inner)
    except (ValueError, RecursionError, binascii.Error):
        return None
    if not isinstance(value, dict | list):
        return None
    return value, lambda changed: base64.urlsafe_b64encode(json.dumps(changed).encode()).decode().rstrip("=")


_URL_SAFE: Final = str.maketrans("-_", "+/")
