"""Refuse a subscriber that could never be told, or that must not be: in one clear line, before anything is stored.

What passes here is checked again whenever it is told: a name may lead somewhere else by then (`worker/addresses.py`).
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from urllib.parse import urlsplit

from aiohttp import web

from config import addresses
from config.check import secret_mistake
from config.settings import Settings
from handlers import filters
from handlers.outgoing import public_key
from worker.addresses import Resolver, is_public
from worker.web.errors import Refusal, Refused, bad_parameter

RESOLVE_SECONDS_MAX = 5.0
"""Whoever makes a subscriber waits for it. What is not known by then is found out when it is told."""
RESOLVER = web.AppKey("resolver", Resolver)


async def check_address(request: web.Request, settings: Settings, url: str, *, allow_private: bool) -> None:
    """Refuse an address that is none, or leads where the operator permits nobody to go."""
    if allow_private and not settings.subscribing.allow_private:
        message = f"Not permitted here: [subscribing] allow_private is false in {settings.place}."
        raise Refused(Refusal(403, "allow_private_not_permitted", message, "allow_private"))
    if wrong := addresses.mistake(url, allow_private=allow_private):
        raise bad_parameter("url", f"It {wrong}.")
    if not allow_private and not all(map(is_public, await _lead_to(request, url))):
        message = "It leads to a private, loopback, link-local or otherwise reserved address, which is never told."
        raise Refused(Refusal(400, "address_not_public", message, "url"))


def check_app(settings: Settings, app: str) -> None:
    """Refuse an app that nobody configured."""
    if app not in settings.apps:
        raise bad_parameter("app", f"No app of that name is configured (there: {', '.join(settings.apps) or 'none'}).")


def check_types(types: Iterable[str]) -> None:
    """Refuse a filter of which a part lets nothing through."""
    if wrong := filters.mistake(types):
        raise bad_parameter("types", f"{wrong[:1].upper()}{wrong[1:]}.")


def check_secret(secret: str | None, signature: str) -> None:
    """Refuse a secret that is none, or is for another signature."""
    if secret is None:
        return
    if wrong := secret_mistake(secret):
        raise bad_parameter("secret", f"It {wrong}.")
    if signature != ("v1a" if secret.startswith("whsk_") else "v1"):
        raise bad_parameter("secret", "It does not fit: v1 signs with a whsec_ secret, v1a with a whsk_ one.")
    if signature == "v1a" and public_key(secret) is None:
        raise bad_parameter("secret", "Its second half is not the public key of its first.")


async def _lead_to(request: web.Request, url: str) -> list[str]:
    """Look up where an address leads now. Nowhere is no reason to refuse: its name may be made after it."""
    parsed = urlsplit(url)
    resolver, host = request.config_dict[RESOLVER], parsed.hostname or ""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(RESOLVE_SECONDS_MAX):
            found = await resolver.resolve(host, parsed.port or 443, socket.AddressFamily.AF_UNSPEC)
            return [one["host"] for one in found]
    return []


async def resolving(app: web.Application) -> AsyncIterator[None]:
    """Look names up as long as the application runs."""
    app[RESOLVER] = Resolver()
    yield
    await app[RESOLVER].close()
