"""Forged App Store notifications.

Chains and tokens with one thing wrong are those of `tests/handlers`, where Apple's own library rejects them too.
"""

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tests.forgeries.case import Forge, Forgery, Post, refused
from tests.forgeries.desk import MONTH_SECONDS, NOW, OTHER_APP, Desk, door
from tests.handlers import apple_chains as chains
from tests.handlers.apple_bad_chains import BAD_CHAINS
from tests.handlers.apple_bad_tokens import BAD_PAYLOADS, BAD_TOKENS, STRICTER
from tests.handlers.apple_questions import Asked, by, carrying, signing
from worker.simulator import apple_pki as pki

_KNOWN: Mapping[str, Callable[[], Asked]] = {**BAD_CHAINS, **BAD_TOKENS, **BAD_PAYLOADS, **STRICTER}

_REUSED: Mapping[tuple[int, str], tuple[str, ...]] = {
    (401, "algorithm"): (
        "alg none, no signature",
        "HMAC with the public key",
        "alg 'None'",
        "alg 'es256'",
        "alg 'ES384'",
        "alg 256",
        "no alg",
    ),
    (401, "untrusted_root"): ("a stranger's chain", "third certificate of a stranger", "upside down"),
    (401, "authority_key_identifier"): (
        "a stranger's chain with the trusted root appended",
        "a stranger's leaf below the trusted intermediate",
    ),
    (401, "chain_signature"): ("leaf with a broken signature",),
    (401, "signature"): (
        "the trusted chain around a stranger's signature",
        "transaction by a stranger with the trusted chain",
        "another header",
        "signature of zeros",
        "signature as DER",
        "halves exchanged",
    ),
    (401, "marker_missing"): (
        "leaf without its marker",
        "leaf with another marker",
        "leaf with the intermediate's marker",
        "intermediate without its marker",
        "markers exchanged",
    ),
    (401, "certificate_not_valid_then"): (
        "leaf expired",
        "leaf not yet valid",
        "intermediate expired",
        "signed before the leaf was valid",
        "transaction signed before the leaf was valid",
    ),
    (401, "signed_in_the_future"): ("signed six minutes from now", "transaction signed six minutes from now"),
    (401, "x5c_length"): ("no certificate", "two certificates", "four certificates"),
    (401, "leaf_is_an_authority"): ("leaf that is an authority",),
    (401, "not_an_authority"): ("intermediate that is no authority",),
    (401, "certificate_extension"): ("leaf with a critical extension", "leaf that is a proxy"),
    (401, "chain_names"): ("leaf issued by the root",),
    (400, "x5c_missing"): ("null instead of a list", "a text instead of a list"),
    (400, "unsupported_jws_header"): ("critical extension", "key id that is no text"),
    (400, "duplicate_key"): ("the same key twice in the payload",),
    (403, "bundle_id"): ("another bundle", "the bundle in other letters", "two apps in one notification"),
    (403, "environment"): ("the sandbox", "Xcode", "two environments in one notification"),
    (403, "app_apple_id"): ("another app id",),
    (403, "no_app_named"): ("no app at all",),
    (403, "nested_bundle_id"): ("transaction of another bundle", "transaction without a bundle"),
    (403, "nested_environment"): ("transaction of the sandbox", "renewal of the sandbox"),
}
"""Status and reason → the names that the forgeries have in `tests/handlers`."""


def _asked(ask: Callable[[], Asked]) -> Forge:
    """Send what was asked of the verifiers in the place of what was signed."""
    return lambda _desk, genuine: genuine.saying(chains.body(ask().token))


def _reused() -> Iterator[tuple[str, Forgery]]:
    for (status, reason), names in _REUSED.items():
        for name in names:
            yield name, Forgery(status, reason, _asked(_KNOWN[name]))


def _token(genuine: Post) -> list[str]:
    token: str = json.loads(genuine.body)["signedPayload"]
    return token.split(".")


def _of_parts(genuine: Post, *parts: str) -> Post:
    return genuine.saying(chains.body(".".join(parts)))


def _of_another_notification(_: Desk, genuine: Post) -> Post:
    """Take a genuine transaction out of another genuine notification, and leave the outer signature as it was."""
    head, said, signature = _token(genuine)
    payload = pki.open_unverified(f"{head}.{said}")
    payload["data"]["signedTransactionInfo"] = chains.good().sign(chains.transaction(transactionId="2000000911111111"))
    return _of_parts(genuine, head, pki.segment(payload), signature)


def _signature_of_another_notification(_: Desk, genuine: Post) -> Post:
    head, said, _signature = _token(genuine)
    return _of_parts(genuine, head, said, chains.good().sign(chains.payload("TEST")).split(".")[2])


