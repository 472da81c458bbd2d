"""How Stripe's events are named, what they ask for, and which of them say nothing about purchases.

Real: the handler, from bytes to entries.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from handlers.errors import Malformed
from handlers.stripe import PLATFORM
from handlers.stripe_meaning import IGNORED, MEANING
from schemas.entry import EntryKind as K
from schemas.meaning import Ignored, Meaning, Quarantined
from tests.handlers.stripe_story import (
    BASIL_INVOICE,
    CREATED,
    GENUINE,
    INVOICE_PAYMENT,
    LOOKUP,
    REFUND,
    SETTINGS,
    event_of,
    meaning,
    only,
)

pytestmark = pytest.mark.unit


class TestIdentity:
    def test_an_event_is_named_by_its_id(self) -> None:
        """Retries carry the same event id, and the mode tells the environment."""
        identity = PLATFORM.identify(event_of("refund.created", REFUND))
        assert (identity.id, identity.type, identity.scope) == ("evt_1", "refund.created", "")
        assert (identity.occurred_at_ms, identity.environment) == (CREATED * 1000, "production")

    def test_test_mode_is_the_sandbox(self) -> None:
        """Events without livemode belong to the sandbox, down to each entry."""
        event = event_of("refund.created", REFUND, livemode=False)
        assert PLATFORM.identify(event).environment == "sandbox"
        assert only(meaning("refund.created", REFUND, livemode=False)).environment == "sandbox"


class TestThinEvents:
    THIN: Mapping[str, Any] = {
        "id": "evt_thin",
        "object": "v2.core.event",
        "type": "v1.refund.created",
        "created": "2026-11-20T10:11:12.345Z",
        "livemode": True,
        "related_object": {"id": "re_3Annual", "type": "refund", "url": "/v1/refunds/re_3Annual"},
    }

    def read(self, **more: Any) -> Any:
        """Read a thin event."""
        return PLATFORM.read(json.dumps({**self.THIN, **more}).encode(), {})

    def test_a_thin_event_is_identified_to_the_millisecond(self) -> None:
        """Its time is ISO 8601, in any zone, and becomes integer milliseconds."""
        identity = PLATFORM.identify(self.read())
        assert (identity.id, identity.occurred_at_ms) == ("evt_thin", 1_795_169_472_345)
        elsewhere = self.read(created="2026-11-20T11:11:12.345999+01:00")
        assert PLATFORM.identify(elsewhere).occurred_at_ms == 1_795_169_472_345

    def test_a_thin_event_is_kept_for_a_person(self) -> None:
        """It carries no data: kept with the way out in its detail, asking nothing."""
        event = self.read()
        answer = PLATFORM.normalize(event, {}, settings=SETTINGS)
        assert isinstance(answer, Quarantined)
        assert answer.reason == "thin_event"
        assert "snapshot" in answer.detail
        assert PLATFORM.needs(event) == ()

    def test_a_ping_is_ignored(self) -> None:
        """The console's "send test event" means nothing, and says so by name."""
        event = self.read(type="v2.core.event_destination.ping")
        assert PLATFORM.normalize(event, {}, settings=SETTINGS) == Ignored("ping")

    @pytest.mark.parametrize(
        "created", [1_795_169_472, "yesterday", "2026-11-20T10:11:12", None, "1969-01-01T00:00:00Z"]
    )
    def test_a_thin_event_without_a_time_is_malformed(self, created: Any) -> None:
        """What has no place in time cannot be identified."""
        with pytest.raises(Malformed, match="unexpected_event_shape"):
            self.read(created=created)


