"""What Stripe's refunds and credit notes mean for purchases, in the shapes of old and new API versions."""

from inspect import get_annotations
from typing import Any

import pytest
import stripe

from schemas.entry import EntryKind as K
from schemas.entry import PurchaseFacts, RefundFacts, Subject
from schemas.meaning import Ignored, Meaning, Quarantined
from tests.handlers.stripe_story import (
    CHARGE,
    CREATED,
    CREDIT_NOTE,
    REFUND,
    REFUNDED,
    meaning,
    only,
)

pytestmark = pytest.mark.unit

DESTINATIONS = stripe.Refund.DestinationDetails._inner_class_types
TRACED = sorted(name for name, kind in DESTINATIONS.items() if "reference" in get_annotations(kind))


class TestRefunds:
    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            ("pending", K.REFUND_PENDING),
            ("requires_action", K.REFUND_REQUIRES_ACTION),
            ("succeeded", K.REFUND_SUCCEEDED),
            ("failed", K.REFUND_FAILED),
            ("canceled", K.REFUND_CANCELED),
        ],
    )
    @pytest.mark.parametrize("type_", ["refund.created", "refund.updated", "refund.failed", "charge.refund.updated"])
    def test_a_refund_is_what_its_status_says(self, type_: str, status: str, kind: K) -> None:
        """The object's status decides, whichever event brought it."""
        said = only(meaning(type_, {**REFUND, "status": status}))
        assert (said.kind, said.occurred_at_ms) == (kind, CREATED * 1000)

    def test_a_refund_names_its_charge_and_amount(self) -> None:
        """Purchase, alias, amount, currency and every word a support agent needs are kept."""
        said = only(meaning("refund.created", {**REFUND, "currency": "EUR", "description": "did not like it"}))
        assert said.subject == Subject(purchase_id="ch_3Annual", aliases=("payment_intent:pi_3Annual",))
        assert said.facts == PurchaseFacts()
        assert said.refund is not None
        assert said.refund.model_dump(exclude_none=True) == {
            "platform_refund_id": "re_3Annual",
            "type": "refund",
            "scope": "unknown",
            "amount": 12000,
            "amount_source": "exact",
            "currency": "eur",
            "reason": "requested_by_customer",
            "description": "did not like it",
            "reference": "74627884",
            "reference_type": "acquirer_reference_number",
            "reference_status": "available",
            "receipt_number": "1234-5678",
            "created_at_ms": REFUNDED * 1000,
        }

    def test_a_failed_refund_says_why(self) -> None:
        """The bank's reason is kept."""
        failed = {**REFUND, "status": "failed", "failure_reason": "expired_or_canceled_card"}
        said = only(meaning("refund.failed", failed))
        assert said.refund is not None
        assert said.refund.failed_reason == "expired_or_canceled_card"

    def test_a_refund_that_failed_because_of_a_dispute_says_so(self) -> None:
        """Whether its money is with the customer is for the bank to decide: the reason reaches the ledger."""
        reason = "charge_for_pending_refund_disputed"
        said = only(meaning("refund.updated", {**REFUND, "status": "failed", "failure_reason": reason}))
        assert said.refund is not None
        assert (K.REFUND_FAILED, reason) == (said.kind, said.refund.failed_reason)

    def test_a_canceled_refund_says_why(self) -> None:
        """A refund that was waiting for the customer may be called off by the seller."""
        canceled = {**REFUND, "status": "canceled", "failure_reason": "merchant_request"}
        said = only(meaning("refund.updated", canceled))
        assert said.refund is not None
        assert (K.REFUND_CANCELED, "merchant_request") == (said.kind, said.refund.failed_reason)

    @pytest.mark.parametrize(
        "number", ["acquirer_reference_number", "system_trace_audit_number", "retrieval_reference_number"]
    )
    def test_a_card_refund_says_which_number_traces_it(self, number: str) -> None:
        """ARN, STAN and RRN are asked for in different places."""
        card = {"reference": "4711", "reference_status": "available", "reference_type": number, "type": "refund"}
        said = only(meaning("refund.updated", {**REFUND, "destination_details": {"type": "card", "card": card}}))
        assert said.refund is not None
        assert ("4711", number, "available") == (
            said.refund.reference,
            said.refund.reference_type,
            said.refund.reference_status,
        )

    def test_a_reference_that_is_not_there_yet_is_pending(self) -> None:
        """The bank gives it days later, and a later event fills it in."""
        card = {"reference": None, "reference_status": "pending", "type": "refund"}
        said = only(meaning("refund.created", {**REFUND, "destination_details": {"type": "card", "card": card}}))
        assert said.refund is not None
        assert (None, None, "pending") == (
            said.refund.reference,
            said.refund.reference_type,
            said.refund.reference_status,
        )

    @pytest.mark.parametrize("way", TRACED)
    def test_every_way_of_paying_back_that_can_be_traced_is(self, way: str) -> None:
        """Each destination of the official library that has a reference has it here."""
        details = {"type": way, way: {"reference": "TRACE-1", "reference_status": "available"}}
        said = only(meaning("refund.updated", {**REFUND, "destination_details": details}))
        assert said.refund is not None
        assert ("refund", "TRACE-1", "available") == (
            said.refund.type,
            said.refund.reference,
            said.refund.reference_status,
        )

    def test_a_reversal_is_told_from_a_refund(self) -> None:
        """Money that never reached the card's books was reversed."""
        details = {"type": "card", "card": {"type": "reversal"}}
        said = only(meaning("refund.created", {**REFUND, "destination_details": details}))
        assert said.refund is not None
        assert (said.refund.type, said.refund.reference) == ("reversal", None)

    def test_a_refund_without_charge_is_found_by_its_payment_intent(self) -> None:
        """Not every refund names a charge."""
        said = only(meaning("refund.created", {**REFUND, "charge": None}))
        assert said.subject == Subject(aliases=("payment_intent:pi_3Annual",))

    def test_a_refund_that_names_no_purchase_is_kept(self) -> None:
        """A refund of customer balance concerns no purchase we could name, so it must not concern them all."""
        answer = meaning("refund.created", {**REFUND, "charge": None, "payment_intent": None})
        assert isinstance(answer, Quarantined)
        assert answer.reason == "refund_without_charge"

    def test_an_expanded_charge_is_its_id(self) -> None:
        """Objects may be expanded in place."""
        expanded = {**REFUND, "charge": CHARGE, "payment_intent": {"id": "pi_3Annual", "object": "payment_intent"}}
        assert meaning("refund.created", expanded) == meaning("refund.created", REFUND)

    @pytest.mark.parametrize("status", [None, "on_its_way", ""])
    def test_an_unknown_status_has_no_effect(self, status: str | None) -> None:
        """A word that the table lacks is kept for a person to see."""
        answer = meaning("refund.updated", {**REFUND, "status": status})
        assert answer == Quarantined("unknown_refund_status", str(status))

    @pytest.mark.parametrize("amount", [-1, True, 120.0, "12000", None, 10**16])
    def test_an_amount_that_is_none_has_no_effect(self, amount: Any) -> None:
        """Money is a non-negative integer, and nothing else is money."""
        answer = meaning("refund.created", {**REFUND, "amount": amount})
        assert isinstance(answer, Quarantined)
        assert answer.reason == "unexpected_shape"
        assert answer.detail.startswith("amount: ")

    def test_decoration_never_stands_in_the_way(self) -> None:
        """A refund whose reason or receipt changed shape is still a refund."""
        odd = {"reason": {"code": 7}, "receipt_number": 5, "description": [], "destination_details": []}
        said = only(meaning("refund.created", {**REFUND, **odd}))
        assert said.refund is not None
        assert (said.kind, said.refund.reason, said.refund.reference) == (K.REFUND_SUCCEEDED, None, None)