def _stranger_says(**header: Any) -> Forge:
    """Sign as a stranger under the genuine chain, and tell the reader in the header where to find the key."""
    signer = chains.stranger().sending(chains.good().x5c)
    return _asked(lambda: Asked(signer.sign(chains.refund(), **header), chains.good().root))


def _own_key() -> dict[str, str]:
    numbers = chains.ec_key("stranger leaf", "secp256r1").public_key().public_numbers()
    x, y = (base64.urlsafe_b64encode(n.to_bytes(32, "big")).rstrip(b"=").decode() for n in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y}


def _algorithm_twice(_: Desk, genuine: Post) -> Post:
    """Show `none` to a reader that takes the first of two, under a signature that is good."""
    _head, said, signature = _token(genuine)
    twice = json.dumps(chains.good().header()).replace('{"alg"', '{"alg": "none", "alg"', 1).encode()
    return _of_parts(genuine, base64.urlsafe_b64encode(twice).rstrip(b"=").decode(), said, signature)


def _named(bundle_id: str) -> Forge:
    return _asked(lambda: by(chains.good(), chains.payload(data=chains.data(bundleId=bundle_id))))


def _second_spelling(_: Desk, genuine: Post) -> Post:
    """Set a bit that encodes nothing: the same signature under another text would be another body."""
    head, said, signature = _token(genuine)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return _of_parts(genuine, head, said, signature[:-1] + letters[letters.index(signature[-1]) + 1])


def _envelope_with_both(_: Desk, genuine: Post) -> Post:
    """Show one reader a stranger's notification and the other the genuine one."""
    strange = chains.body(chains.stranger().sign(chains.payload("TEST")))
    return genuine.saying(strange[:-1] + b"," + genuine.body[1:])


def _serialized_as_json(_: Desk, genuine: Post) -> Post:
    """Write the JWS in its other serialization, which allows unprotected headers (RFC 7515, 7.2)."""
    protected, payload, signature = _token(genuine)
    return genuine.saying({"signedPayload": {"protected": protected, "payload": payload, "signature": signature}})


def _months_old() -> Asked:
    """Sign with the key of an old leaf that leaked, at a time when it was valid."""
    at_ms = int(NOW - MONTH_SECONDS - 1) * 1000
    return by(chains.good(), chains.payload(signedDate=at_ms))


FORGERIES: Mapping[str, Forgery] = {
    **dict(_reused()),
    **refused(
        401,
        "signature",
        nested_JWS_of_another_notification=_of_another_notification,
        signature_of_another_notification=_signature_of_another_notification,
        kid_that_is_a_path=_stranger_says(kid="../../../../dev/null"),
        kid_that_is_SQL=_stranger_says(kid="' UNION SELECT 'c2VjcmV0' --"),
        jwk_of_the_forger_in_the_header=_stranger_says(jwk=_own_key()),
        jku_and_x5u_of_the_forger=_stranger_says(jku="https://evil.example/k", x5u="https://evil.example/c"),
    ),
    **refused(
        400,
        "unexpected_payload_shape",
        # Every device holds such a token of each of its purchases, signed by Apple under the same chain.
        a_transaction_as_the_device_has_it=_asked(lambda: by(chains.good(), chains.transaction())),
        a_renewal_as_the_device_has_it=_asked(lambda: by(chains.good(), chains.renewal())),
    ),
    **refused(
        401,
        "authority_key_identifier",
        nested_JWS_by_a_foreign_chain_with_the_real_root=_asked(
            lambda: carrying(
                signedTransactionInfo=chains.stranger()
                .sending([*chains.stranger().x5c[:2], chains.good().x5c[2]])
                .sign(chains.transaction())
            )
        ),
    ),
    **refused(400, "x5c_missing", x5u_instead_of_a_chain=_stranger_says(x5c=None, x5u="https://evil.example/c")),
    **refused(400, "duplicate_key", alg_twice=_algorithm_twice, signedPayload_twice=_envelope_with_both),
    **refused(400, "not_a_number", a_payload_with_NaN=_asked(lambda: signing(b'{"signedDate": NaN}'))),
    **refused(400, "not_base64url", second_spelling_of_the_signature=_second_spelling),
    **refused(400, "no_signed_payload", JWS_serialized_as_JSON=_serialized_as_json),
    **refused(
        400,
        "not_json",
        something_behind_the_body=lambda _, genuine: genuine.saying(genuine.body + b"{}"),
    ),
    **refused(401, "signed_too_long_ago", signed_before_the_age_that_is_allowed=_asked(_months_old)),
    **refused(
        403,
        "bundle_id",
        bundle_with_a_cyrillic_letter=_named("com.\u0430cme.app"),
        bundle_with_an_invisible_space=_named("com.acme.app\u200b"),
        bundle_that_only_begins_alike=_named("com.acme.app.evil"),
        replay_to_another_app=lambda _, genuine: genuine.to(door("apple", OTHER_APP)),
    ),
}
