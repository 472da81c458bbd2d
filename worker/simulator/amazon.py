"""Speak as Amazon Appstore: Real-Time Notifications through SNS, signed with a key of our own.

The shapes are those of docs.aws.amazon.com/sns/latest/dg/http-notification-json.html. The certificate's
address is one that SNS could have; the configuration preloads it, so nothing is ever fetched from there.
"""

import base64
import json
import os
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from config.platforms import Amazon
from worker.simulator.sale import Sale, Shot, backend_word

REGION = "us-east-1"
_STRANGERS_TOPIC = f"arn:aws:sns:{REGION}:666666666666:stranger"
_KEY_FILE = "amazon-sns-key.pem"
_CERTIFICATE_FILE = "amazon-sns-certificate.pem"
_SIGNED = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_FAMILIES: Mapping[str, str] = {
    "subscription": "SUBSCRIPTION",
    "consumable": "CONSUMABLE",
    "non_consumable": "ENTITLEMENT",
}
_DIGESTS: Mapping[str, hashes.HashAlgorithm] = {
    "1": hashes.SHA1(),  # noqa: S303 - what real topics sign with by default
    "2": hashes.SHA256(),
}


def create(directory: Path, *, app: str, public_url: str) -> dict[str, Any]:
    """Make a key and its certificate in `directory`, and return the app's `[apps.….amazon]` section."""
    del public_url  # nothing in an SNS message names the endpoint
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write_private(directory / _KEY_FILE, pem)
    certificate = certify(key)
    path = directory / _CERTIFICATE_FILE
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return {
        "package_name": f"com.example.{app}",
        "topic_arns": [f"arn:aws:sns:{REGION}:033616359524:{app}"],
        "certificates": {_certificate_url(certificate): str(path.resolve())},
        "max_age_seconds": 4500,
    }


def certify(key: rsa.RSAPrivateKey, *, name: str = "sns.amazonaws.com") -> x509.Certificate:
    """Make a certificate as SNS shows it: self-signed here, since nobody follows its chain."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2049, 12, 31, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )


def told(sale: Sale) -> dict[str, Any]:
    """Say what the app's backend knows of a sale: an RTN names neither product nor price."""
    original = sale.original_purchase_id if sale.subscription else None
    return backend_word(sale, platform="amazon", original_purchase_id=original)


def sign(envelope: Mapping[str, str], key: rsa.RSAPrivateKey) -> dict[str, str]:
    """Sign an envelope as SNS does, with the digest that its SignatureVersion names.

    Written apart from `handlers/sns.py` on purpose: an error there must not be repeated here.
    """
    text = "".join(f"{name}\n{envelope[name]}\n" for name in _SIGNED if name in envelope)
    digest = _DIGESTS.get(envelope["SignatureVersion"], hashes.SHA256())
    signature = key.sign(text.encode(), padding.PKCS1v15(), digest)
    return {**envelope, "Signature": base64.b64encode(signature).decode()}


def shot_of(envelope: Mapping[str, str], kind: str) -> Shot:
    """Post an envelope with the headers that SNS sends along, none of which is signed."""
    headers = {
        "content-type": "text/plain; charset=UTF-8",
        "user-agent": "Amazon Simple Notification Service Agent",
        "x-amz-sns-message-type": envelope["Type"],
        "x-amz-sns-message-id": envelope["MessageId"],
        "x-amz-sns-topic-arn": envelope["TopicArn"],
    }
    return Shot(type=kind, body=json.dumps(dict(envelope), indent=2).encode(), headers=headers)


