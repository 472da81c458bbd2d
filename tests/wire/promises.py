"""Read a schema as promises to whoever receives what it describes, and find those that another schema breaks.

The sender may add a field, a word or a type, say more exactly what it sends, and always send what it sent sometimes.
It may not take away a field or a word, nor send something else under the same name.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

_KINDS = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


@dataclass(frozen=True)
class Promise:
    """What is said of one place in a document.

    Attributes:
        kinds: what may stand there.
        always: it is never left out.
        words: the only texts, numbers or booleans there; None: any.
        spelling: the format and the patterns of its texts.
    """

    kinds: frozenset[str]
    always: bool
    words: frozenset[Any] | None
    spelling: frozenset[str]


def promises(schema: Json) -> dict[str, Promise]:
    """List everything that a schema promises: `data.refund.amount` → what stands there."""
    return dict(_walk([schema], schema, "", always=True))


def broken(before: Json, after: Json) -> list[str]:
    """Say which promises of the first schema the second breaks; none: receivers of the one can receive the other."""
    was, now = promises(before), promises(after)
    return [f"{at or 'the event'}: {what}" for at, promise in was.items() for what in _broken(promise, now.get(at))]


def _broken(was: Promise, now: Promise | None) -> Iterator[str]:
    if now is None or (now.kinds == {"null"} and was.kinds != {"null"}):
        yield "is gone"
        return
    if new := now.kinds - was.kinds - ({"integer"} if "number" in was.kinds else set()):
        yield f"may be {' or '.join(sorted(new))} now"
    if was.always and not now.always:
        yield "may be left out now"
    if was.words is not None and (lost := was.words - (now.words or frozenset())):
        yield f"is never {' or '.join(sorted(map(str, lost)))} any more, or may be anything now"
    if was.spelling - now.spelling:
        yield "is spelled in another way now"


def _walk(options: Sequence[Json], root: Json, at: str, *, always: bool) -> Iterator[tuple[str, Promise]]:
    """Walk over a place and everything beneath it."""
    opened = [one for option in options for one in _open(option, root)]
    yield at, _promise(opened, always=always)
    objects = [one for one in opened if "properties" in one]
    for name in dict.fromkeys(name for one in objects for name in one["properties"]):
        inner = [one["properties"][name] for one in objects if name in one["properties"]]
        everywhere = all(name in one.get("required", ()) for one in objects)
        yield from _walk(inner, root, f"{at}.{name}".lstrip("."), always=everywhere)
    if items := [one["items"] for one in opened if "items" in one]:
        yield from _walk(items, root, f"{at}[]", always=True)


def _promise(options: Sequence[Json], *, always: bool) -> Promise:
    kinds = frozenset(kind for option in options for kind in _kinds(option))
    valued = [option for option in options if _kinds(option) != {"null"}]
    listed = [option["enum"] for option in valued if "enum" in option]
    spelling = {f"{key} {option[key]}" for option in valued for key in ("format", "pattern") if key in option}
    words = frozenset(word for words in listed for word in words) if listed and len(listed) == len(valued) else None
    return Promise(kinds, always, words, frozenset(spelling))


def _kinds(option: Json) -> set[str]:
    given = option.get("type", [])
    kinds = {given} if isinstance(given, str) else set(given)
    return kinds or {_KINDS[type(word)] for word in option.get("enum", ())}


def _open(schema: Json, root: Json) -> list[Json]:
    """Write a schema as the list of what it may be, each without references and combinations."""
    own = {key: value for key, value in schema.items() if key not in ("$ref", "allOf", "anyOf", "const", "$defs")}
    if "const" in schema:
        own["enum"] = [schema["const"]]
    parts = [*schema.get("allOf", ()), *([_lookup(schema["$ref"], root)] if "$ref" in schema else ())]
    options = [own]
    for part in parts:
        options = [_both(one, other) for one in options for other in _open(part, root)]
    if "anyOf" in schema:
        choices = [one for choice in schema["anyOf"] for one in _open(choice, root)]
        options = [_both(one, other) for one in options for other in choices]
    return options


def _lookup(reference: str, root: Json) -> Json:
    found: Any = root
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return dict(found)


def _both(one: Mapping[str, Any], other: Mapping[str, Any]) -> Json:
    """Join what is true at once."""
    joined = {**other, **one}
    for name in one.keys() & other.keys():
        if name == "properties":
            shared = one[name].keys() & other[name].keys()
            joined[name] = {
                **other[name],
                **one[name],
                **{k: {"allOf": [one[name][k], other[name][k]]} for k in shared},
            }
        elif name == "enum":
            joined[name] = [word for word in one[name] if word in other[name]]
        elif name == "required":
            joined[name] = [*one[name], *other[name]]
    return joined
