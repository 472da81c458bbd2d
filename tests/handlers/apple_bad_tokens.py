"""Payloads and tokens with one thing wrong, each of which Apple's library rejects; and what only we reject."""

import base64
import json
from collections.abc import Callable
from functools import partial
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA512

from tests.handlers import apple_chains as chains
from tests.handlers.apple_chains import SIGNED_AT, good, stranger
from tests.handlers.apple_questions import (
    DAY,
    Asked,
    app_transaction,
    by,
    carrying,
    rescinded,
    sent_as,
    signing,
    with_extension,
)
from worker.simulator import apple_pki as pki

BAD_PAYLOADS: dict[str, Callable[[], Asked]] = {
    "another bundle": lambda: by(good(), chains.payload(data=chains.data(bundleId="com.evil.app"))),
    "no bundle": lambda: by(good(), chains.payload(data=chains.data(bundleId=None))),
    "the bundle in other letters": lambda: by(good(), chains.payload(data=chains.data(bundleId="com.Acme.app"))),
    "another app id": lambda: by(good(), chains.payload(data=chains.data(appAppleId=987654321))),
    "no app id in production": lambda: by(good(), chains.payload(data=chains.data(appAppleId=None))),
    "the sandbox": lambda: by(good(), chains.payload(data=chains.data(environment="Sandbox"))),
    "production, where the sandbox is wanted": lambda: Asked(
        good().sign(chains.payload("TEST")), good().root, "Sandbox"
    ),
    "Xcode": lambda: by(good(), chains.payload(data=chains.data(environment="Xcode"))),
    "an unheard-of environment": lambda: by(good(), chains.payload(data=chains.data(environment="Staging"))),
    "no environment": lambda: by(good(), chains.payload(data=chains.data(environment=None))),
    "no app at all": lambda: by(good(), chains.payload(data=None)),
    "seats, and no app": lambda: by(
        good(), chains.payload("UNCLAIM_SEATS", data=None, unclaimInfo={"unclaimSeatIds": []})
    ),
    "data that is a list": lambda: by(good(), chains.payload(data=[chains.data()])),
    "data that is a text": lambda: by(good(), chains.payload(data="data")),
    "another bundle in a summary": lambda: by(
        good(), chains.payload(data=None, summary=chains.data(bundleId="com.evil.app"))
    ),
    "a sandbox token in production": lambda: by(
        good(),
        chains.payload(data=None, externalPurchaseToken={**chains.data(), "externalPurchaseId": "SANDBOX_b2158121"}),
    ),
    "another bundle in app data": lambda: by(
        good(), chains.payload(data=None, appData=chains.data(bundleId="com.evil.app"))
    ),
    "an app transaction of another app": lambda: by(good(), rescinded(app_transaction(bundleId="com.evil.app"))),
    "an app transaction of the sandbox": lambda: by(good(), rescinded(app_transaction(receiptType="Sandbox"))),
    "an app transaction of another number": lambda: by(good(), rescinded(app_transaction(appAppleId=1))),
    "an app transaction by a stranger": lambda: by(good(), rescinded(app_transaction(), stranger())),
    "signed before the leaf was valid": lambda: by(good(), chains.payload(signedDate=(SIGNED_AT - 500 * DAY) * 1000)),
    "signed after the leaf was valid": lambda: by(good(), chains.payload(signedDate=(SIGNED_AT + 500 * DAY) * 1000)),
    "signed in 1970": lambda: by(good(), chains.payload(signedDate=0)),
    "signed before 1970": lambda: by(good(), chains.payload(signedDate=-SIGNED_AT * 1000)),
    "signed never": lambda: by(good(), chains.payload(signedDate="yesterday")),
    "signed at the end of time": lambda: by(good(), chains.payload(signedDate=10**30)),
    "past a JWT expiry": lambda: by(good(), chains.payload("TEST", exp=1_600_000_000)),
    "before a JWT beginning": lambda: by(good(), chains.payload("TEST", nbf=32_503_680_000)),
    "issued in a JWT future": lambda: by(good(), chains.payload("TEST", iat=32_503_680_000)),
    "for a JWT audience": lambda: by(good(), chains.payload("TEST", aud="somebody else")),
    "with a JWT subject that is no text": lambda: by(good(), chains.payload("TEST", sub=1)),
    "with a JWT id that is no text": lambda: by(good(), chains.payload("TEST", jti=1)),
    "transaction of another bundle": lambda: carrying(
        signedTransactionInfo=good().sign(chains.transaction(bundleId="com.evil.app"))
    ),
    "transaction without a bundle": lambda: carrying(
        signedTransactionInfo=good().sign(chains.transaction(bundleId=None))
    ),
    "transaction of the sandbox": lambda: carrying(
        signedTransactionInfo=good().sign(chains.transaction(environment="Sandbox"))
    ),
    "transaction without an environment": lambda: carrying(
        signedTransactionInfo=good().sign(chains.transaction(environment=None))
    ),
    "transaction by a stranger": lambda: carrying(signedTransactionInfo=stranger().sign(chains.transaction())),
    "transaction by a stranger with the trusted root": lambda: carrying(
        signedTransactionInfo=stranger().sending([*stranger().x5c[:2], good().x5c[2]]).sign(chains.transaction())
    ),
    "transaction by a stranger with the trusted chain": lambda: carrying(
        signedTransactionInfo=stranger().sending(good().x5c).sign(chains.transaction())
    ),
    "transaction signed before the leaf was valid": lambda: carrying(
        signedTransactionInfo=good().sign(chains.transaction(signedDate=(SIGNED_AT - 500 * DAY) * 1000))
    ),
    "transaction signed after the leaf was valid": lambda: carrying(
        signedTransactionInfo=good().sign(chains.transaction(signedDate=(SIGNED_AT + 500 * DAY) * 1000))
    ),
    "transaction without a signature": lambda: carrying(
        signedTransactionInfo=good().sign(chains.transaction(), alg="none").rpartition(".")[0] + "."
    ),
    "transaction empty": lambda: carrying(signedTransactionInfo=""),
    "transaction that is no JWS": lambda: carrying(signedTransactionInfo="transaction"),
    "transaction in the open": lambda: carrying(signedTransactionInfo=chains.transaction()),
    "renewal of the sandbox": lambda: carrying(signedRenewalInfo=good().sign(chains.renewal(environment="Sandbox"))),
    "renewal without an environment": lambda: carrying(signedRenewalInfo=good().sign(chains.renewal(environment=None))),
    "renewal by a stranger": lambda: carrying(signedRenewalInfo=stranger().sign(chains.renewal())),
    "renewal that is no JWS": lambda: carrying(signedRenewalInfo="renewal"),
}


