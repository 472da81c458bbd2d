"""Public keys as platforms and operators write them down, and everything that only looks like them."""

import base64
import json
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from tests.worker.certificates import certificate, pem
from worker.key_formats import KeyFormatError, read_certificate, read_certificates, read_key_set

pytestmark = pytest.mark.unit


def b64url(number):
    """Write a number as JWK does."""
    return base64.urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()


@cache
def numbers(bits):
    """Make the public numbers of a key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits).public_key().public_numbers()


def jwk(bits=2048, **changes):
    """Write a key as Google publishes it, with changes; None takes a field away."""
    usual = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "1", "n": b64url(numbers(bits).n), "e": "AQAB"}
    return {name: value for name, value in (usual | changes).items() if value is not None}


def key_set(*entries):
    """Write a JWK Set."""
    return json.dumps({"keys": list(entries)}).encode()


def test_both_of_googles_formats_are_read():
    """A JWK Set and PEM certificates by kid give the same keys."""
    by_kid = json.dumps({"1": pem(certificate()).decode(), "2": pem(certificate("two", "ec")).decode()}).encode()

    assert {"1": numbers(2048).public_key()} == read_key_set(key_set(jwk()))
    assert {"1": certificate().public_key()} == read_key_set(by_kid)


def test_use_and_algorithm_may_be_left_out():
    """Both fields are optional in a JWK (RFC 7517, 4.2 and 4.4)."""
    assert ["1"] == list(read_key_set(key_set(jwk(use=None, alg=None))))


@pytest.mark.parametrize(
    "changes",
    [
        {"use": "enc"},
        {"alg": "RS512"},
        {"kty": "EC"},
        {"kid": None},
        {"kid": 7},
        {"n": None},
        {"n": "!"},
        {"n": "\ud800"},
        {"n": b64url(2**9000 + 1)},
        {"bits": 1024},
        {"e": "AQ"},
        {"e": "Ag"},
        {"e": b64url(2**33 + 1)},
    ],
)
def test_a_key_that_cannot_sign_for_us_is_passed_over(changes):
    """Weak, costly, foreign or ill-formed entries take nothing from the good ones beside them."""
    bad = jwk(**{"kid": "2"} | changes)

    assert ["1"] == list(read_key_set(key_set("key", None, bad, jwk())))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "no RSA signing key"),
        (b'{"keys":[]}', "no RSA signing key"),
        (b'{"keys":{}}', "at most 64"),
        (b'{"1":7}', "neither a JWK Set nor certificates"),
        (b'{"1":"pem"}', "not a PEM certificate"),
        (b'{"1":"\\ud800"}', "not a PEM certificate"),
        (key_set(*[None] * 65), "at most 64"),
        (json.dumps(dict.fromkeys(map(str, range(65)), "")).encode(), "more than 64"),
    ],
)
def test_what_is_no_key_set_says_why(body, message):
    """A document without a usable key is an error with its reason, never an empty trust."""
    with pytest.raises(KeyFormatError, match=message):
        read_key_set(body)


def test_a_set_of_certificates_that_cannot_sign_for_us_is_none():
    """Certificates of other keys than RSA give no key set."""
    with pytest.raises(KeyFormatError, match="no RSA signing key"):
        read_key_set(json.dumps({"1": pem(certificate("two", "ec")).decode()}).encode())


def test_a_certificate_with_a_key_nobody_knows_is_passed_over():
    """A curve that does not exist takes nothing from the good keys beside it."""
    der = certificate("two", "ec").public_bytes(Encoding.DER)
    strange = der.replace(bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d03017f"))
    by_kid = {"1": pem(certificate()).decode(), "2": pem(x509.load_der_x509_certificate(strange)).decode()}

    assert ["1"] == list(read_key_set(json.dumps(by_kid).encode()))


@pytest.mark.parametrize("count", [0, 2])
def test_a_signing_certificate_is_exactly_one(count):
    """Two certificates leave open which one signs."""
    with pytest.raises(KeyFormatError):
        read_certificate(pem(*[certificate()] * count))


@pytest.mark.parametrize("body", [b"", b"\x30\x82"])
def test_bytes_that_are_no_root_say_so(body):
    """Neither PEM nor DER is an operator's mistake."""
    with pytest.raises(KeyFormatError, match="neither a PEM nor a DER"):
        read_certificates(body)


def test_a_certificate_of_a_version_that_does_not_exist_says_so():
    """A version of 79 is a mistake in the file like any other."""
    # Fuzzing found it: `cryptography` raises `InvalidVersion`, no ValueError, so that an operator got a traceback and a
    # platform was asked to come again for what would never get better.
    der = certificate().public_bytes(Encoding.DER).replace(bytes.fromhex("a003020102"), bytes.fromhex("a00302014e"), 1)
    body = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"

    for read, given in ((read_certificate, body), (read_certificates, body), (read_certificates, der)):
        with pytest.raises(KeyFormatError, match="PEM"):
            read(given)
