"""What Stripe's charges, checkouts, invoices and subscriptions mean, in old and new shapes."""

from typing import Any

import pytest

from handlers.stripe import PLATFORM
from schemas.entry import EntryKind as K
from schemas.entry import PurchaseFacts, Subject
from schemas.meaning import Ignored, Quarantined
from tests.handlers.stripe_story import (
    BASIL_INVOICE,
    BASIL_LINE,
    BOUGHT,
    CANCELED_PAYMENT,
    CHARGE,
    CREATED,
    ENDS,
    GENUINE,
    INVOICE_PAYMENT,
    OLD_INVOICE,
    REFUND,
    SESSION,
    SETTINGS,
    SUBSCRIPTION,
    event_of,
    meaning,
    only,
)

pytestmark = pytest.mark.unit


class TestCharges:
    @pytest.mark.parametrize("type_", ["charge.succeeded", "charge.captured"])
    def test_a_paid_charge_is_a_purchase(self, type_: str) -> None:
        """Metadata names user and product, the charge names the money."""
        said = only(meaning(type_, {**CHARGE, "invoice": "in_1Annual"}))
        assert said.kind is K.PURCHASED
        assert said.subject == Subject(
            purchase_id="ch_3Annual", aliases=("payment_intent:pi_3Annual", "invoice:in_1Annual")
        )
        assert said.facts == PurchaseFacts(
            product_id="com.acme.pro.yearly",
            user_id="ada",
            amount=12000,
            currency="eur",
            purchased_at_ms=BOUGHT * 1000,
        )

    @pytest.mark.parametrize(
        "change", [{"captured": False}, {"status": "pending"}, {"status": "failed"}, {"status": None, "paid": False}]
    )
    def test_money_that_was_not_taken_buys_nothing(self, change: dict[str, Any]) -> None:
        """An authorization, a pending and a failed charge are no purchases."""
        assert meaning("charge.succeeded", {**CHARGE, **change}) == Ignored("charge_not_captured")

    @pytest.mark.parametrize("status", ["paid", None])
    def test_old_words_for_success_count(self, status: str | None) -> None:
        """Before 2015 the status was `paid`, or only the flag was there."""
        assert only(meaning("charge.succeeded", {**CHARGE, "status": status})).kind is K.PURCHASED

    def test_the_amount_is_what_was_captured(self) -> None:
        """Of a larger authorization only the captured part was paid; older versions know just the amount."""
        assert only(meaning("charge.captured", {**CHARGE, "amount_captured": 3000})).facts.amount == 3000
        older = {name: value for name, value in CHARGE.items() if name != "amount_captured"}
        assert only(meaning("charge.captured", older)).facts.amount == 12000

    def test_a_customer_is_only_a_guess(self) -> None:
        """Without the app's own id in metadata, Stripe's customer stands in, marked as a guess."""
        facts = only(meaning("charge.succeeded", {**CHARGE, "metadata": {"user_id": ""}})).facts
        assert (facts.user_id, facts.user_authority, facts.product_id) == ("cus_Ada", "guess", None)

    def test_nobody_is_nobody(self) -> None:
        """A guest's charge names no user."""
        facts = only(meaning("charge.succeeded", {**CHARGE, "metadata": [], "customer": None})).facts
        assert (facts.user_id, facts.user_authority) == (None, "platform")

    def test_the_operator_names_the_metadata(self) -> None:
        """The keys in metadata are configuration."""
        settings = SETTINGS.model_copy(update={"user_id_metadata": "uid", "product_id_metadata": "sku"})
        event = event_of("charge.succeeded", {**CHARGE, "metadata": {"uid": "grace", "sku": "gold"}})
        facts = only(PLATFORM.normalize(event, {}, settings=settings)).facts
        assert (facts.user_id, facts.product_id) == ("grace", "gold")


