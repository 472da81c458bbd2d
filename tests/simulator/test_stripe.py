"""The simulated Stripe: what it says is genuinely signed, and what it forges is not."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import stripe

from config.platforms import Stripe
from handlers.errors import Rejected, WrongApp
from handlers.stripe import PLATFORM
from schemas.entry import EntryKind as K
from schemas.entry import Said, Subject
from schemas.meaning import Meaning
from schemas.received import Received
from worker.simulator.sale import Sale, Shot
from worker.simulator.stripe import API_VERSION, StripeSimulator, create, told

pytestmark = pytest.mark.unit

NOW = 1_795_000_000.0
YEARLY = Sale(
    user_id="ada",
    product_id="com.acme.pro.yearly",
    purchase_id="ch_3AdaYearly",
    original_purchase_id="sub_1Ada",
    amount=12000,
    currency="eur",
    purchased_at_ms=1_795_000_000_000,
    expires_at_ms=1_826_536_000_000,
)
THEME = Sale(
    user_id="ada",
    product_id="com.acme.theme",
    purchase_id="ch_3AdaTheme",
    original_purchase_id="ch_3AdaTheme",
    amount=299,
    currency="eur",
    purchased_at_ms=1_795_000_000_000,
    expires_at_ms=None,
    subscription=False,
)
VERBS = ("purchase", "renew", "refund", "undo_refund", "expire")


@pytest.fixture(scope="module", name="settings")
def _settings(tmp_path_factory: pytest.TempPathFactory) -> Stripe:
    directory = tmp_path_factory.mktemp("stripe")
    return Stripe.model_validate(create(directory, app="acme", public_url="https://hooks.acme.example"))


@pytest.fixture(name="simulator")
def _simulator(tmp_path: Path, settings: Stripe) -> StripeSimulator:
    return StripeSimulator(tmp_path, settings)


def verified(shot: Shot | None, settings: Stripe) -> Any:
    """Verify a shot as the endpoint does."""
    assert shot is not None
    return PLATFORM.verify(Received("acme", shot.body, shot.headers), settings=settings, keys={}, now=NOW)


def said(shot: Shot | None, settings: Stripe) -> Said:
    """Return the one thing that a shot says."""
    answer = PLATFORM.normalize(verified(shot, settings), {}, settings=settings)
    assert isinstance(answer, Meaning)
    (only,) = answer.said
    return only


def test_a_new_secret_is_made_for_every_endpoint(tmp_path: Path) -> None:
    """Two endpoints never share a secret, and neither is live."""
    first, second = (create(tmp_path, app="acme", public_url="") for _ in range(2))
    assert re.fullmatch(r"whsec_[0-9a-f]{32}", first["webhook_secrets"][0])
    assert first["webhook_secrets"] != second["webhook_secrets"]
    assert (first["livemode"], second["livemode"]) == (False, False)


@pytest.mark.parametrize("sale", [YEARLY, THEME])
@pytest.mark.parametrize("verb", VERBS)
def test_every_shot_is_believed_by_us_and_by_the_official_package(
    simulator: StripeSimulator, settings: Stripe, verb: str, sale: Sale
) -> None:
    """Whatever it says is a genuine event, new each time, of the named type."""
    shots = [getattr(simulator, verb)(sale, NOW) for _ in range(2)]
    if shots == [None, None]:
        assert (verb, sale) == ("expire", THEME)
        return
    events = [verified(shot, settings) for shot in shots]
    assert len({event.id for event in events}) == 2
    assert {event.type for event in events} == {shots[0].type}
    official = stripe.Webhook.construct_event(
        shots[0].body, shots[0].headers["stripe-signature"], settings.webhook_secrets[0], tolerance=0
    )
    assert (official.id, official.api_version) == (events[0].id, API_VERSION)


def test_one_sale_is_told_by_its_charge(simulator: StripeSimulator, settings: Stripe) -> None:
    """A one-time sale names user, product and money; the app's backend has nothing to add."""
    bought = said(simulator.purchase(THEME, NOW), settings)
    assert (bought.kind, bought.subject.purchase_id) == (K.PURCHASED, THEME.purchase_id)
    assert (bought.facts.user_id, bought.facts.product_id) == ("ada", "com.acme.theme")
    assert (bought.facts.amount, bought.facts.currency, bought.facts.expires_at_ms) == (299, "eur", None)
    assert told(THEME) is None  # type: ignore[func-returns-value] # that it says nothing is the law


