"""A schema that takes something back is told from one that only adds, on doctored copies of a published one."""

from collections.abc import Callable
from copy import deepcopy

import pytest

from schemas.published import Json, schema_of
from tests.wire.promises import broken, promises

pytestmark = pytest.mark.unit

Doctor = Callable[[Json], object]


def refund(schema: Json) -> Json:
    """Find the shared record of a refund."""
    found: Json = schema["$defs"]["Refund"]
    return found


def data(schema: Json) -> Json:
    """Find what the event carries."""
    found: Json = schema["properties"]["data"]
    return found


def doctored(doctor: Doctor) -> list[str]:
    """Change a copy of a schema, and say what that breaks."""
    before = schema_of("refund.pending")
    after = deepcopy(before)
    doctor(after)
    assert before != after
    return broken(before, after)


BREAKS: dict[str, tuple[Doctor, str]] = {
    "a field is removed": (lambda s: refund(s)["properties"].pop("amount"), "data.refund.amount: is gone"),
    "a field is always null": (
        lambda s: refund(s)["properties"].update(reason={"type": "null"}),
        "data.refund.reason: is gone",
    ),
    "a whole record is removed": (lambda s: data(s)["properties"].pop("purchase"), "data.purchase: is gone"),
    "a field is retyped": (
        lambda s: refund(s)["properties"].update(amount={"type": ["string", "null"]}),
        "data.refund.amount: may be string now",
    ),
    "a field may be null": (
        lambda s: refund(s)["properties"].update(charge_id={"type": ["string", "null"]}),
        "data.refund.charge_id: may be null now",
    ),
    "a whole number may be a fraction": (
        lambda s: refund(s)["properties"].update(created_at={"type": "number"}),
        "data.refund.created_at: may be number now",
    ),
    "a field may be left out": (
        lambda s: refund(s)["required"].remove("currency"),
        "data.refund.currency: may be left out now",
    ),
    "a word is removed": (
        lambda s: refund(s)["properties"]["scope"]["enum"].remove("prorated"),
        "data.refund.scope: is never prorated any more, or may be anything now",
    ),
    "a word becomes another": (
        lambda s: s["properties"]["type"].update(const="refund.waiting"),
        "type: is never refund.pending any more, or may be anything now",
    ),
    "words become any text": (
        lambda s: refund(s)["properties"].update(amount_source={"type": "string"}),
        "data.refund.amount_source: is never estimated or exact or unknown any more, or may be anything now",
    ),
    "what a list holds is retyped": (
        lambda s: s["$defs"]["Purchase"]["properties"]["entitlements"].update(items={"type": "object"}),
        "data.purchase.entitlements[]: may be object now",
    ),
    "a time is spelled in another way": (
        lambda s: s["properties"]["timestamp"].pop("format"),
        "timestamp: is spelled in another way now",
    ),
}
ADDS: dict[str, Doctor] = {
    "a field": lambda s: refund(s)["properties"].update(tax={"type": "integer"}),
    "a field that is always there": lambda s: (
        s["required"].append("livemode") or s["properties"].update(livemode={"type": "boolean"})
    ),
    "a word": lambda s: refund(s)["properties"]["scope"]["enum"].append("shipping"),
    "the certainty that it is never null": lambda s: refund(s)["properties"].update(reason={"type": "string"}),
    "words where there was any text": lambda s: refund(s)["properties"].update(
        reason={"type": ["string", "null"], "enum": ["fraudulent", None]}
    ),
    "a description": lambda s: refund(s)["properties"]["offline"].update(description="By bank transfer"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_takes_something_back_is_found(name: str) -> None:
    """Each way to break a promise is called by its place and by what it does."""
    doctor, breach = BREAKS[name]

    assert [breach] == [each for each in doctored(doctor) if each.startswith(breach.partition(":")[0] + ":")]


@pytest.mark.parametrize("name", ADDS)
def test_what_only_adds_passes(name: str) -> None:
    """Nothing that is only more, or only more certain, breaks a promise."""
    assert [] == doctored(ADDS[name])


def test_a_promise_is_read_through_references_and_combinations() -> None:
    """What a type narrows is read together with the record that it narrows."""
    read = promises(schema_of("entitlement.revoked"))

    assert frozenset({"revoked"}) == read["data.entitlement.status"].words
    assert frozenset({False}) == read["data.entitlement.active"].words
    assert {"object", "null"} == read["data.refund"].kinds
    assert {"integer", "null"} == read["data.refund.amount"].kinds
    assert {"null"} == read["data.balance"].kinds
    assert all(promise.always for promise in read.values())