class TestCheckout:
    @pytest.mark.parametrize("type_", ["checkout.session.completed", "checkout.session.async_payment_succeeded"])
    def test_a_paid_session_is_a_purchase(self, type_: str) -> None:
        """The payment intent names the purchase, and so does the session; `client_reference_id` names the user."""
        said = only(meaning(type_, SESSION))
        names = ("payment_intent:pi_3Annual", "checkout_session:cs_live_annual")
        assert (said.kind, said.subject) == (K.PURCHASED, Subject(aliases=names))
        assert said.facts == PurchaseFacts(
            product_id="com.acme.pro.yearly",
            user_id="ada",
            amount=12000,
            currency="eur",
            purchased_at_ms=BOUGHT * 1000,
        )

    def test_a_subscription_is_named_by_its_invoice(self) -> None:
        """The subscription is the lineage, the invoice the purchase: a later period is another purchase."""
        session = {
            **SESSION,
            "mode": "subscription",
            "payment_intent": None,
            "invoice": "in_1Annual",
            "subscription": "sub_Ada",
        }
        said = only(meaning("checkout.session.completed", session))
        names = ("invoice:in_1Annual", "checkout_session:cs_live_annual")
        assert said.subject == Subject(aliases=names, lineage=("subscription:sub_Ada",))
        assert said.facts.kind == "subscription"

    def test_a_session_that_names_only_its_subscription_is_no_purchase_of_its_own(self) -> None:
        """The first invoice is the purchase, and no later event would say that the session is the same."""
        session = {**SESSION, "mode": "subscription", "payment_intent": None, "subscription": "sub_Ada"}
        said = only(meaning("checkout.session.completed", session))
        assert (K.PURCHASED, Subject(lineage=("subscription:sub_Ada",))) == (said.kind, said.subject)
        assert ("ada", "subscription") == (said.facts.user_id, said.facts.kind)

    def test_a_free_order_is_named_by_its_session(self) -> None:
        """Without payment or invoice it must still not be about a whole lineage."""
        session = {**SESSION, "payment_intent": None, "payment_status": "no_payment_required", "amount_total": 0}
        said = only(meaning("checkout.session.completed", session))
        assert (said.subject, said.facts.amount) == (Subject(aliases=("checkout_session:cs_live_annual",)), 0)

    def test_metadata_wins_over_the_reference_and_both_over_the_customer(self) -> None:
        """The app's own words come first, in the order of how surely they are a user's id."""
        named = {**SESSION, "metadata": {"user_id": "grace"}}
        assert only(meaning("checkout.session.completed", named)).facts.user_id == "grace"
        guessed = only(meaning("checkout.session.completed", {**SESSION, "client_reference_id": None})).facts
        assert (guessed.user_id, guessed.user_authority) == ("cus_Ada", "guess")

    @pytest.mark.parametrize(
        ("change", "answer"),
        [
            ({"payment_status": "unpaid"}, Ignored("checkout_unpaid")),
            (
                {"mode": "setup", "payment_status": "no_payment_required"},
                Ignored("checkout_without_sale"),
            ),
            ({"payment_status": "half_paid"}, Quarantined("unknown_payment_status", "half_paid")),
            ({"payment_status": None}, Quarantined("unknown_payment_status", "None")),
        ],
    )
    def test_a_session_without_payment_buys_nothing(self, change: dict[str, Any], answer: object) -> None:
        """Unpaid, saved cards and unknown words give no access."""
        assert meaning("checkout.session.completed", {**SESSION, **change}) == answer


