"""Stories that Stripe tells in several events, from their bytes to what a customer may use.

Real: the handler, placing, folding and deciding. Double: nothing. Asserted: what the API would show, whether the
events arrive in the order in which they happened or in the opposite one.
"""

from typing import Any

import pytest

from config.policy import Policy
from config.products import Product
from config.settings import App
from handlers import ids
from handlers.stripe import PLATFORM
from handlers.told import entry_of
from schemas.base import Access
from schemas.entry import Entry, Source
from schemas.meaning import Meaning
from schemas.resources import PurchaseTold
from tests.handlers.entries import Story
from tests.handlers.stripe_story import (
    BASIL_INVOICE,
    BASIL_LINE,
    BOUGHT,
    CANCELED_PAYMENT,
    CHARGE,
    CREDIT_NOTE,
    DISPUTE,
    INVOICE_PAYMENT,
    LOOKUP,
    REFUND,
    REFUNDED,
    SESSION,
    SETTINGS,
    SUBSCRIPTION,
    event_of,
)

pytestmark = pytest.mark.unit

DAY = 86_400
PRO = App(policy=Policy(), products={"com.acme.pro.yearly": Product(entitlements=("pro",))})


def heard(type_: str, subject: Any, at: int, facts: Any = None, **data: Any) -> list[Entry]:
    """Read an event that Stripe made at this second."""
    event = event_of(type_, subject, created=at, data={"object": subject, **data})
    meaning = PLATFORM.normalize(event, facts or {}, settings=SETTINGS)
    assert isinstance(meaning, Meaning)
    name = ids.make("ntf", type_, at, repr(subject))
    source = Source(type=type_, notification=name, notification_id=name)
    return [
        Entry(**dict(said), id=ids.make("ent", name, place), app="acme", platform="stripe", source=source)
        for place, said in enumerate(meaning.said)
    ]


def bought() -> list[Entry]:
    """Ada's annual plan is paid."""
    return heard("charge.succeeded", CHARGE, BOUGHT)


def tell(*notifications: list[Entry]) -> Story:
    """Tell a story forwards, having made sure that it ends the same backwards."""
    story, other = Story(PRO), Story(PRO)
    for entries in notifications:
        story.say(*entries)
    for entries in reversed(notifications):
        other.say(*entries)
    assert story.standing() == other.standing()
    return story


def part(number: int, amount: int, **more: Any) -> dict[str, Any]:
    """Make one of several refunds."""
    return {**REFUND, "id": f"re_{number}", "amount": amount, "created": REFUNDED + number * DAY, **more}


def summed(amount: int, **more: Any) -> dict[str, Any]:
    """Make the charge after so much of it went back in all."""
    return {**CHARGE, "amount_refunded": amount, "refunded": amount == 12000, **more}


class TestSeveralRefunds:
    PARTS = ((1, 2000, 2000), (2, 3000, 5000), (3, 7000, 12000))

    def told(self, *, by_name: bool, by_sum: bool, embedded: bool = False) -> list[list[Entry]]:
        """Tell of three partial refunds in the shapes of one API version."""
        events: list[list[Entry]] = [bought()]
        known: list[dict[str, Any]] = []
        for number, amount, total in self.PARTS:
            at = REFUNDED + number * DAY
            known.insert(0, part(number, amount))
            embeds = {"refunds": {"object": "list", "data": list(known), "has_more": False}} if embedded else {}
            events += [heard("refund.created", part(number, amount), at)] if by_name else []
            events += [heard("charge.refunded", summed(total, **embeds), at)] if by_sum else []
        return events

    @pytest.mark.parametrize(
        "shape",
        [
            {"by_name": True, "by_sum": False},
            {"by_name": True, "by_sum": True},
            {"by_name": False, "by_sum": True, "embedded": True},
            {"by_name": True, "by_sum": True, "embedded": True},
        ],
        ids=["by name", "by name and sum", "embedded until 2022-11-15", "everything at once"],
    )
    def test_three_parts_make_a_whole(self, shape: dict[str, bool]) -> None:
        """However often and in whichever shape they are told: three refunds, the price in all, and access is gone."""
        story = tell(*self.told(**shape))
        assert {"re_1": 2000, "re_2": 3000, "re_3": 7000} == {r: s.amount for r, s in story.refunds.items()}
        assert (12000, Access.REVOKED) == (story.only.amount_refunded, story.only.access)
        assert "revoked" == story.status("ada")

    def test_sums_alone_make_a_whole(self) -> None:
        """From 2022-11-15 to 2024-10-28 nobody names the refunds: the last sum is what went back."""
        story = tell(*self.told(by_name=False, by_sum=True))
        assert (12000, Access.REVOKED) == (story.only.amount_refunded, story.only.access)

    def test_two_parts_leave_access(self) -> None:
        """Five of twelve thousand went back, told by name and by sum: it is counted once, and access stays."""
        story = tell(*self.told(by_name=True, by_sum=True)[:-2])
        assert (5000, Access.ACTIVE) == (story.only.amount_refunded, story.only.access)


