"""Play a story against a running service, over HTTP like the platform and the app's backend, and watch what it does."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

import aiohttp

from worker.simulator.registry import Speaker
from worker.simulator.sale import Sale, Shot, Simulator
from worker.simulator.sales import DAY_MS, Till
from worker.simulator.stories import Step, Story

DEADLINE_SECONDS = 20.0
REFUSALS = (400, 401, 403)


class PlayError(Exception):
    """The story could not be told to its end. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a story is played.

    Attributes:
        url: the endpoint's address.
        api_url: the API's address; the same unless it has its own port.
        token: a bearer token of the API.
        arrived: tells when an event reached the app's backend, in `time.perf_counter` seconds; None: nobody listens.
    """

    http: aiohttp.ClientSession
    url: str
    api_url: str
    token: str = field(repr=False)
    app: str
    environments: Mapping[str, str] = field(default_factory=dict)
    arrived: Callable[[str], Awaitable[float | None]] | None = None

    async def api(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask the API, or raise `PlayError` with its answer."""
        headers = {"authorization": f"Bearer {self.token}"}
        try:
            async with self.http.request(method, f"{self.api_url}{path}", json=body, headers=headers) as answer:
                found: dict[str, Any] = await answer.json()
        except (aiohttp.ClientError, ValueError) as error:
            raise PlayError(
                f"no answer from {self.api_url}: is the service running? ({type(error).__name__})"
            ) from None
        if answer.status >= 400:
            raise PlayError(f"{method} {path} was answered {answer.status}: {found['error']['message']}")
        return found


@dataclass(frozen=True, slots=True)
class Posted:
    """What became of one POST.

    Attributes:
        answered_ms: until the platform had its answer.
        notification: the inbox row, once it was finished; None: it was refused.
        events: what subscribers are told because of it.
        visible_ms: until the API showed its effect.
        delivered_ms: until the last of these reached the app's backend.
    """

    what: str
    type: str
    size: int
    status: int
    answered_ms: float
    reason: str | None = None
    duplicate: bool = False
    notification: Mapping[str, Any] | None = None
    events: tuple[Mapping[str, Any], ...] = ()
    visible_ms: float | None = None
    delivered_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Played:
    """A story that was played.

    Attributes:
        wrong: what did not happen as it should have; empty: all is well.
    """

    platform: str
    story: Story
    sale: Sale
    posted: tuple[Posted, ...]
    ended: str | None
    wrong: tuple[str, ...]