def test_a_period_is_told_by_its_invoice(simulator: StripeSimulator, settings: Stripe) -> None:
    """A subscription's period also names its lineage and its end."""
    bought = said(simulator.renew(YEARLY, NOW), settings)
    assert (bought.kind, bought.subject.purchase_id) == (K.PURCHASED, YEARLY.purchase_id)
    assert bought.subject.lineage == ("subscription:sub_1Ada",)
    assert (bought.facts.user_id, bought.facts.product_id) == ("ada", "com.acme.pro.yearly")
    assert (bought.facts.amount, bought.facts.expires_at_ms) == (12000, YEARLY.expires_at_ms)


def test_a_period_without_an_end_lasts_a_month(simulator: StripeSimulator, settings: Stripe) -> None:
    """An invoice line always has a period."""
    endless = Sale(**{**{name: getattr(YEARLY, name) for name in YEARLY.__slots__}, "expires_at_ms": None})
    bought = said(simulator.purchase(endless, NOW), settings)
    assert bought.facts.expires_at_ms == YEARLY.purchased_at_ms + 30 * 86_400_000


@pytest.mark.parametrize("sale", [YEARLY, THEME])
def test_a_failing_refund_is_that_refund(simulator: StripeSimulator, settings: Stripe, sale: Sale) -> None:
    """Refund and failure name one refund of one purchase, with all its money."""
    refunded = said(simulator.refund(sale, NOW), settings)
    failed = said(simulator.undo_refund(sale, NOW + 60), settings)
    assert (refunded.kind, failed.kind) == (K.REFUND_SUCCEEDED, K.REFUND_FAILED)
    assert refunded.subject == failed.subject
    assert refunded.subject.purchase_id == sale.purchase_id
    assert refunded.refund is not None
    assert failed.refund is not None
    assert refunded.refund.platform_refund_id == failed.refund.platform_refund_id
    assert (refunded.refund.amount, refunded.refund.currency) == (sale.amount, "eur")
    assert failed.refund.failed_reason == "expired_or_canceled_card"


def test_a_subscription_ends_as_a_whole(simulator: StripeSimulator, settings: Stripe) -> None:
    """The end is about the lineage that every period named; what was bought once never ends."""
    ended = said(simulator.expire(YEARLY, NOW), settings)
    assert (ended.kind, ended.subject) == (K.EXPIRED, Subject(lineage=("subscription:sub_1Ada",)))
    assert simulator.expire(THEME, NOW) is None


@pytest.mark.parametrize(
    ("verb", "kind", "fields"),
    [
        ("refund_half", "refund.created", {"amount": 149, "status": "succeeded"}),
        ("refund_other_half", "refund.created", {"amount": 150, "status": "succeeded"}),
        ("refund_twice_the_price", "refund.created", {"amount": 598}),
        ("total_half", "charge.refunded", {"amount_refunded": 149, "refunded": False}),
        ("total_all", "charge.refunded", {"amount_refunded": 299, "refunded": True}),
        ("fail_disputed_refund", "refund.failed", {"failure_reason": "charge_for_pending_refund_disputed"}),
        ("open_dispute", "charge.dispute.created", {"status": "needs_response"}),
        ("withdraw_funds", "charge.dispute.funds_withdrawn", {"status": "needs_response"}),
        ("win_dispute", "charge.dispute.closed", {"status": "won"}),
        ("reinstate_funds", "charge.dispute.funds_reinstated", {"status": "won"}),
        ("lose_dispute", "charge.dispute.closed", {"status": "lost"}),
        ("open_inquiry", "charge.dispute.created", {"status": "warning_needs_response"}),
        ("close_inquiry", "charge.dispute.closed", {"status": "warning_closed"}),
        ("warn_of_fraud", "radar.early_fraud_warning.created", {"actionable": True}),
        ("hold", "customer.subscription.updated", {"status": "unpaid", "ended_at": None}),
        ("resume", "customer.subscription.updated", {"status": "active", "ended_at": None}),
        ("recover", "invoice.paid", {"status": "paid"}),
    ],
)
def test_what_only_stripe_says_is_said_in_its_words(
    simulator: StripeSimulator, settings: Stripe, verb: str, kind: str, fields: dict[str, Any]
) -> None:
    """Type and the fields that decide stand where Stripe puts them, on an event that is genuine."""
    subscribed = verb in ("hold", "resume", "recover")
    event = verified(getattr(simulator, verb)(YEARLY if subscribed else THEME, NOW), settings)

    assert kind == event.type
    assert fields == {name: event.subject[name] for name in fields}


