"""Take notifications in before the router: what it, the guards and idempotency would do for them is nothing.

A webhook asks for no token, has no query and one known address, and it is what comes by the thousand: a sixth of its
processor time went into being routed and passed on. Only a POST to an address that is switched on, with nothing
unusual about it, is taken here. Everything else goes the ordinary way, where the same `ingest.serve` waits for it.
"""

from typing import Final

from aiohttp import hdrs, web

from worker.web import ingest
from worker.web.patience import ASKED
from worker.web.whole import Whole

UNFRAMED: Final = (
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "DENY"),
)
"""Who is not asked by a program of the operator's, but by a page in a browser, gets nothing to show, frame or follow.

https://cheatsheetseries.owasp.org/cheatsheets/REST_Security_Cheat_Sheet.html#security-headers; what TLS has to say
(Strict-Transport-Security) is said by who ends it. No `Access-Control-Allow-…` is ever set: no other site reads one.
"""


class Runner(web.AppRunner):
    """Run an application behind this front, if it takes notifications at all."""

    async def setup(self) -> None:
        """Start the application, then stand before it."""
        await super().setup()
        if self.server is not None and ingest.DOOR in self.app:
            self.server.request_handler = Front(self.app, self.server).serve


class Front:
    """Serve the addresses of the door, and pass on what is not for them.

    Args:
        app: already started.
        server: what serves it now.
    """

    def __init__(self, app: web.Application, server: web.Server) -> None:
        self._asked = app[ASKED]
        self._door = app[ingest.DOOR]
        self._addresses = {f"/webhooks/{platform}/{name}": (platform, name) for platform, name in self._door.endpoints}
        self._pass_on = server.request_handler

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        address = self._addresses.get(request.rel_url.raw_path)
        if address is None or request.method != "POST" or hdrs.EXPECT in request.headers:
            return await self._pass_on(request)
        self._asked.add(request.protocol)
        response = await ingest.serve(self._door, request, *address, at_once=True)
        if not isinstance(response, Whole):
            await dress(request, response)
        return response


async def dress(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Set what every answer wears: no version, no sniffing, and no copy of what a token was asked for.

    What a platform is answered is read by no browser, and wears no more than that. A page says of itself what it needs:
    what is set already stays.
    """
    headers, path = response.headers, request.path
    headers["Server"] = "clawback"
    headers["X-Content-Type-Options"] = "nosniff"
    if path.startswith("/webhooks/"):
        return
    for name, value in UNFRAMED:
        headers.setdefault(name, value)
    if path.startswith(("/v1", "/console")):
        headers["Cache-Control"] = "no-store"
