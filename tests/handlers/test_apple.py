"""Apple notifications at the door: what is believed, when, and for which app.

Real chains and signatures. What wrong chains and tokens are answered with, beside Apple's own library, is in
test_apple_differential.py; what notifications mean is in test_apple_meaning.py.
"""

import json

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from config.platforms import Apple
from handlers.apple import PLATFORM
from handlers.errors import Malformed, Rejected, Unauthentic, WrongApp
from schemas.platforms.apple import Notification
from schemas.received import Received
from tests.handlers import apple_chains as chains
from tests.handlers.apple_chains import SETTINGS, SIGNED_AT, body, good, refund, stranger
from worker.simulator.apple_pki import segment

pytestmark = [
    pytest.mark.unit,
    # A flipped bit can make a serial number negative, and the parser says so before anything is verified.
    pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning"),
]

WEEK = 7 * 86400


def verify(
    raw: bytes, *, now: float = SIGNED_AT, settings: Apple = SETTINGS, root: x509.Certificate | None = None
) -> Notification:
    """Ask whether to believe a body, trusting the good chain's root."""
    answer = PLATFORM.verify(Received("acme", raw), settings=settings, keys={"root": root or good().root}, now=now)
    assert isinstance(answer, Notification)
    return answer


def signed(said) -> bytes:
    """Sign a payload with the good chain."""
    return body(good().sign(said))


def test_a_refund_is_believed_with_everything_nested_in_it():
    """A good notification comes back with its transaction and renewal opened."""
    notification = verify(signed(refund()))

    assert chains.transaction() == notification.transaction
    assert chains.renewal() == notification.renewal
    assert "REFUND" == notification.payload.notification_type


def test_what_was_verified_reads_the_same_later():
    """`read` makes of the stored bytes exactly what `verify` made of them."""
    raw = signed(refund())

    assert verify(raw) == PLATFORM.read(raw, {})


def test_without_configured_roots_only_apple_is_believed():
    """A chain to any other root than the pinned one is refused unless the operator trusts that root."""
    with pytest.raises(Unauthentic, match="untrusted_root"):
        PLATFORM.verify(Received("acme", signed(refund())), settings=SETTINGS, keys={}, now=SIGNED_AT)


def test_only_certificates_are_roots():
    """A bare key among the keys is nobody's root."""
    with pytest.raises(Unauthentic, match="untrusted_root"):
        PLATFORM.verify(
            Received("acme", signed(refund())),
            settings=SETTINGS,
            keys={"root": good().leaf_key.public_key()},
            now=SIGNED_AT,
        )


def test_a_notification_names_itself():
    """Its identity is its UUID, with type, subtype, time and environment."""
    identity = PLATFORM.identify(verify(signed(refund(subtype="SEATS"))))

    assert "8c5f6f1a-3c0e-4b55-9d39-0d4f4c3b2a19" == identity.id
    assert ("REFUND", "SEATS") == (identity.type, identity.subtype)
    assert SIGNED_AT * 1000 == identity.occurred_at_ms
    assert "production" == identity.environment


@pytest.mark.parametrize(
    ("said", "environment"),
    [
        ({"data": chains.data(environment="Sandbox")}, "sandbox"),
        ({"data": chains.data(environment="Xcode")}, None),
        ({"data": None}, None),
        ({"data": None, "externalPurchaseToken": {"externalPurchaseId": "SANDBOX_1"}}, "sandbox"),
        ({"data": None, "externalPurchaseToken": {"externalPurchaseId": "1"}}, "production"),
        ({"data": None, "externalPurchaseToken": {}}, "production"),
        ({"data": None, "summary": chains.data()}, "production"),
    ],
)
def test_the_environment_is_read_from_whatever_is_there(said, environment):
    """Data, summary and app data name it, an external purchase token has it in its id; what is unknown is None."""
    read = PLATFORM.read(signed(chains.payload("TEST", **said)), {})

    assert environment == PLATFORM.identify(read).environment


def test_nothing_needs_to_be_looked_up():
    """The transaction is in the notification."""
    assert () == PLATFORM.needs(verify(signed(refund())))


@pytest.mark.parametrize("ahead", [0, 1, 299, 300])
def test_apples_clock_may_be_five_minutes_ahead(ahead):
    """Up to the edge of five minutes, both outside and within, a signature from the future is believed."""
    verify(signed(refund()), now=SIGNED_AT - ahead)