def test_two_halves_are_two_refunds(simulator: StripeSimulator, settings: Stripe) -> None:
    """Each part of a sale that goes back is a refund of its own, and told again it is the same one."""
    parts = [verified(act(THEME, NOW), settings) for act in (simulator.refund_half, simulator.refund_other_half)]
    again = verified(simulator.refund_half(THEME, NOW + 60), settings)

    assert THEME.amount == sum(part.subject["amount"] for part in parts)
    assert parts[0].subject["id"] == again.subject["id"] != parts[1].subject["id"]


def test_an_upgrade_credits_what_is_left_of_the_old_plan(simulator: StripeSimulator, settings: Stripe) -> None:
    """The invoice of a change has a negative line, and what was paid is the sum of its lines."""
    better = replace(YEARLY, purchase_id="ch_3AdaBetter", replaces="ch_3AdaYearly")
    invoice = verified(simulator.upgrade(better, NOW), settings).subject
    amounts = [line["amount"] for line in invoice["lines"]["data"]]

    assert ("subscription_update", better.amount) == (invoice["billing_reason"], sum(amounts))
    assert min(amounts) < 0


def test_a_late_delivery_is_signed_anew(simulator: StripeSimulator, settings: Stripe) -> None:
    """Eight days later the event is the same, and its signature is fresh."""
    eight_days_ago = NOW - 8 * 86_400
    shot = simulator.refund(THEME, eight_days_ago)
    with pytest.raises(Rejected, match="signed_too_long_ago"):
        verified(shot, settings)
    late = simulator.reseal(shot, NOW)

    assert (shot.body, int(eight_days_ago)) == (late.body, verified(late, settings).created)


@pytest.mark.parametrize("livemode", [True, False])
@pytest.mark.parametrize("sale", [YEARLY, THEME])
@pytest.mark.parametrize("verb", VERBS)
def test_every_forgery_is_refused(tmp_path: Path, settings: Stripe, verb: str, sale: Sale, *, livemode: bool) -> None:
    """The shot itself is believed, and none of its forgeries is."""
    settings = settings.model_copy(update={"livemode": livemode})
    simulator = StripeSimulator(tmp_path, settings)
    if (shot := getattr(simulator, verb)(sale, NOW)) is None:
        return
    assert verified(shot, settings).livemode is livemode
    reasons = {}
    for name, forgery in simulator.forge(shot, NOW):
        with pytest.raises(Rejected) as refused:
            verified(forgery, settings)
        reasons[name] = refused.value.reason
        assert isinstance(refused.value, WrongApp) is (name == "other_livemode")
    assert reasons == {
        "no_signature": "no_signature_header",
        "strangers_secret": "signature_mismatch",
        "amount_tampered": "signature_mismatch",
        "signed_too_long_ago": "signed_too_long_ago",
        "signed_in_the_future": "signed_in_the_future",
        "only_scheme_v0": "no_v1_signature",
        "other_livemode": "livemode",
    }
