"""SNS envelopes: real RSA signatures from keys made here, no network, no clock.

The strings to sign are written out as AWS documents them, so signer and verifier are not each other's only witness.
"""

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from handlers import sns
from handlers.errors import Malformed, Unauthentic
from schemas.received import Key, KeyWanted
from tests.handlers.sns_envelopes import (
    ARN,
    CERT_URL,
    CONFIRMATION,
    NOTIFICATION,
    SIGNED_AT_MS,
    TOKEN,
    TOPIC,
    UNSUBSCRIBED,
    parse,
)
from worker.simulator.amazon import sign

pytestmark = pytest.mark.unit


def certify(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
    *,
    common_name: str = "sns.amazonaws.com",
    dns_name: str | None = None,
    valid_from_ms: int = SIGNED_AT_MS - 1_000,
    valid_until_ms: int = SIGNED_AT_MS + 1_000,
) -> x509.Certificate:
    """Make a self-signed certificate; its times are whole seconds, as X.509 has them."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(epoch + timedelta(seconds=valid_from_ms // 1000))
        .not_valid_after(epoch + timedelta(seconds=valid_until_ms // 1000))
    )
    if dns_name is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(dns_name)]), critical=False)
    return builder.sign(key, hashes.SHA256())


@pytest.fixture(scope="module", name="key")
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module", name="certificate")
def _certificate(key: rsa.RSAPrivateKey) -> x509.Certificate:
    return certify(key)


def authenticate(envelope: Mapping[str, Any], certificate: Key) -> KeyWanted | None:
    """Check an envelope against one preloaded certificate."""
    return sns.authenticate(parse(envelope), TOPIC, signed_at_ms=SIGNED_AT_MS, keys={CERT_URL: certificate})


def test_a_notification_is_signed_as_aws_documents_it() -> None:
    """A Notification's string to sign is six names and values in byte order, each on its line."""
    expected = (
        "Message\nMy Test Message\nMessageId\n4d4dc071-ddbf-465d-bba8-08f81c89da64\nSubject\nMy subject\n"
        f"Timestamp\n2019-01-31T04:37:04.321Z\nTopicArn\n{ARN}\nType\nNotification\n"
    )

    assert expected.encode() == sns.string_to_sign(parse(NOTIFICATION))


def test_a_missing_subject_is_not_signed() -> None:
    """Without a Subject, its name is left out too."""
    envelope = {name: value for name, value in NOTIFICATION.items() if name != "Subject"}

    assert b"Subject" not in sns.string_to_sign(parse(envelope))


@pytest.mark.parametrize("kind", ["SubscriptionConfirmation", "UnsubscribeConfirmation"])
def test_a_confirmation_is_signed_as_aws_documents_it(kind: Any) -> None:
    """Both kinds of confirmation sign seven fields, SubscribeURL and Token among them."""
    expected = (
        f"Message\n{CONFIRMATION['Message']}\nMessageId\n3d891288-136d-417f-bc05-901c108273ee\n"
        f"SubscribeURL\n{CONFIRMATION['SubscribeURL']}\nTimestamp\n2019-01-31T04:37:04.321Z\n"
        f"Token\n{TOKEN}\nTopicArn\n{ARN}\nType\n{kind}\n"
    )

    assert expected.encode() == sns.string_to_sign(parse({**CONFIRMATION, "Type": kind}))


_awkward = st.lists(
    st.sampled_from(["\n", "Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type", "Notification", "x"]),
    max_size=8,
).map("".join)


def _readable(envelope: Mapping[str, Any]) -> sns.Envelope | None:
    try:
        return parse(envelope)
    except Malformed:
        return None


@given(
    st.lists(
        st.fixed_dictionaries({"Message": _awkward, "MessageId": _awkward}, optional={"Subject": _awkward}),
        min_size=2,
        max_size=2,
    )
)
def test_two_messages_never_share_one_signed_text(drawn: list[dict[str, str]]) -> None:
    """Whatever line breaks and field names a value holds, different fields give different bytes to sign."""
    bare = {name: value for name, value in NOTIFICATION.items() if name != "Subject"}
    first, second = (_readable({**bare, **fields}) for fields in drawn)
    if first and second and first != second:
        assert sns.string_to_sign(first) != sns.string_to_sign(second)


