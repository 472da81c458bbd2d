"""SNS over HTTPS: what of a message is signed, whose certificate proves it, which addresses in it are safe.

docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html. One certificate serves all of AWS: a
good signature proves that *some* topic sent this. Callers check `TopicArn` against a list of their own first.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from handlers import strict_json
from handlers.errors import Malformed, Unauthentic
from schemas.platforms.amazon import SnsConfirmation, SnsMessage, SnsNotification
from schemas.received import Keys, KeyWanted

__all__ = [
    "Topic",
    "authenticate",
    "parse",
    "parse_topic",
    "sent_at_ms",
    "signing_cert_url_ok",
    "string_to_sign",
    "subscribe_url_ok",
]

Envelope = SnsNotification | SnsConfirmation

_SHAPES: Mapping[str, type[SnsNotification] | type[SnsConfirmation]] = {
    "Notification": SnsNotification,
    "SubscriptionConfirmation": SnsConfirmation,
    "UnsubscribeConfirmation": SnsConfirmation,
}

# "Verifying the signatures of Amazon SNS messages": name, LF, value, LF, in byte order of the names.
# An UnsubscribeConfirmation is signed like a SubscriptionConfirmation (AWS's JavaScript validator differs).
_SIGNED = {
    SnsNotification: (
        ("Message", "message"),
        ("MessageId", "message_id"),
        ("Subject", "subject"),
        ("Timestamp", "timestamp"),
        ("TopicArn", "topic_arn"),
        ("Type", "type"),
    ),
    SnsConfirmation: (
        ("Message", "message"),
        ("MessageId", "message_id"),
        ("SubscribeURL", "subscribe_url"),
        ("Timestamp", "timestamp"),
        ("Token", "token"),
        ("TopicArn", "topic_arn"),
        ("Type", "type"),
    ),
}

# SHA-1 is what a topic signs with unless its owner asked for version 2, and Amazon owns the Appstore's
# topics. It is weak against collisions: a stranger could make two `Message`s with one hash and have AWS sign
# the first on his own topic. But such texts must end alike, and what is signed ends with TopicArn and Type,
# which SNS writes: the second text names the stranger's topic too, and is refused for that.
_DIGESTS: Mapping[str, hashes.HashAlgorithm] = {"1": hashes.SHA1(), "2": hashes.SHA256()}  # noqa: S303 - see above

_PARTITIONS = {"aws": "amazonaws.com", "aws-us-gov": "amazonaws.com", "aws-cn": "amazonaws.com.cn"}
# A region is words and a number (us-gov-west-1). A bucket named `sns` makes `sns.s3-us-west-2.amazonaws.com`,
# which several validators' patterns accept as SNS; no region has a digit before its last part.
_ARN = re.compile(
    r"arn:(?P<partition>aws|aws-cn|aws-us-gov):sns:(?P<region>[a-z]{2}(?:-[a-z]{1,16}){1,3}-[0-9]{1,2})"
    r":[0-9]{12}:[A-Za-z0-9_-]{1,256}(?:\.fifo)?"
)
_CERT_PATH = re.compile(r"/SimpleNotificationService-[0-9a-f]{1,64}\.pem")
_URL_TEXT = re.compile(r"[!-~]{1,4096}")
_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?Z")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Topic:
    """What a TopicArn says about the addresses that may speak for it."""

    arn: str
    region: str
    domain: str

    @property
    def host(self) -> str:
        """Name the only host that signs for this topic and confirms its subscriptions."""
        return f"sns.{self.region}.{self.domain}"

    @property
    def certificate_names(self) -> frozenset[str]:
        """Name whom a signing certificate may be made out to.

        AWS's own SDK for Java 2 expects `sns.amazonaws.com` in the old regions and one of the others elsewhere
        (`SnsHostProvider.signingCertCommonName`); both GovCloud regions share one.
        """
        regional = (f"{form}.{self.domain}" for form in (f"sns-signing.{self.region}", f"sns-{self.region}", "sns"))
        gov = ("sns-us-gov-west-1.amazonaws.com",) if self.region.startswith("us-gov-") else ()
        return frozenset({"sns.amazonaws.com", self.host, *regional, *gov})


def parse(body: bytes) -> Envelope:
    """Read the envelope, or refuse what SNS would not send.

    With raw message delivery there is no envelope and so no signature: that ends here. The `x-amz-sns-*`
    headers are not signed either, so `Type` counts and `x-amz-sns-message-type` does not.
    """
    fields = strict_json.parse_object(body)
    kind = fields.get("Type")
    shape = _SHAPES.get(kind) if isinstance(kind, str) else None
    if shape is None:
        raise Malformed("not_an_sns_message")
    try:
        return shape.model_validate(fields)
    except ValidationError:
        raise Malformed("not_an_sns_message") from None


def sent_at_ms(message: SnsMessage) -> int:
    """Read `Timestamp`, always ISO 8601 in UTC with a Z, as Unix milliseconds."""
    if not _TIMESTAMP.fullmatch(message.timestamp):
        raise Malformed("timestamp_not_iso8601")
    try:
        moment = datetime.fromisoformat(message.timestamp)
    except ValueError:
        raise Malformed("timestamp_not_iso8601") from None
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def parse_topic(arn: str) -> Topic:
    """Read what of a TopicArn decides whom to trust."""
    found = _ARN.fullmatch(arn)
    if found is None:
        raise Malformed("not_a_topic_arn")
    return Topic(arn=arn, region=found["region"], domain=_PARTITIONS[found["partition"]])


def string_to_sign(message: Envelope) -> bytes:
    """Build the bytes that SNS signed.

    Names and values are only told apart by line feeds, so a value that held some could pass for several
    fields. `schemas/platforms/amazon.py` allows them in `Message` alone, which stands first: read from its
    end, the string has one meaning.
    """
    pairs = ((name, getattr(message, field)) for name, field in _SIGNED[type(message)])
    return "".join(f"{name}\n{value}\n" for name, value in pairs if value is not None).encode()


def signing_cert_url_ok(url: str, topic: Topic) -> bool:
    """Tell whether SNS keeps the signing certificates of this topic's region at exactly this address.

    The expected address is built and compared as text, never taken apart: no parser can be fooled by
    userinfo, ports, escapes or unusual dots where there is none.
    """
    prefix = f"https://{topic.host}"
    return url.startswith(prefix) and _CERT_PATH.fullmatch(url, len(prefix)) is not None


def subscribe_url_ok(message: SnsConfirmation, topic: Topic) -> bool:
    """Tell whether SubscribeURL does nothing but confirm this very subscription, at this topic's own SNS."""
    prefix = f"https://{topic.host}/?"
    url = message.subscribe_url
    if not url.startswith(prefix) or not _URL_TEXT.fullmatch(url) or set(url) & set("#\\@"):
        return False
    try:
        query = parse_qsl(url[len(prefix) :], keep_blank_values=True, strict_parsing=True, max_num_fields=3)
    except ValueError:
        return False
    wanted = {"Action": "ConfirmSubscription", "TopicArn": topic.arn, "Token": message.token}
    return len(query) == len(wanted) and dict(query) == wanted