class TestRefundedCharges:
    def test_a_charge_tells_the_sum(self) -> None:
        """Since 2022-11-15 a charge names no refund: it tells how much went back in all, and of what."""
        said = only(meaning("charge.refunded", {**CHARGE, "amount_refunded": 12000, "refunded": True}))
        assert said.kind is K.REFUNDED_TOTAL
        assert said.subject == Subject(purchase_id="ch_3Annual", aliases=("payment_intent:pi_3Annual",))
        assert (said.facts.amount, said.facts.product_id) == (12000, "com.acme.pro.yearly")
        assert said.refund is not None
        assert (said.refund.platform_refund_id, said.refund.scope) == ("ch_3Annual:total", "full")
        assert (said.refund.amount, said.refund.amount_source) == (12000, "exact")

    def test_a_part_is_a_part(self) -> None:
        """Only the flag `refunded` makes it full."""
        said = only(meaning("charge.refunded", {**CHARGE, "amount_refunded": 3000}))
        assert said.refund is not None
        assert (said.refund.scope, said.refund.amount) == ("partial", 3000)

    def test_older_charges_name_their_refunds(self) -> None:
        """Until 2022-11-15 refunds are embedded: each is followed by its own id and status."""
        first = {**REFUND, "id": "re_1", "amount": 2000}
        second = {**REFUND, "id": "re_2", "amount": 1000, "status": "pending"}
        refunds = {"object": "list", "data": [second, first], "has_more": False}
        answer = meaning("charge.refunded", {**CHARGE, "amount_refunded": 3000, "refunds": refunds})
        assert isinstance(answer, Meaning)
        assert [
            (said.kind, said.refund and (said.refund.platform_refund_id, said.refund.scope)) for said in answer.said
        ] == [(K.REFUND_PENDING, ("re_2", "partial")), (K.REFUND_SUCCEEDED, ("re_1", "partial"))]

    @pytest.mark.parametrize("gap", [{"has_more": True}, {"data": [REFUND, {**REFUND, "id": "re_2", "status": None}]}])
    def test_what_is_not_named_is_summed(self, gap: dict[str, Any]) -> None:
        """Where the list is cut or a status is not understood, the sum stands beside the names."""
        refunds = {"object": "list", "data": [REFUND], "has_more": False, **gap}
        answer = meaning("charge.refunded", {**CHARGE, "amount_refunded": 12000, "refunded": True, "refunds": refunds})
        assert isinstance(answer, Meaning)
        assert [said.kind for said in answer.said] == [K.REFUND_SUCCEEDED, K.REFUNDED_TOTAL]

    def test_an_empty_list_of_refunds_is_summed(self) -> None:
        """No names: the sum."""
        refunds = {"object": "list", "data": [], "has_more": False}
        charge = {**CHARGE, "amount_refunded": 12000, "refunded": True, "refunds": refunds}
        assert only(meaning("charge.refunded", charge)).kind is K.REFUNDED_TOTAL

    @pytest.mark.parametrize("version", [{"amount_refunded": 9000}, {"amount_refunded": 0}])
    def test_what_a_partial_capture_left_behind_was_never_paid(self, version: dict[str, Any]) -> None:
        """A hold of 120, of which 30 were taken: the released 90 are no refund, in any API version."""
        released = {**REFUND, "amount": 9000}
        refunds = {"object": "list", "data": [released], "has_more": False}
        said = only(meaning("charge.refunded", {**CHARGE, "amount_captured": 3000, "refunds": refunds, **version}))
        assert said.facts.amount == 3000
        assert said.refund is not None
        assert (said.refund.scope, said.refund.amount, said.refund.amount_source) == ("partial", None, "unknown")

    def test_a_partial_capture_may_be_refunded_in_full(self) -> None:
        """The flag `refunded` means all of what was taken."""
        charge = {**CHARGE, "amount_captured": 3000, "amount_refunded": 12000, "refunded": True}
        said = only(meaning("charge.refunded", charge))
        assert said.refund is not None
        assert (said.refund.scope, said.refund.amount) == ("full", 3000)


