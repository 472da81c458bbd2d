"""Write down, as JSON Schema 2020-12, what events are: a promise to those who receive them.

What may change and what may not stands in docs/events. Every field is there in every event, as null where it does not
apply; a receiver must expect fields, words and types that it does not know.
"""

from copy import deepcopy
from functools import lru_cache
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema

from schemas.events import BOUNDS, EVENT_TYPES, MoneyEvent
from schemas.resources import Event

Json = dict[str, Any]

VERSION: Final = 1
"""The version of the promise. A field that goes, or becomes another, makes it the next one."""

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
LOCAL_REF: Final = "#/$defs/{model}"

_CHARGE: Final[Json] = {"type": "null", "description": "The purchase is beside the refund: `data.purchase`"}
_SETTLED: Final = ("refund", "reversal", "void")


def schema_of(event_type: str) -> Json:
    """Write the schema of one type, whole in itself.

    Args:
        event_type: one of `schemas.events.EVENT_TYPES`; anything else is a KeyError.
    """
    schema, shared = payload_of(event_type)
    name = {"$schema": DIALECT, "$id": f"urn:clawback:events:v{VERSION}:{event_type}"}
    return {**name, **schema, "$defs": shared}


def payload_of(event_type: str, *, ref: str = LOCAL_REF) -> tuple[Json, Json]:
    """Write what an event of one type is, and the resources that it speaks of, by name.

    Args:
        event_type: one of `schemas.events.EVENT_TYPES`.
        ref: where the resources are found, with `{model}` for the name.
    """
    kind = EVENT_TYPES[event_type]
    shape = deepcopy(_written(kind.shape, ref))
    shared: Json = shape.pop("$defs")
    shape["properties"]["data"] = data = shared.pop(shape["properties"]["data"]["$ref"].rpartition("/")[2])
    shape["properties"]["type"] = {"const": event_type, "type": "string"}
    shared["Refund"]["properties"]["charge"] = _CHARGE
    _bound(shared)
    _narrow(data["properties"], event_type)
    return {"title": event_type, **shape, "description": kind.says}, shared


@lru_cache(maxsize=8)
def _written(shape: type[Event], ref: str) -> Json:
    """Write what several types have in common; it takes long enough to be done once."""
    return shape.model_json_schema(ref_template=ref, schema_generator=_Generator, mode="serialization")


def _bound(shared: Json) -> None:
    """Say how much at most an event shows of what can grow."""
    for noun, bounds in BOUNDS.items():
        fields = shared.get(noun.__name__, {}).get("properties", {})
        for name in fields.keys() & bounds.keys():
            fields[name]["maxItems" if fields[name]["type"] == "array" else "maxLength"] = bounds[name]


def _narrow(properties: Json, event_type: str) -> None:
    """Say what is true of this type alone: in which status its entitlement or refund is."""
    kind = EVENT_TYPES[event_type]
    if kind.shape is MoneyEvent:
        types = ("chargeback",) if event_type.startswith("chargeback.") else _SETTLED
        properties["refund"] = _also(properties["refund"], status=_one_of(kind.statuses), type=_one_of(types))
    elif kind.statuses:
        active = {"const": kind.statuses == ("active",)}
        properties["entitlement"] = _also(properties["entitlement"], status=_one_of(kind.statuses), active=active)


def _also(schema: Json, **properties: Json) -> Json:
    return {"allOf": [schema, {"properties": properties}]}


def _one_of(words: tuple[str, ...]) -> Json:
    return {"const": words[0]} if len(words) == 1 else {"enum": list(words)}


class _Generator(GenerateJsonSchema):
    """Every field is there, whether it has a default or not; titles that repeat a name say nothing."""

    def field_is_required(self, field: Any, total: bool) -> bool:  # noqa: ARG002, FBT001 - pydantic's own signature
        return True

    def field_title_should_be_set(self, _schema: Any) -> bool:
        return False

    def default_schema(self, schema: Any) -> Json:
        return self.generate_inner(schema["schema"])

    def nullable_schema(self, schema: Any) -> Json:
        written = super().nullable_schema(schema)
        plain = written["anyOf"][0] if "anyOf" in written else {}
        return {"type": [plain["type"], "null"]} if plain.keys() == {"type"} else written

    def model_schema(self, schema: Any) -> Json:
        written = super().model_schema(schema)
        for superfluous in ("additionalProperties", "title"):
            written.pop(superfluous, None)
        return written
