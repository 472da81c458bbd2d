"""Forged Pub/Sub pushes. The token vouches for who pushes and for whom; the body is vouched for by TLS alone."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA512, HashAlgorithm

from tests.forgeries.case import Forge, Forgery, Post, refused
from tests.forgeries.desk import NOW, OTHER_APP, OTHER_AUDIENCE, Desk, door
from worker.simulator.apple_pki import open_unverified

AT = int(NOW)
GONE = object()
"""In the place of a claim: it is not there."""


def _simulated(name: str) -> Forge:
    return lambda desk, _: desk.simulated("google", name)


def _segment(part: Any) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _rs256(header: Any, claims: Any, key: RSAPrivateKey, digest: HashAlgorithm | None = None) -> str:
    unsigned = f"{_segment(header)}.{_segment(claims)}"
    return f"{unsigned}.{_segment(key.sign(unsigned.encode(), PKCS1v15(), digest or SHA256()))}"


def _bearer(genuine: Post) -> str:
    return genuine.header("Authorization").removeprefix("Bearer ")


def _with_token(genuine: Post, token: str) -> Post:
    return genuine.having(("Authorization", f"Bearer {token}"))


def _claiming(**changes: Any) -> Forge:
    """Have Google itself sign other claims: it does so for whoever asks, about himself."""

    def forge(desk: Desk, genuine: Post) -> Post:
        claims = {k: v for k, v in {**open_unverified(_bearer(genuine)), **changes}.items() if v is not GONE}
        return _with_token(genuine, _rs256({"alg": "RS256", "kid": desk.google_key_id}, claims, desk.google_key))

    return forge


def _headed(by: str = "google", digest: HashAlgorithm | None = None, **changes: Any) -> Forge:
    """Write another header over the right claims, and sign as Google, or as a stranger."""

    def forge(desk: Desk, genuine: Post) -> Post:
        header = {"alg": "RS256", "kid": desk.google_key_id, **changes}
        header = {name: value for name, value in header.items() if value is not GONE}
        key = desk.google_key if by == "google" else desk.stranger_key
        return _with_token(genuine, _rs256(header, open_unverified(_bearer(genuine)), key, digest))

    return forge


def _key_in_the_header(desk: Desk, genuine: Post) -> Post:
    numbers = desk.stranger_key.public_key().public_numbers()
    jwk = {"kty": "RSA", "n": _segment(numbers.n.to_bytes(256, "big")), "e": "AQAB"}
    return _headed("stranger", jwk=jwk)(desk, genuine)


def _twice(part: int, name: str, first: str) -> Forge:
    """Write a name twice into what is signed, so that two readers see two values."""

    def forge(desk: Desk, genuine: Post) -> Post:
        parts: list[Any] = [{"alg": "RS256", "kid": desk.google_key_id}, open_unverified(_bearer(genuine))]
        parts[part] = json.dumps(parts[part]).replace(f'"{name}"', f'"{name}": "{first}", "{name}"', 1).encode()
        return _with_token(genuine, _rs256(parts[0], parts[1], desk.google_key))

    return forge


def _authorization(text: str) -> Forge:
    """Write the header in another way, `{}` being the genuine token."""
    return lambda _, genuine: genuine.having(("Authorization", text.format(_bearer(genuine))))


def _strangers_and_genuine(desk: Desk, genuine: Post) -> Post:
    """Send two headers, of which a proxy in front may see one and we the other."""
    strange = _headed("stranger")(desk, genuine).header("Authorization")
    return genuine.having(("Authorization", strange), ("Authorization", genuine.header("Authorization")))


def _elsewhere(name: str) -> Forge:
    return lambda _, genuine: genuine.lacking("Authorization").having((name, genuine.header("Authorization")))


def _token_in_the_query(_: Desk, genuine: Post) -> Post:
    return genuine.lacking("Authorization").to(f"{genuine.path}?access_token={_bearer(genuine)}")


def _signature_of_another_token(desk: Desk, genuine: Post) -> Post:
    other = _bearer(_claiming(aud=OTHER_AUDIENCE)(desk, genuine)).split(".")
    return _with_token(genuine, ".".join([*_bearer(genuine).split(".")[:2], other[2]]))


def _saying(**changes: Any) -> Forge:
    """Say something else in the notification that the push carries."""

    def forge(_: Desk, genuine: Post) -> Post:
        outer = json.loads(genuine.body)
        said = json.loads(base64.b64decode(outer["message"]["data"]))
        said = {name: value for name, value in {**said, **changes}.items() if value is not GONE}
        return _carrying(genuine, json.dumps(said).encode())

    return forge


def _carrying(genuine: Post, data: bytes) -> Post:
    outer = json.loads(genuine.body)
    outer["message"]["data"] = base64.b64encode(data).decode()
    return genuine.saying(outer)


def _package_twice(_: Desk, genuine: Post) -> Post:
    data = base64.b64decode(json.loads(genuine.body)["message"]["data"])
    return _carrying(genuine, data.replace(b'"packageName"', b'"packageName": "com.evil.app", "packageName"', 1))


def _message_twice(_: Desk, genuine: Post) -> Post:
    return genuine.saying(genuine.body.replace(b'{"message"', b'{"message": {}, "message"', 1))


def _data_in_two_spellings(_: Desk, genuine: Post) -> Post:
    return genuine.saying(genuine.body.replace(b'"data": "', b'"data": "\\n', 1))


def _two_ids(_: Desk, genuine: Post) -> Post:
    outer = json.loads(genuine.body)
    outer["message"]["message_id"] = "4711"
    return genuine.saying(outer)


def _bare_of_another_subscription(_: Desk, genuine: Post) -> Post:
    """Push without the wrapping: then a header names the subscription."""
    data = base64.b64decode(json.loads(genuine.body)["message"]["data"])
    name = "projects/mallory-1/subscriptions/mine"
    return genuine.saying(data).having(("X-Goog-Pubsub-Subscription-Name", name))


FORGERIES: Mapping[str, Forgery] = {
    **refused(
        401,
        "wrong_algorithm",
        alg_none=_simulated("alg_none"),
        HS256_with_the_public_key=_simulated("hs256_with_the_public_key"),
        alg_none_in_other_letters=_headed(alg="nOnE"),
        RS512=_headed(digest=SHA512(), alg="RS512"),
        PS256=_headed(alg="PS256"),
        alg_in_small_letters=_headed(alg="rs256"),
        alg_that_is_a_list=_headed(alg=["RS256"]),
    ),
    **refused(
        401,
        "signature",
        another_key_under_the_known_kid=_simulated("another_key_under_the_known_kid"),
        key_of_the_forger_in_the_header=_key_in_the_header,
        SHA_1_under_RS256=_headed(digest=SHA1()),  # noqa: S303 - it must be refused
        signature_of_another_token=_signature_of_another_token,
    ),
    **refused(
        401,
        "unknown_key",
        key_of_another_JWKS=_simulated("unknown_kid"),
        kid_that_is_a_path=_headed("stranger", kid="../../../../dev/null"),
        kid_that_is_SQL=_headed("stranger", kid="x' UNION SELECT 'AAAA"),
        kid_that_is_an_address=_headed("stranger", kid="https://evil.example/jwks.json"),
        jku_of_the_forger=_headed("stranger", kid="evil", jku="https://evil.example/jwks.json"),
    ),
    **refused(
        401,
        "no_key_id",
        empty_kid=_headed(kid=""),
        kid_of_a_thousand_letters=_headed(kid="k" * 1000),
        no_kid=_headed(kid=GONE),
    ),
    **refused(
        401,
        "wrong_issuer",
        another_issuer=_simulated("another_issuer"),
        issuer_of_Firebase=_claiming(iss="https://securetoken.google.com/acme"),
        issuer_with_a_slash=_claiming(iss="https://accounts.google.com/"),
        issuer_with_userinfo=_claiming(iss="https://accounts.google.com@evil.example"),
        issuer_with_fullwidth_dots=_claiming(iss="https://accounts\uff0egoogle\uff0ecom"),
        issuer_over_plain_HTTP=_claiming(iss="http://accounts.google.com"),
        issuer_missing=_claiming(iss=GONE),
    ),
    **refused(
        401,
        "wrong_audience",
        another_audience=_simulated("another_audience"),
        audience_of_another_app=_claiming(aud=OTHER_AUDIENCE),
        a_list_of_audiences=_simulated("a_list_of_audiences"),
        audience_that_only_begins_alike=_claiming(aud="https://hooks.acme.example/webhooks/google/acme/"),
        audience_in_capital_letters=_claiming(aud="HTTPS://HOOKS.ACME.EXAMPLE/webhooks/google/acme"),
        audience_with_a_cyrillic_letter=_claiming(aud="https://hooks.\u0430cme.example/webhooks/google/acme"),
        audience_missing=_claiming(aud=GONE),
        replay_to_another_app=lambda _, genuine: genuine.to(door("google", OTHER_APP)),
    ),
    **refused(
        401,
        "wrong_account",
        another_account=_simulated("another_account"),
        account_with_a_lone_surrogate=_claiming(email="play-push\\ud800@acme-demo.iam.gserviceaccount.com"),
        account_in_capital_letters=_claiming(email="PLAY-PUSH@ACME-DEMO.IAM.GSERVICEACCOUNT.COM"),
        no_account_but_an_azp=_claiming(email=GONE),
        accounts_in_a_list=_claiming(email=["play-push@acme-demo.iam.gserviceaccount.com"]),
    ),
    **refused(
        401,
        "account_not_verified",
        email_not_verified=_simulated("email_not_verified"),
        email_verified_as_text=_simulated("email_verified_as_text"),
        email_verified_as_a_number=_claiming(email_verified=1),
        email_verified_missing=_claiming(email_verified=GONE),
    ),
    **refused(401, "expired", expired=_simulated("expired")),
    **refused(401, "issued_in_the_future", issued_tomorrow=_claiming(iat=AT + 86_400, exp=AT + 90_000)),
    **refused(401, "not_yet_valid", not_before_tomorrow=_claiming(nbf=AT + 86_400)),
    **refused(
        401,
        "wrong_lifetime",
        valid_for_a_year=_claiming(exp=AT + 365 * 86_400),
        valid_until_the_end_of_time=_claiming(exp=10**30),
        expired_before_it_was_issued=_claiming(iat=AT, exp=AT - 1),
    ),
    **refused(401, "no_times", exp_missing=_claiming(exp=GONE), exp_as_text=_claiming(exp=str(AT + 3600))),
    **refused(
        401,
        "ill_formed_token",
        exp_that_is_NaN=_claiming(exp=float("nan")),
        audience_twice=_twice(1, "aud", OTHER_AUDIENCE),
        alg_twice=_twice(0, "alg", "none"),
        kid_with_a_NUL_behind_the_known_one=_headed("stranger", kid="known\u0000"),
        critical_header=_headed(crit=["exp"]),
        payload_not_encoded=_headed(b64=False),
        header_sent_twice=_strangers_and_genuine,
        two_tokens_in_one_header=_authorization("Bearer {0}, Bearer {0}"),
        two_spaces=_authorization("Bearer  {}"),
        padding=_authorization("Bearer {}=="),
        four_segments=_authorization("Bearer {}.AAAA"),
    ),
    **refused(401, "no_bearer_token", another_scheme=_authorization("Basic {}"), no_scheme=_authorization("{}")),
    **refused(
        401,
        "no_authorization",
        no_token=_simulated("no_token"),
        token_in_the_query=_token_in_the_query,
        token_in_a_cookie=_elsewhere("Cookie"),
        token_where_a_proxy_puts_it=_elsewhere("X-Forwarded-Authorization"),
    ),
    **refused(
        403,
        "wrong_subscription",
        another_subscription=_simulated("another_subscription"),
        bare_push_of_another_subscription=_bare_of_another_subscription,
    ),
    **refused(
        403,
        "wrong_package",
        another_package=_simulated("another_package"),
        no_package=_saying(packageName=GONE),
        package_with_a_cyrillic_letter=_saying(packageName="com.\u0430cme.app"),
        package_that_is_a_list=_saying(packageName=["com.acme.app"]),
    ),
    **refused(400, "duplicate_key", package_twice=_package_twice, message_twice=_message_twice),
    **refused(400, "not_base64", data_in_two_spellings=_data_in_two_spellings),
    **refused(400, "contradicting_metadata", two_message_ids=_two_ids),
}