class TestInvoices:
    @pytest.mark.parametrize("type_", ["invoice.paid", "invoice.payment_succeeded"])
    def test_a_basil_invoice_is_a_purchase_of_a_period(self, type_: str) -> None:
        """Since 2025-03-31 `parent` names the subscription, and its metadata user and product."""
        said = only(meaning(type_, BASIL_INVOICE))
        assert said.kind is K.PURCHASED
        assert said.subject == Subject(aliases=("invoice:in_1Annual",), lineage=("subscription:sub_Ada",))
        assert said.facts == PurchaseFacts(
            product_id="com.acme.pro.yearly",
            kind="subscription",
            user_id="ada",
            quantity=1,
            amount=12000,
            currency="eur",
            purchased_at_ms=BOUGHT * 1000,
            expires_at_ms=ENDS * 1000,
        )

    def test_an_older_invoice_names_its_charge(self) -> None:
        """Before basil the invoice itself names charge, payment intent and subscription; the line the user."""
        said = only(meaning("invoice.paid", OLD_INVOICE))
        assert said.subject == Subject(
            purchase_id="ch_3Annual",
            aliases=("invoice:in_1Annual", "payment_intent:pi_3Annual"),
            lineage=("subscription:sub_Ada",),
        )
        assert (said.facts.user_id, said.facts.product_id) == ("ada", "prod_Pro")
        assert (said.facts.purchased_at_ms, said.facts.expires_at_ms) == ((BOUGHT - 3) * 1000, ENDS * 1000)

    def test_embedded_payments_name_charge_and_intent(self) -> None:
        """Where payments are expanded, those that were paid are the purchase's other names."""
        charge = {"payment": {"type": "charge", "charge": "py_1"}, "status": "paid"}
        failed = {"payment": {"type": "payment_intent", "payment_intent": "pi_failed"}, "status": "canceled"}
        payments = {"object": "list", "data": [INVOICE_PAYMENT, charge, failed], "has_more": False}
        said = only(meaning("invoice.paid", {**BASIL_INVOICE, "payments": payments}))
        assert said.subject.purchase_id == "py_1"
        assert said.subject.aliases == ("invoice:in_1Annual", "payment_intent:pi_3Annual")

    def test_several_charges_are_not_one_purchase_id(self) -> None:
        """An invoice that two charges paid is named by neither."""
        pays = [{"payment": {"type": "charge", "charge": name}, "status": "paid"} for name in ("py_1", "py_2")]
        said = only(meaning("invoice.paid", {**BASIL_INVOICE, "payments": {"data": pays}}))
        assert said.subject.purchase_id is None

    @pytest.mark.parametrize(
        ("line", "product"),
        [
            (BASIL_LINE, "prod_Pro"),
            ({"pricing": {"price_details": {"price": "price_Year"}}}, "price_Year"),
            ({"price": {"id": "price_Year", "product": {"id": "prod_Pro", "name": "Pro"}}}, "prod_Pro"),
            ({"price": {"id": "price_Year"}}, "price_Year"),
            ({"plan": {"id": "plan_Year", "product": "prod_Pro"}}, "prod_Pro"),
            ({"plan": {"id": "plan_Year"}}, "plan_Year"),
            ({"pricing": None, "price": None}, None),
        ],
    )
    def test_the_line_names_the_product_where_metadata_does_not(
        self, line: dict[str, Any], product: str | None
    ) -> None:
        """The product before the price, the new field before the old ones."""
        invoice = {**BASIL_INVOICE, "parent": None, "lines": {"data": [line]}}
        facts = only(meaning("invoice.paid", invoice)).facts
        assert (product, "guess" if product else "platform") == (facts.product_id, facts.product_authority)

    def test_a_change_of_plan_sells_the_new_plan(self) -> None:
        """The credit for the old plan's rest is a negative line of the same period, and not what was bought."""
        credit = {**BASIL_LINE, "amount": -4000, "pricing": {"price_details": {"product": "prod_Basic"}}}
        invoice = {**BASIL_INVOICE, "parent": None, "lines": {"data": [credit, BASIL_LINE]}}
        assert only(meaning("invoice.paid", invoice)).facts.product_id == "prod_Pro"

    @pytest.mark.parametrize("period", [{"start": BOUGHT, "end": BOUGHT}, None])
    def test_a_moment_is_no_expiry(self, period: Any) -> None:
        """What a subscription's invoice sells without a period lasts until the subscription ends."""
        invoice = {**BASIL_INVOICE, "lines": {"data": [{**BASIL_LINE, "period": period}]}}
        assert only(meaning("invoice.paid", invoice)).facts.expires_at_ms is None

    def test_usage_is_given_before_it_is_paid(self) -> None:
        """A bill for a period that is over has no end to come: it is dated by the beginning of what it bills."""
        line = {**BASIL_LINE, "period": {"start": BOUGHT - 90_000, "end": BOUGHT - 4}}
        said = only(meaning("invoice.paid", {**BASIL_INVOICE, "lines": {"data": [line]}}))
        began_ms = (BOUGHT - 90_000) * 1000
        assert (None, began_ms, began_ms) == (said.facts.expires_at_ms, said.facts.purchased_at_ms, said.occurred_at_ms)
        alone = only(meaning("invoice.paid", {**BASIL_INVOICE, "parent": None, "lines": {"data": [line]}}))
        assert alone.facts.expires_at_ms is None
        assert alone.facts.purchased_at_ms != began_ms

    def test_an_invoice_without_subscription_never_expires(self) -> None:
        """Without a subscription the period is bookkeeping; the invoice's own metadata names the user."""
        said = only(meaning("invoice.paid", {**BASIL_INVOICE, "parent": None, "metadata": {"user_id": "ada"}}))
        assert (said.subject.lineage, said.facts.expires_at_ms, said.facts.kind) == ((), None, None)
        assert said.facts.user_id == "ada"

    def test_an_invoice_without_lines_is_still_paid(self) -> None:
        """What it sold is unknown, that it was paid is not."""
        bare = {name: BASIL_INVOICE[name] for name in ("id", "object", "amount_paid", "currency")}
        said = only(meaning("invoice.paid", bare))
        assert (said.facts.product_id, said.facts.amount, said.facts.purchased_at_ms) == (None, 12000, None)

    def test_an_invoice_payment_ties_invoice_and_intent(self) -> None:
        """The two names are one purchase, and nothing else is said."""
        said = only(meaning("invoice_payment.paid", INVOICE_PAYMENT))
        assert said.kind is K.LINKED
        assert said.subject == Subject(aliases=("invoice:in_1Annual", "payment_intent:pi_3Annual"))

    def test_an_invoice_payment_may_name_a_charge(self) -> None:
        """A charge without payment intent is named directly."""
        payment = {**INVOICE_PAYMENT, "payment": {"type": "charge", "charge": "py_1"}}
        said = only(meaning("invoice_payment.paid", payment))
        assert said.subject == Subject(purchase_id="py_1", aliases=("invoice:in_1Annual",))

    @pytest.mark.parametrize(
        "change", [{"payment": {"type": "payment_record", "payment_record": "pr_1"}}, {"invoice": None}]
    )
    def test_a_payment_with_one_name_ties_nothing(self, change: dict[str, Any]) -> None:
        """Money that was taken elsewhere has no name at Stripe."""
        answer = meaning("invoice_payment.paid", {**INVOICE_PAYMENT, **change})
        assert answer == Ignored("invoice_paid_outside_stripe")


