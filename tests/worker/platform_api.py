"""A platform's API on this machine: it answers what a test tells it to, and remembers what it was asked.

Real: the server, its sockets, what clients send. Nothing here knows our clients.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

ACCESS_TOKEN = "ya29.of-this-hour"
ACCOUNT_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EMAIL = "play-reader@acme.iam.gserviceaccount.com"


@dataclass
class Asked:
    """One request as it arrived."""

    verb: str
    path: str
    """As it was written, percent-encoding included."""
    headers: Mapping[str, str]
    body: str


@dataclass
class Api:
    """What it answers, and what it was asked."""

    status: int = 200
    answer: Any = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    """By a part of the path, where not all is answered alike."""
    token_status: int = 200
    token: Any = field(default_factory=lambda: {"access_token": ACCESS_TOKEN, "expires_in": 3599})
    asked: list[Asked] = field(default_factory=list)
    granted: list[Asked] = field(default_factory=list)
    hold: asyncio.Event | None = None
    """While it is there and not set, no look-up is answered."""
    most_at_once: int = 0
    url: str = ""
    _now: int = 0

    async def receive(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        asked = Asked(request.method, request.raw_path, dict(request.headers), await request.text())
        if request.path == "/token":
            self.granted.append(asked)
            return _response(self.token_status, self.token, {})
        self.asked.append(asked)
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            if self.hold is not None:
                await self.hold.wait()
        finally:
            self._now -= 1
        status, answer = next(
            (found for part, found in self.answers.items() if part in request.path), (self.status, self.answer)
        )
        return _response(status, answer, self.headers)


@asynccontextmanager
async def serving() -> AsyncIterator[Api]:
    """Serve one on this machine."""
    api = Api()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.receive)
    async with TestServer(app) as server:
        api.url = str(server.make_url("")).rstrip("/")
        yield api
        if api.hold is not None:
            api.hold.set()


def write_key(file: Path, api: Api | None = None, **changes: Any) -> Path:
    """Write the key file of a service account, whose tokens come from the API on this machine."""
    private = ACCOUNT_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    key = {
        "type": "service_account",
        "project_id": "acme",
        "private_key_id": "key-of-march",
        "private_key": private,
        "client_email": EMAIL,
        "token_uri": f"{api.url}/token" if api else "https://oauth2.googleapis.com/token",
        **changes,
    }
    file.write_text(json.dumps({name: value for name, value in key.items() if value is not None}), encoding="utf-8")
    return file


def _response(status: int, answer: Any, headers: Mapping[str, str]) -> web.Response:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return web.Response(status=status, body=body, headers=dict(headers), content_type="application/json")