class TestRefundsThatFail:
    def failed(self, **more: Any) -> list[Entry]:
        """The bank sends the money back after eight days."""
        return heard("refund.failed", {**REFUND, "status": "failed", **more}, REFUNDED + 8 * DAY)

    def refunded(self) -> list[Entry]:
        """The refund first succeeds."""
        return heard("refund.created", REFUND, REFUNDED)

    def test_a_refund_that_fails_late_gives_access_back(self) -> None:
        """The customer paid after all."""
        story = tell(bought(), self.refunded(), self.failed(failure_reason="expired_or_canceled_card"))
        assert (Access.ACTIVE, "active") == (story.only.access, story.status("ada"))
        assert ("failed", "expired_or_canceled_card") == (
            story.refunds["re_3Annual"].status,
            story.refunds["re_3Annual"].failed_reason,
        )

    def test_a_refund_that_failed_because_of_a_dispute_gives_nothing_back(self) -> None:
        """The bank has the money, and the dispute will be told of: access stays away."""
        story = tell(bought(), self.refunded(), self.failed(failure_reason="charge_for_pending_refund_disputed"))
        assert "active" != story.status("ada")

    def test_the_reference_comes_later(self) -> None:
        """What the bank says days after fills the gap, and a word it does not repeat stays."""
        card = {"reference": None, "reference_status": "pending", "type": "refund"}
        early = {**REFUND, "destination_details": {"type": "card", "card": card}}
        late = {**REFUND, "receipt_number": None}
        story = tell(
            bought(), heard("refund.created", early, REFUNDED), heard("refund.updated", late, REFUNDED + 3 * DAY)
        )
        refund = story.refunds["re_3Annual"]
        assert ("74627884", "1234-5678") == (refund.reference, refund.receipt_number)


class TestDisputes:
    def stands(self, *statuses: str) -> Story:
        """Follow a dispute through these statuses, a week each."""
        told = [
            heard("charge.dispute.updated", {**DISPUTE, "status": status}, REFUNDED + week * 7 * DAY)
            for week, status in enumerate(statuses)
        ]
        return tell(bought(), *told)

    @pytest.mark.parametrize(
        ("statuses", "status"),
        [
            (("warning_needs_response", "warning_under_review"), "active"),
            (("warning_needs_response", "warning_closed"), "active"),
            (("warning_needs_response", "needs_response"), "suspended"),
            (("needs_response", "under_review", "won"), "active"),
            (("needs_response", "under_review", "lost"), "revoked"),
            (("warning_needs_response", "prevented"), "active"),
            (("needs_response", "lost", "appeal_needs_response", "appeal_under_review"), "revoked"),
            (("needs_response", "lost", "appeal_under_review", "won"), "active"),
            (("needs_response", "lost", "appeal_under_review", "lost"), "revoked"),
            (("needs_response", "won", "appeal_needs_response"), "suspended"),
            (("needs_response", "won", "appeal_needs_response", "won"), "active"),
            (("needs_response", "won", "appeal_needs_response", "lost"), "revoked"),
        ],
        ids=" ".join,
    )
    def test_a_dispute_takes_what_its_status_says(self, statuses: tuple[str, ...], status: str) -> None:
        """An inquiry takes nothing, a claim suspends, a lost one revokes, and only a won one gives back."""
        assert status == self.stands(*statuses).status("ada")


class TestNames:
    def test_a_credit_note_ties_a_refund_to_a_purchase_that_only_its_invoice_names(self) -> None:
        """No event names both the charge and the invoice: the credit note does, through the refund."""
        story = tell(
            heard("invoice.paid", BASIL_INVOICE, BOUGHT),
            heard("refund.created", REFUND, REFUNDED),
            heard("credit_note.created", CREDIT_NOTE, REFUNDED + 1),
        )
        assert ("ch_3Annual", Access.REVOKED) == (story.only.purchase_id, story.only.access)

    def test_a_lookup_finds_what_a_refund_was_for(self) -> None:
        """Nobody told of the purchase: its invoice names user, product and subscription, and all of it is revoked."""
        answer = {"object": "list", "data": [{**INVOICE_PAYMENT, "invoice": BASIL_INVOICE}], "has_more": False}
        story = tell(heard("refund.created", REFUND, REFUNDED, {LOOKUP: answer}))
        assert ("ada", "com.acme.pro.yearly", "sub_Ada", Access.REVOKED) == (
            story.only.user_id,
            story.only.product_id,
            story.only.original_purchase_id,
            story.only.access,
        )

    def test_an_invoice_and_its_payment_are_one_purchase(self) -> None:
        """Charge, payment intent, invoice and session name one purchase, whichever comes first."""
        session = {**SESSION, "invoice": "in_1Annual", "payment_intent": None, "subscription": "sub_Ada"}
        story = tell(
            bought(),
            heard("checkout.session.completed", session, BOUGHT),
            heard("invoice.paid", BASIL_INVOICE, BOUGHT),
            heard("invoice_payment.paid", INVOICE_PAYMENT, BOUGHT + 1),
        )
        assert ("checkout_session:cs_live_annual", "invoice:in_1Annual", "payment_intent:pi_3Annual") == (
            story.only.aliases
        )

    def test_a_session_before_its_invoice_is_not_a_second_purchase(self) -> None:
        """It says whose the subscription is, and no more; the refund of the invoice leaves nothing over."""
        session = {**SESSION, "mode": "subscription", "payment_intent": None, "subscription": "sub_Ada"}
        story = tell(
            heard("checkout.session.completed", session, BOUGHT),
            heard("invoice.paid", BASIL_INVOICE, BOUGHT),
            heard("invoice_payment.paid", INVOICE_PAYMENT, BOUGHT + 1),
            heard("refund.created", REFUND, REFUNDED),
        )
        assert ("ch_3Annual", Access.REVOKED, "revoked") == (
            story.only.purchase_id,
            story.only.access,
            story.status("ada"),
        )

    def test_stripes_name_of_a_product_gives_way_to_the_apps(self) -> None:
        """Invoice and charge of one second name the plan differently: what the app is configured by counts."""
        invoice = {**BASIL_INVOICE, "parent": {"subscription_details": {"subscription": "sub_Ada"}}}
        story = tell(
            bought(),
            heard("invoice.paid", invoice, BOUGHT),
            heard("invoice_payment.paid", INVOICE_PAYMENT, BOUGHT + 1),
        )
        assert ("com.acme.pro.yearly", "active") == (story.only.product_id, story.status("ada"))


