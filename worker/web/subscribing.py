"""Make, change, delete and show subscribers, each in one transaction, and say in one line what stands against it."""

import json
import secrets
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from handlers import ids as identify
from schemas.subscribers import Subscriber, SubscriberWanted
from worker import keyring
from worker.deeds import Deed
from worker.keyring import KeptSecret
from worker.runtime import Runtime
from worker.store import subscribers as store
from worker.store.postgresql import lock_subscribers
from worker.store.standing import disabled
from worker.web.errors import Refusal, Refused, not_found

Columns = Mapping[Any, Any]


def page(connection: Connection, runtime: Runtime, filters: Columns, *, after: Any, limit: int) -> list[Subscriber]:
    """List subscribers, newest first, with what waits for each."""
    found = store.list_subscribers(connection, filters, after=after, limit=limit)
    waiting = store.backlog(connection, [row["id"] for row in found])
    return [_subscriber(row, waiting.get(row["id"], 0), runtime) for row in found]


def shown(connection: Connection, runtime: Runtime, id_: str) -> Subscriber:
    """Show one."""
    row = _there(store.find_subscriber(connection, id_))
    return _subscriber(row, store.backlog(connection, [id_]).get(id_, 0), runtime)


def create(runtime: Runtime, deed: Deed, wanted: SubscriberWanted, kept: KeptSecret) -> Subscriber:
    """Make one, unless its address is taken or there are enough."""

    def work(connection: Connection) -> Subscriber:
        lock_subscribers(connection)
        same = store.find_same(connection, wanted.app, wanted.url)
        if same is not None and not _left_behind(same):
            raise _taken(same["id"])
        if store.count_of(connection, wanted.app) >= runtime.settings.subscribing.max_per_app:
            raise _too_many(runtime)
        values = _columns(wanted.model_dump(exclude={"signature", "secret"})) | {"secrets": keyring.write([kept])}
        id_ = _enter(connection, same, {**values, "origin": "api"}, runtime.clock())
        deed.note(connection, id_, app=wanted.app)
        return shown(connection, runtime, id_)

    return runtime.store.change(work)


def _enter(connection: Connection, left_behind: Columns | None, values: Columns, now: float) -> str:
    """Enter a new one; one that left the configuration goes on under its id, with what was told to it."""
    if left_behind is not None:
        store.change_subscriber(connection, left_behind["id"], {**store.ENABLED, "changed_at": int(now), **values})
        return str(left_behind["id"])
    id_ = identify.make("sub", secrets.token_hex(16))
    if not store.add_subscriber(connection, {"id": id_, **values}, now=now):
        raise _taken(_there(store.find_same(connection, values["app"], values["url"]))["id"])
    return id_


def change(runtime: Runtime, deed: Deed, id_: str, said: dict[str, Any]) -> Subscriber:
    """Change one, as far as it is ours to change."""

    def work(connection: Connection) -> Subscriber:
        row = _there(store.find_subscriber(connection, id_, locked=True))
        if row["origin"] == "config" and (said.keys() - {"state"} or _left_behind(row)):
            raise _configured(runtime, left_behind=_left_behind(row))
        same = store.find_same(connection, row["app"], said.get("url", row["url"]))
        if same is not None and same["id"] != id_:
            raise _taken(same["id"])
        state = said.get("state", row["state"])
        moved = {} if (state, row["reason"]) == (row["state"], _REASONS[state]) else _moved(state, runtime.clock())
        fields = {name: value for name, value in said.items() if name != "state"}
        store.change_subscriber(connection, id_, _columns(fields) | (moved if "state" in said else {}))
        deed.note(connection, id_, fields=sorted(said), **({"state": state} if "state" in said else {}))
        return shown(connection, runtime, id_)

    try:
        return runtime.store.change(work)
    except IntegrityError:  # somebody else took the address between the look and the change
        raise _taken("Another one") from None


def delete(runtime: Runtime, deed: Deed, id_: str) -> int:
    """Delete one, unless it is configured; tell how many deliveries were dropped."""

    def work(connection: Connection) -> int:
        row = _there(store.find_subscriber(connection, id_, locked=True))
        if row["origin"] == "config" and not _left_behind(row):
            raise _configured(runtime)
        dropped = store.remove_subscriber(connection, id_)
        deed.note(connection, id_, app=row["app"], deliveries=dropped)
        return dropped

    return runtime.store.change(work)