@pytest.mark.parametrize("now", [SIGNED_AT - 300.001, SIGNED_AT - 301, 0])
def test_beyond_five_minutes_the_future_is_refused(now):
    """Just beyond the edge a signature from the future is refused."""
    with pytest.raises(Unauthentic, match="signed_in_the_future"):
        verify(signed(refund()), now=now)


def test_a_nested_signature_from_the_future_is_refused():
    """What is nested is held to the same clock."""
    late = good().sign(chains.transaction(signedDate=(SIGNED_AT + 301) * 1000))

    with pytest.raises(Unauthentic, match="signed_in_the_future"):
        verify(signed(refund(data=chains.data(signedTransactionInfo=late))))


def test_without_a_limit_an_old_notification_is_believed():
    """Apple retries for days, and hands out its history for months: by default age is no reason to refuse."""
    verify(signed(refund()), now=SIGNED_AT + 180 * 86400)


def test_the_age_limit_holds_to_its_edge():
    """At the edge it is believed, just beyond it is not."""
    limited = SETTINGS.model_copy(update={"max_age_seconds": WEEK})

    verify(signed(refund()), now=SIGNED_AT + WEEK, settings=limited)

    with pytest.raises(Unauthentic, match="signed_too_long_ago"):
        verify(signed(refund()), now=SIGNED_AT + WEEK + 0.001, settings=limited)


def test_an_old_transaction_in_a_new_notification_is_believed():
    """The age limit is about the notification: what it tells of may have been signed long before."""
    limited = SETTINGS.model_copy(update={"max_age_seconds": 60})
    earlier = good().sign(chains.transaction(signedDate=(SIGNED_AT - 90 * 86400) * 1000))

    verify(signed(refund(data=chains.data(signedTransactionInfo=earlier))), settings=limited)


def test_production_needs_the_app_id_to_be_configured():
    """Without it nothing ties a production notification to this app but its bundle; the reason says what to do."""
    unfinished = SETTINGS.model_copy(update={"app_apple_id": 0})

    with pytest.raises(WrongApp, match="app_apple_id_not_configured"):
        verify(signed(refund()), settings=unfinished)


def test_the_sandbox_needs_no_app_id():
    """Apps that were never released have none, and sandbox notifications then leave it out."""
    unfinished = SETTINGS.model_copy(update={"app_apple_id": 0})

    verify(
        signed(chains.payload("TEST", data=chains.data(environment="Sandbox", appAppleId=None))), settings=unfinished
    )


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"data": chains.data(bundleId="com.acme.app.beta")}, "bundle_id"),
        ({"data": chains.data(environment="Xcode")}, "environment"),
        ({"data": chains.data(environment="LocalTesting")}, "environment"),
        ({"data": chains.data(appAppleId=1)}, "app_apple_id"),
        ({"data": None}, "no_app_named"),
        ({"summary": chains.data(environment="Sandbox")}, "environment"),
    ],
)
def test_another_app_is_told_so(said, reason):
    """A notification of Apple's for somebody else is 403 and not 401: it is genuine."""
    with pytest.raises(WrongApp, match=f"^{reason}$") as caught:
        verify(signed(chains.payload("TEST", **said)))

    assert 403 == caught.value.status_hint


def test_an_environment_that_is_not_accepted_is_told_so():
    """An endpoint for the sandbox believes nothing about production."""
    sandbox_only = SETTINGS.model_copy(update={"environments": ("Sandbox",)})

    with pytest.raises(WrongApp, match="environment"):
        verify(signed(refund()), settings=sandbox_only)


def test_a_forgery_for_another_app_is_a_forgery():
    """Whoever cannot sign learns nothing about which apps are served: signatures are checked first."""
    said = chains.payload("TEST", data=chains.data(bundleId="com.evil.app"))

    with pytest.raises(Unauthentic):
        verify(body(stranger().sign(said)))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not_json"),
        (b"[]", "not_an_object"),
        (b"{}", "no_signed_payload"),
        (b'{"signedPayload":null}', "no_signed_payload"),
        (b'{"signedPayload":["e30.e30.AA"]}', "no_signed_payload"),
        (b'{"signedPayload":"e30.e30.AA","signedPayload":"e30.e30.AA"}', "duplicate_key"),
        (b'{"unified_receipt":{},"notification_type":"CANCEL"}', "no_signed_payload"),
        (b'{"signedPayload":"e30.W10.AA"}', "not_an_object"),
        (b'{"signedPayload":"e30.e30.AA"}', "no_signed_date"),
        (b'{"signedPayload":"\xff"}', "not_utf8"),
        (b'{"signedPayload":"' + b"A" * (1 << 20) + b'"}', "too_large"),
    ],
)
def test_what_is_no_notification_is_malformed(raw, reason):
    """Every other body has a reason of its own; version 1 of Apple's notifications is one of them."""
    with pytest.raises(Malformed, match=reason):
        verify(raw)