class TestHeldBack:
    def changed(self, status: str, before: str, at: int) -> list[Entry]:
        """The subscription's status changes."""
        subscription = {**SUBSCRIPTION, "status": status, "ended_at": None}
        return heard("customer.subscription.updated", subscription, at, previous_attributes={"status": before})

    def test_an_unpaid_subscription_is_suspended_until_it_is_paid(self) -> None:
        """It gives nothing while it is unpaid, and goes on afterwards."""
        paid, late = heard("invoice.paid", BASIL_INVOICE, BOUGHT), BOUGHT + 30 * DAY
        assert "suspended" == tell(paid, self.changed("unpaid", "past_due", late)).status("ada")
        again = self.changed("active", "unpaid", late + DAY)
        assert "active" == tell(paid, self.changed("unpaid", "past_due", late), again).status("ada")

    def test_a_canceled_payment_ends_what_the_app_gave_for_it(self) -> None:
        """An app that told of a purchase at the authorization takes it back when nothing was captured."""
        said = PurchaseTold(
            app="acme",
            platform="stripe",
            environment="production",
            purchase_id="pi_3Annual",
            product_id="com.acme.pro.yearly",
            user_id="ada",
            purchased_at=BOUGHT,
        )
        given = [entry_of(said, now_ms=BOUGHT * 1000)]
        assert "active" == tell(given).status("ada")
        ended = heard("payment_intent.canceled", CANCELED_PAYMENT, BOUGHT + 7 * DAY)
        assert "expired" == tell(given, ended).status("ada")

    def test_the_last_bill_for_usage_gives_nothing(self) -> None:
        """The subscription ended, and an hour later its last month of usage is paid: that is no purchase for ever."""
        line = {**BASIL_LINE, "period": {"start": BOUGHT, "end": BOUGHT + 30 * DAY}}
        final = {**BASIL_INVOICE, "created": BOUGHT + 30 * DAY, "lines": {"data": [line]}, "status_transitions": None}
        ended = {**SUBSCRIPTION, "ended_at": BOUGHT + 30 * DAY}
        story = tell(
            heard("customer.subscription.deleted", ended, BOUGHT + 30 * DAY),
            heard("invoice.paid", final, BOUGHT + 30 * DAY + 3600),
        )
        assert ("expired", Access.EXPIRED) == (story.status("ada"), story.only.access)

    def test_a_plan_that_is_billed_by_usage_lasts_until_it_ends(self) -> None:
        """No bill for a month past says that the next one is not given: only the end of the subscription does."""
        ends, bill = BOUGHT + 30 * DAY, {**BASIL_LINE, "period": {"start": BOUGHT, "end": BOUGHT + 30 * DAY}}
        month = {**BASIL_INVOICE, "created": ends, "lines": {"data": [bill]}, "status_transitions": None}
        told = heard("invoice.paid", month, ends + 3600)
        assert "active" == tell(told).status("ada")
        ended = heard("customer.subscription.deleted", {**SUBSCRIPTION, "ended_at": ends + DAY}, ends + DAY)
        assert "expired" == tell(told, ended).status("ada")

    def test_an_overdue_subscription_keeps_access_while_stripe_collects(self) -> None:
        """The renewal fails: the paid year's end does not count until it is known whether the next one is paid."""
        paid = heard("invoice.paid", BASIL_INVOICE, BOUGHT)
        overdue = self.changed("past_due", "active", BOUGHT + 365 * DAY + 3600)
        story = tell(paid, overdue)
        assert (None, Access.ACTIVE) == (story.only.expires_at, story.only.access)
        canceled = {**SUBSCRIPTION, "ended_at": BOUGHT + 380 * DAY}
        over = heard("customer.subscription.deleted", canceled, BOUGHT + 380 * DAY)
        assert "expired" == tell(paid, overdue, over).status("ada")