class TestContradictions:
    @pytest.mark.parametrize(
        ("change", "detail"),
        [
            ({"amount_refunded": 15000, "refunded": True}, "15000 of 12000 eur"),
            ({"amount_refunded": 15000, "currency": "jpy"}, "15000 of 12000 jpy"),
            ({"refunds": {"data": [{**REFUND, "currency": "usd"}]}}, "12000 usd of 12000 eur"),
            ({"refunds": {"data": [REFUND, {**REFUND, "id": "re_2", "amount": 1}]}}, "12001 of 12000 eur"),
        ],
    )
    def test_money_that_cannot_be_is_kept_with_both_numbers(self, change: dict[str, Any], detail: str) -> None:
        """More back than was held, or in another currency, takes no access until a person has looked."""
        answer = meaning("charge.refunded", {**CHARGE, **change})
        assert Quarantined("money_contradicts", detail) == answer

    @pytest.mark.parametrize("status", ["failed", "canceled"])
    def test_a_refund_that_moved_nothing_contradicts_nothing(self, status: str) -> None:
        """A failed refund was made again: only what moved is added up."""
        failed = {**REFUND, "id": "re_first", "status": status, "currency": "usd"}
        refunds = {"data": [failed, REFUND], "has_more": False}
        answer = meaning("charge.refunded", {**CHARGE, "amount_refunded": 12000, "refunded": True, "refunds": refunds})
        assert isinstance(answer, Meaning)

    def test_a_capture_may_be_larger_than_its_authorization(self) -> None:
        """A hold of 120 of which 150 were captured can be refunded with 150."""
        charge = {**CHARGE, "amount_captured": 15000, "amount_refunded": 15000, "refunded": True}
        said = only(meaning("charge.refunded", charge))
        assert said.refund is not None
        assert (15000, "full") == (said.refund.amount, said.refund.scope)


