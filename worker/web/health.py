"""`/healthz`: the process lives. `/readyz`: it can do what it is for, and somebody does what it takes in."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Literal

from aiohttp import web

from schemas.base import Noun
from worker.runtime import Runtime
from worker.store import migrate
from worker.store.gauges import inbox_oldest_ms
from worker.web.keys import RUNTIME, in_thread
from worker.web.pages import Anything, resource
from worker.web.routes import Answer, Route
from worker.web.scrape import DEPTHS, Depths

INBOX_AGE_SECONDS_MAX = 300
"""A notification that waits for longer means that nobody processes: the sweeper hints every few seconds."""

CHECK_SECONDS_MAX = 5.0


class Alive(Noun):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Check(Noun):
    """One thing that was looked at."""

    ok: bool
    detail: str


class Readiness(Noun):
    """Everything that was looked at, by name."""

    status: Literal["ready", "not_ready"]
    checks: dict[str, Check]


async def live(_request: web.Request, _: Anything) -> web.Response:
    """Say that the process lives."""
    return resource(Alive())


async def ready(request: web.Request, _: Anything) -> web.Response:
    """Look at everything this process depends on, all at once."""
    looks = _looks(request.config_dict[RUNTIME], request.config_dict[DEPTHS])
    checks = dict(zip(looks, await asyncio.gather(*(_check(request, look) for look in looks.values())), strict=True))
    fine = all(check.ok for check in checks.values())
    return resource(Readiness(status="ready" if fine else "not_ready", checks=checks), status=200 if fine else 503)


def _looks(runtime: Runtime, depths: Depths) -> dict[str, Callable[[], Check]]:
    return {
        "store": partial(_store, runtime),
        "migrations": partial(_migrations, runtime),
        "broker": partial(_broker, depths),
        "inbox": partial(_inbox, runtime),
    }


async def _check(request: web.Request, look: Callable[[], Check]) -> Check:
    """Look, for a bounded time; whatever goes wrong is an answer, and its kind is all that is told."""
    try:
        async with asyncio.timeout(CHECK_SECONDS_MAX):
            return await in_thread(request, look)
    except Exception as error:  # noqa: BLE001 - a probe must never fail by itself
        return Check(ok=False, detail=type(error).__name__)


def _store(runtime: Runtime) -> Check:
    with runtime.store.read() as connection:
        connection.exec_driver_sql("SELECT 1")
    return Check(ok=True, detail="reachable")


_STANDING: Final[Mapping[migrate.Standing, Check]] = {
    "behind": Check(ok=False, detail="pending: run clawback migrate"),
    "current": Check(ok=True, detail="current"),
    "ahead": Check(ok=True, detail="ahead: update Clawback on this host"),
    "too_new": Check(ok=False, detail="too new: update Clawback on this host"),
}


def _migrations(runtime: Runtime) -> Check:
    return _STANDING[migrate.standing(runtime.store)]


def _broker(depths: Depths) -> Check:
    depths()
    return Check(ok=True, detail="reachable")


def _inbox(runtime: Runtime) -> Check:
    with runtime.store.read() as connection:
        oldest_ms = inbox_oldest_ms(connection)
    age_seconds = 0.0 if oldest_ms is None else max(0.0, runtime.clock() - oldest_ms / 1000)
    return Check(ok=age_seconds <= INBOX_AGE_SECONDS_MAX, detail=f"oldest waits for {age_seconds:.0f} s")


LIVE = Route(
    "GET",
    "/healthz",
    live,
    "Tell whether the process lives",
    "Operation",
    {200: Answer("It does", Alive)},
    query=Anything,
)
READY = Route(
    "GET",
    "/readyz",
    ready,
    "Tell whether everything it needs is there",
    "Operation",
    {200: Answer("It is", Readiness), 503: Answer("It is not; the checks say what is missing", Readiness)},
    query=Anything,
)
