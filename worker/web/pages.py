"""Lists: what may be asked of them, pages of them, and the cursor that carries on where a page ended.

A query is a model: what it declares is what is accepted, what is documented, and nothing else. A cursor is the
sort key of the last row seen, so that pages neither repeat nor skip what was there when the first was read.
"""

import base64
import json
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, Literal, TypeVar

from aiohttp import web
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    WithJsonSchema,
    WrapValidator,
)
from pydantic import ValidationError as Invalid

from schemas.base import Noun
from worker.web.errors import bad_parameter, invalid

T = TypeVar("T")
Q = TypeVar("Q", bound=BaseModel)

_WHOLE = re.compile(r"[0-9]{1,18}")


def _whole(value: object) -> object:
    """Take plain digits only: no sign, and none of the underscores and spaces that Python reads in numbers."""
    if not isinstance(value, str):
        return value
    if not _WHOLE.fullmatch(value):
        raise ValueError("should be a whole number")
    return int(value)


def _storable(value: str) -> str:
    """Refuse text that UTF-8 cannot spell; PostgreSQL could not even compare it."""
    if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        raise ValueError("should be valid UTF-8")
    return value


def _decoded(value: object) -> object:
    """Open a cursor."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(base64.urlsafe_b64decode(value.encode() + b"=" * (-len(value) % 4)))
    except (ValueError, RecursionError):
        raise ValueError("should be the next_cursor of a page") from None


def _is_cursor(example: list[Any]) -> tuple[BeforeValidator, WithJsonSchema]:
    schema = {
        "type": "string",
        "format": "cursor",
        "description": "`next_cursor` of the page before",
        "examples": [encode(example)],
    }
    return BeforeValidator(_decoded), WithJsonSchema(schema)


def encode(key: Sequence[Any]) -> str:
    """Write the sort key of a row as a cursor."""
    return base64.urlsafe_b64encode(json.dumps(key, separators=(",", ":")).encode()).rstrip(b"=").decode()


Text = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\x00]+$"), AfterValidator(_storable)]
WHOLE = BeforeValidator(_whole)
Seconds = Annotated[int, Field(ge=0, le=2**40), WHOLE]
_At = Annotated[int, Field(strict=True, ge=-(2**53), le=2**53)]
TimeCursor = Annotated[tuple[_At, Text], *_is_cursor([1767225600, "re_5c1f0e0d3b1a4f6f9a7e2b10"])]
NameCursor = Annotated[tuple[Text, Text, Text], *_is_cursor(["acme", "production", "pro"])]
_Position = Annotated[int, Field(strict=True, ge=0, le=2**53)]
# Cursors that were given before feeds had ids are in use, and stay what they are.
FeedCursor = Annotated[tuple[_Position, Text] | tuple[_Position], *_is_cursor([4711, "5c1f0e0d"])]
LATEST: Literal["latest"] = "latest"
"""Stands for the newest event there is: nothing that was told before is asked for."""
FeedStart = Annotated[
    FeedCursor | Literal["latest"],
    WrapValidator(lambda value, read: LATEST if value == LATEST else read(value)),
    WithJsonSchema({"type": "string", "format": "cursor", "examples": [encode([4711, "5c1f0e0d"]), LATEST]}),
]

_TEXT: TypeAdapter[str] = TypeAdapter(Text)


class Query(BaseModel):
    """What may be asked for; a parameter that is not declared is refused, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Anything(BaseModel):
    """The query of an address that probes and scrapers call with parameters of their own."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Paged(Query):
    """What may be asked of every list."""

    limit: Annotated[int, Field(ge=1, le=500, description="How many at most"), WHOLE] = 100


class TimePaged(Paged):
    """What may be asked of a list that is in the order of time, newest first."""

    cursor: TimeCursor | None = None


class Listing(Noun, Generic[T]):
    """One page."""

    object: Literal["list"] = "list"
    data: tuple[T, ...]
    has_more: bool
    next_cursor: str | None = Field(description="Ask with it for the next page; null: there is none")


def parse(model: type[Q], request: web.Request) -> Q:
    """Read the query string, or refuse it for its first mistake."""
    values: dict[str, str] = {}
    for name, value in request.query.items():
        if name in values:
            raise bad_parameter(name, "Given more than once.")
        values[name] = value
    try:
        return model.model_validate(values)
    except Invalid as error:
        raise invalid(error, depth=1) from None


def path_text(request: web.Request, name: str) -> str:
    """Read a path parameter, or refuse what can be no id of ours or of an app."""
    try:
        return _TEXT.validate_python(request.match_info[name])
    except Invalid:
        raise bad_parameter(name, "Should be 1 to 512 characters of text.") from None


def listing(rows: Sequence[T], limit: int, key: Callable[[T], Sequence[Any]], **dump: Any) -> web.Response:
    """Answer with a page.

    Args:
        rows: one more than `limit` if there are so many.
        limit: how many are shown.
        key: the sort key of a row.
        dump: options of pydantic's dump.
    """
    shown, has_more = rows[:limit], len(rows) > limit
    next_cursor = encode(key(shown[-1])) if has_more else None
    return resource(Listing[Any](data=tuple(shown), has_more=has_more, next_cursor=next_cursor), **dump)


def resource(value: BaseModel, *, status: int = 200, **dump: Any) -> web.Response:
    """Answer with one value as JSON."""
    return document(value.model_dump_json(**dump), status=status)


def document(text: str, *, status: int = 200) -> web.Response:
    """Answer with JSON that is text already."""
    return web.Response(body=text.encode(), status=status, content_type="application/json")