def test_a_field_boundary_cannot_be_moved(key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> None:
    """What was signed as the end of one Message cannot be shown again as a Subject and another MessageId."""
    signed = sign({**NOTIFICATION, "Message": "refund\nMessageId\n1\nSubject\nhello"}, key)
    tail = f"hello\nMessageId\n{signed['MessageId']}\nSubject\n{signed['Subject']}"
    moved = {**signed, "Message": "refund", "MessageId": "1", "Subject": tail}

    with pytest.raises(Malformed, match="not_an_sns_message"):
        authenticate(moved, certificate)


@pytest.mark.parametrize("envelope", [NOTIFICATION, CONFIRMATION, UNSUBSCRIBED], ids=lambda e: e["Type"])
@pytest.mark.parametrize("version", ["1", "2"])
def test_both_signature_versions_prove_all_three_types(
    key: rsa.RSAPrivateKey, certificate: x509.Certificate, envelope: dict[str, str], version: str
) -> None:
    """SHA-1 and SHA-256 signatures are believed, each under its own version."""
    assert authenticate(sign({**envelope, "SignatureVersion": version}, key), certificate) is None


@pytest.mark.parametrize(("signed_as", "shown_as"), [("1", "2"), ("2", "1")])
def test_a_version_is_bound_to_its_digest(
    key: rsa.RSAPrivateKey, certificate: x509.Certificate, signed_as: str, shown_as: str
) -> None:
    """A signature of one version does not pass for the other."""
    envelope = {**sign({**NOTIFICATION, "SignatureVersion": signed_as}, key), "SignatureVersion": shown_as}

    with pytest.raises(Unauthentic, match="signature_mismatch"):
        authenticate(envelope, certificate)


@pytest.mark.parametrize("version", ["", "0", "3", "02", " 2", "2\n", "SHA256"])
def test_no_other_version_is_believed(key: rsa.RSAPrivateKey, certificate: x509.Certificate, version: str) -> None:
    """An unknown SignatureVersion is refused, not guessed at."""
    with pytest.raises(Unauthentic, match="signature_version_unknown"):
        authenticate({**sign(NOTIFICATION, key), "SignatureVersion": version}, certificate)


def test_the_type_is_signed(key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> None:
    """A SubscriptionConfirmation does not pass for an UnsubscribeConfirmation, nor the other way round."""
    for good, shown in ((CONFIRMATION, "UnsubscribeConfirmation"), (UNSUBSCRIBED, "SubscriptionConfirmation")):
        with pytest.raises(Unauthentic, match="signature_mismatch"):
            authenticate({**sign(good, key), "Type": shown}, certificate)


def test_a_confirmation_signed_without_its_token_is_refused(
    key: rsa.RSAPrivateKey, certificate: x509.Certificate
) -> None:
    """The Notification's list of fields is not enough for a confirmation, of either kind."""
    for envelope in (CONFIRMATION, UNSUBSCRIBED):
        partial = {name: value for name, value in envelope.items() if name not in ("Token", "SubscribeURL")}
        signature = sign(partial, key)["Signature"]

        with pytest.raises(Unauthentic, match="signature_mismatch"):
            authenticate({**envelope, "Signature": signature}, certificate)


def test_an_unknown_certificate_is_asked_for(key: rsa.RSAPrivateKey) -> None:
    """A certificate that nobody loaded yet is wanted by its address, once that address is Amazon's."""
    message = parse(sign(NOTIFICATION, key))

    expected = KeyWanted(source=CERT_URL, name=CERT_URL, format="pem")

    assert expected == sns.authenticate(message, TOPIC, signed_at_ms=SIGNED_AT_MS, keys={})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.rstrip("="),
        lambda text: text + "=",
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text.replace("+", "-").replace("/", "_") + "!",
        lambda text: text[:-3] + chr(ord(text[-3]) + 1) + "==",
        lambda _text: "",
        lambda _text: "é",
    ],
)
def test_a_signature_has_one_spelling(
    key: rsa.RSAPrivateKey, certificate: x509.Certificate, spoil: Callable[[str], str]
) -> None:
    """Base64 with missing padding, spaces, foreign characters or stray bits is refused."""
    envelope = sign(NOTIFICATION, key)

    with pytest.raises(Unauthentic, match="signature_not_base64"):
        authenticate({**envelope, "Signature": spoil(envelope["Signature"])}, certificate)