class TestCreditNotes:
    @pytest.mark.parametrize("type_", ["credit_note.created", "credit_note.updated", "credit_note.voided"])
    def test_a_credit_note_ties_refund_and_invoice(self, type_: str) -> None:
        """It names both, and says nothing else; voiding it does not bring the money back."""
        said = only(meaning(type_, CREDIT_NOTE))
        assert (K.LINKED, Subject(aliases=("invoice:in_1Annual",))) == (said.kind, said.subject)
        assert RefundFacts(platform_refund_id="re_3Annual") == said.refund
        assert not said.whole_lineage

    def test_each_refund_of_a_credit_note_is_tied(self) -> None:
        """One note may be paid out by several refunds."""
        refunds = [{"refund": "re_1"}, {"refund": {"id": "re_2", "object": "refund"}}, {"refund": "re_1"}]
        answer = meaning("credit_note.created", {**CREDIT_NOTE, "refunds": refunds})
        assert isinstance(answer, Meaning)
        assert ["re_1", "re_2"] == [said.refund and said.refund.platform_refund_id for said in answer.said]

    def test_an_older_credit_note_names_one_refund(self) -> None:
        """Until 2025-03-31 the field is `refund`."""
        older = {name: value for name, value in CREDIT_NOTE.items() if name != "refunds"} | {"refund": "re_3Annual"}
        assert only(meaning("credit_note.created", CREDIT_NOTE)) == only(meaning("credit_note.created", older))

    @pytest.mark.parametrize(
        "change",
        [
            {"refunds": []},
            {"invoice": None},
            {"refunds": [{"refund": None, "type": "payment_record_refund"}]},
        ],
    )
    def test_credit_without_refund_ties_nothing(self, change: dict[str, Any]) -> None:
        """An open invoice made cheaper, credit on the balance, and money Stripe never took are no refunds of Stripe."""
        assert Ignored("credit_without_refund") == meaning("credit_note.created", {**CREDIT_NOTE, **change})
