"""Questions to a verifier of notifications, and those it has to answer with yes."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.handlers import apple_chains as chains
from tests.handlers.apple_chains import APP_APPLE_ID, BUNDLE_ID, SIGNED_AT, Made, b64, good
from worker.simulator import apple_pki as pki

DAY = 86400


@dataclass(frozen=True)
class Asked:
    """One question to both verifiers."""

    token: str
    root: x509.Certificate
    environment: str = "Production"


def by(made: Made, said: Mapping[str, Any] | None = None, **header: Any) -> Asked:
    """Ask about a refund, outer and nested JWS signed by the same chain."""
    return Asked(made.sign(said or chains.refund(made), **header), made.root)


def sent_as(order: Callable[[list[str]], Any]) -> Asked:
    """Ask about a refund of the good chain, with what `order` makes of its `x5c`."""
    made = good()
    return by(made.sending(order(list(made.x5c))))


def with_extension(extension: x509.ExtensionType, *, critical: bool) -> dict[str, Any]:
    """Put one more extension into a certificate."""
    return {"more": ((extension, critical),)}


UNHEARD_OF = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x05\x00")
PROXY = x509.UnrecognizedExtension(
    x509.ObjectIdentifier("1.3.6.1.5.5.7.1.14"), bytes.fromhex("300c300a06082b06010505071501")
)


def signing(raw: bytes) -> Asked:
    """Sign bytes that are no JSON object."""
    made = good()
    assert isinstance(made.leaf_key, ec.EllipticCurvePrivateKey)
    segment = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    signing_input = f"{pki.segment(made.header())}.{segment}"
    r, s = decode_dss_signature(made.leaf_key.sign(signing_input.encode(), ec.ECDSA(SHA256())))
    raw_signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    signature = base64.urlsafe_b64encode(raw_signature).rstrip(b"=").decode()
    return Asked(f"{signing_input}.{signature}", made.root)


def carrying(**changes: Any) -> Asked:
    """Ask about a refund whose `data` has been changed."""
    said = chains.refund()
    return by(good(), {**said, "data": {**said["data"], **changes}})


def app_transaction(**changes: Any) -> dict[str, Any]:
    """Describe the app's own transaction."""
    return {
        "receiptType": "Production",
        "bundleId": BUNDLE_ID,
        "appAppleId": APP_APPLE_ID,
        "receiptCreationDate": SIGNED_AT * 1000,
        **changes,
    }


def rescinded(said: Mapping[str, Any], signer: Made | None = None) -> dict[str, Any]:
    """Describe a guardian's second thoughts."""
    nested = chains.data(signedAppTransactionInfo=(signer or good()).sign(said))
    return chains.payload("RESCIND_CONSENT", data=None, appData=nested)


GOOD: dict[str, Callable[[], Asked]] = {
    "shaped like Apple's": lambda: by(good()),
    "a test notification": lambda: by(good(), chains.payload("TEST")),
    "intermediate without a path length": lambda: by(chains.make(intermediate={"path_length": None})),
    "root with room for one intermediate": lambda: by(chains.make(root={"path_length": 1})),
    "root that names itself as its authority": lambda: by(chains.make(root={"authority_key_identifier": "issuer"})),
    "signed with SHA-256": lambda: by(chains.make(intermediate={"hash": SHA256()}, leaf={"hash": SHA256()})),
    "P-256 throughout": lambda: by(
        chains.make(
            root={"key": chains.ec_key("small root", "secp256r1")},
            intermediate={"key": chains.ec_key("small intermediate", "secp256r1")},
        )
    ),
    "leaf without key usage": lambda: by(chains.make(leaf={"usages": None})),
    "leaf without basic constraints": lambda: by(chains.make(leaf={"ca": None})),
    "leaf with an extended key usage": lambda: by(
        chains.make(leaf=with_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False))
    ),
    "an unheard-of extension that is not critical": lambda: by(
        chains.make(leaf=with_extension(UNHEARD_OF, critical=False))
    ),
    "leaf valid from this very second": lambda: by(chains.make(leaf={"begins": SIGNED_AT})),
    "leaf valid for one more second": lambda: by(chains.make(leaf={"ends": SIGNED_AT + 1})),
    "root issued anew with the same key": lambda: by(
        good().sending([*good().x5c[:2], b64(chains.issue(chains.GOOD_ROOT, chains.GOOD_ROOT))])
    ),
    "header with a type and a key id": lambda: by(good(), typ="JWT", kid="1"),
    "expired today, valid when it was signed": lambda: by(
        chains.make(leaf={"ends": SIGNED_AT - 10 * DAY}),
        chains.payload("TEST", signedDate=(SIGNED_AT - 20 * DAY) * 1000),
    ),
    "production without a nested part": lambda: by(good(), chains.payload("TEST", version=None)),
    "sandbox without an app id": lambda: Asked(
        good().sign(
            chains.payload("TEST", data=chains.data(environment="Sandbox", appAppleId=None)),
        ),
        good().root,
        "Sandbox",
    ),
    "a summary": lambda: by(
        good(), chains.payload("RENEWAL_EXTENSION", subtype="SUMMARY", data=None, summary=chains.data())
    ),
    "an external purchase token": lambda: by(
        good(),
        chains.payload(
            "EXTERNAL_PURCHASE_TOKEN",
            data=None,
            externalPurchaseToken={
                "externalPurchaseId": "b2158121",
                "appAppleId": APP_APPLE_ID,
                "bundleId": BUNDLE_ID,
            },
        ),
    ),
    "an external purchase token in the sandbox": lambda: Asked(
        good().sign(
            chains.payload(
                "EXTERNAL_PURCHASE_TOKEN",
                data=None,
                externalPurchaseToken={"externalPurchaseId": "SANDBOX_b2158121", "bundleId": BUNDLE_ID},
            )
        ),
        good().root,
        "Sandbox",
    ),
    "app data with an app transaction": lambda: by(good(), rescinded(app_transaction())),
    "an unheard-of type": lambda: by(good(), chains.refund(notificationType="REFUND_PONDERED")),
}
