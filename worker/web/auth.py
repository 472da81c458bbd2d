"""Who may ask: bearer tokens, compared in constant time; where none is configured, nobody.

RFC 6750. What is closed is told by the address, before the router is asked whether there is anything at all.
"""

import hmac
from collections.abc import Iterable
from hashlib import sha256

from aiohttp import web
from aiohttp.typedefs import Handler

from config.settings import Admin
from worker.web.errors import Refusal, Refused

TOKEN_HASH = web.RequestKey("token_hash", str)
"""Tells apart who asked, without keeping the token."""


class Guard:
    """Let in whoever shows one of these tokens.

    Args:
        tokens: empty ones never count.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        self._digests = tuple(_digest(token) for token in tokens if token)

    def admit(self, authorization: str | None) -> str:
        """Give the hash of the token that was shown, or raise `Refused` with 401."""
        if not self._digests:
            raise _closed("authentication_not_configured", "No token is configured: set [admin] tokens.")
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            raise _closed("token_missing", "Show a token: Authorization: Bearer …")
        shown = _digest(token.strip())
        # Every comparison is made, so that the time tells neither which token was near nor how many there are.
        if not any([hmac.compare_digest(shown, known) for known in self._digests]):  # noqa: C419 - see above
            raise _closed("token_unknown", "That token is not known here.", error="invalid_token")
        return shown.hex()


Guards = dict[str, Guard | None]
GUARDS = web.AppKey("guards", Guards)


def guards(admin: Admin) -> Guards:
    """Say who guards what lies under a first path segment; None: open. What is not named is open, too."""
    metrics = Guard((admin.metrics_token,)) if admin.metrics_token else None
    return {"v1": Guard(admin.tokens), "console": Guard(admin.tokens), "metrics": metrics, "readyz": metrics}


@web.middleware
async def authentication(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let nobody past a guard without a token."""
    guard = request.app[GUARDS].get(request.path.lstrip("/").partition("/")[0])
    if guard is not None:
        request[TOKEN_HASH] = guard.admit(request.headers.get("Authorization"))
    return await handler(request)


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogateescape")).digest()


def _closed(code: str, message: str, *, error: str = "") -> Refused:
    challenge = 'Bearer realm="clawback"' + (f', error="{error}"' if error else "")
    return Refused(Refusal(401, code, message, "Authorization", {"WWW-Authenticate": challenge}))