def _token(change: Callable[[str, str, str], str]) -> Asked:
    made = good()
    return Asked(change(*made.sign(chains.refund()).split(".")), made.root)


def _other_payload(head: str, _body: str, signature: str) -> str:
    return f"{head}.{pki.segment(chains.payload('TEST'))}.{signature}"


def _der_signature(head: str, said: str, signature: str) -> str:
    raw = base64.urlsafe_b64decode(signature + "==")
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    return f"{head}.{said}.{base64.urlsafe_b64encode(der).rstrip(b'=').decode()}"


def _zeros(head: str, said: str, _signature: str) -> str:
    return f"{head}.{said}.{'A' * 86}"


def _claiming(alg: Any) -> Asked:
    return by(good(), chains.payload("TEST"), alg=alg)


BAD_TOKENS: dict[str, Callable[[], Asked]] = {
    **{
        f"alg {alg!r}": partial(_claiming, alg)
        for alg in ("none", "None", "HS256", "ES384", "ES512", "RS256", "PS256", "es256", "ES256K", "", 256)
    },
    "no alg": lambda: by(good(), chains.payload("TEST"), alg=None),
    "alg none, no signature": lambda: Asked(pki.sign_not_at_all(_as_chain(), chains.payload("TEST")), good().root),
    "HMAC with the public key": lambda: Asked(
        pki.sign_with_public_key(_as_chain(), chains.payload("TEST")), good().root
    ),
    "another payload": lambda: _token(_other_payload),
    "another header": lambda: _token(
        lambda _head, said, signature: f"{pki.segment(good().header(typ='JWT'))}.{said}.{signature}"
    ),
    "signature as DER": lambda: _token(_der_signature),
    "signature of zeros": lambda: _token(_zeros),
    "signature cut short": lambda: _token(lambda h, p, s: f"{h}.{p}.{s[:-4]}"),
    "signature lengthened": lambda: _token(lambda h, p, s: f"{h}.{p}.{s}AAAA"),
    "signature missing": lambda: _token(lambda h, p, _s: f"{h}.{p}."),
    "two segments": lambda: _token(lambda h, p, _s: f"{h}.{p}"),
    "four segments": lambda: _token(lambda h, p, s: f"{h}.{p}.{s}.{s}"),
    "halves exchanged": lambda: _token(
        lambda h, p, s: (
            f"{h}.{p}."
            + base64.urlsafe_b64encode(
                (raw := base64.urlsafe_b64decode(s + "=="))[32:] + raw[:32],
            )
            .rstrip(b"=")
            .decode()
        )
    ),
    "header that is a list": lambda: _token(
        lambda _h, p, s: f"{base64.urlsafe_b64encode(b'[1]').rstrip(b'=').decode()}.{p}.{s}"
    ),
    "header that is no JSON": lambda: _token(lambda _h, p, s: f"e30x.{p}.{s}"),
    "empty": lambda: Asked("", good().root),
    "three dots": lambda: Asked("...", good().root),
    "key id that is no text": lambda: by(good(), chains.payload("TEST"), kid=7),
    "critical extension": lambda: by(good(), chains.payload("TEST"), crit=["exp"]),
    "payload that is a list": lambda: signing(b"[]"),
    "payload that is no JSON": lambda: signing(b"{"),
    "payload that is no UTF-8": lambda: signing(b'{"a":"\xff"}'),
    "payload that is empty": lambda: signing(b""),
}