class TestHeldMoney:
    def test_an_authorization_that_expires_ends_what_it_gave(self) -> None:
        """Money that was held and never taken bought nothing, whatever an app gave for it."""
        said = only(meaning("charge.expired", {**CHARGE, "captured": False, "invoice": "in_1Annual"}))
        assert (K.EXPIRED, "authorization_expired") == (said.kind, said.reason)
        assert Subject(purchase_id="ch_3Annual", aliases=("payment_intent:pi_3Annual",)) == said.subject

    def test_a_captured_charge_does_not_expire(self) -> None:
        """What was taken is paid, whatever became of the rest of the authorization."""
        assert Ignored("payment_kept") == meaning("charge.expired", {**CHARGE, "captured": True})

    @pytest.mark.parametrize("tried", [{}, {"latest_charge": None, "charges": {"data": [CHARGE]}}])
    def test_a_canceled_payment_ends_what_it_gave(self, tried: dict[str, Any]) -> None:
        """A payment that was tried and canceled before anything came in ends by its own name, and by no other."""
        said = only(meaning("payment_intent.canceled", {**CANCELED_PAYMENT, **tried}))
        assert (K.EXPIRED, "payment_canceled") == (said.kind, said.reason)
        assert Subject(aliases=("payment_intent:pi_3Annual",)) == said.subject

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"amount_received": 3000}, "payment_kept"),
            ({"invoice": "in_1Annual"}, "told_by_its_invoice"),
            ({"latest_charge": None}, "payment_never_tried"),
            ({"latest_charge": None, "charges": {"data": []}}, "payment_never_tried"),
        ],
    )
    def test_a_canceled_payment_ends_nothing_that_was_paid(self, change: dict[str, Any], reason: str) -> None:
        """What it received stays paid, an invoice may be paid in another way, and what was never tried gave nothing."""
        assert Ignored(reason) == meaning("payment_intent.canceled", {**CANCELED_PAYMENT, **change})

    @pytest.mark.parametrize("type_", ["charge.expired", "payment_intent.canceled"])
    def test_held_money_asks_nothing(self, type_: str) -> None:
        """There is no invoice to look for behind money that was not taken."""
        assert () == PLATFORM.needs(event_of(type_, {**GENUINE[type_], "metadata": {}}))


class TestMinorUnits:
    @pytest.mark.parametrize(("amount", "currency"), [(1200, "jpy"), (12_345, "kwd"), (12000, "isk")])
    def test_amounts_are_left_as_they_are(self, amount: int, currency: str) -> None:
        """Yen have no decimals and dinars three: both are Stripe's own integers, and nothing scales them."""
        charge = {**CHARGE, "amount": amount, "amount_captured": amount, "currency": currency}
        facts = only(meaning("charge.succeeded", charge)).facts
        assert (amount, currency) == (facts.amount, facts.currency)
        refund = only(meaning("refund.created", {**REFUND, "amount": amount, "currency": currency})).refund
        assert refund is not None
        assert (amount, currency, "exact") == (refund.amount, refund.currency, refund.amount_source)
        total = only(meaning("charge.refunded", {**charge, "amount_refunded": amount, "refunded": True})).refund
        assert total is not None
        assert (amount, currency, "full") == (total.amount, total.currency, total.scope)