class Player:
    """Plays one story on one platform.

    Args:
        stage: where.
        till: sells what the story is about.
    """

    def __init__(self, stage: Stage, platform: str, speaker: Speaker, simulator: Simulator, till: Till) -> None:
        self._stage = stage
        self._platform = platform
        self._speaker = speaker
        self._simulator = simulator
        self._till = till

    async def play(self, story: Story) -> Played:
        """Play every step in order, each to its end, and look at what is left.

        Raises:
            PlayError: the service does not answer, or not in time.
        """
        now = time.time()
        posted: list[Posted] = []
        for step in story.steps:
            posted += await self._step(story, step, now)
        sale = self._sale(story, 0, now)
        ended = await self._entitlement(sale, _environment(posted))
        return Played(self._platform, story, sale, tuple(posted), ended, tuple(_wrong(story, posted, ended)))

    async def _step(self, story: Story, step: Step, now: float) -> list[Posted]:
        sale = self._sale(story, step.period, now)
        if step.verb == "tell":
            return await self._tell(sale)
        if step.verb == "forge":
            good = self._simulator.refund(sale, time.time())
            forged = self._simulator.forge(good, time.time())
            return [await self._post(f"forged: {name.replace('_', ' ')}", shot) for name, shot in forged]
        shot: Shot | None = getattr(self._simulator, step.verb)(sale, time.time() - step.happened_seconds_ago)
        if shot is None:
            return []
        return [await self._post(step.verb.replace("_", " "), shot) for _ in range(step.times)]

    def _sale(self, story: Story, period: int, now: float) -> Sale:
        bought_ms = int(now * 1000) - story.bought_days_ago[period] * DAY_MS
        return self._till.sell(period, bought_ms=bought_ms, subscription=story.about_subscription(self._platform))

    async def _tell(self, sale: Sale) -> list[Posted]:
        told = self._speaker.told(sale)
        if told is None:
            return []
        environment = self._stage.environments.get(self._platform, "sandbox")
        body = {"app": self._stage.app, "environment": environment, **told}
        started = time.perf_counter()
        said = {key: value for key, value in body.items() if value is not None}
        purchase = await self._stage.api("POST", "/v1/purchases", said)
        outcome = f"the purchase is {purchase['access']}"
        size = len(json.dumps(said))
        return [Posted("the app tells", "POST /v1/purchases", size, 200, _ms_since(started), reason=outcome)]

    async def _post(self, what: str, shot: Shot) -> Posted:
        started = time.perf_counter()
        address = f"{self._stage.url}/webhooks/{self._platform}/{self._stage.app}"
        try:
            async with self._stage.http.post(address, data=shot.body, headers=dict(shot.headers)) as answer:
                body = await answer.json()
        except (aiohttp.ClientError, ValueError) as error:
            raise PlayError(f"no answer from {address}: is the service running? ({type(error).__name__})") from None
        posted = Posted(what, shot.type, len(shot.body), answer.status, _ms_since(started))
        if answer.status != 200:
            return replace(posted, reason=body.get("error", {}).get("code"))
        if body.get("duplicate"):
            return replace(posted, duplicate=True)
        notification = await self._finished(body["id"])
        posted = replace(posted, visible_ms=_ms_since(started))
        events = await self._events(notification)
        return replace(
            posted, notification=notification, events=events, delivered_ms=await self._delivered(events, started)
        )

    async def _finished(self, notification: str) -> dict[str, Any]:
        """Wait until a worker is done with it."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        pause = 0.002
        while time.monotonic() < deadline:
            found = await self._stage.api("GET", f"/v1/notifications/{notification}")
            if found["status"] != "accepted":
                return found
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.1)
        raise PlayError(
            f"{notification} was not processed within {DEADLINE_SECONDS:.0f} s: is `clawback work` running?"
        )

    async def _events(self, notification: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
        if not notification["events"]:
            return ()
        user = quote(self._till.user_id, safe="")
        timeline = await self._stage.api("GET", f"/v1/customers/{user}/timeline?limit=100")
        known = {item["id"]: item for item in timeline["data"]}
        return tuple(known[event] for event in notification["events"] if event in known)

    async def _delivered(self, events: Sequence[Mapping[str, Any]], started: float) -> float | None:
        if self._stage.arrived is None or not events:
            return None
        moments = [await self._stage.arrived(event["id"]) for event in events]
        return (max(m for m in moments if m is not None) - started) * 1000 if all(moments) else None

    async def _entitlement(self, sale: Sale, environment: str) -> str | None:
        user, app = quote(sale.user_id, safe=""), quote(self._stage.app, safe="")
        path = f"/v1/customers/{user}/entitlements?app={app}&environment={environment}"
        found = await self._stage.api("GET", path)
        statuses = [entitlement["status"] for entitlement in found["data"]]
        return statuses[0] if statuses else None


def _environment(posted: Sequence[Posted]) -> str:
    """Tell where it all happened; a platform that does not say (Google Play) was told of a test."""
    said = [each.notification["environment"] for each in posted if each.notification]
    return next((environment for environment in said if environment), "sandbox")


def _wrong(story: Story, posted: Sequence[Posted], ended: str | None) -> list[str]:
    """Say what did not happen as the story must."""
    wrong = []
    for each in posted:
        forged = each.what.startswith("forged")
        if forged and each.status not in REFUSALS:
            wrong.append(f"{each.what} was answered {each.status}")
        elif not forged and each.status != 200:
            wrong.append(f"{each.what} was answered {each.status} ({each.reason})")
        elif each.notification and each.notification["status"] in ("quarantined", "dead"):
            wrong.append(f"{each.what} is {each.notification['status']}: {each.notification['reason']}")
    if ended != story.ends:
        wrong.append(f"the entitlement is {ended or 'missing'}, not {story.ends}")
    return wrong


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