def rotate(runtime: Runtime, deed: Deed, id_: str, secret: str, *, expires_in_seconds: int) -> Subscriber:
    """Put a new secret in front of those it has."""
    now = runtime.clock()

    def work(connection: Connection) -> Subscriber:
        row = _there(store.find_subscriber(connection, id_, locked=True))
        if row["origin"] == "config":
            raise _configured(runtime, left_behind=_left_behind(row))
        new = keyring.keep(secret, runtime.sealer)
        ends_at_ms = int((now + expires_in_seconds) * 1000)
        kept = keyring.rotate(keyring.read(row["secrets"]), new, ends_at_ms=ends_at_ms, now=now)
        if len(kept) > keyring.SECRETS_MAX:
            message = f"{keyring.SECRETS_MAX} secrets sign already: wait for one to end, or send expires_in_seconds 0."
            raise Refused(Refusal(409, "too_many_secrets", message, "expires_in_seconds"))
        store.change_subscriber(connection, id_, {"secrets": keyring.write(kept)})
        deed.note(connection, id_, expires_in_seconds=expires_in_seconds)
        return shown(connection, runtime, id_)

    return runtime.store.change(work)


_REASONS = {"enabled": None, "paused": None, "disabled": "by_operator"}


def _moved(state: str, now: float) -> dict[str, Any]:
    if state == "disabled":
        return disabled("by_operator", int(now * 1000))
    return {**store.ENABLED, "state": state, "changed_at": int(now)}


def _columns(said: dict[str, Any]) -> dict[str, Any]:
    """Write what was said as the table has it."""
    return said | ({"types": json.dumps(said["types"])} if "types" in said else {})


def _subscriber(row: Columns, waiting: int, runtime: Runtime) -> Subscriber:
    names = ("id", "app", "url", "environment", "order", "rate_per_second", "timeout_seconds", "allow_private")
    return Subscriber(
        **{name: row[name] for name in (*names, "state", "reason", "origin", "created_at")},
        **_signing(row, runtime),
        types=tuple(json.loads(row["types"])),
        changed_at=row["changed_at"] or row["created_at"],
        failing_since=_seconds(row["failing_since_ms"]),
        not_before=_seconds(row["not_before_ms"]) if row["not_before_ms"] > runtime.clock() * 1000 else None,
        backlog=waiting,
    )


def _signing(row: Columns, runtime: Runtime) -> dict[str, Any]:
    """Say how it is signed for; no key is needed for that."""
    configured = keyring.configured(runtime.settings.subscribers, row["app"], row["url"])
    kept = configured if row["origin"] == "config" else keyring.read(row["secrets"])
    active = [one for one in kept if one.signs(runtime.clock())]
    public = active[0].public_key if active else None
    ends = [one.ends_at_ms for one in active if one.ends_at_ms is not None]
    return {
        "signature": "v1" if public is None else "v1a",
        "public_key": public,
        "active_secrets": len(active),
        "secrets_end_at": _seconds(max(ends)) if ends else None,
    }


def _seconds(ms: int | None) -> int | None:
    return None if ms is None else ms // 1000


def _there(row: Any) -> Any:
    if row is None:
        raise not_found("subscriber")
    return row


def _left_behind(row: Columns) -> bool:
    """Tell whether it was of the configuration, and no longer is."""
    return bool(row["origin"] == "config" and row["reason"] == "removed_from_configuration")


def _taken(id_: str) -> Refused:
    message = f"{id_} is told of that app's events at that address already: change it, or give the other another url."
    return Refused(Refusal(409, "subscriber_exists", message, "url"))


def _too_many(runtime: Runtime) -> Refused:
    most = runtime.settings.subscribing.max_per_app
    message = f"That app has {most} subscribers: delete one, or raise [subscribing] max_per_app."
    return Refused(Refusal(409, "too_many_subscribers", message, "app"))


def _configured(runtime: Runtime, *, left_behind: bool = False) -> Refused:
    place = runtime.settings.place
    message = f"It is configured in {place}, and changed there. Here its state alone can be changed."
    if left_behind:
        message = f"It was taken out of {place}: put it back there, or delete it here and make it anew."
    return Refused(Refusal(409, "configured_in_file", message, "id"))