class TestSubscriptions:
    UPDATED = "customer.subscription.updated"

    def updated(self, status: str | None, before: Any = None, type_: str = UPDATED) -> Any:
        """Say that a subscription changed."""
        changed = {**SUBSCRIPTION, "status": status, "ended_at": None, "cancellation_details": None}
        return meaning(type_, changed, data={"object": changed, "previous_attributes": before})

    @pytest.mark.parametrize("status", ["unpaid", "paused"])
    @pytest.mark.parametrize("type_", [UPDATED, "customer.subscription.paused"])
    def test_an_unpaid_or_paused_subscription_is_held_back(self, type_: str, status: str) -> None:
        """Stripe stops service in both, for every period, and may resume it."""
        said = only(self.updated(status, {"status": "active"}, type_))
        assert (K.SUSPENDED, status, CREATED * 1000) == (said.kind, said.reason, said.occurred_at_ms)
        assert Subject(lineage=("subscription:sub_Ada",)) == said.subject

    @pytest.mark.parametrize("status", ["active", "trialing", "past_due"])
    @pytest.mark.parametrize("before", ["unpaid", "paused"])
    def test_what_was_held_back_goes_on(self, before: str, status: str) -> None:
        """A subscription that runs again, or is being collected again, is resumed."""
        said = only(self.updated(status, {"status": before}))
        assert (K.RESUMED, None) == (said.kind, said.reason)
        assert Subject(lineage=("subscription:sub_Ada",)) == said.subject

    @pytest.mark.parametrize("before", ["active", "trialing"])
    def test_an_overdue_subscription_goes_on_without_a_date(self, before: str) -> None:
        """Stripe still collects: the end of what was paid no longer counts, until it is paid, unpaid or canceled."""
        said = only(self.updated("past_due", {"status": before}))
        assert (K.RESCHEDULED, "past_due", None) == (said.kind, said.reason, said.facts.expires_at_ms)
        assert Subject(lineage=("subscription:sub_Ada",)) == said.subject

    def test_resumed_is_resumed(self) -> None:
        """The event that is named so needs no earlier status."""
        assert K.RESUMED is only(self.updated("active", None, "customer.subscription.resumed")).kind

    def test_resumed_and_paused_again_is_paused(self) -> None:
        """The status of the snapshot decides, not the name of the event."""
        assert K.SUSPENDED is only(self.updated("paused", None, "customer.subscription.resumed")).kind

    @pytest.mark.parametrize(
        "before", [None, {}, {"status": "past_due"}, {"status": ["paused"]}, {"cancel_at_period_end": False}, "paused"]
    )
    @pytest.mark.parametrize("status", ["active", "trialing", "past_due"])
    def test_a_running_subscription_just_goes_on(self, status: str, before: Any) -> None:
        """An overdue payment keeps access while it is collected; a cancellation at the period's end waits for it."""
        assert Ignored("subscription_goes_on") == self.updated(status, before)

    def test_what_was_never_paid_is_not_held_back(self) -> None:
        """Before its first payment there is nothing to hold."""
        assert Ignored("subscription_not_paid_yet") == self.updated("incomplete")

    @pytest.mark.parametrize("status", ["canceled", "incomplete_expired"])
    def test_an_update_may_be_the_end(self, status: str) -> None:
        """Both are final, and end the lineage at `ended_at`."""
        ended = {**SUBSCRIPTION, "status": status, "cancellation_details": {"reason": None}}
        said = only(meaning(self.UPDATED, ended))
        assert (K.EXPIRED, ENDS * 1000, status) == (said.kind, said.occurred_at_ms, said.reason)
        assert Subject(lineage=("subscription:sub_Ada",)) == said.subject

    @pytest.mark.parametrize("status", [None, "hibernating"])
    def test_an_unknown_status_has_no_effect(self, status: str | None) -> None:
        """A word that the table lacks is kept for a person to see."""
        assert Quarantined("unknown_subscription_status", str(status)) == self.updated(status)

    def test_an_ended_subscription_ends_its_whole_lineage(self) -> None:
        """It ended when it ended, not when the customer asked for it."""
        said = only(meaning("customer.subscription.deleted", SUBSCRIPTION))
        assert (said.kind, said.occurred_at_ms, said.reason) == (K.EXPIRED, ENDS * 1000, "payment_disputed")
        assert said.subject == Subject(lineage=("subscription:sub_Ada",))

    def test_without_an_end_the_event_is_the_end(self) -> None:
        """The event's own time stands in."""
        bare = {"id": "sub_Ada", "object": "subscription"}
        said = only(meaning("customer.subscription.deleted", bare))
        assert (said.occurred_at_ms, said.reason) == (CREATED * 1000, None)
