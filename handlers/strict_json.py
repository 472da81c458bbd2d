"""JSON as a verifier must read it: one meaning or none.

Two parsers that differ on the same bytes are how a forged field slips behind a good signature, so what RFC 8259
leaves open is closed here: no duplicate keys, no NaN, no unpaired surrogates or NUL characters (which our stores
cannot hold), and bounded nesting.
"""

import json
import math
import re
from collections.abc import Iterable
from itertools import accumulate
from typing import Any, NoReturn

from handlers.errors import Malformed

MAX_DEPTH = 32
"""Deeper than anything the platforms send (Stripe's events reach about 12)."""

_SUSPICIOUS = re.compile(rb"\\u(?:[dD][89a-fA-F]|0000)")
# A string is taken whole even where its end is missing: to look for that end again from each quote within it would
# make a stranger's single POST cost hours.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_STEPS = bytes.maketrans(b"{[]}", b"\x01\x01\xff\xff")
"""One down, one up: as signed bytes, plus and minus one."""
_NO_BRACKETS = bytes(set(range(256)) - set(b"{[]}"))


def parse(raw: bytes) -> Any:
    """Parse JSON, or raise `Malformed` naming the first rule it breaks.

    Args:
        raw: UTF-8 bytes, already limited in size.

    Raises:
        Malformed: not UTF-8, not JSON, a duplicate key, a number that is none, too deep, or unstorable text.
    """
    _limit_depth(raw)
    try:
        value = _DECODER.decode(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise Malformed("not_utf8") from None
    except (ValueError, RecursionError):
        raise Malformed("not_json") from None
    # The first two are found at once where there are none; what looks closer does not.
    if b"\x00" in raw or (b"\\" in raw and _SUSPICIOUS.search(raw)):
        _refuse_unstorable(value)
    return value


def parse_object(raw: bytes) -> dict[str, Any]:
    """Parse JSON whose outermost value must be an object."""
    value = parse(raw)
    if not isinstance(value, dict):
        raise Malformed("not_an_object")
    return value


def _limit_depth(raw: bytes) -> None:
    """Refuse nesting beyond `MAX_DEPTH` before the recursive parser sees it.

    Without a loop of ours over the brackets: a mebibyte of them, which anybody may send, held up everybody else for
    most of a second.
    """
    if _count(raw, b"{") + _count(raw, b"[") <= MAX_DEPTH:
        return
    steps = _STRING.sub(b"", raw).translate(_STEPS, _NO_BRACKETS)
    if max(accumulate(memoryview(steps).cast("b")), default=0) > MAX_DEPTH:
        raise Malformed("too_deep")


def _count(raw: bytes, character: bytes) -> int:
    """Count a rare character: `bytes.count` looks at each byte by itself, and takes ten times as long."""
    return len(raw) - len(raw.replace(character, b""))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("duplicate_key")
    return found


def _no_constant(_name: str) -> NoReturn:
    raise Malformed("not_a_number")


def _finite(text: str) -> float:
    """Refuse `1e999`, which Python would read as infinity."""
    value = float(text)
    if math.isinf(value):
        raise Malformed("not_a_number")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)


def _refuse_unstorable(value: Any) -> None:
    """Refuse text that UTF-8 or PostgreSQL cannot hold, wherever it hides."""
    for text in _texts(value):
        if "\x00" in text or any("\ud800" <= char <= "\udfff" for char in text):
            raise Malformed("unstorable_text")


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
