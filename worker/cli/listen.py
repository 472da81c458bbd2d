"""`clawback listen`: what happens, as it happens, on a developer's own machine."""

import asyncio
import json
import random
import re
import signal
import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

import click

from worker.cli.common import Failure, data_dir_option
from worker.cli.forward import Answered, checked, new_secret, noted, post, receiver, refusal, service

if TYPE_CHECKING:
    import aiohttp

    from worker.sse import Message

SILENCE_SECONDS_MAX = 60.0
"""A stream says something every 15 seconds unless configured otherwise; after so long the other side is gone."""
WAIT_SECONDS_MAX = 30.0
AGO = re.compile(r"(\d{1,6})([smhd])")
SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


@click.command("listen")
@click.option("--forward-to", metavar="URL", help="POST each event there, signed. Without it they are only shown.")
@click.option("--types", help="Only these, separated by commas: entitlement.*,refund.succeeded")
@click.option("--app", help="Only this app's.")
@click.option("--customer", help="Only this customer's (a user_id).")
@click.option("--environment", type=click.Choice(["production", "sandbox"]), help="Only what happened there.")
@click.option("--since", help="Begin earlier: 90s, 10m, 2h, 3d, `beginning`, or a cursor. [default: now]")
@click.option(
    "--secret", envvar="CLAWBACK_LISTEN_SECRET", help="Sign with this. [default: a new one, which is printed]"
)
@click.option("--url", envvar="CLAWBACK_URL", help="The service's address. [default: the demo's]")
@click.option("--token", envvar="CLAWBACK_TOKEN", help="A bearer token of the API. [default: the demo's]")
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document per line.")
def command(**options: Any) -> int:
    """Show events as they come, and forward them to a receiver on this machine.

    Each is posted once, signed as a subscriber would get it, with a secret that is printed at the start. Broken
    connections to the service are taken up again where they broke off. Ctrl-C ends it.
    """
    url, token = service(options["url"], options["token"], options["data_dir"])
    forward_to = receiver(options["forward_to"]) if options["forward_to"] else None
    secret = checked(options["secret"]) if options["secret"] else new_secret()
    show = _Show(forward_to, as_json=options["as_json"])
    filters = {name: options[name] for name in ("types", "app", "customer", "environment") if options[name]}
    ear = _Ear(url, token, filters | _begin(options["since"]), forward_to, secret, show)
    with noted(forward_to, secret) if forward_to else nullcontext():
        asyncio.run(_until_told(ear))
    return 0


def _begin(since: str | None) -> dict[str, str]:
    """Say where to begin."""
    if since is None:
        return {"after": "latest"}
    if since == "beginning":
        return {}
    if ago := AGO.fullmatch(since):
        return {"since": str(max(0, int(time.time()) - int(ago[1]) * SECONDS[ago[2]]))}
    return {"after": since}


async def _until_told(ear: "_Ear") -> None:
    """Listen until Ctrl-C."""
    listening = asyncio.ensure_future(ear.listen())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, listening.cancel)
    with suppress(asyncio.CancelledError):
        await listening


class _Show:
    """Say what happens: for a person, or one JSON document per line."""

    def __init__(self, forward_to: str | None, *, as_json: bool) -> None:
        self._forward_to, self._as_json = forward_to, as_json

    def ready(self, url: str, secret: str) -> None:
        """Say that events are waited for."""
        if self._as_json:
            self._json({"listening": url, "forward_to": self._forward_to, "secret": secret})
            return
        click.echo(f"Listening to {url}. Ctrl-C ends it.")
        if self._forward_to:
            click.echo(f"Forwarding to {self._forward_to}, signed with {secret}")

    def event(self, event: Mapping[str, Any], answered: Answered | None) -> None:
        """Show one event, and what the receiver answered."""
        if self._as_json:
            said = answered and {n: getattr(answered, n) for n in ("status", "error", "duration_ms")}
            self._json({"event": event, "forwarded": said})
            return
        customer = (event["customer"] or {}).get("user_id", "nobody known")
        result = "" if answered is None else f"  {click.style(f'[{answered}]', fg='green' if answered.good else 'red')}"
        click.echo(f"{event['timestamp']}  {event['type']:<24} {event['id']}  {customer}{result}")

    def away(self, why: str, seconds: float) -> None:
        """Say that the service is away."""
        click.echo(f"{why}; trying again in {seconds:.0f} s", err=True)

    def _json(self, document: Any) -> None:
        click.echo(json.dumps(document, ensure_ascii=False))


class _Ear:
    """Listens to a service, and passes on what it hears."""

    def __init__(
        self, url: str, token: str, query: Mapping[str, str], forward_to: str | None, secret: str, show: _Show
    ) -> None:
        self._url, self._query = url, query
        self._headers = {"Authorization": f"Bearer {token}"}
        self._forward_to, self._secret, self._show = forward_to, secret, show
        self._last_id, self._retry_seconds = "", 2.0
        self._heard_once = False

    async def listen(self) -> None:
        """Listen for ever, and take up what breaks off; only the first connection has to work."""
        import aiohttp

        from worker.sse import StreamBroken

        failed = 0
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=SILENCE_SECONDS_MAX)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as http:
            while True:
                began = time.monotonic()
                try:
                    await self._hear(http)
                    why = f"{self._url} ended the stream"
                except (aiohttp.ClientError, TimeoutError, StreamBroken, ValueError) as error:
                    if not self._heard_once:
                        raise Failure(
                            f"cannot reach {self._url} ({type(error).__name__}): is it running? See --url"
                        ) from None
                    why = f"lost {self._url} ({type(error).__name__})"
                failed = 0 if time.monotonic() - began > WAIT_SECONDS_MAX else failed + 1
                seconds = min(WAIT_SECONDS_MAX, self._retry_seconds * 2 ** max(0, failed - 1)) * random.uniform(0.75, 1)  # noqa: S311 - jitter, not a secret
                self._show.away(why, seconds)
                await asyncio.sleep(seconds)

    async def _hear(self, http: "aiohttp.ClientSession") -> None:
        """Listen to one connection until it ends."""
        from worker.sse import MEDIA_TYPE, Reader

        headers = self._headers | ({"Last-Event-ID": self._last_id} if self._last_id else {})
        async with http.get(f"{self._url}/v1/events/stream", params=self._query, headers=headers) as response:
            if response.status >= 500 and self._heard_once:
                return
            if response.status != 200 or response.content_type != MEDIA_TYPE:
                raise await refusal(response, self._url)
            if not self._heard_once:
                self._heard_once = True
                self._show.ready(self._url, self._secret)
            reader = Reader()
            async for chunk in response.content.iter_any():
                for message in reader.feed(chunk):
                    await self._pass_on(http, message)
                self._last_id = reader.last_id or self._last_id
                self._retry_seconds = (reader.retry_ms or 2_000) / 1000

    async def _pass_on(self, http: "aiohttp.ClientSession", message: "Message") -> None:
        event = json.loads(message.data)
        answered = None
        if self._forward_to:
            answered = await post(http, self._forward_to, self._secret, event["id"], message.data)
        self._last_id = message.id
        self._show.event(event, answered)
