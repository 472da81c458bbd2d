"""A push is believed only from the one service account, for the one audience, in its own time."""

import base64
import hmac
import json
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.errors import Unauthentic
from handlers.oidc import LIFETIME_SECONDS_MAX, SKEW_SECONDS, authenticate
from schemas.received import KeyWanted

pytestmark = pytest.mark.unit

AUDIENCE = "https://hooks.acme.example/webhooks/google/acme"
ACCOUNT = "push@acme.iam.gserviceaccount.com"
JWKS = "https://www.googleapis.com/oauth2/v3/certs"
KID = "6f7254101f56e41cf35c9926de84a2d552b4c6f1"
NOW = 1_794_000_000


@cache
def signing_key(bits=2048):
    """Make one key per size: making them is what takes long here."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def encoded(part: Any) -> str:
    """Write a part of a token, JSON or bytes."""
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims(**changes: Any) -> dict[str, Any]:
    """Give what Pub/Sub claims, with changes; a change to None takes the claim away."""
    usual = {
        "iss": "https://accounts.google.com",
        "aud": AUDIENCE,
        "azp": "113774264463038321964",
        "sub": "113774264463038321964",
        "email": ACCOUNT,
        "email_verified": True,
        "iat": NOW - 10,
        "exp": NOW + 3_590,
    }
    return {name: value for name, value in (usual | changes).items() if value is not None}


def header(**changes: Any) -> dict[str, Any]:
    """Give the header that Google signs, with changes."""
    usual = {"alg": "RS256", "kid": KID, "typ": "JWT"}
    return {name: value for name, value in (usual | changes).items() if value is not None}


def token(head: Any = None, body: Any = None, *, key: Any = None, digest: Any = None) -> str:
    """Sign as the push account does, or as told."""
    unsigned = f"{encoded(head or header())}.{encoded(body or claims())}"
    signature = (key or signing_key()).sign(unsigned.encode(), PKCS1v15(), digest or SHA256())
    return f"{unsigned}.{encoded(signature)}"


def check(authorization, *, keys=None, now=NOW, audience=AUDIENCE, email=ACCOUNT):
    """Check with the right key and expectations, or as told."""
    if keys is None:
        keys = {KID: signing_key().public_key()}
    return authenticate(authorization, audience=audience, email=email, source=JWKS, keys=keys, now=now)


def refusal(authorization, **how) -> str:
    """Give the reason of the refusal that must come."""
    with pytest.raises(Unauthentic) as caught:
        check(authorization, **how)
    return caught.value.reason


def test_the_subscriptions_own_token_is_believed():
    """A token of the right account for the right audience, signed by a known key, needs nothing more."""
    assert None is check(f"Bearer {token()}")


@pytest.mark.parametrize("issuer", ["https://accounts.google.com", "accounts.google.com"])
def test_both_spellings_of_the_issuer_are_googles(issuer):
    """Google writes its issuer with and without the scheme."""
    assert None is check(f"Bearer {token(body=claims(iss=issuer))}")


def test_the_scheme_is_matched_as_http_does():
    """An authentication scheme is case-insensitive (RFC 9110, 11.1)."""
    assert None is check(f"bearer {token()}")


@pytest.mark.parametrize(
    ("authorization", "reason"),
    [
        (None, "no_authorization"),
        ("", "no_authorization"),
        ("Bearer", "ill_formed_token"),
        ("Basic cHVzaDpwdXNo", "no_bearer_token"),
        ("Bearer not.a-token", "ill_formed_token"),
        ("Bearer \udcff.\udcff.\udcff", "no_bearer_token"),
        ("Bearer " + "a" * 9_000 + ".b.c", "ill_formed_token"),
    ],
)
def test_a_push_without_a_token_is_nobodys(authorization, reason):
    """What carries no well-formed bearer token is refused before anything is decoded."""
    assert reason == refusal(authorization)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "https://accounts.google.com.mallory.example"}, "wrong_issuer"),
        ({"iss": ["accounts.google.com"]}, "wrong_issuer"),
        ({"iss": None}, "wrong_issuer"),
        ({"aud": AUDIENCE + "/"}, "wrong_audience"),
        ({"aud": AUDIENCE.upper()}, "wrong_audience"),
        ({"aud": [AUDIENCE]}, "wrong_audience"),
        ({"aud": None}, "wrong_audience"),
        ({"email": "mallory@mallory-1.iam.gserviceaccount.com"}, "wrong_account"),
        ({"email": None}, "wrong_account"),
        ({"email_verified": False}, "account_not_verified"),
        ({"email_verified": "true"}, "account_not_verified"),
        ({"email_verified": 1}, "account_not_verified"),
        ({"email_verified": None}, "account_not_verified"),
        ({"exp": None}, "no_times"),
        ({"iat": None}, "no_times"),
        ({"exp": str(NOW + 60)}, "no_times"),
        ({"exp": NOW + 60.5}, "no_times"),
        ({"iat": True}, "no_times"),
        ({"exp": NOW - 10}, "wrong_lifetime"),
        ({"exp": NOW - 10 + LIFETIME_SECONDS_MAX + 1}, "wrong_lifetime"),
        ({"exp": 10**40}, "wrong_lifetime"),
        ({"nbf": "now"}, "not_yet_valid"),
        ({"nbf": NOW + SKEW_SECONDS + 1}, "not_yet_valid"),
    ],
)
def test_a_claim_that_is_missing_or_different_refuses(changes, reason):
    """Every claim must hold, with its own type, and is checked without asking for a key."""
    assert reason == refusal(f"Bearer {token(body=claims(**changes))}", keys={})


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (header(alg="none"), "wrong_algorithm"),
        (header(alg="HS256"), "wrong_algorithm"),
        (header(alg="RS512"), "wrong_algorithm"),
        (header(alg="rs256"), "wrong_algorithm"),
        (header(alg=None), "wrong_algorithm"),
        (header(alg=["RS256"]), "wrong_algorithm"),
        (header(kid=None), "no_key_id"),
        (header(kid=""), "no_key_id"),
        (header(kid=7), "ill_formed_token"),
        (header(kid="k" * 257), "no_key_id"),
        (header(crit=["exp"]), "ill_formed_token"),
        ([], "ill_formed_token"),
    ],
)
def test_the_token_does_not_choose_how_it_is_checked(head, reason):
    """Only RS256 with a named key is spoken here, whatever the header proposes (RFC 8725, 3.1)."""
    unsigned = f"{encoded(head)}.{encoded(claims())}"

    assert reason == refusal(f"Bearer {unsigned}.{encoded(b'signature')}", keys={})


def test_claims_with_two_meanings_have_none():
    """A claim that is there twice is no claim: another parser may read the other one."""
    doubled = f'{{"email":"mallory@example.com",{json.dumps(claims())[1:]}'.encode()

    assert "ill_formed_token" == refusal(f"Bearer {token(body=doubled)}")


def test_a_token_lives_until_just_before_its_end_plus_the_tolerance():
    """Accepted at the edge of the clock tolerance after `exp`, refused at the next moment."""
    bearer = f"Bearer {token()}"
    end = NOW + 3_590 + SKEW_SECONDS

    assert None is check(bearer, now=end - 0.001)
    assert "expired" == refusal(bearer, now=end)


def test_a_token_is_born_at_its_beginning_less_the_tolerance():
    """Accepted at the edge of the clock tolerance before `iat`, refused a moment earlier."""
    bearer = f"Bearer {token()}"
    beginning = NOW - 10 - SKEW_SECONDS

    assert None is check(bearer, now=beginning)
    assert "issued_in_the_future" == refusal(bearer, now=beginning - 0.001)


def test_not_before_holds_where_it_is_said():
    """`nbf` is optional, and within the tolerance it is met."""
    assert None is check(f"Bearer {token(body=claims(nbf=NOW + SKEW_SECONDS))}")


def test_an_unknown_key_is_wanted_from_the_configured_source():
    """A kid that is not here is asked for by name, never at an address that the token names."""
    bearer = f"Bearer {token(header(jku='https://mallory.example/jwks', x5u='https://mallory.example/x'))}"

    assert KeyWanted(source=JWKS, name=KID, format="jwks") == check(bearer, keys={})


def test_an_empty_expectation_is_met_by_nothing():
    """An audience or account that nobody configured is not matched by an empty claim."""
    assert "wrong_audience" == refusal(f"Bearer {token(body=claims(aud=''))}", audience="")
    assert "wrong_account" == refusal(f"Bearer {token(body=claims(email=''))}", email="")


def test_another_key_under_the_known_kid_proves_nothing():
    """The signature must be by the key that Google published under that kid."""
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    assert "signature" == refusal(f"Bearer {token(key=stranger)}")


def test_another_digest_proves_nothing():
    """RS256 is SHA-256; a signature over SHA-1 by the right key is not one."""
    assert "signature" == refusal(f"Bearer {token(digest=SHA1())}")  # noqa: S303 - the weakness under test


def test_a_public_key_is_no_shared_secret():
    """A token signed by HMAC with the published key as its secret is refused (RFC 8725, 2.1)."""
    secret = signing_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for alg, reason in (("HS256", "wrong_algorithm"), ("RS256", "signature")):
        unsigned = f"{encoded(header(alg=alg))}.{encoded(claims())}"
        mac = hmac.digest(secret, unsigned.encode(), "sha256")

        assert reason == refusal(f"Bearer {unsigned}.{encoded(mac)}")


def test_a_key_of_another_kind_or_of_little_strength_is_not_used():
    """Only RSA keys from 2048 bits up are checked with."""
    weak = signing_key(1024)
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()

    assert "weak_key" == refusal(f"Bearer {token(key=weak)}", keys={KID: weak.public_key()})
    assert "unsuitable_key" == refusal(f"Bearer {token()}", keys={KID: curve})


@settings(deadline=None)  # the first example makes the key
@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_every_bit_of_the_token_counts(position, bit):
    """A token with any one bit flipped is refused, or wants a key that nobody has."""
    good = token()
    raw = bytearray(good.encode())
    raw[position % len(raw)] ^= 1 << bit
    try:
        answer = check("Bearer " + raw.decode("latin-1"))
    except Unauthentic:
        return

    assert isinstance(answer, KeyWanted)


@settings(deadline=None)  # the first example makes the key
@given(st.dictionaries(st.sampled_from(sorted(claims())), st.none() | st.booleans() | st.integers() | st.text()))
def test_no_claims_break_the_check(changed):
    """Whatever is claimed, the answer is yes, no, or a wanted key."""
    unsigned = f"{encoded(header())}.{encoded(claims() | changed)}"
    try:
        answer = check(f"Bearer {unsigned}.{encoded(b's')}", keys={})
    except Unauthentic:
        return

    assert isinstance(answer, KeyWanted)
