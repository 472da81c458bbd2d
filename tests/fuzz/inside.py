"""What is fuzzed beside the platforms: what clients ask, what operators write, what subscribers and streams answer."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, get_args
from urllib.parse import quote

from aiohttp.test_utils import make_mocked_request
from pydantic import BaseModel

from config.load import load
from config.problems import ConfigError
from handlers import outgoing
from handlers.backoff import JITTER_SHARE, RETRY_AFTER_SECONDS_MAX, SCHEDULE_SECONDS, parse_retry_after
from handlers.backoff import judge as judge_attempt
from handlers.errors import Malformed
from tests.fuzz.story import storable, values
from tests.handlers.platform_cases import NOW
from tests.house.tree import ROOT
from worker.clients.answers import Outcome
from worker.clients.answers import judge as judge_answer
from worker.fetch import Fetched
from worker.sse import LINE_CHARACTERS_MAX, Message, Reader, StreamBroken, beat, message
from worker.web.app import API
from worker.web.errors import Refused
from worker.web.pages import encode, parse
from worker.web.routes import told

Run = Callable[[bytes], None]
Way = tuple[Run, tuple[bytes, ...], tuple[str, ...]]
"""What runs, what it begins with, and words."""

MESSAGE_CHARACTERS_MAX: Final = 1000
LONGEST_SECONDS: Final = max(*SCHEDULE_SECONDS, RETRY_AFTER_SECONDS_MAX) * (1 + JITTER_SHARE)
_KEYS: Final = outgoing.keys(["whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="])


def asked(_: Path) -> Way:
    """Ask the API anything, by its models: what it takes a store can hold, and the rest is a 400."""
    routes = {f"{route.method} {route.path}": route for route in API}

    def run(data: bytes) -> None:
        said = _object(data)
        route = routes.get(str(said.get("route")))
        if route is None:
            return
        request = make_mocked_request(route.method, f"{route.path}?{_query(said.get('query'))}")
        _taken(lambda: parse(route.query, request))
        body, model = said.get("body"), route.body
        if model is not None:
            raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else json.dumps(body).encode()
            _taken(lambda: told(model, raw))

    seeds = tuple(json.dumps(each).encode() for each in _requests(routes))
    return run, seeds, ("latest", "refund.*", "*", "entitlement.revoked", encode([4711, "5c1f"]), encode([1, "re_1"]))


def _requests(routes: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Ask every route for something that it may be asked."""
    cursors = {"cursor": encode([1767225600, "re_1"]), "after": encode([4711, "5c1f0e0d"])}
    values: dict[str, Any] = {**cursors, "types": "refund.*,chargeback.opened", "environment": "production"}
    for name, route in routes.items():
        query = {field: values.get(field, "1") for field in route.query.model_fields}
        fields = route.body.model_fields if route.body is not None else {}
        body = {field: (info.examples or ["acme"])[0] for field, info in fields.items()}
        yield {"route": name, "query": query, "body": body}


def _query(said: Any) -> str:
    pairs = said.items() if isinstance(said, dict) else ()
    # What no URL can spell never reaches us; bytes that are no UTF-8 do, as lone surrogates.
    return "&".join(f"{_spelled(name)}={_spelled(value)}" for name, value in pairs)