@pytest.mark.parametrize("signed_date", [None, True, "1790000000000", 1.79e12, [], {}])
def test_a_date_is_a_whole_number(signed_date):
    """Milliseconds, and not almost: Xcode signs floats, and nothing that Xcode signs is believed."""
    with pytest.raises(Malformed, match="no_signed_date"):
        verify(signed({**chains.payload("TEST"), "signedDate": signed_date}))


@pytest.mark.parametrize(
    "said",
    [
        {"notificationType": None},
        {"notificationType": 7},
        {"notificationType": ""},
        {"notificationType": "R" * 256},
        {"notificationUUID": None},
        {"notificationUUID": 7},
        {"subtype": 7},
        {"data": []},
        {"data": chains.data(appAppleId="1234567890")},
        {"data": chains.data(signedTransactionInfo={})},
    ],
)
def test_a_payload_without_its_essentials_is_malformed(said):
    """Type, id, date and app have one shape; without them nothing can be kept or replayed."""
    with pytest.raises(Malformed, match="unexpected_payload_shape"):
        verify(signed(chains.payload("TEST", **said)))


def test_what_is_new_in_a_transaction_is_no_reason_to_refuse():
    """Apple's shapes grow: what is authentic and not understood is taken in, and judged later."""
    odd = good().sign(chains.transaction(price="49.99", novelty={"deep": [1, 2, 3]}))

    verify(signed(refund(data=chains.data(signedTransactionInfo=odd))))


def test_null_parts_are_absent_parts():
    """Apple's libraries write absent parts as null; both mean the same."""
    verify(signed({**chains.payload("TEST"), "summary": None, "subtype": None, "appData": None}))


def test_claims_that_hold_are_no_obstacle():
    """Should Apple begin to send JWT times, notifications within them are believed."""
    verify(signed(chains.payload("TEST", iat=SIGNED_AT, nbf=SIGNED_AT, exp=SIGNED_AT + 1, sub="a", jti="b")))


@pytest.mark.parametrize(
    "claim", [{"exp": SIGNED_AT}, {"exp": "later"}, {"nbf": SIGNED_AT + 1}, {"iat": SIGNED_AT + 0.5}]
)
def test_claims_that_do_not_hold_are_refused(claim):
    """A time that has passed, has not come, or is no time is not passed over."""
    with pytest.raises(Unauthentic, match="claim_"):
        verify(signed(chains.payload("TEST", **claim)))


@pytest.mark.parametrize("offset", range(8))
def test_flip_any_byte_and_it_is_refused(offset):
    """No byte of a body can change, be it envelope, certificate, payload or signature."""
    raw = signed(chains.payload("TEST"))
    verify(raw)

    for at in range(offset, len(raw), 8):
        changed = bytearray(raw)
        changed[at] ^= 1 << (at * 7 + offset) % 8

        with pytest.raises(Rejected):
            verify(bytes(changed))


REFUND_BODY = signed(refund())


@given(st.integers(0, len(REFUND_BODY) - 1), st.integers(1, 255))
def test_change_any_byte_and_it_is_refused(at, difference):
    """Whatever byte becomes whatever other byte, the notification is no longer believed."""
    changed = bytearray(REFUND_BODY)
    changed[at] ^= difference

    with pytest.raises(Rejected):
        verify(bytes(changed))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_any_json_at_all_is_refused_in_our_words(value):
    """Whatever a stranger posts is answered with one of our refusals, never with a crash."""
    with pytest.raises(Rejected):
        verify(json.dumps(value).encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=100))
def test_any_bytes_at_all_are_refused_in_our_words(raw):
    """Whatever a stranger posts is answered with one of our refusals, never with a crash."""
    with pytest.raises(Rejected):
        verify(raw)


@given(st.dictionaries(st.sampled_from(["alg", "x5c", "typ", "kid"]), JSON), JSON)
def test_any_token_at_all_is_refused_in_our_words(header, said):
    """Whatever header and payload a stranger wraps into a token, the answer is one of our refusals."""
    token = f"{segment(header)}.{segment(said)}.AAAA"

    with pytest.raises(Rejected):
        verify(body(token))