class AmazonSimulator:
    """Amazon Appstore for one app whose trust `create` made.

    Args:
        directory: where `create` put the key.
        settings: the app's section.
        signature_version: "1" (SHA-1), as the samples of Amazon's documentation show, or "2" (SHA-256).
    """

    def __init__(self, directory: Path, settings: Amazon, *, signature_version: str = "2") -> None:
        self._key = _load_key(directory / _KEY_FILE)
        self._package_name = settings.package_name
        self._topic_arn = settings.topic_arns[0]
        self._certificate_url = next(iter(settings.certificates))
        self._host = self._certificate_url.split("/")[2]
        self._max_age_seconds = settings.max_age_seconds
        self._signature_version = signature_version

    @cached_property
    def _strange_key(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def purchase(self, sale: Sale, now: float) -> Shot:
        """Say that it was bought."""
        return self.notification(f"{_FAMILIES[sale.kind]}_PURCHASED", sale, now)

    def renew(self, sale: Sale, now: float) -> Shot:
        """Say that another period was paid. The Appstore keeps the receipt of the first."""
        return self.notification("SUBSCRIPTION_RENEWED", sale, now)

    def refund(self, sale: Sale, now: float) -> Shot:
        """Say that it was cancelled; there is no other word for a refund here."""
        return self.notification(f"{_FAMILIES[sale.kind]}_CANCELLED", sale, now)

    def revoke(self, sale: Sale, now: float) -> Shot:
        """Say that a subscription was cancelled: access ends, and whether money went back is not said."""
        return self.notification("SUBSCRIPTION_CANCELLED", sale, now)

    def upgrade(self, sale: Sale, now: float) -> Shot:
        """Say that another tier begins at once, with a receipt of its own, and which receipt that ends."""
        return self.notification(
            "SUBSCRIPTION_MODIFIED_IMMEDIATE", sale, now, relatedReceipts={"cancelledReceiptId": sale.replaces}
        )

    def fail_payment(self, sale: Sale, now: float) -> Shot:
        """Say that a renewal was not paid, and that a grace period began."""
        return self.notification("SUBSCRIPTION_IN_GRACE_PERIOD", sale, now)

    def recover(self, sale: Sale, now: float) -> Shot:
        """Say that it was paid after all: that is a renewal here."""
        return self.renew(sale, now)

    def undo_refund(self, sale: Sale, now: float) -> Shot | None:  # noqa: ARG002 - the protocol's shape
        """Say nothing: what was cancelled stays cancelled."""
        return None

    def expire(self, sale: Sale, now: float) -> Shot | None:
        """Say that a subscription ended by itself; what was bought once never does."""
        return self.notification("SUBSCRIPTION_EXPIRED", sale, now) if sale.subscription else None

    def reseal(self, shot: Shot, now: float) -> Shot:
        """Publish it anew: SNS repeats a message for an hour, so what comes later is another with the same words."""
        return self.publish(json.loads(shot.body)["Message"], now, kind=shot.type)

    def notification(self, word: str, sale: Sale, now: float, **more: Any) -> Shot:
        """Say any `notificationType` of a sale; `more` adds to or replaces fields of the inner message."""
        message = {
            "receiptId": sale.purchase_id,
            "relatedReceipts": {},
            "appUserId": sale.user_id,
            "notificationType": word,
            "appPackageName": self._package_name,
            "timestamp": int(now * 1000),
            "betaProductTransaction": True,  # Live App Testing: a demo is never production
            **more,
        }
        return self.publish(json.dumps(message, separators=(",", ":")), now, kind=word)

    def publish(self, message: str, now: float, *, kind: str = "Notification", **more: str) -> Shot:
        """Publish any text on the app's topic; `more` adds to or replaces fields of the envelope."""
        unsubscribe = f"https://{self._host}/?Action=Unsubscribe&SubscriptionArn={self._topic_arn}:"
        envelope = {
            **self._envelope("Notification", message, now),
            "UnsubscribeURL": f"{unsubscribe}{uuid.uuid4()}",
            **more,
        }
        return shot_of(sign(envelope, self._key), kind)

    def subscription_confirmation(self, now: float, **more: str) -> Shot:
        """Ask the endpoint to confirm that it wants the topic's messages."""
        return self._confirmation("SubscriptionConfirmation", now, more)

    def unsubscribe_confirmation(self, now: float, **more: str) -> Shot:
        """Tell the endpoint that it was taken off the topic."""
        return self._confirmation("UnsubscribeConfirmation", now, more)

    def forge(self, shot: Shot, now: float) -> tuple[tuple[str, Shot], ...]:
        """Make named forgeries of a good notification, each of which must be refused."""
        good: dict[str, str] = json.loads(shot.body)
        own_bucket = f"https://sns.s3-{REGION}.amazonaws.com/{self._certificate_url.rpartition('/')[2]}"
        forged = {
            "message_tampered": {
                **good,
                "Message": good["Message"].replace("_PURCHASED", "_CANCELLED") + " ",
            },
            "signed_with_own_key": sign(good, self._strange_key),
            "own_certificate_in_a_bucket": sign({**good, "SigningCertURL": own_bucket}, self._strange_key),
            "strangers_topic": sign({**good, "TopicArn": _STRANGERS_TOPIC}, self._key),
            "unknown_signature_version": sign({**good, "SignatureVersion": "3"}, self._key),
        }
        inner = good["Message"].replace(self._package_name, "com.example.stranger")
        if inner != good["Message"]:
            forged["strangers_package"] = sign({**good, "Message": inner}, self._key)
        if self._max_age_seconds:
            too_old = {**good, "Timestamp": _iso(now - self._max_age_seconds - 1)}
            forged["too_old"] = sign(too_old, self._key)
        raw = Shot(shot.type, good["Message"].encode(), {**shot.headers, "x-amz-sns-rawdelivery": "true"})
        return (*((name, shot_of(bad, shot.type)) for name, bad in forged.items()), ("raw_delivery", raw))

    def _confirmation(self, kind: str, now: float, more: Mapping[str, str]) -> Shot:
        token = uuid.uuid4().hex * 4
        query = f"Action=ConfirmSubscription&TopicArn={self._topic_arn}&Token={token}"
        envelope = {
            **self._envelope(kind, f"You have chosen to subscribe to the topic {self._topic_arn}.", now),
            "Token": token,
            "SubscribeURL": f"https://{self._host}/?{query}",
            **more,
        }
        return shot_of(sign(envelope, self._key), kind)

    def _envelope(self, kind: str, message: str, now: float) -> dict[str, str]:
        return {
            "Type": kind,
            "MessageId": str(uuid.uuid4()),
            "TopicArn": self._topic_arn,
            "Message": message,
            "Timestamp": _iso(now),
            "SignatureVersion": self._signature_version,
            "SigningCertURL": self._certificate_url,
        }


def _certificate_url(certificate: x509.Certificate) -> str:
    """Make the address where SNS would keep it: each certificate has one of its own."""
    digest = certificate.fingerprint(hashes.SHA256()).hex()[:32]
    return f"https://sns.{REGION}.amazonaws.com/SimpleNotificationService-{digest}.pem"


def _iso(now: float) -> str:
    moment = datetime.fromtimestamp(now, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _write_private(path: Path, content: bytes) -> None:
    """Write what nobody else may read, not even for a moment."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def _load_key(path: Path) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError(f"{path.name} holds no RSA key")
    return key
