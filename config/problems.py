"""What is wrong with a configuration, one clear line per mistake, all of them at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from config.nearest import nearest

Path = tuple[str, ...]
"""Where a key is: `("server", "port")`, `("subscribers", "0", "url")`."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: the key it is at (empty: the whole), and what to do about it."""

    path: Path
    text: str


class ConfigError(Exception):
    """The configuration cannot be used; its text has one line per problem, ready for the operator."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = tuple(map(_one_line, lines))
        super().__init__("\n".join(self.lines))


def _one_line(text: str) -> str:
    """Write what no terminal shows as one line as Python does: a key of TOML that is quoted may hold anything."""
    return text if text.isprintable() else "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def dotted(path: Path) -> str:
    """Write a path as an operator would say it: `apps.acme.stripe`, `subscribers[0].url`."""
    text = ""
    for part in path:
        text += f"[{part}]" if part.isdecimal() else f".{part}" if text else part
    return text


def unknown(path: Path, root: type[BaseModel]) -> str:
    """Say that a key does not exist, and name the nearest one that does."""
    return f"{dotted(path)} is not a key; did you mean {dotted(_nearest(path, root))}?"


def _nearest(path: Path, root: type[BaseModel]) -> Path:
    """Prefer a similar name in the same section, then the same name in another, then whatever is closest."""
    siblings = {name: (*path[:-1], name) for name in _fields(_walk(root, path[:-1]))}
    if len(path) == 1:
        siblings |= {"_".join(known): known for known in _known(root)}
    if close := nearest(path[-1], siblings, at_least=0.6):
        return siblings[close]
    if elsewhere := [known for known in _known(root) if known[-1] == path[-1]]:
        return elsewhere[0]
    pool = siblings or {name: (name,) for name in _fields(root)}
    return pool[nearest(path[-1], pool)]


def _known(model: type[BaseModel], prefix: Path = ()) -> Iterator[Path]:
    """List every key there can be; `NAME` stands for what the operator calls an app or a product."""
    for name, field in model.model_fields.items():
        yield (*prefix, name)
        inner, named = _inner(field.annotation)
        if inner is not None:
            yield from _known(inner, (*prefix, name, *named))


def known_keys(model: type[BaseModel]) -> tuple[Path, ...]:
    """List every key of a configuration, sections included."""
    return tuple(_known(model))


def _walk(model: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """Follow a path to the section it is in, through the names that the operator chose."""
    rest = list(path)
    current: type[BaseModel] | None = model
    while rest and current is not None:
        field = current.model_fields.get(rest.pop(0))
        current, named = _inner(field.annotation) if field else (None, ())
        del rest[: len(named)]
    return current


def _inner(annotation: Any) -> tuple[type[BaseModel] | None, Path]:
    """Find the section inside `Section | None`, `dict[str, Section]` or `tuple[Section, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ()
    origin = get_origin(annotation)
    arguments = [a for a in get_args(annotation) if isinstance(a, type) and issubclass(a, BaseModel)]
    if not arguments:
        return None, ()
    named: dict[Any, Path] = {dict: ("NAME",), tuple: ("0",), UnionType: (), Union: ()}
    return arguments[0], named.get(origin, ())


def _fields(model: type[BaseModel] | None) -> tuple[str, ...]:
    return tuple(model.model_fields) if model is not None else ()
