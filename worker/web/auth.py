"""Who may ask for what: bearer tokens, compared by their hashes in constant time, and their scopes.

RFC 6750. What is closed is told by the address, before the router is asked whether there is anything at all; what a
token is good for is told by the route.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from config.settings import Admin
from schemas.tokens import SCOPES, Scope, Token
from worker.metrics import child
from worker.store.tokens import state_of
from worker.tokens import digest
from worker.web import peers
from worker.web.errors import Refusal, Refused
from worker.web.failures import Failures
from worker.web.keys import RUNTIME, now
from worker.web.register import REGISTER

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        name: what the audit log calls them.
        digest: tells apart who asked, without keeping the token.
        token: the id of their token, if it is one of the store.
    """

    name: str
    scopes: tuple[Scope, ...]
    digest: str
    token: str | None = None


CALLER = web.RequestKey("caller", Caller)
FAILURES = web.AppKey("failures", Failures)


class Guard:
    """Let in whoever shows one of these tokens, or one of the store.

    Args:
        tokens: of the configuration, by how they are called; empty ones never count.
        stored: whether those of the store count.
    """

    def __init__(self, tokens: Mapping[str, str], *, stored: bool = True) -> None:
        self._configured = [Caller(name, SCOPES, digest(token)) for name, token in tokens.items() if token]
        self._stored = stored

    async def admit(self, request: web.Request) -> Caller:
        """Say who asks, or raise `Refused` with 401."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        shown = digest(token.strip()) if scheme.lower() == "bearer" and token.strip() else None
        found = None if shown is None else self._of_the_configuration(shown) or await self._of_the_store(request, shown)
        if found is not None:
            return found
        if not self._configured and await request.app[REGISTER].is_empty(request):
            message = "No token is there: set [admin] tokens, or make one with `clawback token new`."
            raise closed("authentication_not_configured", message)
        if shown is None:
            raise closed("token_missing", "Show a token: Authorization: Bearer …")
        raise _unknown()

    def _of_the_configuration(self, shown: str) -> Caller | None:
        # Every comparison is made, so that the time tells neither which token was near nor how many there are.
        same = [caller for caller in self._configured if hmac.compare_digest(shown, caller.digest)]
        return same[0] if same else None

    async def _of_the_store(self, request: web.Request, shown: str) -> Caller | None:
        found = await request.app[REGISTER].find(request, shown) if self._stored else None
        if found is None:
            return None
        _check(found, now(request))
        return Caller(found.name, found.scopes, shown, found.id)


Guards = dict[str, Guard | None]
GUARDS = web.AppKey("guards", Guards)


def guards(admin: Admin) -> Guards:
    """Say who guards what lies under a first path segment; None: open. What is not named is open, too."""
    operators = Guard({f"admin.tokens[{number}]": token for number, token in enumerate(admin.tokens)})
    metrics = Guard({"admin.metrics_token": admin.metrics_token}, stored=False) if admin.metrics_token else None
    return {"v1": operators, "console": operators, "metrics": metrics, "readyz": metrics}


@web.middleware
async def authentication(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let nobody past a guard without a token, and listen for a while to nobody who guesses."""
    guard = request.app[GUARDS].get(request.path.lstrip("/").partition("/")[0])
    if guard is not None:
        request[CALLER] = await _admitted(request, guard)
    return await handler(request)


def require(request: web.Request, scope: Scope) -> None:
    """Refuse whose token does not open this."""
    caller = request[CALLER]
    if scope not in caller.scopes:
        message = f"This asks for a token with the scope {scope}; yours has {', '.join(caller.scopes)}."
        challenge = f'Bearer realm="clawback", error="insufficient_scope", scope="{scope}"'
        raise Refused(Refusal(403, "scope_missing", message, "Authorization", {"WWW-Authenticate": challenge}))


async def recheck(request: web.Request) -> None:
    """Refuse whose token has ended since they were let in: whoever has waited asks again before they hear anything.

    Raises:
        Refused: with 401, as if they came now.
        StoreUnavailable: nobody can say.
    """
    id_ = request[CALLER].token
    if id_ is None:
        return  # those of the configuration end with the process
    found = await request.app[REGISTER].get(request, id_)
    if found is None:
        raise _unknown()
    _check(found, now(request))


def _check(token: Token, at: float) -> None:
    state = state_of(token.expires_at, token.revoked_at, at)
    if state != "active":
        raise closed(f"token_{state}", f"That token is {state}: have a new one made.", error="invalid_token")


def _unknown() -> Refused:
    return closed("token_unknown", "That token is not known here.", error="invalid_token")


def closed(code: str, message: str, *, error: str = "") -> Refused:
    """Refuse who shows no good token."""
    challenge = 'Bearer realm="clawback"' + (f', error="{error}"' if error else "")
    return Refused(Refusal(401, code, message, "Authorization", {"WWW-Authenticate": challenge}))


async def _admitted(request: web.Request, guard: Guard) -> Caller:
    """Ask a guard, unless too much was tried from there. Whoever had a token that ended does not guess."""
    failures, address = request.app[FAILURES], peers.address_of(request)
    if seconds := failures.wait_seconds(address):
        _count(request, "too_many_failures")
        message = f"Too many unknown tokens came from your address: try again in {seconds} s."
        raise Refused(Refusal(429, "too_many_failures", message, headers={"Retry-After": str(seconds)}))
    try:
        return await guard.admit(request)
    except Refused as refused:
        _count(request, refused.refusal.code)
        if refused.refusal.code == "token_unknown" and failures.add(address):
            log.warning("auth.limited", address=address)
        raise


def _count(request: web.Request, reason: str) -> None:
    child(request.config_dict[RUNTIME].metrics.authentication_failures, reason).inc()
