"""What of an SNS message says whom to trust, where to look and when it was sent: text, read strictly."""

import pytest

from handlers import sns
from handlers.errors import Malformed, Unauthentic
from schemas.platforms.amazon import SnsConfirmation
from tests.handlers.sns_envelopes import (
    ARN,
    CERT_URL,
    CONFIRMATION,
    HOST,
    NOTIFICATION,
    SIGNED_AT_MS,
    TOKEN,
    TOPIC,
    parse,
)

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("arn", "url"),
    [
        (ARN, CERT_URL),
        (
            "arn:aws:sns:ap-southeast-2:123456789012:a",
            "https://sns.ap-southeast-2.amazonaws.com/SimpleNotificationService-abc123.pem",
        ),
        (
            "arn:aws-us-gov:sns:us-gov-west-1:123456789012:a",
            "https://sns.us-gov-west-1.amazonaws.com/SimpleNotificationService-abc123.pem",
        ),
        (
            "arn:aws-cn:sns:cn-north-1:123456789012:a",
            "https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-abc123.pem",
        ),
    ],
)
def test_each_region_keeps_its_certificates_at_its_own_host(arn: str, url: str) -> None:
    """The signing host follows from the topic's region and partition."""
    assert sns.signing_cert_url_ok(url, sns.parse_topic(arn)) is True


_PEM = "SimpleNotificationService-01d088a6f77103d0fe307c0069e40ed6.pem"


@pytest.mark.parametrize(
    "url",
    [
        "",
        CERT_URL.replace("https", "http"),
        CERT_URL.replace("https", "HTTPS"),
        CERT_URL.replace("https://", "https:/"),
        CERT_URL.replace("https://", "//"),
        f" {CERT_URL}",
        f"{CERT_URL} ",
        f"{CERT_URL}\n",
        f"{CERT_URL}?",
        f"{CERT_URL}?x=1",
        f"{CERT_URL}#",
        f"{CERT_URL}#.pem",
        f"{CERT_URL}/",
        f"{CERT_URL}/../{_PEM}",
        f"https://sns.s3-us-east-2.amazonaws.com/{_PEM}",
        f"https://sns.s3.us-east-2.amazonaws.com/{_PEM}",
        f"https://sns.s3.amazonaws.com/{_PEM}",
        f"https://s3.us-east-2.amazonaws.com/sns/{_PEM}",
        f"https://sns.eu-west-1.amazonaws.com/{_PEM}",
        f"https://sns.us-east-2.amazonaws.com.cn/{_PEM}",
        f"https://sns.us-east-2.amazonaws.com.evil.example/{_PEM}",
        f"https://sns.us-east-2.amazonaws.com./{_PEM}",
        f"https://sns.us-east-2.amazonaws.com:443/{_PEM}",
        f"https://sns.us-east-2.amazonaws.com:8443/{_PEM}",
        f"https://sns.us-east-2.amazonaws.com@evil.example/{_PEM}",
        f"https://user@sns.us-east-2.amazonaws.com/{_PEM}",
        f"https://user:pass@sns.us-east-2.amazonaws.com/{_PEM}",
        f"https://SNS.us-east-2.amazonaws.com/{_PEM}",
        f"https://sns.US-EAST-2.amazonaws.com/{_PEM}",
        f"https://sns\u3002us-east-2.amazonaws.com/{_PEM}",
        f"https://sns.us\u2010east-2.amazonaws.com/{_PEM}",
        f"https://sn\u0455.us-east-2.amazonaws.com/{_PEM}",
        f"https://sns%2eus-east-2.amazonaws.com/{_PEM}",
        f"https://sns.us-east-2.amazonaws.com\\@evil.example/{_PEM}",
        f"https://sns.us-east-2.amazonaws.com\\{_PEM}",
        f"https://sns.us-east-2.amazonaws.com//{_PEM}",
        f"https://sns.us-east-2.amazonaws.com/bucket/{_PEM}",
        f"https://sns.us-east-2.amazonaws.com/%2e/{_PEM}",
        f"{HOST}/SimpleNotificationService.pem",
        f"{HOST}/SimpleNotificationService-.pem",
        f"{HOST}/SimpleNotificationService-xyz.pem",
        f"{HOST}/SimpleNotificationService-ABC123.pem",
        f"{HOST}/SimpleNotificationService-\u0661\u0662.pem",
        f"{HOST}/SimpleNotificationService-{'a' * 65}.pem",
        f"{HOST}/SimpleNotificationService-abc123.PEM",
        f"{HOST}/SimpleNotificationService-abc123_pem",
        f"{HOST}/Other-abc123.pem",
        f"{HOST}/{_PEM}.html",
    ],
)
def test_no_other_address_holds_a_signing_certificate(url: str) -> None:
    """An address that only looks like SNS is refused, before any certificate is looked up or wanted."""
    message = parse({**NOTIFICATION, "Signature": "AA==", "SigningCertURL": url})

    with pytest.raises(Unauthentic, match="signing_cert_url_refused"):
        sns.authenticate(message, TOPIC, signed_at_ms=SIGNED_AT_MS, keys={})


def _confirmation(**changed: str) -> SnsConfirmation:
    message = parse({**CONFIRMATION, **changed})
    assert isinstance(message, SnsConfirmation)
    return message


