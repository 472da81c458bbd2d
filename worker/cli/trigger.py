"""`clawback trigger`: a signed sample of any type of event, for whoever writes a receiver."""

import asyncio
import json
import re
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from worker.cli.common import Failure, data_dir_option, json_option, print_json
from worker.cli.forward import Answered, checked, post, read_note, receiver, refusal, service

EVENT_ID = re.compile(r"[A-Za-z0-9_]{1,100}")
"""No dots: they separate what is signed."""


@click.command("trigger")
@click.argument("event_type", metavar="TYPE", required=False)
@click.option("--list", "list_types", is_flag=True, help="List every type and when it is sent.")
@click.option("--to", metavar="URL", help="The receiver. [default: where `clawback listen` forwards]")
@click.option("--secret", help="Sign with this. [default: what `clawback listen` printed]")
@click.option("--subscriber", metavar="ID", help="Have the service send it to this subscriber instead.")
@click.option("--app", default="acme", show_default=True, help="Whose event it is.")
@click.option("--user", help="Whom it concerns. [default: sample_customer]")
@click.option("--id", "event_id", help="Its id, to send one twice. [default: a new one]")
@click.option("--url", envvar="CLAWBACK_URL", help="With --subscriber: the service's address. [default: the demo's]")
@click.option("--token", envvar="CLAWBACK_TOKEN", help="With --subscriber: a bearer token. [default: the demo's]")
@data_dir_option
@json_option
def command(event_type: str | None, **options: Any) -> int:
    """Send a signed sample of an event to a receiver; nothing enters the ledger or the feed.

    Exits 0 if it was answered with 2xx.
    """
    from handlers import filters
    from schemas.events import EVENT_TYPES

    if options["list_types"]:
        _print_types(as_json=options["as_json"])
        return 0
    if event_type is None:
        raise click.UsageError("name a TYPE; `clawback trigger --list` shows them")
    if event_type not in EVENT_TYPES:
        said = filters.mistake([event_type]) or "a pattern is no type"
        raise click.UsageError(f"{said}; `clawback trigger --list` shows all")
    if options["subscriber"]:
        _nothing_of_ours(options)
        return asyncio.run(_have_sent(event_type, options))
    to, secret = _where(options["to"], options["secret"])
    event = _sample(event_type, options["app"], options["user"], options["event_id"])
    return _show(event, to, asyncio.run(_send(event, to, secret)), as_json=options["as_json"])


def _where(to: str | None, secret: str | None) -> tuple[str, str]:
    """Find the receiver, and what to sign with."""
    note = read_note()
    if to is None and note is None:
        raise click.UsageError(
            "name the receiver with --to URL --secret whsec_…, or start `clawback listen --forward-to URL`"
        )
    url = receiver(to) if to is not None else note[0] if note else ""
    if secret is None and (note is None or note[0] != url):
        raise click.UsageError("name the secret that the receiver verifies with: --secret whsec_…")
    return url, checked(secret) if secret is not None else note[1] if note else ""


def _sample(event_type: str, app: str, user: str | None, event_id: str | None) -> Any:
    from handlers.samples import sample
    from schemas.resources import Customer

    if event_id is not None and not EVENT_ID.fullmatch(event_id):
        raise click.UsageError("--id is letters, digits and _, as evt_sample_1")
    event = sample(event_type, app=app, mark=secrets.token_hex(4), at_ms=int(time.time() * 1000))
    changed: dict[str, Any] = {"id": event_id} if event_id else {}
    if not user:
        return event.model_copy(update=changed)
    data = event.data
    parts = {name: getattr(data, name) for name in ("entitlement", "refund", "purchase")}
    theirs = {name: part.model_copy(update={"user_id": user}) for name, part in parts.items() if part is not None}
    return event.model_copy(
        update=changed | {"customer": Customer(user_id=user), "data": data.model_copy(update=theirs)}
    )


async def _send(event: Any, to: str, secret: str) -> Answered:
    import aiohttp

    async with aiohttp.ClientSession(trust_env=False) as http:
        return await post(http, to, secret, event.id, event.model_dump_json())


def _show(event: Any, to: str, answered: Answered, *, as_json: bool) -> int:
    if as_json:
        said = {name: getattr(answered, name) for name in ("status", "error", "duration_ms")}
        print_json({"event": event.model_dump(mode="json"), "to": to, "answer": said})
    else:
        click.echo(f"{event.type} {event.id} to {to}: {answered}")
    return 0 if answered.good else 1


async def _have_sent(event_type: str, options: dict[str, Any]) -> int:
    """Ask the service to send a sample to a subscriber of its own."""
    import aiohttp

    url, token = service(options["url"], options["token"], Path(options["data_dir"]))
    address = f"{url}/v1/subscribers/{options['subscriber']}/test"
    headers = {"Authorization": f"Bearer {token}"}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(70)) as http,
            http.post(address, json={"type": event_type}, headers=headers) as response,
        ):
            if response.status >= 300:
                raise await refusal(response, url)
            answer = json.loads(await response.read())
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise Failure(f"cannot reach {url} ({type(error).__name__}): is it running? See --url") from None
    if options["as_json"]:
        print_json(answer)
    else:
        click.echo(f"{event_type} {answer['event']} to {options['subscriber']}: {_answered(answer)}")
    return 0 if answer["delivered"] else 1


def _nothing_of_ours(options: Mapping[str, Any]) -> None:
    """Refuse what the service decides by itself when it makes and sends the sample."""
    names = {"--to": "to", "--secret": "secret", "--user": "user", "--id": "event_id"}
    ours = [name for name, option in names.items() if options[option] is not None]
    if ours:
        raise click.UsageError(f"with --subscriber the service makes and signs the sample: leave out {', '.join(ours)}")


def _answered(answer: Mapping[str, Any]) -> str:
    return str(Answered(answer["status_code"], answer["error"], answer["duration_ms"]))


def _print_types(*, as_json: bool) -> None:
    from schemas.events import EVENT_TYPES

    if as_json:
        print_json([{"type": name, "says": kind.says} for name, kind in EVENT_TYPES.items()])
        return
    for name, kind in EVENT_TYPES.items():
        click.echo(f"{name:<24} {kind.says}")
