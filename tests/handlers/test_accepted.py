"""What the door accepted says the same when it is read again, though less is looked at then."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import accepted, jws, strict_json
from handlers.errors import Malformed
from handlers.platforms import PLATFORMS
from tests.effort import law
from tests.handlers.json_edits import ANY_JSON
from tests.handlers.platform_cases import make, shots_of

OBJECTS = st.dictionaries(st.text(max_size=20), ANY_JSON, max_size=5)
WRITTEN = st.sampled_from([{}, {"ensure_ascii": False}, {"indent": 2}, {"separators": (",", ":")}])


def base64url(raw: bytes) -> str:
    """Write bytes as a segment of a JWS."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def let_in(raw: bytes) -> object:
    """Read as the door does; None: it would not be let in."""
    try:
        return strict_json.parse_object(raw)
    except Malformed:
        return None


@pytest.mark.parametrize("name", sorted(PLATFORMS))
def test_a_notification_read_again_is_the_one_that_was_verified(name, tmp_path):
    """The worker sees in every stored notification exactly what the door believed."""
    case = make(name, tmp_path / name)
    for shot in shots_of(case):
        received = case.received(shot)
        assert case.verify(shot) == case.platform.recall(received.body, received.headers), shot.type


@law
@given(value=OBJECTS, written=WRITTEN)
def test_json_that_the_door_lets_in_says_the_same_again(value, written):
    """Whatever the strict parser accepts means the same to the quick one, to the last digit and type."""
    raw = json.dumps(value, **written).encode("utf-8", "surrogatepass")
    strict = let_in(raw)

    if strict is not None:
        assert repr(strict) == repr(accepted.json_object(raw))


@pytest.mark.parametrize(
    "number",
    [
        *("0", "-0", "-0.0", "1.0", "1e2", "1E-7", "9007199254740993", "18446744073709551616", "-" + "9" * 400),
        *("0.1", "2.2250738585072011e-308", "1.7976931348623157e308", "5e-324", "1234567.123456789123456789", "1e-999"),
    ],
)
def test_numbers_are_read_again_to_the_last_digit(number):
    """However a number is written, it is the same number of the same type both times."""
    raw = b'{"amount": %s}' % number.encode()

    assert repr(strict_json.parse_object(raw)) == repr(accepted.json_object(raw))


@given(says=OBJECTS, header=st.binary(max_size=8), signature=st.binary(max_size=70))
def test_a_jws_says_the_same_again(says, header, signature):
    """The payload is found and decoded as the door did, whatever stands before and after it."""
    head, payload = b'{"kid": "%s"}' % header.hex().encode(), json.dumps(says).encode()
    token = ".".join(base64url(part) for part in (head, payload, signature))
    try:
        says = strict_json.parse_object(jws.split(token, 1 << 20).payload)
    except Malformed:
        return

    assert repr(says) == repr(accepted.jws_says(token))


@given(raw=st.binary(max_size=200))
def test_base64url_is_decoded_as_at_the_door(raw):
    """What the door takes for base64url gives the same bytes."""
    text = base64url(raw)

    assert raw == jws.decode(text) == accepted.decode(text)


@pytest.mark.parametrize("raw", [b"", b"[]", b"1", b'"text"', b"{", b"\xff", b'{"a": NaN}', b'{"a":' * 10_000])
def test_what_the_door_never_lets_in_is_malformed(raw):
    """A body that somebody spoiled in the store is refused by name, and never breaks us."""
    with pytest.raises(Malformed):
        accepted.json_object(raw)


@pytest.mark.parametrize("token", ["", ".", "..", "a", "a.b.c", ".e3.", "e30", "\N{SNOWMAN}.\N{SNOWMAN}."])
def test_what_is_no_token_is_malformed(token):
    """So is a token without a payload that can be read."""
    with pytest.raises(Malformed):
        accepted.jws_says(token)
