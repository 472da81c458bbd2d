"""What `clawback listen` and `clawback trigger` share: the service they ask, and the receiver they sign for."""

import base64
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from worker.cli.common import Failure

if TYPE_CHECKING:
    import aiohttp

RECEIVER_SECONDS_MAX = 30.0
"""How long a receiver may take: somebody may have stopped it in a debugger, and everything else waits."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What a receiver answered; `error`: it did not."""

    status: int | None
    error: str | None
    duration_ms: float

    @property
    def good(self) -> bool:
        """Tell whether it took the event."""
        return self.status is not None and 200 <= self.status < 300

    def __str__(self) -> str:
        said = self.error if self.status is None else str(self.status)
        return f"{said} in {self.duration_ms:.0f} ms"


def receiver(url: str) -> str:
    """Read the address of a receiver as people write it: `localhost:3000/hooks`, or a port alone."""
    whole = url if "://" in url else f"http://localhost:{url}" if url.isdecimal() else f"http://{url}"
    try:
        parts = urlsplit(whole)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise click.UsageError(f"{url!r} is no address of a receiver: write http://localhost:3000/path")
    return whole


def new_secret() -> str:
    """Make a Standard Webhooks secret."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def checked(secret: str) -> str:
    """Refuse a secret that cannot sign."""
    from handlers import outgoing

    if not secret.startswith("whsec_") or not outgoing.keys((secret,)):
        raise click.UsageError("--secret is no Standard Webhooks secret: `whsec_` and base64 of 24 to 64 bytes")
    return secret


async def post(http: "aiohttp.ClientSession", url: str, secret: str, event_id: str, document: str) -> Answered:
    """Post an event as a subscriber would get it."""
    import aiohttp

    from handlers import outgoing

    body, began = outgoing.body(document), time.monotonic()
    headers = outgoing.headers(event_id, body, keys=outgoing.keys((secret,)), now=time.time())
    status, error = None, None
    try:
        timeout = aiohttp.ClientTimeout(RECEIVER_SECONDS_MAX)
        async with http.post(url, data=body, headers=headers, timeout=timeout, allow_redirects=False) as response:
            status = response.status
    except TimeoutError:
        error = "no answer"
    except aiohttp.ClientConnectorError:
        error = "nothing listens there"
    except (aiohttp.ClientError, ValueError) as problem:
        error = type(problem).__name__
    return Answered(status, error, (time.monotonic() - began) * 1000)


def service(url: str | None, token: str | None, data_dir: Path) -> tuple[str, str]:
    """Find the service and a token for it: as given, else the demo's."""
    if url is None or token is None:
        from worker.demo.place import CONFIG_FILE, demo_directory

        config = demo_directory(data_dir) / CONFIG_FILE
        if not config.exists():
            missing = "--url" if url is None else "--token"
            raise click.UsageError(
                f"name the service with --url and --token ({missing} is missing, and no demo is here)"
            )
        from config.load import load

        settings = load(config, {})
        url = url or f"http://{settings.server.host}:{settings.server.admin_port or settings.server.port}"
        token = token or settings.admin.tokens[0]
    whole = url if "://" in url else f"http://{url}"
    if urlsplit(whole).scheme not in ("http", "https") or not urlsplit(whole).hostname:
        raise click.UsageError(f"--url {url!r} is no address: write https://clawback.example")
    return whole.rstrip("/"), token


async def refusal(response: "aiohttp.ClientResponse", url: str) -> Failure:
    """Say in one line why the service does not answer what was asked."""
    if response.status == 401:
        return Failure(f"{url} does not know this token: name one of `clawback token new`, or of its [admin] tokens")
    try:
        error = json.loads(await response.read())["error"]
        return Failure(f"{url} says {response.status}: {error['message']}")
    except (ValueError, KeyError, TypeError):
        return Failure(f"{url} says {response.status}: is that the address of Clawback's API?")


def _note() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "clawback" / "listen.json"


@contextmanager
def noted(forward_to: str, secret: str) -> Iterator[None]:
    """Leave a note of where events are forwarded, for `clawback trigger` of the same user, as long as they are."""
    note, mine = _note(), {"forward_to": forward_to, "secret": secret, "pid": os.getpid()}
    with suppress(OSError):
        note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = note.with_suffix(f".{os.getpid()}")
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps(mine))
        fresh.replace(note)
    try:
        yield
    finally:
        with suppress(OSError):
            if read_note() == (forward_to, secret):
                note.unlink()


def read_note() -> tuple[str, str] | None:
    """Read where events are forwarded now; None: nowhere."""
    try:
        note: dict[str, Any] = json.loads(_note().read_text())
        os.kill(int(note["pid"]), 0)
        return str(note["forward_to"]), str(note["secret"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
