"""Who is believed to be Stripe.

Real: the handler and every HMAC. The oracle is the official `stripe` package: it signs for us, and what it rejects we
reject. Stricter than it on purpose: the future, the mode, and how a header may be written.
"""

import hashlib
import hmac
import json
import math
import time
from typing import Any

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from config.platforms import Stripe
from handlers.errors import Malformed, Rejected, Unauthentic, WrongApp
from handlers.stripe import PLATFORM
from schemas.received import Received

pytestmark = pytest.mark.unit

NOW = 1_793_000_000.0
SECRET = "whsec_annual_plan_new"
OLD_SECRET = "whsec_annual_plan_old"
SETTINGS = Stripe(webhook_secrets=(SECRET, OLD_SECRET), livemode=True)
REFUND = {
    "id": "re_3annual",
    "object": "refund",
    "amount": 2500,
    "charge": "ch_3annual",
    "currency": "eur",
    "status": "succeeded",
}
EVENT: dict[str, Any] = {
    "id": "evt_1annual",
    "object": "event",
    "api_version": "2026-10-28.endive",
    "created": int(NOW) - 2,
    "data": {"object": REFUND},
    "livemode": True,
    "pending_webhooks": 1,
    "type": "refund.created",
}
BODY = json.dumps(EVENT, indent=2).encode()


def hex_of(body: bytes = BODY, at: object = int(NOW), secret: str = SECRET) -> str:
    """Sign as the documentation says, in the fewest words."""
    return hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()


def header_of(body: bytes = BODY, at: object = int(NOW), secret: str = SECRET) -> str:
    """Write the whole header."""
    return f"t={at},v1={hex_of(body, at, secret)}"


def verify(header: str | None, body: bytes = BODY, *, settings: Stripe = SETTINGS, now: float = NOW) -> Any:
    """Ask the handler, as the endpoint would."""
    headers = {} if header is None else {"stripe-signature": header}
    return PLATFORM.verify(Received("acme", body, headers), settings=settings, keys={}, now=now)


def refusal(header: str | None, body: bytes = BODY, **how: Any) -> str:
    """Return the reason for which a notification is refused as not authentic."""
    with pytest.raises(Unauthentic) as refused:
        verify(header, body, **how)
    return refused.value.reason


def test_a_genuine_event_is_believed() -> None:
    """What a configured secret signed just now is read as it is."""
    assert verify(header_of()).id == "evt_1annual"


def test_each_active_secret_is_believed() -> None:
    """While a secret is rolled, the old one counts as much as the new one."""
    assert verify(header_of(secret=OLD_SECRET)).id == "evt_1annual"


def test_one_good_v1_among_several_is_enough() -> None:
    """Stripe sends one v1 per active secret; junk beside it changes nothing."""
    header = f"t={int(NOW)},v1={'0' * 64},v1={hex_of()},v0={'1' * 64},v2=whatever"
    assert verify(header).id == "evt_1annual"


def test_v0_never_counts() -> None:
    """A good signature under another scheme proves nothing."""
    assert refusal(f"t={int(NOW)},v0={hex_of()}") == "no_v1_signature"


def test_a_secret_is_used_with_its_prefix() -> None:
    """The key is the whole secret; the part behind `whsec_` is another key."""
    assert refusal(header_of(secret=SECRET.removeprefix("whsec_"))) == "signature_mismatch"


@pytest.mark.parametrize("secrets", [(), ("",), ("", "\u00a0\t")])
def test_nothing_is_signed_with_an_empty_secret(secrets: tuple[str, ...]) -> None:
    """Without a secret nobody is believed, not even who signs with the empty one."""
    settings = SETTINGS.model_copy(update={"webhook_secrets": secrets})
    assert refusal(header_of(secret=secrets[0] if secrets else ""), settings=settings) == "signature_mismatch"


def test_an_empty_secret_beside_a_good_one_is_skipped() -> None:
    """A gap in the list of secrets neither opens a door nor closes one."""
    settings = SETTINGS.model_copy(update={"webhook_secrets": ("", SECRET)})
    assert verify(header_of(), settings=settings).id == "evt_1annual"
    assert refusal(header_of(secret=""), settings=settings) == "signature_mismatch"


@pytest.mark.parametrize("age_seconds", [300, -300, 0])
def test_both_edges_of_the_tolerance_are_inside(age_seconds: int) -> None:
    """Five minutes, to the second, are accepted in both directions."""
    at = int(NOW) - age_seconds
    assert verify(header_of(at=at)).id == "evt_1annual"


