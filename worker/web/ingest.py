"""The door for platforms: read, verify, accept, answer. 200 is said of what is proved and on disk, of nothing else.

Whatever becomes of a POST, it leaves one line in the log and one count, and neither holds anything of its body.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol

import structlog
from aiohttp import web
from multidict import CIMultiDictProxy
from pydantic_core import to_json

from config.news import News
from handlers.platform import Platform
from handlers.platforms import PLATFORMS
from schemas.base import Noun
from schemas.received import Identity, Received
from worker.flow import Flow
from worker.inbox import Accepted, Arrival
from worker.metrics import UNKNOWN, child
from worker.runtime import Runtime
from worker.web import body
from worker.web.errors import Refusal, Refused, answer, blame, explain, try_again
from worker.web.follow import Follower
from worker.web.gate import REASONS, Gate, announced
from worker.web.keys import RUNTIME
from worker.web.routes import Answer, Route
from worker.web.tally import Tally
from worker.web.whole import Whole, may_be_whole

log = structlog.get_logger()

OUTCOMES: Mapping[int, str] = {
    400: "malformed",
    401: "unauthentic",
    403: "wrong_app",
    404: "unknown_app",
    405: "wrong_method",
    413: "too_large",
    503: "unavailable",
}
"""Status → the `outcome` label of `clawback_notifications_total`."""

_SAID = ("platform", "app", "outcome", "status", "ms", "id", "type")
"""What the one line says of what was accepted."""


class Taken(Noun):
    """What a platform is answered."""

    id: str
    duplicate: bool


class Verifier(Protocol):
    """What this door needs of `worker/trust.py`."""

    async def verify(self, platform: Platform, received: Received, settings: Any, now: float) -> Identity:
        """Say how it calls itself, now that it is verified, or raise `Rejected` or `TrustUnavailable`."""
        ...


class Acceptor(Protocol):
    """What this door needs of `worker/inbox.py`."""

    @property
    def flow(self) -> Flow:
        """Say how fast it commits."""
        ...

    async def accept(self, arrival: Arrival) -> Accepted:
        """Return once it is durable, or raise `StoreUnavailable`."""
        ...

    async def close(self) -> None:
        """Wait until everything that was offered has its answer."""
        ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One platform of one app, switched on.

    Attributes:
        settings: the platform's section of the app's configuration.
    """

    app: str
    platform: Platform
    settings: Any


@dataclass(frozen=True, slots=True)
class Door:
    """Everything between a request and its answer."""

    runtime: Runtime
    endpoints: Mapping[tuple[str, str], Endpoint]
    trust: Verifier
    inbox: Acceptor
    tally: Tally
    follower: Follower
    gate: Gate
    news: News = field(default_factory=lambda: News("ingest.accepted", *_SAID))

    def endpoint(self, method: str, platform: str, app: str) -> Endpoint:
        """Find who receives here, or refuse."""
        found = self.endpoints.get((platform, app))
        if found is None:
            raise Refused(Refusal(404, "unknown_app", "No such app or platform is switched on here."))
        if method != "POST":
            raise Refused(Refusal(405, "method_not_allowed", "Notifications are POSTed.", headers={"Allow": "POST"}))
        return found

    async def read(self, endpoint: Endpoint, request: web.BaseRequest) -> Received:
        """Take the raw bytes, and the headers by their lower-case names."""
        raw = await body.read(request, timeout_seconds=self.runtime.settings.server.body_timeout_seconds)
        return Received(app=endpoint.app, body=raw, headers=Headers(request.headers))

    async def verify(self, endpoint: Endpoint, received: Received) -> Identity:
        """Prove who sent it, and learn how it calls itself."""
        began = perf_counter()
        try:
            return await self.trust.verify(endpoint.platform, received, endpoint.settings, self.runtime.clock())
        finally:
            self.tally.time(child(self.runtime.metrics.verify_seconds, endpoint.platform.name), perf_counter() - began)

    async def accept(
        self, endpoint: Endpoint, received: Received, identity: Identity, at: float, traceparent: str | None = None
    ) -> Accepted:
        """Make it durable."""
        headers = received.headers
        arrival = Arrival(
            app=endpoint.app,
            platform=endpoint.platform.name,
            identity=identity,
            body=received.body,
            headers={name: headers[name] for name in endpoint.platform.keeps_headers if name in headers},
            received_at=at,
            verified_at=self.runtime.clock(),
            traceparent=traceparent,
        )
        began = perf_counter()
        try:
            return await self.inbox.accept(arrival)
        finally:
            self.tally.time(child(self.runtime.metrics.accept_seconds, endpoint.platform.name), perf_counter() - began)


DOOR = web.AppKey("door", Door)


async def receive(door: Door, request: web.BaseRequest, platform: str, app: str) -> tuple[Identity, Accepted]:
    """Take a notification in: its bytes, the proof of who sent them, and a place on disk."""
    received_at = door.runtime.clock()
    endpoint = door.endpoint(request.method, platform, app)
    gate, source, size = door.gate, (platform, app), announced(request)
    gate.receive(source, size)
    try:
        received = await door.read(endpoint, request)
        gate.enter(source)
        try:
            identity = await door.verify(endpoint, received)
            return identity, await door.accept(endpoint, received, identity, received_at)
        finally:
            gate.leave(source)
    finally:
        gate.forget(source, size)


