"""Play a story against a running service, over HTTP like the platform and the app's backend, and watch what it does."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

import aiohttp

from worker.simulator.registry import Speaker
from worker.simulator.sale import Sale, Shot, Simulator
from worker.simulator.sales import Till
from worker.simulator.story import Step, Story
from worker.simulator.telling import Teller
from worker.simulator.verdict import End, differences, end_of

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
        quarantined: the reason for which it had to be kept without effect; empty: it had not.
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
    quarantined: str = ""
    notification: Mapping[str, Any] | None = None
    events: tuple[Mapping[str, Any], ...] = ()
    visible_ms: float | None = None
    delivered_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Played:
    """A story that was played.

    Attributes:
        end: what it left.
        wrong: what did not happen as it should have; empty: all is well.
    """

    platform: str
    story: Story
    sale: Sale
    posted: tuple[Posted, ...]
    end: End
    wrong: tuple[str, ...]

    @property
    def ended(self) -> str | None:
        """Tell how the buyer's entitlement stands; None: nothing that was bought gives one."""
        return self.end.entitlement


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
        teller = Teller(story, self._platform, self._simulator, self._till, time.time())
        posted: list[Posted] = []
        for step in teller.steps:
            posted += await self._step(teller, step)
        sale = teller.sale(teller.steps[0])
        end = await self._end(_environment(posted))
        wrong = (*_wrong(posted), *differences(story, end))
        return Played(self._platform, story, sale, tuple(posted), end, wrong)

    async def _step(self, teller: Teller, step: Step) -> list[Posted]:
        if step.verb == "tell":
            return await self._tell(teller.sale(step))
        if step.verb == "forge":
            forged = list(teller.forgeries(step, time.time()))
            return [await self._post(f"forged: {name.replace('_', ' ')}", shot) for name, shot in forged]
        shot, what = teller.shot(step, time.time()), step.verb.replace("_", " ")
        posted = [await self._post(what, shot, teller.sale(step).user_id) for _ in range(step.times)]
        return [replace(each, quarantined=step.quarantined) for each in posted]

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

    async def _post(self, what: str, shot: Shot, user_id: str = "") -> Posted:
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
        events = await self._events(notification, user_id)
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

    async def _events(self, notification: Mapping[str, Any], user_id: str) -> tuple[Mapping[str, Any], ...]:
        if not notification["events"]:
            return ()
        timeline = await self._stage.api("GET", f"/v1/customers/{quote(user_id, safe='')}/timeline?limit=100")
        known = {item["id"]: item for item in timeline["data"]}
        return tuple(known[event] for event in notification["events"] if event in known)

    async def _delivered(self, events: Sequence[Mapping[str, Any]], started: float) -> float | None:
        if self._stage.arrived is None or not events:
            return None
        moments = [await self._stage.arrived(event["id"]) for event in events]
        return (max(m for m in moments if m is not None) - started) * 1000 if all(moments) else None

    async def _end(self, environment: str) -> End:
        """Ask for everything that is held to be true of the people of the story."""
        buyer, member = (quote(user, safe="") for user in (self._till.user_id, self._till.member_id))
        where = f"app={quote(self._stage.app, safe='')}&environment={environment}"
        paths = (
            f"/v1/customers/{buyer}/entitlements?{where}",
            f"/v1/customers/{member}/entitlements?{where}",
            f"/v1/refunds?user_id={buyer}&{where}",
            f"/v1/purchases?user_id={buyer}&{where}",
            f"/v1/customers/{buyer}/timeline?limit=500",
            f"/v1/customers/{member}/timeline?limit=500",
        )
        return end_of(*[(await self._stage.api("GET", path))["data"] for path in paths])


def _environment(posted: Sequence[Posted]) -> str:
    """Tell where it all happened; a platform that does not say (Google Play) was told of a test."""
    said = [each.notification["environment"] for each in posted if each.notification]
    return next((environment for environment in said if environment), "sandbox")


def _wrong(posted: Sequence[Posted]) -> Iterator[str]:
    """Say which answers were not what they must be."""
    for each in posted:
        forged = each.what.startswith("forged")
        if forged and each.status not in REFUSALS:
            yield f"{each.what} was answered {each.status}"
        elif not forged and each.status != 200:
            yield f"{each.what} was answered {each.status} ({each.reason})"
        elif each.notification:
            yield from _misunderstood(each, each.notification)


def _misunderstood(posted: Posted, notification: Mapping[str, Any]) -> Iterator[str]:
    """Say what is kept without effect and must not be, or the other way round."""
    kept = notification["status"] in ("quarantined", "dead")
    reason = notification["reason"] if kept else ""
    if reason != posted.quarantined:
        yield f"{posted.what} is {notification['status']}: {notification['reason']}"


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
