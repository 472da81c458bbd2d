"""What Stripe's events leave to be asked, and what the answers add to them; and whose events count at all."""

from collections.abc import Mapping
from typing import Any

import pytest

from handlers.stripe import PLATFORM
from schemas.entry import EntryKind as K
from schemas.entry import PurchaseFacts, Subject
from schemas.meaning import Meaning, Missing, Quarantined
from tests.handlers.stripe_story import (
    BASIL_INVOICE,
    BOUGHT,
    CHARGE,
    CREATED,
    DISPUTE,
    ENDS,
    GENUINE,
    INVOICE_PAYMENT,
    LOOKUP,
    METADATA,
    OLD_INVOICE,
    REFUND,
    SETTINGS,
    event_of,
    meaning,
    only,
)

pytestmark = pytest.mark.unit

BARE: Mapping[str, Any] = {**CHARGE, "metadata": {}}
ASKING = [("charge.succeeded", BARE), ("refund.created", REFUND), ("charge.dispute.created", DISPUTE)]
NAMES = ("payment_intent:pi_3Annual", "invoice:in_1Annual")


def page(*payments: Any, **more: Any) -> dict[str, Any]:
    """Answer with a list of invoice payments."""
    return {"object": "list", "data": list(payments), "has_more": False, **more}


def expanded(invoice: Any) -> dict[str, Any]:
    """Put the invoice in place of its id, as the look-up asks for."""
    return {**INVOICE_PAYMENT, "invoice": invoice}


class TestAsking:
    @pytest.mark.parametrize(("type_", "subject"), ASKING)
    def test_the_invoice_is_asked_for_and_added(self, type_: str, subject: dict[str, Any]) -> None:
        """Since basil only `invoice_payments` tells which period a payment was for."""
        assert (LOOKUP,) == PLATFORM.needs(event_of(type_, subject))
        answer = meaning(type_, subject, {LOOKUP: page(INVOICE_PAYMENT)})
        assert () == answer.unlearned
        assert only(answer).subject.aliases == NAMES

    @pytest.mark.parametrize(
        "change",
        [{"metadata": METADATA}, {"invoice": "in_1Annual"}, {"payment_intent": None}, {"captured": False}],
    )
    def test_a_charge_that_says_enough_needs_nothing(self, change: dict[str, Any]) -> None:
        """Its own metadata or invoice is enough; without an intent, or money, there is nothing to ask."""
        assert () == PLATFORM.needs(event_of("charge.succeeded", {**BARE, **change}))

    @pytest.mark.parametrize("type_", sorted({*GENUINE, "customer.created", "an.unknown.type"} - dict(ASKING).keys()))
    def test_other_events_need_nothing(self, type_: str) -> None:
        """What names its purchase, or none, asks nothing."""
        assert () == PLATFORM.needs(event_of(type_, GENUINE.get(type_, {})))

    def test_without_an_answer_the_event_still_counts(self) -> None:
        """The refund has its effect, and says what it could not learn."""
        answer = meaning("refund.created", REFUND)
        assert (LOOKUP,) == answer.unlearned
        assert ("payment_intent:pi_3Annual",) == only(answer).subject.aliases

    @pytest.mark.parametrize("answer", [Missing(404), page()])
    def test_none_is_an_answer(self, answer: Any) -> None:
        """The payment was for no invoice, or Stripe does not know it: asking again would teach nothing."""
        told = meaning("refund.created", REFUND, {LOOKUP: answer})
        assert () == told.unlearned
        assert ("payment_intent:pi_3Annual",) == only(told).subject.aliases

    def test_a_payment_of_two_invoices_ties_neither(self) -> None:
        """Two invoices must not become one purchase through a payment that served both; asking again will not help."""
        both = page(INVOICE_PAYMENT, expanded({**BASIL_INVOICE, "id": "in_2"}))
        told = meaning("refund.created", REFUND, {LOOKUP: both})
        assert () == told.unlearned
        assert ("payment_intent:pi_3Annual",) == only(told).subject.aliases

    def test_a_canceled_attempt_does_not_count(self) -> None:
        """What was not paid this way was paid in another."""
        canceled = {**INVOICE_PAYMENT, "invoice": "in_2", "status": "canceled"}
        told = meaning("refund.created", REFUND, {LOOKUP: page(INVOICE_PAYMENT, canceled)})
        assert NAMES == only(told).subject.aliases

    @pytest.mark.parametrize(
        "junk", [None, {"error": {"type": "invalid_request_error"}}, {"data": [{"invoice": "in_1"}]}, [], "<html>"]
    )
    def test_what_is_no_answer_teaches_nothing(self, junk: Any) -> None:
        """It may be asked again."""
        told = meaning("refund.created", REFUND, {LOOKUP: junk})
        assert (LOOKUP,) == told.unlearned
        assert ("payment_intent:pi_3Annual",) == only(told).subject.aliases