async def webhook(request: web.Request, _: object = None) -> web.StreamResponse:
    """Serve whatever the router brings: known addresses and others, any method."""
    return await serve(request.app[DOOR], request, request.match_info["platform"], request.match_info["app"])


async def serve(
    door: Door, request: web.BaseRequest, platform: str, app: str, *, at_once: bool = False
) -> web.StreamResponse:
    """Receive, answer, and leave one line and one count. `at_once`: nobody adds to the answer."""
    record = Record(door, platform, app, perf_counter())
    try:
        identity, accepted = await receive(door, request, platform, app)
    except Exception as error:  # noqa: BLE001 - the one place where it ends
        return _refuse(request, error, record)
    outcome = "duplicate" if accepted.duplicate else "accepted"
    door.follower.take(accepted, platform)
    record.accepted(outcome, accepted.id, identity.type)
    # What was accepted has the fields of `Taken`, and is written without making one.
    said = to_json(accepted)
    if at_once and may_be_whole(request):
        return Whole(said, door.runtime.clock())
    return web.Response(body=said, content_type="application/json")


def _refuse(request: web.BaseRequest, error: Exception, record: "Record") -> web.Response:
    """Answer for what was not taken. Nobody here may say 500: some platforms would give up for good."""
    refusal = explain(error)
    code = refusal.code
    failed = refusal.status == 500
    if failed:
        refusal = try_again("unexpected", "This is our mistake; it was logged. Try again.")
    said = record.counted(OUTCOMES.get(refusal.status, "malformed"), refusal.status)
    if failed:
        log.error("ingest.failed", **said, reason=code, **blame(error))
    else:
        log.warning("ingest.rejected", **said, reason=code)
    if refusal.code in REASONS:
        door = record.door
        door.tally.count(child(door.runtime.metrics.shed, record.platform, record.app, refusal.code))
    response = answer(refusal)
    if not request.content.is_eof():
        response.force_close()
    return response


@dataclass(frozen=True, slots=True)
class Record:
    """What one POST leaves behind. Names that nobody configured stay out of it."""

    door: Door
    platform: str
    app: str
    began: float

    def accepted(self, outcome: str, id_: str, type_: str) -> None:
        """Count news, and have its line written with those of this turn."""
        self.door.news.say(*self.counted(outcome, 200).values(), id_, type_)

    def counted(self, outcome: str, status: int) -> dict[str, Any]:
        """Count it, and give what every line says."""
        runtime = self.door.runtime
        platform = self.platform if self.platform in PLATFORMS else UNKNOWN
        app = self.app if self.app in runtime.settings.apps else UNKNOWN
        self.door.tally.count(child(runtime.metrics.notifications, platform, app, outcome))
        ms = round((perf_counter() - self.began) * 1000, 3)
        return {"platform": platform, "app": app, "outcome": outcome, "status": status, "ms": ms}


class Headers(Mapping[str, str]):
    """See a request's headers by their lower-case names, without what is not ASCII: no platform sends that.

    What is repeated is joined, so that no two readers can see two values of it. Platforms read one or two of a dozen,
    so nothing is copied before it is asked for.
    """

    def __init__(self, sent: CIMultiDictProxy[str]) -> None:
        self._sent = sent

    def __getitem__(self, name: str) -> str:
        values = [value for value in self._sent.getall(name, ()) if value.isascii()]
        if not values or name != name.lower():
            raise KeyError(name)
        return ", ".join(values)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.lower() for name, value in self._sent.items() if value.isascii()))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def endpoints(runtime: Runtime) -> dict[tuple[str, str], Endpoint]:
    """List every platform of every app that can be checked against anything; all others are 404."""
    return {
        (name, app_name): Endpoint(app_name, platform, section)
        for app_name, app in runtime.settings.apps.items()
        for name, platform in PLATFORMS.items()
        if (section := app.platform(name)) is not None
    }


def opened(
    trust: Verifier, open_inbox: Callable[[], Acceptor], *, make: type[Door] = Door
) -> Callable[[web.Application], AsyncIterator[None]]:
    """Say how the door is opened with an application, and closed once everything taken in has its answer."""

    async def door(app: web.Application) -> AsyncIterator[None]:
        inbox = open_inbox()
        runtime, tally = app[RUNTIME], Tally()
        follower = Follower(runtime, tally)
        follower.begin()
        gate = Gate(runtime.settings.door, inbox.flow)
        app[DOOR] = make(runtime, endpoints(runtime), trust, inbox, tally, follower, gate)
        yield
        await inbox.close()
        await follower.close()

    return door


ROUTE = Route(
    "POST",
    "/webhooks/{platform}/{app}",
    webhook,
    "Receive a notification from a platform",
    "Webhooks",
    {200: Answer("It is durable now, or it was before", Taken)},
    description="The body is whatever the platform signed, at most 1 MiB. Its proof is in its headers or in itself.",
    notes={"platform": "`apple`, `google`, `stripe` or `amazon`", "app": "The app's name in the configuration"},
)
