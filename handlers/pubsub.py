"""A Pub/Sub push opened: its data and its metadata, wrapped together in the body or beside it in headers.

cloud.google.com/pubsub/docs/push (wrapped) and cloud.google.com/pubsub/docs/payload-unwrapping (bare). A bare
push without "write metadata" has no message id at all.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from handlers import strict_json
from handlers.errors import Malformed
from handlers.play_answers import rfc3339_ms

__all__ = ["KEPT_HEADERS", "Envelope", "unpack"]

_MESSAGE_ID = "x-goog-pubsub-message-id"
_PUBLISH_TIME = "x-goog-pubsub-publish-time"
_SUBSCRIPTION = "x-goog-pubsub-subscription-name"
KEPT_HEADERS = (_MESSAGE_ID, _PUBLISH_TIME, _SUBSCRIPTION)
"""What `unpack` needs beside the body, and so must be stored with it."""

_NAME_LENGTH_MAX = 1024
"""A subscription is `projects/` + 30 + `/subscriptions/` + 255 characters at most, a message id far less."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One push, opened.

    Attributes:
        data: the message's own bytes, exactly as they were published.
        content: the JSON object in them.
        message_id: unique within the topic; None where Pub/Sub was told to leave it out.
        subscription: `projects/…/subscriptions/…`, or an empty string.
        publish_time_ms: when Pub/Sub took it.
    """

    data: bytes
    content: dict[str, Any]
    message_id: str | None
    subscription: str
    publish_time_ms: int | None


def unpack(body: bytes, headers: Mapping[str, str]) -> Envelope:
    """Open a push in either shape.

    Raises:
        Malformed: not JSON, not canonical base64, or metadata that contradicts itself or no store holds.
    """
    outer = strict_json.parse_object(body)
    return _unwrap(outer) if "message" in outer else _assemble(outer, body, headers)


def _unwrap(outer: dict[str, Any]) -> Envelope:
    message = outer["message"]
    if not isinstance(message, dict):
        raise Malformed("no_message")
    data = _decode(message.get("data"))
    return Envelope(
        data=data,
        content=strict_json.parse_object(data),
        message_id=_name(_either(message, "messageId", "message_id")),
        subscription=_name(outer.get("subscription")) or "",
        publish_time_ms=rfc3339_ms(_either(message, "publishTime", "publish_time")),
    )


def _assemble(outer: dict[str, Any], body: bytes, headers: Mapping[str, str]) -> Envelope:
    return Envelope(
        data=body,
        content=outer,
        message_id=_name(headers.get(_MESSAGE_ID)),
        subscription=_name(headers.get(_SUBSCRIPTION)) or "",
        publish_time_ms=rfc3339_ms(headers.get(_PUBLISH_TIME)),
    )


def _decode(data: object) -> bytes:
    """Decode standard base64 in its one canonical spelling."""
    if not isinstance(data, str):
        raise Malformed("no_data")
    try:
        decoded = base64.b64decode(data, validate=True)
    except ValueError:
        raise Malformed("not_base64") from None
    if base64.b64encode(decoded) != data.encode():
        raise Malformed("not_base64")
    return decoded


def _either(message: dict[str, Any], name: str, twin: str) -> Any:
    """Take a field that Google writes in two spellings, often both at once; they must agree."""
    value = message.get(name, message.get(twin))
    if message.get(twin, value) != value:
        raise Malformed("contradicting_metadata")
    return value


def _name(value: object) -> str | None:
    """Take a name that every store can hold: printable ASCII (a header may be anything)."""
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > _NAME_LENGTH_MAX or not (value.isascii() and value.isprintable()):
        raise Malformed("ill_formed_metadata")
    return value