@pytest.mark.parametrize(
    "query",
    [
        f"Action=ConfirmSubscription&TopicArn={ARN}&Token={TOKEN}",
        f"Token={TOKEN}&Action=ConfirmSubscription&TopicArn={ARN.replace(':', '%3A')}",
    ],
)
def test_a_genuine_subscribe_url_may_be_visited(query: str) -> None:
    """The address that confirms this topic with this token is safe, in any order and escaping of its query."""
    assert sns.subscribe_url_ok(_confirmation(SubscribeURL=f"{HOST}/?{query}"), TOPIC) is True


_QUERY = f"Action=ConfirmSubscription&TopicArn={ARN}&Token={TOKEN}"


@pytest.mark.parametrize(
    "url",
    [
        "",
        f"http://sns.us-east-2.amazonaws.com/?{_QUERY}",
        f"https://sns.us-east-2.amazonaws.com:443/?{_QUERY}",
        f"https://sns.eu-west-1.amazonaws.com/?{_QUERY}",
        f"https://sns.s3-us-east-2.amazonaws.com/?{_QUERY}",
        f"https://169.254.169.254/?{_QUERY}",
        f"https://x@sns.us-east-2.amazonaws.com/?{_QUERY}",
        f"{HOST}?{_QUERY}",
        f"{HOST}/x?{_QUERY}",
        f"{HOST}//?{_QUERY}",
        f"{HOST}/?{_QUERY}#",
        f"{HOST}/?{_QUERY}&",
        f"{HOST}/?{_QUERY}&AuthenticateOnUnsubscribe=true",
        f"{HOST}/?{_QUERY}&Action=Publish",
        f"{HOST}/?{_QUERY};x=1",
        f"{HOST}/?{_QUERY} ",
        f"{HOST}/?{_QUERY}\u00e9",
        f"{HOST}/?{_QUERY}\\@evil.example",
        f"{HOST}/?{_QUERY.replace('ConfirmSubscription', 'Unsubscribe')}",
        f"{HOST}/?{_QUERY.replace('ConfirmSubscription', 'confirmsubscription')}",
        f"{HOST}/?{_QUERY.replace(ARN, ARN + '2')}",
        f"{HOST}/?{_QUERY.replace(TOKEN, TOKEN[:-1])}",
        f"{HOST}/?{_QUERY.replace('&Token=' + TOKEN, '')}",
        f"{HOST}/?{_QUERY.replace('Token=' + TOKEN, 'Token')}",
        f"{HOST}/?Action=ConfirmSubscription&Action=ConfirmSubscription&Token={TOKEN}",
    ],
)
def test_no_other_subscribe_url_may_be_visited(url: str) -> None:
    """An address that does anything else, anywhere else, or for another topic or token is refused."""
    assert sns.subscribe_url_ok(_confirmation(SubscribeURL=url), TOPIC) is False


@pytest.mark.parametrize(
    "arn",
    [
        "",
        "acme",
        "arn:aws:sqs:us-east-2:123456789012:acme",
        "arn:aws-evil:sns:us-east-2:123456789012:acme",
        "arn:aws:sns::123456789012:acme",
        "arn:aws:sns:s3-us-east-2:123456789012:acme",
        "arn:aws:sns:us-east-2.evil.example/:123456789012:acme",
        "arn:aws:sns:us-east-2:12345:acme",
        "arn:aws:sns:us-east-2:123456789012:acme\n",
        "arn:aws:sns:us-east-2:123456789012:acme:c9135db0",
        "ARN:aws:sns:us-east-2:123456789012:acme",
    ],
)
def test_a_topic_has_a_region_and_an_owner(arn: str) -> None:
    """What is no TopicArn decides nothing about hosts."""
    with pytest.raises(Malformed, match="not_a_topic_arn"):
        sns.parse_topic(arn)


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("2019-01-31T04:37:04.321Z", SIGNED_AT_MS),
        ("2019-01-31T04:37:04Z", 1_548_909_424_000),
        ("2019-01-31T04:37:04.321999Z", SIGNED_AT_MS),
        ("1970-01-01T00:00:00.000Z", 0),
    ],
)
def test_a_timestamp_is_read_in_utc(text: str, expected_ms: int) -> None:
    """Timestamps are exact to the millisecond."""
    assert expected_ms == sns.sent_at_ms(parse({**NOTIFICATION, "Timestamp": text}))


@pytest.mark.parametrize(
    "text",
    [
        "2019-01-31T04:37:04.321",
        "2019-01-31T04:37:04.321+00:00",
        "2019-01-31T04:37:04.321z",
        "2019-01-31",
        "20190131T043704Z",
        "2019-02-30T04:37:04Z",
        "2019-01-31T24:37:04Z",
        "0000-01-31T04:37:04Z",
        "2019-01-31T04:37:04.Z",
        "1548909424321",
        "2019-W05-4T04:37:04Z",
    ],
)
def test_a_timestamp_has_one_form(text: str) -> None:
    """Anything but ISO 8601 in UTC with a Z is refused."""
    with pytest.raises(Malformed, match="timestamp_not_iso8601"):
        sns.sent_at_ms(parse({**NOTIFICATION, "Timestamp": text}))