@pytest.mark.parametrize(("age_seconds", "reason"), [(301, "signed_too_long_ago"), (-301, "signed_in_the_future")])
def test_just_beyond_the_tolerance_is_outside(age_seconds: int, reason: str) -> None:
    """One second more is refused in both directions, however good the signature."""
    assert refusal(header_of(at=int(NOW) - age_seconds)) == reason


def test_a_part_of_a_second_counts() -> None:
    """The clock is not rounded in the sender's favor."""
    assert refusal(header_of(), now=NOW + 300.001) == "signed_too_long_ago"


@pytest.mark.parametrize(
    "moment",
    ["0{}", "+{}", "-{}", " {}", "{} ", "{}.0", "{}e0", "0x{}", "{}\n", "1_{}", "", "now", "٣{}", "9" * 13],
)
def test_a_time_has_one_way_of_being_written(moment: str) -> None:
    """Only plain decimal digits are a time, though signed as written."""
    at = moment.format(int(NOW))
    assert refusal(f"t={at},v1={hex_of(at=at)}") == "bad_signature_time"


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "no_signature_header"),
        ("", "no_signature_header"),
        ("v1=" + hex_of(), "bad_signature_time"),
        (f"t={int(NOW)},t={int(NOW)},v1={hex_of()}", "bad_signature_time"),
        # A second header, joined to a stranger's first one, was believed: a proxy in front might have seen that alone.
        (f"t={int(NOW)},v1={'0' * 64}, {header_of()}", "bad_signature_time"),
        (f"t={int(NOW)}", "no_v1_signature"),
        (f"t={int(NOW)},v1=", "no_v1_signature"),
        (f"t={int(NOW)},v1={hex_of().upper()}", "no_v1_signature"),
        (f"t={int(NOW)},v1={hex_of()} ", "no_v1_signature"),
        (f"t={int(NOW)},v1={hex_of()}\n", "no_v1_signature"),
        (f"t={int(NOW)}, v1={hex_of()}", "no_v1_signature"),
        (f"t={int(NOW)},v1={hex_of()}0", "no_v1_signature"),
        (f"t={int(NOW)},v1={hex_of()},", "bad_signature_header"),
        (f"t={int(NOW)};v1={hex_of()}", "bad_signature_time"),
        ("v1", "bad_signature_header"),
        (f"t={int(NOW)},v1={'é' * 64}", "no_v1_signature"),
    ],
)
def test_a_header_that_stripe_would_not_write_is_refused(header: str | None, reason: str) -> None:
    """Every other grammar is refused by name before a byte of the body is read."""
    assert refusal(header, b"not even JSON") == reason


def test_a_header_is_bounded_in_items() -> None:
    """Thirty-two items are looked at, never one more."""
    filler = ["v0=0"] * 30
    assert verify(",".join([header_of(), *filler])).id == "evt_1annual"
    assert refusal(",".join([header_of(), *filler, "v0=0"])) == "bad_signature_header"


def test_a_header_is_bounded_in_length() -> None:
    """Two thousand and forty-eight characters are read, never one more."""
    pad = 2048 - len(header_of()) - len(",v0=")
    assert verify(f"{header_of()},v0={'0' * pad}").id == "evt_1annual"
    assert refusal(f"{header_of()},v0={'0' * (pad + 1)}") == "bad_signature_header"


@given(st.integers(0, len(BODY) - 1), st.integers(1, 255))
def test_any_flipped_byte_of_the_body_is_refused(index: int, bits: int) -> None:
    """Law 7: the signature covers every byte of the body."""
    flipped = BODY[:index] + bytes([BODY[index] ^ bits]) + BODY[index + 1 :]
    assert refusal(header_of(), flipped) == "signature_mismatch"


@given(st.integers(0, len(header_of()) - 1), st.integers(1, 127))
def test_any_flipped_byte_of_the_header_is_refused(index: int, bits: int) -> None:
    """Law 7: no other header than the genuine one passes."""
    good = header_of()
    with pytest.raises(Unauthentic):
        verify(good[:index] + chr(ord(good[index]) ^ bits) + good[index + 1 :])


def test_every_flipped_digit_of_the_signature_is_refused() -> None:
    """Law 7, without chance: each hex digit counts."""
    good = hex_of()
    for index, digit in enumerate(good):
        other = "0" if digit != "0" else "1"
        assert refusal(f"t={int(NOW)},v1={good[:index]}{other}{good[index + 1 :]}") == "signature_mismatch"


def test_the_body_is_signed_as_it_came() -> None:
    """The same event written another way is another body."""
    assert refusal(header_of(), json.dumps(EVENT).encode()) == "signature_mismatch"