def authenticate(message: Envelope, topic: Topic, *, signed_at_ms: int, keys: Keys) -> KeyWanted | None:
    """Prove that SNS signed exactly these fields, or name the certificate that is missing to tell.

    Raises:
        Unauthentic: an unknown version, a foreign certificate address, or a signature that does not fit.
    """
    digest = _DIGESTS.get(message.signature_version)
    if digest is None:
        raise Unauthentic("signature_version_unknown")
    signature = _decode(message.signature)
    url = message.signing_cert_url
    if not signing_cert_url_ok(url, topic):
        raise Unauthentic("signing_cert_url_refused")
    certificate = keys.get(url)
    if certificate is None:
        return KeyWanted(source=url, name=url, format="pem")
    if not isinstance(certificate, x509.Certificate):
        raise Unauthentic("signing_cert_refused")
    key = _signing_key(certificate, topic, _EPOCH + timedelta(milliseconds=signed_at_ms))
    try:
        key.verify(signature, string_to_sign(message), PKCS1v15(), digest)
    except InvalidSignature:
        raise Unauthentic("signature_mismatch") from None
    return None


def _decode(signature: str) -> bytes:
    """Decode base64 that has one spelling: no other characters, no missing padding, no stray bits."""
    try:
        decoded = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        raise Unauthentic("signature_not_base64") from None
    if not decoded or base64.b64encode(decoded).decode() != signature:  # public: both are the sender's
        raise Unauthentic("signature_not_base64")
    return decoded


def _signing_key(certificate: x509.Certificate, topic: Topic, at: datetime) -> RSAPublicKey:
    """Take the key out of a certificate that was SNS's own and valid when the message was signed.

    AWS asks for no chain: the certificate is believed because TLS proved its host. These checks cost little
    and keep a preloaded or cached file from being used for what it is not.
    """
    try:
        key = certificate.public_key()
    except (UnsupportedAlgorithm, ValueError):
        raise Unauthentic("signing_cert_refused") from None
    if not isinstance(key, RSAPublicKey) or not 2048 <= key.key_size <= 8192:
        raise Unauthentic("signing_cert_refused")
    if not topic.certificate_names.intersection(_names(certificate)):
        raise Unauthentic("signing_cert_refused")
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        raise Unauthentic("signing_cert_not_valid_then")
    return key


def _names(certificate: x509.Certificate) -> Iterable[str]:
    """List whom a certificate is made out to: its common names and its DNS names."""
    for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
        yield str(name.value)
    try:
        other = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return
    yield from other.value.get_values_for_type(x509.DNSName)
