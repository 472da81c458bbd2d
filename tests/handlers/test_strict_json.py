"""JSON with one meaning or none, and at a price that no stranger sets."""

import contextlib
import gc
import json
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.errors import Malformed
from handlers.strict_json import MAX_DEPTH, parse, parse_object

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text('abc"\\[{'), inner), max_leaves=30
)


def nested(depth: int, brackets: str = "[]") -> bytes:
    """Nest so deep."""
    return (brackets[0] * depth + brackets[1] * depth).encode()


@given(values)
def test_what_is_sound_is_read_as_everyone_reads_it(value):
    """Whatever JSON can hold, and our stores too, is read to the same value."""
    assert value == parse(json.dumps(value).encode())
    assert value == parse(json.dumps(value, ensure_ascii=False).encode())


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"[1] [2]", "not_json"),
        (b"\xef\xbb\xbf{}", "not_json"),
        (b'{"a": 1,}', "not_json"),
        (b'"a\x00b"', "not_json"),
        (b"1" * 5000, "not_json"),
        (b'"\xff"', "not_utf8"),
        (b'"\xed\xa0\x80"', "not_utf8"),
        (b'{"amount": 1, "amount": 2}', "duplicate_key"),
        (b'{"a": {"b": 1, "\\u0062": 2}}', "duplicate_key"),
        (b"NaN", "not_a_number"),
        (b'{"amount": -Infinity}', "not_a_number"),
        (b'{"amount": 1e999}', "not_a_number"),
        (b'"\\ud800"', "unstorable_text"),
        (b'["ok", {"key": ["\\uDFFF"]}]', "unstorable_text"),
        (b'{"\\u0000": 1}', "unstorable_text"),
        (nested(MAX_DEPTH + 1), "too_deep"),
        (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), "too_deep"),
        (nested(200_000), "too_deep"),
    ],
)
def test_what_has_two_meanings_or_none_is_refused_by_name(raw, reason):
    """The first rule that is broken is named, whatever else may be wrong."""
    with pytest.raises(Malformed, match=f"^{reason}$"):
        parse(raw)


def test_what_only_looks_suspicious_is_read():
    """A pair of surrogates is a character, an escaped backslash no escape, and a bracket in a string no nesting."""
    assert "\N{GRINNING FACE}" == parse(b'"\\ud83d\\ude00"')
    assert [None, 1, {"a": "\\u0000"}] == parse(b'[null, 1, {"a": "\\\\u0000"}]')
    assert ["[" * 99 + '"' + "{" * 99] == parse(json.dumps(["[" * 99 + '"' + "{" * 99]).encode())
    assert parse(nested(MAX_DEPTH))
    assert 99 == len(parse(b"[" + b"[]," * 98 + b"[]]"))


def test_only_an_object_is_an_object():
    """A notification is an object; anything else is refused."""
    assert {"a": 1} == parse_object(b'{"a": 1}')
    with pytest.raises(Malformed, match=r"^not_an_object$"):
        parse_object(b"[]")


@pytest.mark.parametrize("raw", [b"[]" * 500_000, b"]" * 999_000 + b"[" * 33, b"[" + b"[]," * 340_000 + b"[]]"])
def test_a_mebibyte_of_brackets_costs_nobody_else_a_turn(raw):
    """Depth is counted without a loop of ours over the brackets."""
    # Apple's and Amazon's bodies are parsed before anything is proved, on the event loop: each mebibyte of brackets
    # from a stranger held up everybody for 0.7 seconds, six times as long as the plainest loop over its bytes takes.
    assert _seconds_of(parse, raw) < 4 * _seconds_of(_deepest, raw)


def _deepest(raw: bytes) -> int:
    depth = deepest = 0
    for byte in raw:
        depth += (byte == ord("[")) - (byte == ord("]"))
        deepest = max(deepest, depth)
    return deepest


def _seconds_of(read: Callable[[bytes], object], raw: bytes) -> float:
    """Time it, the least of three: not how busy the machine is, nor what garbage other tests have left."""
    took = []
    gc.disable()
    try:
        for _ in range(3):
            began = time.thread_time()
            with contextlib.suppress(Malformed):
                read(raw)
            took.append(time.thread_time() - began)
    finally:
        gc.enable()
    return min(took)


def test_a_string_without_an_end_costs_no_more_than_one_with_it():
    """Reading is linear in its length."""
    # A mebibyte of escaped quotes in a string that never ends, behind 33 brackets, took hours: from each quote the
    # search for the end began anew. One unauthenticated POST stopped a process.
    raw = b"[" + b"[]," * 33 + b'"' + b'\\"' * 500_000
    began = time.thread_time()
    with pytest.raises(Malformed, match=r"^not_json$"):
        parse(raw)

    assert time.thread_time() - began < 5
