"""Compact JWS: one token text for one meaning. Real keys and signatures throughout."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st

from handlers import jws
from handlers.errors import Malformed, Unauthentic
from tests.handlers.apple_chains import ec_key, rsa_key
from worker.simulator import apple_pki as pki

pytestmark = pytest.mark.unit

P256 = ec_key("jws", "secp256r1")
TOKEN = pki.sign_es256({"alg": "ES256"}, {"refunded": "annual plan"}, P256)
LONG = 10_000


def segment(raw: bytes) -> str:
    """Write one part of a token."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def rs256(key: rsa.RSAPrivateKey) -> str:
    """Sign an empty token."""
    signing_input = f"{segment(b'{}')}.{segment(b'{}')}"
    return f"{signing_input}.{segment(key.sign(signing_input.encode(), padding.PKCS1v15(), SHA256()))}"


def test_a_token_is_taken_apart_into_what_was_signed():
    """Header and payload come back decoded, and the signing input is the text that was signed."""
    parts = jws.split(TOKEN, LONG)

    assert {"alg": "ES256"} == parts.header
    assert {"refunded": "annual plan"} == json.loads(parts.payload)
    assert TOKEN.rpartition(".")[0].encode() == parts.signing_input
    assert 64 == len(parts.signature)


def test_length_is_limited_to_the_character():
    """A token of the greatest length passes, one character more does not."""
    jws.split(TOKEN, len(TOKEN))

    with pytest.raises(Malformed, match="token_too_long"):
        jws.split(TOKEN, len(TOKEN) - 1)


@pytest.mark.parametrize("token", ["", "e30", "e30.e30", "e30.e30.e30.e30", "e30,e30,e30"])
def test_a_token_has_three_segments(token):
    """Anything but three segments is no compact JWS."""
    with pytest.raises(Malformed, match="not_a_compact_jws"):
        jws.split(token, LONG)


@pytest.mark.parametrize(
    "text",
    ["a", "YQ=", "YQ==", "Y=QA", "Y Q", "YQ\n", "Y+Q/", "YR", "Y§", "YQ\x00", "\u0661\u0661", "\ud800A"],
)
def test_base64url_has_one_spelling(text):
    """Padding, white space, the other alphabet, other digits and unused bits that are set are all refused."""
    with pytest.raises(Malformed, match="not_base64url"):
        jws.decode(text)


@given(st.binary(max_size=200))
def test_what_was_encoded_decodes(raw):
    """Every byte string has a segment, and comes back from it."""
    assert raw == jws.decode(segment(raw))


@given(st.text(max_size=40) | st.text(alphabet="AQgwZ8-_+/=\n\x00", max_size=9))
def test_no_two_texts_decode_to_the_same_bytes(text):
    """A text is refused, or it is the one spelling of its bytes."""
    try:
        raw = jws.decode(text)
    except Malformed:
        return

    assert text == segment(raw)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"[]", "not_an_object"),
        (b"{", "not_json"),
        (b'{"alg":"ES256","alg":"none"}', "duplicate_key"),
        (b'{"alg":"ES256","\\u0061lg":"none"}', "duplicate_key"),
        (b'{"alg":"ES256","crit":["exp"]}', "unsupported_jws_header"),
        (b'{"alg":"ES256","crit":[]}', "unsupported_jws_header"),
        (b'{"alg":"ES256","b64":false}', "unsupported_jws_header"),
        (b'{"alg":"ES256","kid":7}', "unsupported_jws_header"),
        (b'{"alg":"ES256\xff"}', "not_utf8"),
    ],
)
def test_a_header_has_one_meaning(header, reason):
    """A header that two readers could read differently, or that asks for extensions, is refused."""
    with pytest.raises(Malformed, match=reason):
        jws.split(f"{segment(header)}.e30.AA", LONG)


def test_es256_accepts_its_signature():
    """A signature by the key is accepted."""
    jws.verify_es256(jws.split(TOKEN, LONG), P256.public_key())


def test_es256_refuses_another_key():
    """A signature by another key is refused."""
    other = ec_key("another jws", "secp256r1").public_key()

    with pytest.raises(Unauthentic, match="signature"):
        jws.verify_es256(jws.split(TOKEN, LONG), other)


def test_es256_means_p256():
    """A key of another curve is refused, whatever it signed (RFC 7518, 3.4)."""
    with pytest.raises(Unauthentic, match="signature"):
        jws.verify_es256(jws.split(TOKEN, LONG), ec_key("jws").public_key())


@pytest.mark.parametrize("signature", [b"", b"\0" * 64, b"\xff" * 64, b"\1" * 63, b"\1" * 65])
def test_es256_refuses_impossible_signatures(signature):
    """Nothing, zeros, numbers beyond the curve's order and other lengths are refused and break nothing."""
    parts = jws.split(f"{TOKEN.rpartition('.')[0]}.{segment(signature)}", LONG)

    with pytest.raises(Unauthentic, match="signature"):
        jws.verify_es256(parts, P256.public_key())


def test_es256_refuses_der():
    """The DER form of the same signature is another text, and refused."""
    der = P256.sign(jws.split(TOKEN, LONG).signing_input, ec.ECDSA(SHA256()))

    with pytest.raises(Unauthentic, match="signature"):
        jws.verify_es256(jws.split(f"{TOKEN.rpartition('.')[0]}.{segment(der)}", LONG), P256.public_key())


def test_rs256_accepts_its_signature_and_no_other():
    """A signature by the key is accepted, one by another key refused."""
    parts = jws.split(rs256(rsa_key("jws")), LONG)

    jws.verify_rs256(parts, rsa_key("jws").public_key())

    with pytest.raises(Unauthentic, match="signature"):
        jws.verify_rs256(parts, rsa_key("another jws").public_key())


def test_rs256_needs_2048_bits():
    """A short key is refused even where its signature is right (RFC 7518, 3.3)."""
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - too short on purpose

    with pytest.raises(Unauthentic, match="weak_key"):
        jws.verify_rs256(jws.split(rs256(short), LONG), short.public_key())
