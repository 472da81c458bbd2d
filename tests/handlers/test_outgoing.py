"""What is signed is what any Standard Webhooks library accepts, and nothing else is."""

import base64
import hashlib
import hmac
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from handlers import outgoing

REVOKED = b'{"id":"evt_5c1d","type":"entitlement.revoked","data":{"reason":"annual plan refunded after nine months"}}'
OLD = "whsec_" + base64.b64encode(bytes(range(32))).decode()
NEW = "whsec_" + base64.b64encode(bytes(range(32, 64))).decode()


def test_a_subscriber_with_the_secret_believes_us():
    """The independent library of Standard Webhooks accepts our headers over our bytes."""
    headers = outgoing.headers("evt_5c1d", REVOKED, keys=outgoing.keys([NEW]), now=time.time())

    assert "entitlement.revoked" == Webhook(NEW).verify(REVOKED, headers)["type"]


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_every_secret_signs_while_rotating(secret):
    """A subscriber that knows only one of several secrets misses nothing."""
    headers = outgoing.headers("evt_5c1d", REVOKED, keys=outgoing.keys([NEW, OLD]), now=time.time())

    assert Webhook(secret).verify(REVOKED, headers)


def test_the_signature_is_what_the_specification_spells_out():
    """HMAC-SHA256 over id, timestamp and body with dots between, as base64 after `v1,`, in the order of the secrets."""
    content = b"evt_5c1d.1767225600." + REVOKED
    signatures = [
        "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        for key in (bytes(range(32, 64)), bytes(range(32)))
    ]

    headers = outgoing.headers("evt_5c1d", REVOKED, keys=outgoing.keys([NEW, OLD]), now=1767225600.9)

    assert {
        "content-type": "application/json",
        "webhook-id": "evt_5c1d",
        "webhook-timestamp": "1767225600",
        "webhook-signature": " ".join(signatures),
    } == headers


@given(position=st.integers(0, len(REVOKED) - 1), flip=st.integers(1, 255))
def test_no_byte_of_the_body_can_change(position, flip):
    """Flip any byte of what we signed and nobody believes it anymore."""
    headers = outgoing.headers("evt_5c1d", REVOKED, keys=outgoing.keys([NEW]), now=time.time())
    forged = bytearray(REVOKED)
    forged[position] ^= flip

    with pytest.raises((WebhookVerificationError, UnicodeDecodeError)):
        Webhook(NEW).verify(bytes(forged), headers)


@given(key=st.binary(min_size=1, max_size=64))
def test_a_secret_reads_the_same_however_it_is_written(key):
    """With or without prefix and padding it is the same key."""
    text = base64.b64encode(key).decode()
    spellings = [text, "whsec_" + text, "whsec_" + text.rstrip("=")]

    assert (key, key, key) == outgoing.keys(spellings)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_…", "not a secret!", "whsec_A"])
def test_what_is_no_secret_signs_nothing(secret):
    """An empty or mistyped secret gives no key, so that nothing is ever signed with an empty one."""
    assert () == outgoing.keys([secret])


@pytest.mark.parametrize(
    ("types", "wanted"),
    [
        (("*",), True),
        (("entitlement.*",), True),
        (("entitlement.revoked",), True),
        (("refund.*", "entitlement.revoked"), True),
        (("refund.*",), False),
        (("entitlement",), False),
        (("entitlement.revoke",), False),
        (("ent.*",), False),
        (("*.revoked",), False),
        ((), False),
    ],
)
def test_subscribers_ask_by_name_by_family_or_for_all(types, wanted):
    """A pattern is a whole name, a family with `.*`, or `*`; nothing matches by accident."""
    assert wanted == outgoing.matches(types, "entitlement.revoked")


def test_the_body_is_the_stored_document():
    """Nothing is added, removed or reordered between the store and the wire."""
    assert '{"customer":"Zoë"}'.encode() == outgoing.body('{"customer":"Zoë"}')


NOW = 1767225600.0


def verified(headers, body=REVOKED, *, now=NOW, secrets=(NEW,)):
    """Ask our own reader, as a subscriber with these secrets."""
    return outgoing.verify(headers, body, keys=outgoing.keys(secrets), now=now, tolerance_seconds=300)


def test_our_own_reader_believes_our_writer_while_rotating():
    """Any secret that signed is enough, in either direction of a rotation."""
    headers = outgoing.headers("evt_5c1d", REVOKED, keys=outgoing.keys([NEW, OLD]), now=NOW)

    assert verified(headers, secrets=[NEW])
    assert verified(headers, secrets=[OLD])
    assert not verified(headers, secrets=["whsec_" + base64.b64encode(b"x" * 32).decode()])
    assert not verified(headers, secrets=[])


