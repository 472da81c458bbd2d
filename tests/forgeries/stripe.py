"""Forged Stripe events."""

import hashlib
import hmac
import json
from collections.abc import Mapping

from tests.forgeries.case import Forge, Forgery, Post, refused
from tests.forgeries.desk import NOW, OTHER_APP, OTHER_SECRET, Desk, door
from worker.simulator.stripe import sign

HEADER = "stripe-signature"
AT = int(NOW)


def _secret(desk: Desk) -> str:
    secret: str = desk.cases["stripe"].settings.webhook_secrets[0]
    return secret


def _simulated(name: str) -> Forge:
    return lambda desk, _: desk.simulated("stripe", name)


def _shown(header: str) -> Forge:
    """Show a header, `{t}` and `{v1}` in it being the genuine ones."""

    def forge(_: Desk, genuine: Post) -> Post:
        t, v1 = (item.partition("=")[2] for item in genuine.header(HEADER).split(","))
        return genuine.having((HEADER, header.format(t=t, v1=v1, V1=v1.upper())))

    return forge


def _signed_with(secret: str) -> Forge:
    return lambda _, genuine: genuine.having((HEADER, sign(genuine.body, secret=secret, now=NOW)))


def _signed_over(content: str, digest: str = "sha256", *, at: str = str(AT)) -> Forge:
    """Sign with the right secret another text, or in another way; `{t}` and `{body}` stand for what they are."""

    def forge(desk: Desk, genuine: Post) -> Post:
        text = content.format(t=at, body=genuine.body.decode())
        mac = hmac.new(_secret(desk).encode(), text.encode(), getattr(hashlib, digest)).hexdigest()
        return genuine.having((HEADER, f"t={at},v1={mac}"))

    return forge


def _signed_saying(old: bytes, new: bytes) -> Forge:
    """Sign well a body that is wrong: whoever has the secret of the endpoint may still be another endpoint's."""

    def forge(desk: Desk, genuine: Post) -> Post:
        assert old in genuine.body
        body = genuine.body.replace(old, new, 1)
        return genuine.saying(body).having((HEADER, sign(body, secret=_secret(desk), now=NOW)))

    return forge


def _bytes_around(before: bytes, after: bytes) -> Forge:
    return lambda _, genuine: genuine.saying(before + genuine.body + after)


def _written_anew(_: Desk, genuine: Post) -> Post:
    return genuine.saying(json.dumps(json.loads(genuine.body), separators=(",", ":")).encode())


def _header_of_another_event(desk: Desk, genuine: Post) -> Post:
    return genuine.having((HEADER, desk.genuine("stripe").header(HEADER)))


def _without_prefix(desk: Desk, genuine: Post) -> Post:
    bare = _secret(desk).removeprefix("whsec_")
    return genuine.having((HEADER, sign(genuine.body, secret=bare, now=NOW)))


def _signature_twice(_: Desk, genuine: Post) -> Post:
    """Send two headers, of which a proxy in front may see one and we the other."""
    good = genuine.header(HEADER)
    return genuine.having((HEADER, f"t={AT},v1={'0' * 64}"), (HEADER, good))


def _under_another_name(name: str) -> Forge:
    return lambda _, genuine: genuine.lacking(HEADER).having((name, genuine.header(HEADER)))


def _signature_in_the_query(_: Desk, genuine: Post) -> Post:
    return genuine.lacking(HEADER).to(f"{genuine.path}?stripe-signature={genuine.header(HEADER)}")


FORGERIES: Mapping[str, Forgery] = {
    **refused(
        401,
        "signature_mismatch",
        secret_of_a_stranger=_simulated("strangers_secret"),
        amount_tampered_with=_simulated("amount_tampered"),
        secret_of_another_app=_signed_with(OTHER_SECRET),
        empty_secret=_signed_with(""),
        secret_without_its_prefix=_without_prefix,
        time_moved_under_the_old_signature=_shown("t=1789999999,v1={v1}"),
        signature_over_the_body_alone=_signed_over("{body}"),
        signature_over_the_time_alone=_signed_over("{t}."),
        header_of_another_event=_header_of_another_event,
        one_line_feed_behind=_bytes_around(b"", b"\n"),
        byte_order_mark_before=_bytes_around(b"\xef\xbb\xbf", b""),
        another_event_behind=_bytes_around(b"", b'{"id": "evt_2"}'),
        the_same_JSON_written_anew=_written_anew,
        signature_of_zeros=_shown("t={t},v1=" + "0" * 64),
        replay_to_another_app=lambda _, genuine: genuine.to(door("stripe", OTHER_APP)),
    ),
    **refused(401, "signed_too_long_ago", replay_after_five_minutes=_simulated("signed_too_long_ago")),
    **refused(401, "signed_in_the_future", signed_in_the_future=_simulated("signed_in_the_future")),
    **refused(
        401,
        "no_v1_signature",
        scheme_v0_alone=_simulated("only_scheme_v0"),
        SHA_1=_signed_over("{t}.{body}", "sha1"),
        SHA_512=_signed_over("{t}.{body}", "sha512"),
        signature_cut_short=_shown("t={t},v1=0"),
        signature_missing=_shown("t={t},v1="),
        signature_in_capital_letters=_shown("t={t},v1={V1}"),
        scheme_in_capital_letters=_shown("t={t},V1={v1}"),
    ),
    **refused(
        401,
        "bad_signature_time",
        two_times=_shown("t={t},t={t},v1={v1}"),
        no_time=_shown("v1={v1}"),
        header_sent_twice=_signature_twice,
        time_with_a_sign=_signed_over("{t}.{body}", at=f"+{AT}"),
        time_with_zeros_before=_signed_over("{t}.{body}", at=f"00{AT}"),
        time_with_a_fraction=_signed_over("{t}.{body}", at=f"{AT}.0"),
    ),
    **refused(
        401,
        "bad_signature_header",
        a_thousand_signatures=_shown("t={t},v1={v1}" + ",v1=0" * 1000),
        forty_signatures=_shown("t={t},v1={v1}" + ",v1=0" * 40),
    ),
    **refused(
        401,
        "no_signature_header",
        no_signature=_simulated("no_signature"),
        empty_header=_shown(""),
        fullwidth_digits_in_the_signature=_shown("t={t},v1=" + "\uff10" * 64),
        header_with_an_underscore=_under_another_name("Stripe_Signature"),
        header_that_a_proxy_would_forward=_under_another_name("X-Stripe-Signature"),
        signature_in_the_query=_signature_in_the_query,
    ),
    **refused(403, "livemode", other_mode=_simulated("other_livemode")),
    **refused(
        400,
        "duplicate_key",
        id_twice=_signed_saying(b'"id": "evt_', b'"id": "evt_other", "id": "evt_'),
        livemode_twice=_signed_saying(b'"livemode"', b'"livemode": true, "livemode"'),
    ),
    **refused(
        400,
        "unexpected_event_shape",
        livemode_as_a_number=_signed_saying(b'"livemode": false', b'"livemode": 0'),
        id_that_is_a_list=_signed_saying(b'"id": "evt_', b'"id": [], "_": "evt_'),
    ),
}
