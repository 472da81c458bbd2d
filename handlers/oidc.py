"""An OpenID Connect bearer token proves which service account pushed a request.

The rules are those of cloud.google.com/pubsub/docs/authenticate-push-subscriptions and of RFC 7519, with
nothing optional: Google signs a token for whatever audience any Google account asks for, so neither the
audience nor the account alone says who speaks. The token does not cover the body; TLS does.
"""

import hmac
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from handlers import strict_json
from handlers.errors import Malformed, Unauthentic
from handlers.jws import Jws, split, verify_rs256
from schemas.received import Keys, KeyWanted

__all__ = ["authenticate"]

ISSUERS = frozenset({"https://accounts.google.com", "accounts.google.com"})
"""Both spellings are Google's: developers.google.com/identity/openid-connect/openid-connect, `iss`."""
TOKEN_LENGTH_MAX = 8192
KID_LENGTH_MAX = 256
SKEW_SECONDS = 60
LIFETIME_SECONDS_MAX = 86_400
"""Google's tokens live for an hour; one made for longer than a day is not Google's."""


def authenticate(
    authorization: str | None, *, audience: str, email: str, source: str, keys: Keys, now: float
) -> KeyWanted | None:
    """Prove that `email` made this request for `audience`, or name the key that is missing to decide.

    Everything the token claims is compared before a key is wanted: a stranger's token never causes a fetch.

    Args:
        authorization: the header as it came.
        audience: the one `aud` that is right.
        email: the service account of the push subscription.
        source: where the signer's key set is.
        keys: the key set as far as it is known, by `kid`.
        now: Unix seconds.

    Raises:
        Unauthentic: anything at all is missing or different.
    """
    jws = _bearer(authorization)
    kid = _key_id(jws.header)
    claims = _object(jws.payload)
    _check_claims(claims, audience=audience, email=email)
    _check_times(claims, now=now)
    key = keys.get(kid)
    if key is None:
        return KeyWanted(source=source, name=kid, format="jwks")
    if not isinstance(key, RSAPublicKey):
        raise Unauthentic("unsuitable_key")
    verify_rs256(jws, key)
    return None


def _bearer(authorization: str | None) -> Jws:
    """Take the token out of `Bearer …` (RFC 6750, section 2.1)."""
    if not authorization:
        raise Unauthentic("no_authorization")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.isascii():
        raise Unauthentic("no_bearer_token")
    try:
        return split(token, TOKEN_LENGTH_MAX)
    except Malformed:
        raise Unauthentic("ill_formed_token") from None


def _object(raw: bytes) -> dict[str, Any]:
    try:
        return strict_json.parse_object(raw)
    except Malformed:
        raise Unauthentic("ill_formed_token") from None


def _key_id(header: Mapping[str, Any]) -> str:
    """Name the key to check with; the token chooses the key, never the algorithm (RFC 8725, section 3.1)."""
    if header.get("alg") != "RS256":
        raise Unauthentic("wrong_algorithm")
    kid = header.get("kid")
    if not isinstance(kid, str) or not 0 < len(kid) <= KID_LENGTH_MAX:
        raise Unauthentic("no_key_id")
    return kid


def _check_claims(claims: dict[str, Any], *, audience: str, email: str) -> None:
    """Refuse whatever was issued by or for anybody else. An empty expectation is met by nothing."""
    issuer = claims.get("iss")
    if not isinstance(issuer, str) or issuer not in ISSUERS:
        raise Unauthentic("wrong_issuer")
    if not _same(claims.get("aud"), audience):
        raise Unauthentic("wrong_audience")
    if not _same(claims.get("email"), email):
        raise Unauthentic("wrong_account")
    if claims.get("email_verified") is not True:
        raise Unauthentic("account_not_verified")


def _check_times(claims: dict[str, Any], *, now: float) -> None:
    """Refuse a token outside its life, or with a life that Google does not give."""
    expires, issued = claims.get("exp"), claims.get("iat")
    if type(expires) is not int or type(issued) is not int:
        raise Unauthentic("no_times")
    if not 0 < expires - issued <= LIFETIME_SECONDS_MAX:
        raise Unauthentic("wrong_lifetime")
    if now >= expires + SKEW_SECONDS:
        raise Unauthentic("expired")
    if issued > now + SKEW_SECONDS:
        raise Unauthentic("issued_in_the_future")
    _check_not_before(claims, now=now)


def _check_not_before(claims: dict[str, Any], *, now: float) -> None:
    """Google sends no `nbf`; where there is one it holds."""
    if "nbf" not in claims:
        return
    begins = claims["nbf"]
    if type(begins) is not int or begins > now + SKEW_SECONDS:
        raise Unauthentic("not_yet_valid")


def _same(told: object, expected: str) -> bool:
    """Compare in constant time. A list of audiences is not the audience."""
    if not isinstance(told, str) or not expected:
        return False
    return hmac.compare_digest(told.encode(), expected.encode())