@pytest.mark.parametrize(("off", "fresh"), [(-301, False), (-300, True), (300, True), (301, False)])
def test_our_own_reader_wants_fresh_timestamps(off, fresh):
    """An attempt is believed at both edges of the tolerance and not beyond."""
    headers = outgoing.headers("evt_5c1d", REVOKED, keys=outgoing.keys([NEW]), now=NOW)

    assert fresh == verified(headers, now=NOW + off)


@given(position=st.integers(0, len(REVOKED) - 1), flip=st.integers(1, 255))
def test_our_own_reader_refuses_any_other_body(position, flip):
    """Flip any byte and it is refused."""
    headers = outgoing.headers("evt_5c1d", REVOKED, keys=outgoing.keys([NEW]), now=NOW)
    forged = bytearray(REVOKED)
    forged[position] ^= flip

    assert not verified(headers, bytes(forged))


@given(name=st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), value=st.text(max_size=40))
@example("webhook-signature", "v1,\udcff")
@example("webhook-id", "\udcff")
@example("webhook-timestamp", "1" * 5000)
@example("webhook-timestamp", "²")
def test_our_own_reader_refuses_any_other_header(name, value):
    """Whatever a stranger writes into a header, the answer is no and never an exception."""
    headers = outgoing.headers("evt_5c1d", REVOKED, keys=outgoing.keys([NEW]), now=NOW)

    assert not verified({**headers, name: value})
    assert not verified({key: kept for key, kept in headers.items() if key != name})


SEED = bytes(range(64, 96))
PRIVATE = "whsk_" + base64.b64encode(SEED).decode()
PUBLIC = Ed25519PrivateKey.from_private_bytes(SEED).public_key()


def offered(headers, version):
    """List the signatures of one version."""
    tokens = [token.split(",") for token in headers["webhook-signature"].split(" ")]
    return [base64.b64decode(signature) for named, signature in tokens if named == version]


def test_a_private_key_signs_what_its_public_key_verifies():
    """`v1a` is ed25519 over id, timestamp and body with dots between; whoever has the `whpk_` alone believes it."""
    headers = outgoing.headers("evt_5c1d", REVOKED, keys=outgoing.keys([PRIVATE]), now=NOW)

    assert headers["webhook-signature"].startswith("v1a,")
    (signature,) = offered(headers, "v1a")
    PUBLIC.verify(signature, b"evt_5c1d.1767225600." + REVOKED)
    assert "whpk_" + base64.b64encode(PUBLIC.public_bytes_raw()).decode() == outgoing.public_key(PRIVATE)


def test_both_kinds_of_signature_stand_side_by_side():
    """A subscriber may go from a shared secret to a public key, and reads whichever it knows meanwhile."""
    headers = outgoing.headers("evt_5c1d", REVOKED, keys=outgoing.keys([NEW, PRIVATE]), now=time.time())

    assert (1, 1) == (len(offered(headers, "v1")), len(offered(headers, "v1a")))
    assert Webhook(NEW).verify(REVOKED, headers)


def test_a_private_key_may_carry_its_public_half():
    """What libsodium calls a secret key, 64 bytes, is the same key; with another's public half it is none."""
    whole = SEED + PUBLIC.public_bytes_raw()
    wrong = SEED + bytes(32)

    assert outgoing.public_key(PRIVATE) == outgoing.public_key("whsk_" + base64.b64encode(whole).decode())
    assert () == outgoing.keys(["whsk_" + base64.b64encode(wrong).decode()])


@pytest.mark.parametrize("secret", ["whsk_", "whsk_AAAA", "whsk_…", NEW])
def test_only_a_private_key_has_a_public_one(secret):
    """A shared secret has nothing to publish, and a mistyped key signs nothing."""
    assert outgoing.public_key(secret) is None
    assert (secret == NEW) == bool(outgoing.keys([secret]))


@given(position=st.integers(0, len(REVOKED) - 1), flip=st.integers(1, 255))
def test_our_own_reader_knows_private_keys_too(position, flip):
    """Ours is believed, whatever else is offered beside it; another body, key or version is not."""
    headers = outgoing.headers("evt_5c1d", REVOKED, keys=outgoing.keys([NEW, PRIVATE]), now=NOW)
    forged = bytearray(REVOKED)
    forged[position] ^= flip

    assert verified(headers, secrets=[PRIVATE])
    assert not verified(headers, bytes(forged), secrets=[PRIVATE])
    assert not verified(headers, secrets=["whsk_" + base64.b64encode(bytes(32)).decode()])
    renamed = headers["webhook-signature"].replace("v1a,", "v1b,")
    assert not verified({**headers, "webhook-signature": renamed}, secrets=[PRIVATE])