@pytest.mark.parametrize("livemode", [True, False])
def test_the_mode_must_be_the_endpoints(livemode: bool) -> None:  # noqa: FBT001 - the two cases
    """A well signed event of the other mode is for another endpoint, and only that one is refused so."""
    body = json.dumps({**EVENT, "livemode": livemode}).encode()
    same = SETTINGS.model_copy(update={"livemode": livemode})
    other = SETTINGS.model_copy(update={"livemode": not livemode})
    assert verify(header_of(body), body, settings=same).livemode is livemode
    with pytest.raises(WrongApp, match="livemode"):
        verify(header_of(body), body, settings=other)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not_json"),
        (b"\xff\xfe", "not_utf8"),
        (b"[]", "not_an_object"),
        (b"{}", "not_an_event"),
        (b'{"object": ["event"]}', "not_an_event"),
        (b'{"object": "charge", "id": "ch_1"}', "not_an_event"),
        (b'{"object": "event", "id": "evt_1"}', "unexpected_event_shape"),
        (json.dumps({**EVENT, "livemode": 1}).encode(), "unexpected_event_shape"),
        (json.dumps({**EVENT, "created": "1793000000"}).encode(), "unexpected_event_shape"),
        (json.dumps({**EVENT, "created": True}).encode(), "unexpected_event_shape"),
        (json.dumps({**EVENT, "created": 10**30}).encode(), "unexpected_event_shape"),
        (json.dumps({**EVENT, "id": ""}).encode(), "unexpected_event_shape"),
        (BODY[:-1] + b', "livemode": true}', "duplicate_key"),
    ],
)
def test_a_well_signed_body_that_is_no_event_is_malformed(body: bytes, reason: str) -> None:
    """A good signature does not make an event: the shape that identifies one is asked for."""
    with pytest.raises(Malformed) as refused:
        verify(header_of(body), body)
    assert refused.value.reason == reason


@given(st.text(max_size=200))
def test_any_header_is_judged_and_never_crashes(header: str) -> None:
    """Whatever stands in the header, the answer is a verdict."""
    with pytest.raises(Unauthentic):
        verify(header)


# --- beside the official package ---

_items = st.one_of(
    st.sampled_from(["v1=" + hex_of(), "v0=" + hex_of(), "v1=" + "0" * 64, f"t={int(NOW)}", "t=", "v1", ""]),
    st.integers(-400, 400).map(lambda age: f"t={int(NOW) - age}"),
    st.text("tv01=, +_abc\n", max_size=12),
)


def official_accepts(header: str, body: bytes, secret: str) -> bool:
    """Ask the official package as if it were our moment: it reads the real clock, so its tolerance is moved.

    One second of slack, since that clock goes on while it thinks.
    """
    tolerance = math.ceil(time.time() - NOW) + 300 + 1
    try:
        stripe.WebhookSignature.verify_header(body, header, secret, tolerance)
    except (stripe.SignatureVerificationError, UnicodeDecodeError, TypeError):
        return False
    return True


@given(st.lists(_items, max_size=5).map(",".join), st.sampled_from([SECRET, "", " ", "whsec_stranger"]))
def test_what_the_official_package_rejects_is_rejected(header: str, secret: str) -> None:
    """Differential: believed by us implies believed by `stripe.WebhookSignature.verify_header`."""
    settings = Stripe.model_construct(webhook_secrets=(secret,), livemode=True)
    try:
        verify(header, settings=settings)
    except Rejected:
        return
    assert official_accepts(header, BODY, secret)


@given(st.integers(-300, 300))
def test_what_the_official_package_signs_is_accepted(age_seconds: int) -> None:
    """Differential: `generate_signature_header` writes what we read."""
    header = stripe.WebhookSignature.generate_signature_header(BODY.decode(), SECRET, int(NOW) - age_seconds)
    assert verify(header).id == "evt_1annual"
    assert official_accepts(header, BODY, SECRET)


@given(st.text(max_size=40), st.integers(0, 10**12 - 1))
def test_both_reject_and_accept_the_same_signatures(name: str, amount: int) -> None:
    """Differential: over any body, a right signature passes both and one over another body neither."""
    data = {"object": {**REFUND, "description": name, "amount": amount}}
    body = json.dumps({**EVENT, "data": data}, ensure_ascii=False).encode("utf-8", "replace")
    right, wrong = header_of(body), header_of(body + b" ")
    assert official_accepts(right, body, SECRET)
    assert not official_accepts(wrong, body, SECRET)
    assert refusal(wrong, body) == "signature_mismatch"
    try:
        assert verify(right, body).id == "evt_1annual"
    except Malformed as refused:
        assert refused.reason == "unstorable_text"  # noqa: PT017 - NUL is the one thing we are stricter about
