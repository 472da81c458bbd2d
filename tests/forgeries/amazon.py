"""Forged SNS messages. One certificate serves all of AWS, and whoever has an account there can have it sign."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tests.forgeries.case import Forge, Forgery, Post, refused
from tests.forgeries.desk import NOW, OTHER_APP, OTHER_CERTIFICATE, Desk, door
from worker.simulator.amazon import sign

HOST = "sns.us-east-1.amazonaws.com"
PEM = f"SimpleNotificationService-{'0123456789abcdef' * 2}.pem"


_IN_AN_HOUR = datetime.fromtimestamp(NOW + 3600, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _simulated(name: str) -> Forge:
    return lambda desk, _: desk.simulated("amazon", name)


def _envelope(genuine: Post) -> dict[str, Any]:
    envelope: dict[str, Any] = json.loads(genuine.body)
    return envelope


def _shown(**changes: Any) -> Forge:
    """Change a field and leave the signature; None takes it away."""

    def forge(_: Desk, genuine: Post) -> Post:
        envelope = {**_envelope(genuine), **changes}
        return genuine.saying({name: value for name, value in envelope.items() if value is not None})

    return forge


def _signed(**changes: str) -> Forge:
    """Have SNS sign it with other fields: it does so for whoever owns a topic."""
    return lambda desk, genuine: genuine.saying(sign({**_envelope(genuine), **changes}, desk.sns_key))


def _certified_at(url: str) -> Forge:
    """Sign with a key of one's own, whose certificate lies where the message says."""
    return lambda desk, genuine: genuine.saying(sign({**_envelope(genuine), "SigningCertURL": url}, desk.stranger_key))


def _signed_by_another_year(desk: Desk, genuine: Post) -> Post:
    """Sign with a key of SNS that is not the one of the certificate that is named."""
    return genuine.saying(sign(_envelope(genuine), desk.sns_key_of_another_year))


def _topic(arn: str) -> Forge:
    return _signed(TopicArn=arn)


def _twice(name: str, first: str) -> Forge:
    """Write a field twice, so that two readers see two values of it."""
    return lambda _, genuine: genuine.saying(
        genuine.body.replace(f'"{name}"'.encode(), f'"{name}": "{first}", "{name}"'.encode(), 1)
    )


def _signature_of_another_message(desk: Desk, genuine: Post) -> Post:
    return _shown(Signature=_envelope(desk.genuine("amazon"))["Signature"])(desk, genuine)


def _message_of_another(desk: Desk, genuine: Post) -> Post:
    other = _envelope(desk.genuine("amazon"))["Message"].replace("amzn1.receipt.1", "amzn1.receipt.2")
    return _shown(Message=other)(desk, genuine)


def _boundary_moved(desk: Desk, genuine: Post) -> Post:
    """Show the end of a signed Message as fields of its own: the text that was signed is the same."""
    envelope = _envelope(genuine)
    message = f"{envelope['Message']}\nMessageId\n1"
    signed = sign({**envelope, "Message": message}, desk.sns_key)
    moved = {**signed, "Message": envelope["Message"], "MessageId": f"1\nMessageId\n{envelope['MessageId']}"}
    return genuine.saying(moved)


def _confirmation(by: str, **changes: str) -> Forge:
    """Ask to confirm a subscription, signed by somebody; with fields that are changed afterwards."""

    def forge(desk: Desk, genuine: Post) -> Post:
        simulator: Any = desk.cases["amazon"].simulator
        made = json.loads(simulator.subscription_confirmation(NOW).body)
        signed = sign(made, desk.sns_key if by == "SNS" else desk.stranger_key)
        return genuine.saying({**signed, **changes})

    return forge


def _shown_as_the_other_digest(desk: Desk, genuine: Post) -> Post:
    signed = sign({**_envelope(genuine), "SignatureVersion": "1"}, desk.sns_key)
    return genuine.saying({**signed, "SignatureVersion": "2"})


def _signature_in_line_breaks(_: Desk, genuine: Post) -> Post:
    signature = _envelope(genuine)["Signature"]
    return genuine.saying({**_envelope(genuine), "Signature": f"{signature[:76]}\n{signature[76:]}"})