def test_a_signature_of_another_length_is_refused(key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> None:
    """Canonical base64 of too few bytes is a mismatch, not a crash."""
    with pytest.raises(Unauthentic, match="signature_mismatch"):
        authenticate({**NOTIFICATION, "Signature": base64.b64encode(b"short").decode()}, certificate)


def test_a_strangers_certificate_proves_nothing(key: rsa.RSAPrivateKey) -> None:
    """A certificate for the right name with another key does not fit."""
    other = certify(rsa.generate_private_key(public_exponent=65537, key_size=2048))

    with pytest.raises(Unauthentic, match="signature_mismatch"):
        authenticate(sign(NOTIFICATION, key), other)


def test_a_small_key_is_refused() -> None:
    """RSA below 2048 bits signs nothing for SNS, however good the signature."""
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - it must be refused

    with pytest.raises(Unauthentic, match="signing_cert_refused"):
        authenticate(sign(NOTIFICATION, small), certify(small))


def test_only_rsa_certificates_are_used(key: rsa.RSAPrivateKey) -> None:
    """A certificate of another key type, or a bare key, is refused."""
    curve = certify(ec.generate_private_key(ec.SECP256R1()))

    for wrong in (curve, key.public_key()):
        with pytest.raises(Unauthentic, match="signing_cert_refused"):
            authenticate(sign(NOTIFICATION, key), wrong)


def test_a_key_that_nobody_can_read_is_refused(key: rsa.RSAPrivateKey) -> None:
    """A certificate with a key of an unknown algorithm is refused, not a crash."""
    rsa_oid, unknown_oid = bytes.fromhex("2a864886f70d010101"), bytes.fromhex("2a864886f70d01017f")
    der = certify(key).public_bytes(serialization.Encoding.DER)
    certificate = x509.load_der_x509_certificate(der.replace(rsa_oid, unknown_oid))

    with pytest.raises(Unauthentic, match="signing_cert_refused"):
        authenticate(sign(NOTIFICATION, key), certificate)


@pytest.mark.parametrize(
    "name",
    [
        "sns.amazonaws.com",
        "sns.us-east-2.amazonaws.com",
        "sns-signing.us-east-2.amazonaws.com",
        "sns-us-east-2.amazonaws.com",
    ],
)
def test_the_certificate_is_made_out_to_sns(key: rsa.RSAPrivateKey, name: str) -> None:
    """Every name that AWS signs SNS messages with is accepted, as common name or as DNS name."""
    for certificate in (certify(key, common_name=name), certify(key, common_name="x", dns_name=name)):
        assert authenticate(sign(NOTIFICATION, key), certificate) is None


@pytest.mark.parametrize(
    "name", ["example.com", "s3.amazonaws.com", "sns.eu-west-1.amazonaws.com", "xsns.amazonaws.com", "*.amazonaws.com"]
)
def test_a_certificate_of_anybody_else_is_refused(key: rsa.RSAPrivateKey, name: str) -> None:
    """A good key under another name does not sign for SNS."""
    with pytest.raises(Unauthentic, match="signing_cert_refused"):
        authenticate(sign(NOTIFICATION, key), certify(key, common_name=name, dns_name=name))


def test_govcloud_regions_share_a_certificate_name() -> None:
    """us-gov-east-1 is signed for under the name of us-gov-west-1."""
    topic = sns.parse_topic("arn:aws-us-gov:sns:us-gov-east-1:123456789012:acme")

    assert "sns-us-gov-west-1.amazonaws.com" in topic.certificate_names


@pytest.mark.parametrize(("start_ms", "end_ms"), [(0, 1_000), (-1_000, 0)])
def test_a_certificate_is_valid_at_both_edges(key: rsa.RSAPrivateKey, start_ms: int, end_ms: int) -> None:
    """A message signed in the first or the last second of the certificate's life is believed."""
    signed_at_ms = 1_548_909_424_000
    message = parse(sign({**NOTIFICATION, "Timestamp": "2019-01-31T04:37:04.000Z"}, key))
    certificate = certify(key, valid_from_ms=signed_at_ms + start_ms, valid_until_ms=signed_at_ms + end_ms)

    assert sns.authenticate(message, TOPIC, signed_at_ms=signed_at_ms, keys={CERT_URL: certificate}) is None


@pytest.mark.parametrize(("start_ms", "end_ms"), [(1_000, 2_000), (-2_000, -1_000)])
def test_a_certificate_is_judged_at_the_time_of_signing(key: rsa.RSAPrivateKey, start_ms: int, end_ms: int) -> None:
    """A certificate that was not yet or no longer valid when the message was signed is refused."""
    certificate = certify(key, valid_from_ms=SIGNED_AT_MS + start_ms, valid_until_ms=SIGNED_AT_MS + end_ms)

    with pytest.raises(Unauthentic, match="signing_cert_not_valid_then"):
        authenticate(sign(NOTIFICATION, key), certificate)


@pytest.mark.parametrize("missing", sorted(set(NOTIFICATION) - {"Subject", "UnsubscribeURL"}))
def test_a_notification_is_whole(missing: str) -> None:
    """A Notification without one of its fields is no SNS message."""
    with pytest.raises(Malformed, match="not_an_sns_message"):
        parse({name: value for name, value in NOTIFICATION.items() if name != missing})


@pytest.mark.parametrize("missing", ["Token", "SubscribeURL"])
def test_a_confirmation_is_whole(missing: str) -> None:
    """A confirmation without its token or address is no SNS message."""
    with pytest.raises(Malformed, match="not_an_sns_message"):
        parse({name: value for name, value in CONFIRMATION.items() if name != missing})


@pytest.mark.parametrize(
    "kind", ["", "notification", "Notification ", "SubscribeConfirmation", 1, None, ["Notification"]]
)
def test_only_three_types_exist(kind: Any) -> None:
    """A Type that SNS does not document has no string to sign, so it is refused."""
    with pytest.raises(Malformed, match="not_an_sns_message"):
        parse({**NOTIFICATION, "Type": kind})


@pytest.mark.parametrize("field", ["Message", "MessageId", "TopicArn", "Timestamp", "Signature", "SigningCertURL"])
@pytest.mark.parametrize("value", [1, None, True, ["x"], {"x": "y"}])
def test_every_field_is_text(field: str, value: Any) -> None:
    """A field of another type is refused rather than turned into text."""
    with pytest.raises(Malformed, match="not_an_sns_message"):
        parse({**NOTIFICATION, field: value})
