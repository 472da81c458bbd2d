"""What Stripe's disputes, fraud warnings and reviews mean for purchases."""

from typing import Any

import pytest

from handlers.stripe import PLATFORM
from handlers.stripe_meaning import MEANING
from schemas.entry import EntryKind as K
from schemas.entry import Subject
from schemas.meaning import Ignored, Quarantined
from tests.handlers.stripe_story import DISPUTE, REVIEW, WARNING, event_of, meaning, only

pytestmark = pytest.mark.unit

NAMES = Subject(purchase_id="ch_3Annual", aliases=("payment_intent:pi_3Annual",))


class TestDisputes:
    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            ("warning_needs_response", K.INQUIRY_OPENED),
            ("warning_under_review", K.INQUIRY_OPENED),
            ("warning_closed", K.INQUIRY_CLOSED),
            ("prevented", K.INQUIRY_CLOSED),
            ("needs_response", K.CHARGEBACK_OPENED),
            ("under_review", K.CHARGEBACK_OPENED),
            ("won", K.CHARGEBACK_WON),
            ("lost", K.CHARGEBACK_LOST),
            ("appeal_needs_response", K.CHARGEBACK_OPENED),
            ("appeal_under_review", K.CHARGEBACK_OPENED),
        ],
    )
    @pytest.mark.parametrize("type_", [name for name in MEANING if name.startswith("charge.dispute.")])
    def test_a_dispute_is_what_its_status_says(self, type_: str, status: str, kind: K) -> None:
        """The object's status decides, whichever event brought it."""
        said = only(meaning(type_, {**DISPUTE, "status": status}))
        assert said.kind is kind
        assert said.subject == Subject(purchase_id="ch_3Annual", aliases=("payment_intent:pi_3Annual",))
        assert said.refund is not None
        assert (said.refund.platform_refund_id, said.refund.type) == ("du_1Annual", "chargeback")
        assert (said.refund.amount, said.refund.currency, said.refund.reason) == (12000, "eur", "fraudulent")

    @pytest.mark.parametrize(
        ("moves", "kind"),
        [
            (None, K.INQUIRY_CLOSED),
            ([], K.INQUIRY_CLOSED),
            ([{"amount": -12000}], K.CHARGEBACK_LOST),
            ([{"amount": -12000}, {"amount": 11_870}], K.INQUIRY_CLOSED),
            ([{"amount": "-12000"}, None], K.INQUIRY_CLOSED),
        ],
    )
    def test_a_prevented_dispute_is_lost_where_it_kept_the_money(self, moves: Any, kind: K) -> None:
        """A claim that the seller's rules paid at once is settled: by the dispute itself, or by a refund of its own."""
        prevented = {**DISPUTE, "status": "prevented", "balance_transactions": moves}
        assert kind is only(meaning("charge.dispute.created", prevented)).kind

    def test_an_open_case_is_not_lost_because_the_money_is_away(self) -> None:
        """Every chargeback takes the money first: the verdict is the status."""
        moves = {"balance_transactions": [{"amount": -12000}]}
        assert K.CHARGEBACK_OPENED is only(meaning("charge.dispute.funds_withdrawn", {**DISPUTE, **moves})).kind

    def test_an_unknown_status_has_no_effect(self) -> None:
        """A word that the table lacks is kept for a person to see."""
        answer = meaning("charge.dispute.updated", {**DISPUTE, "status": "adjourned"})
        assert answer == Quarantined("unknown_dispute_status", "adjourned")

    def test_a_dispute_that_names_no_purchase_is_kept(self) -> None:
        """It must not concern every purchase instead."""
        answer = meaning("charge.dispute.created", {**DISPUTE, "charge": None, "payment_intent": None})
        assert answer == Quarantined("dispute_without_charge")


class TestSignals:
    @pytest.mark.parametrize("type_", ["radar.early_fraud_warning.created", "radar.early_fraud_warning.updated"])
    def test_a_fraud_warning_is_shown_and_changes_nothing(self, type_: str) -> None:
        """The bank's word is a signal on the charge, with the kind of fraud."""
        said = only(meaning(type_, WARNING))
        assert (K.SIGNALED, "early_fraud_warning:made_with_stolen_card") == (said.kind, said.reason)
        assert (NAMES, None) == (said.subject, said.refund)

    @pytest.mark.parametrize("reason", ["approved", "refunded_as_fraud", "disputed", "a_new_reason"])
    def test_a_closed_review_is_shown_and_changes_nothing(self, reason: str) -> None:
        """How it was closed is for people; what followed in money has its own events."""
        said = only(meaning("review.closed", {**REVIEW, "closed_reason": reason}))
        assert (K.SIGNALED, f"review_closed:{reason}", NAMES) == (said.kind, said.reason, said.subject)

    def test_a_review_may_name_only_its_payment_intent(self) -> None:
        """That is enough to find the purchase."""
        said = only(meaning("review.closed", {**REVIEW, "charge": None}))
        assert Subject(aliases=("payment_intent:pi_3Annual",)) == said.subject

    @pytest.mark.parametrize(
        ("type_", "subject", "reason"),
        [
            ("radar.early_fraud_warning.created", {**WARNING, "fraud_type": None}, "early_fraud_warning:unknown"),
            ("review.closed", {**REVIEW, "closed_reason": {"code": 1}}, "review_closed:unknown"),
        ],
    )
    def test_a_signal_without_a_word_is_still_one(self, type_: str, subject: dict[str, Any], reason: str) -> None:
        """Decoration never stands in the way."""
        assert reason == only(meaning(type_, subject)).reason

    @pytest.mark.parametrize(
        ("type_", "subject"), [("radar.early_fraud_warning.created", WARNING), ("review.closed", REVIEW)]
    )
    def test_a_signal_about_nothing_is_ignored(self, type_: str, subject: dict[str, Any]) -> None:
        """Without a charge or payment intent there is nobody to show it for, and nothing is asked."""
        bare = {**subject, "charge": None, "payment_intent": None}
        assert Ignored("signal_without_charge") == meaning(type_, bare)
        assert () == PLATFORM.needs(event_of(type_, subject))