def _as_chain() -> pki.Chain:
    key = good().leaf_key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return pki.Chain(pki.Holder(good().leaf, key), (good().intermediate, good().root))


# Where we are stricter on purpose: Apple never sends it, and each of these has been somebody's way in elsewhere, or
# would leave two readings of the same bytes.
STRICTER: dict[str, Callable[[], Asked]] = {
    "third certificate that is junk": lambda: sent_as(lambda x: [*x[:2], "junk"]),
    "third certificate of a stranger": lambda: sent_as(lambda x: [*x[:2], stranger().x5c[2]]),
    "leaf that is an authority": lambda: by(
        chains.make(leaf={"ca": True, "usages": ("digital_signature", "key_cert_sign")})
    ),
    "intermediate whose basic constraints are not critical": lambda: by(
        chains.make(intermediate={"ca_critical": False})
    ),
    "root whose basic constraints are not critical": lambda: by(chains.make(root={"ca_critical": False})),
    "leaf that may not sign data": lambda: by(chains.make(leaf={"usages": ("key_agreement",)})),
    "RSA intermediate": lambda: by(
        chains.make(intermediate={"key": chains.rsa_key("intermediate")}, leaf={"hash": SHA256()})
    ),
    "certificate signed with SHA-512": lambda: by(chains.make(leaf={"hash": SHA512()})),
    "names permitted": lambda: by(
        chains.make(
            intermediate=with_extension(x509.NameConstraints([x509.DNSName("acme.example")], None), critical=True)
        )
    ),
    "signed six minutes from now": lambda: by(good(), chains.payload("TEST", signedDate=(SIGNED_AT + 360) * 1000)),
    "transaction signed six minutes from now": lambda: carrying(
        signedTransactionInfo=good().sign(chains.transaction(signedDate=(SIGNED_AT + 360) * 1000))
    ),
    "signed at a fraction of a millisecond": lambda: by(
        good(), chains.payload("TEST", signedDate=SIGNED_AT * 1000 + 0.5)
    ),
    "two apps in one notification": lambda: by(
        good(), chains.payload("TEST", summary=chains.data(bundleId="com.evil.app"))
    ),
    "two environments in one notification": lambda: by(
        good(), chains.payload("TEST", summary=chains.data(environment="Sandbox"))
    ),
    "the same key twice in the payload": lambda: signing(
        json.dumps(chains.payload("TEST")).replace('"version"', '"signedDate":1,"version"').encode()
    ),
    "no notification id": lambda: by(good(), chains.payload("TEST", notificationUUID=None)),
    "no type": lambda: by(good(), chains.payload("TEST", notificationType=None)),
}
