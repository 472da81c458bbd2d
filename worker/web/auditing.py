"""Have what operators ask for written down: in the transaction that does it where there is one, else beside it."""

from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from schemas.audit import Outcome
from worker.deeds import Deed
from worker.runtime import Runtime
from worker.store.engine import StoreUnavailable
from worker.web import peers
from worker.web.auth import CALLER
from worker.web.errors import explain
from worker.web.keys import RUNTIME, in_thread

log = structlog.get_logger()

DEED = web.RequestKey("deed", Deed)

_OUTCOMES: dict[int, Outcome] = {403: "refused", 404: "refused", 409: "refused", 500: "failed"}
"""What was not understood (400) was no deed, and of what may be tried again (503) nothing was done."""


async def written_down(
    request: web.Request, action: str, serve: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Serve a request that does something, and see to its row in the audit log."""
    runtime, caller = request.config_dict[RUNTIME], request[CALLER]
    address = peers.address_of(request)
    deed = request[DEED] = Deed(caller.name, action, runtime.clock, token=caller.token, address=address)
    try:
        response = await serve(request)
    except Exception as error:
        refusal = explain(error)
        if outcome := _OUTCOMES.get(refusal.status):
            await in_thread(request, _fail, runtime, deed, _target(request), outcome, refusal.code)
        raise
    if not deed.noted:
        await note(request, _target(request))
    return response


async def note(request: web.Request, target: str | None, **detail: object) -> None:
    """Write down that a deed is done which changes nothing in the store, or about to be."""
    store, deed = request.config_dict[RUNTIME].store, request[DEED]
    await in_thread(request, store.change, lambda connection: deed.note(connection, target, **detail))


def _target(request: web.Request) -> str | None:
    """Name what the address is about."""
    return request.match_info.get("delivery") or request.match_info.get("id")


def _fail(runtime: Runtime, deed: Deed, target: str | None, outcome: Outcome, reason: str) -> None:
    try:
        runtime.store.change(lambda connection: deed.fail(connection, target, outcome, reason))
    except StoreUnavailable:
        log.warning("audit.unavailable", action=deed.action, reason=reason)