class TestEverythingElse:
    def test_every_type_of_the_official_package_is_known(self) -> None:
        """Each event type that `stripe` lists has a meaning or a reason to be ignored."""
        source = (Path(stripe.__file__).parent / "_event.py").read_text()
        types = set(re.findall(r'"([a-z_0-9]+(?:\.[a-z_0-9]+)+)"', source))
        assert len(types) > 250
        unknown = {t for t in types - set(MEANING) if not isinstance(meaning(t, {}), Ignored)}
        assert unknown == set()

    def test_meaning_and_ignorance_do_not_overlap(self) -> None:
        """A type is in one table."""
        assert set(MEANING) & set(IGNORED) == set()

    @pytest.mark.parametrize(
        ("type_", "answer"),
        [
            ("entitlements.active_entitlement_summary.updated", Ignored("entitlements_follow_purchases")),
            ("invoice.voided", Ignored("invoice_not_paid")),
            ("invoice.marked_uncollectible", Ignored("invoice_not_paid")),
            ("invoice.overpaid", Ignored("overpaid_to_customer_balance")),
            ("source.refund_attributes_required", Ignored("refund_waits_for_bank_details")),
            ("source.chargeable", Ignored("not_about_purchases")),
            ("climate.order.canceled", Ignored("not_about_purchases")),
            ("climate.order.invented_later", Ignored("not_about_purchases")),
            ("refund.invented_later", Quarantined("unknown_type", "refund.invented_later")),
            ("charge.invented_later", Quarantined("unknown_type", "charge.invented_later")),
        ],
    )
    def test_types_are_ignored_by_name_or_kept(self, type_: str, answer: object) -> None:
        """A new type is harmless where its family is, and kept for a person to see where money may move."""
        assert meaning(type_, {"anything": 1}) == answer

    @pytest.mark.parametrize("type_", sorted(MEANING))
    @pytest.mark.parametrize("data", [None, [], {}, {"object": None}, {"object": {"object": "banana"}}])
    def test_another_object_than_promised_has_no_effect(self, type_: str, data: Any) -> None:
        """An event about something else than its type says is kept for a person to see."""
        answer = PLATFORM.normalize(event_of(type_, None, data=data), {}, settings=SETTINGS)
        assert isinstance(answer, Quarantined)
        assert answer.reason == "unexpected_shape"

    @pytest.mark.parametrize("type_", sorted(IGNORED))
    def test_what_is_ignored_says_why_and_asks_nothing(self, type_: str) -> None:
        """Each type of the table is ignored for its own reason, whatever its object."""
        event = event_of(type_, {"anything": 1})
        assert PLATFORM.needs(event) == ()
        assert PLATFORM.normalize(event, {}, settings=SETTINGS) == Ignored(IGNORED[type_])

    def test_a_reason_never_quotes_the_payload(self) -> None:
        """The detail names the field and the rule, not what stood there."""
        answer = meaning("refund.created", {**REFUND, "charge": 4242424242424242})
        assert answer == Quarantined("unexpected_shape", "charge: string_type")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def _paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """List every place in a JSON value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(path for key, inner in pairs for path in _paths(inner, (*here, key)))]


def _replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Put something else at one place of a JSON value."""
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = _replaced(value[path[0]], path[1:], new)
    return copy


def _judged(raw: bytes) -> None:
    """Walk an event as the service does; every answer but a crash is fine."""
    try:
        event = PLATFORM.read(raw, {})
    except Malformed:
        return
    identity = PLATFORM.identify(event)
    assert identity.occurred_at_ms in range(2**63)
    needs = PLATFORM.needs(event)
    answer = PLATFORM.normalize(event, {}, settings=SETTINGS)
    assert isinstance(answer, Meaning | Ignored | Quarantined)
    if isinstance(answer, Meaning):
        assert answer.said
        assert answer.unlearned == needs


class TestTotality:
    @given(_json)
    def test_any_json_is_judged(self, value: Any) -> None:
        """Law 8, at the outside: any JSON value has an answer."""
        _judged(json.dumps(value).encode())

    @given(st.sampled_from(sorted(MEANING)), _json)
    def test_any_object_is_judged(self, type_: str, value: Any) -> None:
        """Law 8, at the object: whatever the event is about, it has an answer."""
        event = {"id": "evt_1", "object": "event", "created": 1, "livemode": True, "type": type_}
        _judged(json.dumps({**event, "data": {"object": value}}).encode())

    @given(st.data())
    def test_a_genuine_event_with_one_strange_field_is_judged(self, data: st.DataObject) -> None:
        """Law 8, in depth: one field of a genuine event may become anything."""
        type_ = data.draw(st.sampled_from(sorted(GENUINE)))
        subject = GENUINE[type_]
        event = {"id": "evt_1", "object": "event", "created": 1, "livemode": True, "type": type_}
        whole = {**event, "data": {"object": subject}}
        path = data.draw(st.sampled_from(_paths(whole)))
        _judged(json.dumps(_replaced(whole, path, data.draw(_json))).encode())

    @given(_json)
    def test_any_answer_to_a_lookup_is_judged(self, page: Any) -> None:
        """Law 8, for what is looked up: an answer of any shape at worst teaches nothing."""
        answer = meaning("refund.created", REFUND, {LOOKUP: page})
        assert only(answer).kind is K.REFUND_SUCCEEDED

    @given(st.data())
    def test_a_genuine_answer_with_one_strange_field_is_judged(self, data: st.DataObject) -> None:
        """Law 8, for what is looked up, in depth: the refund counts, whatever became of its invoice."""
        page = {"data": [{**INVOICE_PAYMENT, "invoice": BASIL_INVOICE}], "has_more": False}
        path = data.draw(st.sampled_from(_paths(page)))
        answer = meaning("refund.created", REFUND, {LOOKUP: _replaced(page, path, data.draw(_json))})
        assert isinstance(answer, Meaning)
        assert K.REFUND_SUCCEEDED is answer.said[0].kind

    @given(st.datetimes(timezones=st.timezones()))
    def test_any_moment_of_a_thin_event_is_judged(self, moment: Any) -> None:
        """Law 8, for time: a moment is identified, or refused when it is before 1970."""
        thin = {**TestThinEvents.THIN, "created": moment.isoformat()}
        _judged(json.dumps(thin).encode())