FORGERIES: Mapping[str, Forgery] = {
    **refused(
        401,
        "signing_cert_url_refused",
        certificate_in_a_bucket_named_sns=_simulated("own_certificate_in_a_bucket"),
        certificate_in_a_bucket_named_sns_of_a_new_region=_certified_at(
            f"https://sns.s3.us-east-1.amazonaws.com/{PEM}"
        ),
        certificate_in_a_bucket_named_sns_of_no_region=_certified_at(f"https://sns.s3.amazonaws.com/{PEM}"),
        certificate_in_a_bucket_by_its_path=_certified_at(f"https://s3.us-east-1.amazonaws.com/sns/{PEM}"),
        certificate_at_another_company=_certified_at(f"https://{HOST}.evil.example/{PEM}"),
        certificate_behind_userinfo=_certified_at(f"https://{HOST}@evil.example/{PEM}"),
        certificate_behind_userinfo_and_password=_certified_at(f"https://{HOST}:443@evil.example/{PEM}"),
        certificate_behind_a_backslash=_certified_at(f"https://{HOST}\\@evil.example/{PEM}"),
        certificate_on_another_port=_certified_at(f"https://{HOST}:8443/{PEM}"),
        certificate_over_plain_HTTP=_certified_at(f"http://{HOST}/{PEM}"),
        certificate_without_a_scheme=_certified_at(f"//{HOST}/{PEM}"),
        certificate_in_a_file=_certified_at(f"file:///etc/ssl/{PEM}"),
        certificate_of_another_region=_certified_at(f"https://sns.eu-west-1.amazonaws.com/{PEM}"),
        certificate_of_the_chinese_partition=_certified_at(f"https://{HOST}.cn/{PEM}"),
        certificate_at_a_host_with_a_dot_behind=_certified_at(f"https://{HOST}./{PEM}"),
        certificate_at_a_host_with_an_ideographic_dot=_certified_at(f"https://sns\u3002us-east-1.amazonaws.com/{PEM}"),
        certificate_at_a_host_with_a_cyrillic_letter=_certified_at(f"https://sn\u0455.us-east-1.amazonaws.com/{PEM}"),
        certificate_at_a_host_with_an_escape=_certified_at(f"https://sns%2eus-east-1.amazonaws.com/{PEM}"),
        certificate_behind_a_path_that_climbs=_certified_at(f"https://{HOST}/../bucket/{PEM}"),
        certificate_behind_a_query=_certified_at(f"https://{HOST}/{PEM}?url=https://evil.example"),
        certificate_behind_a_fragment=_certified_at(f"https://evil.example/#{HOST}/{PEM}"),
        certificate_with_a_line_feed=_certified_at(f"https://{HOST}/{PEM}\n"),
        certificate_at_the_address_of_metadata=_certified_at(f"http://169.254.169.254/{PEM}"),
    ),
    **refused(
        401,
        "signature_mismatch",
        key_of_ones_own=_simulated("signed_with_own_key"),
        message_tampered_with=_simulated("message_tampered"),
        message_of_another_notification=_message_of_another,
        signature_of_another_notification=_signature_of_another_message,
        certificate_swapped_for_one_of_another_year=_shown(SigningCertURL=OTHER_CERTIFICATE),
        key_of_another_year_under_the_newest_certificate=_signed_by_another_year,
        own_key_under_the_certificate_of_another_year=_certified_at(OTHER_CERTIFICATE),
        id_changed_to_count_as_new=_shown(MessageId="00000000-0000-4000-8000-000000000001"),
        time_moved=_shown(Timestamp="2026-09-21T14:13:19.000Z"),
        subject_added=_shown(Subject="SUBSCRIPTION_PURCHASED"),
        SHA_1_shown_as_SHA_256=_shown_as_the_other_digest,
        confirmation_by_a_stranger=_confirmation("stranger"),
        confirmation_with_another_token=_confirmation("SNS", Token="0" * 64),
        confirmation_that_leads_elsewhere=_confirmation("SNS", SubscribeURL="https://evil.example/"),
        confirmation_shown_as_its_opposite=_confirmation("SNS", Type="UnsubscribeConfirmation"),
    ),
    **refused(401, "unknown_key", certificate_that_SNS_never_had=_certified_at(f"https://{HOST}/{PEM}")),
    **refused(
        401,
        "signature_version_unknown",
        unknown_version=_simulated("unknown_signature_version"),
        version_with_a_zero_before=_signed(SignatureVersion="02"),
        no_version=_signed(SignatureVersion=""),
    ),
    **refused(
        401,
        "signature_not_base64",
        empty_signature=_shown(Signature=""),
        signature_in_line_breaks=_signature_in_line_breaks,
        signature_in_cyrillic=_shown(Signature="\u0410\u0410\u0410\u0410"),
    ),
    **refused(503, "timestamp_in_the_future", from_the_future=_signed(Timestamp=_IN_AN_HOUR)),
    **refused(401, "signature_mismatch", moved_into_the_future=_shown(Timestamp=_IN_AN_HOUR)),
    **refused(401, "timestamp_too_old", replay_after_an_hour=_simulated("too_old")),
    **refused(
        403,
        "topic_not_allowed",
        topic_of_another_account=_simulated("strangers_topic"),
        topic_of_the_same_name_elsewhere=_topic("arn:aws:sns:us-east-1:666666666666:acme"),
        topic_of_another_region=_topic("arn:aws:sns:eu-west-1:033616359524:acme"),
        topic_that_only_begins_alike=_topic("arn:aws:sns:us-east-1:033616359524:acme2"),
        subscription_of_the_topic=_topic("arn:aws:sns:us-east-1:033616359524:acme:5f0c"),
        topic_in_capital_letters=_topic("ARN:AWS:SNS:US-EAST-1:033616359524:ACME"),
        replay_to_another_app=lambda _, genuine: genuine.to(door("amazon", OTHER_APP)),
    ),
    **refused(403, "package_name_mismatch", another_package=_simulated("strangers_package")),
    **refused(
        400,
        "duplicate_key",
        topic_twice=_twice("TopicArn", "arn:aws:sns:us-east-1:666666666666:stranger"),
        message_twice=_twice("Message", "{}"),
        certificate_twice=_twice("SigningCertURL", "https://evil.example/c.pem"),
    ),
    **refused(
        400,
        "not_an_sns_message",
        message_without_its_envelope=_simulated("raw_delivery"),
        field_boundary_moved=_boundary_moved,
        notification_shown_as_a_confirmation=_shown(Type="SubscriptionConfirmation"),
        topic_with_a_cyrillic_letter=_topic("arn:aws:sns:us-east-1:033616359524:\u0430cme"),
        time_in_arabic_digits=_signed(Timestamp="\u0662\u0660\u0662\u0666-09-21T14:13:20.000Z"),
        type_in_small_letters=_signed(Type="notification"),
        topic_that_is_a_list=_shown(TopicArn=["arn:aws:sns:us-east-1:033616359524:acme"]),
        message_that_is_an_object=_shown(Message={}),
        no_signature=_shown(Signature=None),
    ),
    **refused(400, "timestamp_not_iso8601", time_of_another_zone=_signed(Timestamp="2026-09-21T14:13:20.000+02:00")),
}