class TestTheInvoiceBehind:
    @pytest.mark.parametrize(("type_", "subject"), ASKING)
    def test_it_says_what_was_sold(self, type_: str, subject: dict[str, Any]) -> None:
        """Subscription, product, period and user stand on the invoice, and it was paid when it was paid."""
        answer = meaning(type_, subject, {LOOKUP: page(expanded(BASIL_INVOICE))})
        assert isinstance(answer, Meaning)
        first, sold = answer.said
        assert NAMES == first.subject.aliases
        assert (K.PURCHASED, BOUGHT * 1000, "production") == (sold.kind, sold.occurred_at_ms, sold.environment)
        assert Subject(purchase_id="ch_3Annual", aliases=NAMES, lineage=("subscription:sub_Ada",)) == sold.subject
        assert sold.facts == PurchaseFacts(
            product_id="com.acme.pro.yearly",
            kind="subscription",
            user_id="ada",
            quantity=1,
            amount=12000,
            currency="eur",
            purchased_at_ms=BOUGHT * 1000,
            expires_at_ms=ENDS * 1000,
        )

    def test_its_line_names_the_product_where_nobody_wrote_metadata(self) -> None:
        """`lines[].pricing.price_details.product` is Stripe's own id of the product; the customer is a guess."""
        plain = {"type": "subscription_details", "subscription_details": {"subscription": "sub_Ada", "metadata": {}}}
        answer = meaning("refund.created", REFUND, {LOOKUP: page(expanded({**BASIL_INVOICE, "parent": plain}))})
        facts = answer.said[1].facts
        assert ("prod_Pro", "cus_Ada", "guess") == (facts.product_id, facts.user_id, facts.user_authority)

    def test_an_answer_in_the_old_shape_says_the_same(self) -> None:
        """Before basil the invoice names its charge, payment intent and subscription itself."""
        charge = {**BARE, "id": "ch_3Annual"}
        _, sold = meaning("charge.succeeded", charge, {LOOKUP: page(expanded(OLD_INVOICE))}).said
        assert Subject(purchase_id="ch_3Annual", aliases=NAMES, lineage=("subscription:sub_Ada",)) == sold.subject
        assert ("prod_Pro", "ada", ENDS * 1000) == (
            sold.facts.product_id,
            sold.facts.user_id,
            sold.facts.expires_at_ms,
        )

    def test_a_refund_without_charge_takes_the_invoices(self) -> None:
        """Whoever knows the charge names the purchase."""
        refund = {**REFUND, "charge": None}
        _, sold = meaning("refund.created", refund, {LOOKUP: page(expanded(OLD_INVOICE))}).said
        assert "ch_3Annual" == sold.subject.purchase_id

    def test_an_open_invoice_sold_nothing_yet(self) -> None:
        """A part of it was paid: it says what it belongs to, and no more."""
        _, linked = meaning(
            "refund.created", REFUND, {LOOKUP: page(expanded({**BASIL_INVOICE, "status": "open"}))}
        ).said
        assert (K.LINKED, PurchaseFacts()) == (linked.kind, linked.facts)
        assert Subject(purchase_id="ch_3Annual", aliases=NAMES, lineage=("subscription:sub_Ada",)) == linked.subject

    @pytest.mark.parametrize("paid_at", [None, CREATED + 1])
    def test_it_was_paid_before_it_was_asked_for(self, paid_at: int | None) -> None:
        """Without a time, or with one that cannot be, the event's own stands in: a purchase precedes its refund."""
        invoice = {**BASIL_INVOICE, "created": paid_at, "status_transitions": None}
        _, sold = meaning("refund.created", REFUND, {LOOKUP: page(expanded(invoice))}).said
        assert CREATED * 1000 == sold.occurred_at_ms

    @pytest.mark.parametrize("invoice", [{"id": "in_1Annual"}, {**BASIL_INVOICE, "amount_paid": -1}])
    def test_an_invoice_that_cannot_be_read_is_still_a_name(self, invoice: Any) -> None:
        """The tie holds; what it sold stays unknown."""
        assert NAMES == only(meaning("refund.created", REFUND, {LOOKUP: page(expanded(invoice))})).subject.aliases


class TestConnect:
    LISTED = SETTINGS.model_copy(update={"connected_accounts": ("acct_shop", "acct_cafe")})

    @pytest.mark.parametrize("where", [{"account": "acct_cafe"}, {"context": "acct_platform/acct_cafe"}])
    def test_the_events_of_a_listed_account_count(self, where: dict[str, str]) -> None:
        """Who is listed is trusted like the endpoint's own account."""
        own = PLATFORM.normalize(event_of("charge.succeeded", CHARGE), {}, settings=self.LISTED)
        assert own == PLATFORM.normalize(event_of("charge.succeeded", CHARGE, **where), {}, settings=self.LISTED)

    @pytest.mark.parametrize(
        "where", [{"account": "acct_stranger"}, {"context": "acct_cafe/acct_stranger"}, {"account": "acct_caf"}]
    )
    @pytest.mark.parametrize("type_", ["charge.succeeded", "refund.created", "customer.created"])
    def test_the_events_of_others_wait_for_a_person(self, type_: str, where: dict[str, str]) -> None:
        """Whoever owns the account could name any user: nothing of it counts, in whichever field it stands."""
        event = event_of(type_, GENUINE.get(type_, {}), **where)
        assert Quarantined("connected_account", type_) == PLATFORM.normalize(event, {}, settings=self.LISTED)

    @pytest.mark.parametrize("context", ["acct_platform", "", None])
    def test_an_organizations_own_account_is_no_stranger(self, context: str | None) -> None:
        """A context without a path is the account of the endpoint itself, as its organization names it."""
        event = event_of("charge.succeeded", CHARGE, context=context)
        assert isinstance(PLATFORM.normalize(event, {}, settings=SETTINGS), Meaning)

    def test_nothing_is_asked_about_another_account(self) -> None:
        """Its payments are not found with the endpoint's own key, and nothing is left to be learned that way."""
        event = event_of("refund.created", REFUND, account="acct_shop")
        assert () == PLATFORM.needs(event)
        answer = PLATFORM.normalize(event, {}, settings=self.LISTED)
        assert isinstance(answer, Meaning)
        assert () == answer.unlearned