def _spelled(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


def _taken(read: Callable[[], BaseModel]) -> None:
    refusal = None
    try:
        assert all(storable(value) for value in values(read()))
    except Malformed:
        pass
    except Refused as refused:
        refusal = refused.refusal
    assert refusal is None or (refusal.status == 400 and len(refusal.message) <= MESSAGE_CHARACTERS_MAX)


def configured(directory: Path) -> Way:
    """Configure it with anything: settings, or lines that each say what is wrong."""
    file = directory / "clawback.toml"

    def run(data: bytes) -> None:
        said = _object(data)
        sections, environ = said.get("file", data), said.get("environ")
        file.write_bytes(_toml_file(sections) if isinstance(sections, dict) else unquoted(data))
        variables = environ.items() if isinstance(environ, dict) else ()
        lines: tuple[str, ...] = ("",)
        try:
            # A variable that ends in _FILE is read wherever it points: not here.
            load(file, {k: v for k, v in variables if isinstance(v, str) and not k.upper().endswith("_FILE")})
        except ConfigError as error:
            lines = error.lines
        assert lines
        assert not any("\n" in line for line in lines), lines

    example = (ROOT / "clawback.example.toml").read_bytes()
    tree = load(ROOT / "clawback.example.toml", {}).model_dump(mode="json", exclude_unset=True)
    environ = {"CLAWBACK_SERVER__PORT": "80", "CLAWBACK_APPS__ACME__STRIPE__WEBHOOK_SECRETS": '["whsec_1"]'}
    odd = {"file": {"8\n0": 1, "door": {"\x1b[31m\u2028": 1}}, "environ": {"CLAWBACK_\n": "1"}}
    seeds = (*(json.dumps(each).encode() for each in ({"file": tree, "environ": environ}, odd)), *_quoted(example))
    return run, seeds, ("sqlite:///x.db", "postgresql://a@b/c", "embedded", "CLAWBACK_STORE__URL", "whsec_", "*")


def _toml_file(sections: dict[str, Any]) -> bytes:
    return "\n".join(f"{json.dumps(name)} = {_toml(value)}" for name, value in sections.items()).encode(
        "utf-8", "surrogatepass"
    )


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {_toml(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def answered(_: Path) -> Way:
    """Answer a POST, or a look-up, with anything: a verdict whose waits are bounded."""

    def run(data: bytes) -> None:
        said = _object(data)
        status, attempts, after = said.get("status"), said.get("attempts"), said.get("retry_after")
        status, attempts = _number(status, 599, 200), _number(attempts, 20, 1)
        after = after if isinstance(after, str) else None
        seconds = parse_retry_after(after, now=NOW)
        assert seconds is None or (seconds >= 0 and math.isfinite(seconds))
        verdict = judge_attempt(status, attempts=attempts, jitter=1.0, retry_after_seconds=seconds)
        assert all(0 <= wait <= LONGEST_SECONDS for wait in (verdict.wait_seconds or 0.0, verdict.rest_seconds))
        body = str(said.get("body")).encode("utf-8", "surrogatepass")
        answer = judge_answer(Fetched(status, body, retry_after=after), now=NOW)
        assert answer.outcome in get_args(Outcome)
        _refuse_forged(said.get("headers"), body)

    genuine = outgoing.headers("evt_1", b"{}", keys=_KEYS, now=NOW)
    said = [
        {"status": 429, "attempts": 3, "retry_after": "120", "body": '{"ok": true}', "headers": genuine},
        {"status": 503, "attempts": 7, "retry_after": "Wed, 21 Oct 2026 07:28:00 GMT", "body": "", "headers": {}},
    ]
    return run, tuple(json.dumps(each).encode() for each in said), ("-0000", "GMT", "v1,", "v1a,", *genuine)


def _refuse_forged(headers: Any, body: bytes) -> None:
    """Hold what a receiver checks to what was signed: nothing else is believed."""
    sent = headers if isinstance(headers, dict) else {}
    # Headers come as bytes: what is none as a text is no header.
    texts = {k: v for k, v in sent.items() if isinstance(v, str) and not _lone(v)}
    if outgoing.verify(texts, body, keys=_KEYS, now=NOW, tolerance_seconds=300):
        stamp = int(texts["webhook-timestamp"])
        genuine = outgoing.headers(texts["webhook-id"], body, keys=_KEYS, now=stamp)
        assert genuine["webhook-signature"] in texts["webhook-signature"].split(" ")


def _lone(text: str) -> bool:
    return any("\ud800" <= char <= "\udc7f" or "\udd00" <= char <= "\udfff" for char in text)


def _number(value: Any, most: int, otherwise: int) -> int:
    return value if type(value) is int and 0 <= value <= most else otherwise


def streamed(_: Path) -> Way:
    """Stream anything to `clawback listen`: however it is cut, the same messages, or one word that it is no stream."""

    def run(data: bytes) -> None:
        said = unquoted(data)
        assert _heard([said]) == _heard([said[at : at + 7] for at in range(0, len(said), 7)])

    event = message(id_="WzQ3MTIsIjVjMWYiXQ", event="refund.failed", data='{"id":"evt_1"}')
    seeds = _quoted(event, beat(id_="WzFd", retry_ms=2000) + event, b"retry: 9\r\n\r\n", b"retry: %s\n" % (b"9" * 5000))
    return run, seeds, ("id: ", "data: ", "retry: ")


def _heard(pieces: list[bytes]) -> tuple[list[Message], str, int | None]:
    reader, found = Reader(), list[Message]()
    with suppress(StreamBroken):
        for piece in pieces:
            found += reader.feed(piece)
    assert all(len(one.id) <= LINE_CHARACTERS_MAX for one in found)
    return found, reader.last_id, reader.retry_ms


def unquoted(data: bytes) -> bytes:
    """Give the text of a JSON string, as which what is no JSON is mutated; anything else is as it came."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return data
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else data


def _quoted(*texts: bytes) -> tuple[bytes, ...]:
    return tuple(json.dumps(text.decode()).encode() for text in texts)


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


INSIDE: Final[Mapping[str, Callable[[Path], Way]]] = {
    "api": asked,
    "answers": answered,
    "configuration": configured,
    "stream": streamed,
}
