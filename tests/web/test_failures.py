"""Guessing at tokens: slow for whoever guesses, unnoticed by whoever does not."""

import pytest

from config.settings import Admin
from tests.web.service import OTHER_TOKEN, TOKEN, Service, running, settings
from worker.web.auth import FAILURES
from worker.web.failures import ADDRESSES_MAX, IN_ALL, PER_ADDRESS, WINDOW_SECONDS, Failures

HERE, ELSEWHERE = "192.0.2.1", "198.51.100.7"


class Ticking:
    """A clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        """Read it."""
        return self.now


@pytest.fixture(name="clock")
def _clock() -> Ticking:
    return Ticking()


@pytest.fixture(name="failures")
def _failures(clock: Ticking) -> Failures:
    return Failures(clock)


def test_an_address_has_a_few_tries_a_minute(failures: Failures, clock: Ticking):
    """Then it waits until the minute is over, however often it tries, and nobody else does."""
    used_up = [failures.add(HERE) for _ in range(PER_ADDRESS)]
    clock.now += 0.5

    assert [False] * (PER_ADDRESS - 1) + [True] == used_up
    assert WINDOW_SECONDS == failures.wait_seconds(HERE)
    assert (0, 0, 0) == (failures.wait_seconds(ELSEWHERE), failures.wait_seconds("::1"), failures.wait_seconds(None))
    clock.now += WINDOW_SECONDS
    assert 0 == failures.wait_seconds(HERE)
    assert not failures.add(HERE)


def test_very_many_failures_leave_each_address_one_try(failures: Failures, clock: Ticking):
    """Guesses that are spread over addresses are slowed down too, and whoever has not failed is heard all the while."""
    for number in range(IN_ALL):
        failures.add(f"10.1.{number // 250}.{number % 250}")

    assert failures.wait_seconds("10.1.0.7") > 0
    assert 0 == failures.wait_seconds(HERE)
    failures.add(HERE)
    assert failures.wait_seconds(HERE) > 0
    clock.now += WINDOW_SECONDS
    assert 0 == failures.wait_seconds("10.1.0.7")


def test_what_is_remembered_is_bounded(failures: Failures, clock: Ticking):
    """However many addresses fail, so many are remembered, and none for longer than it matters."""
    for number in range(ADDRESSES_MAX + 500):
        failures.add(f"10.{number // 62500}.{number // 250 % 250}.{number % 250}")
    assert ADDRESSES_MAX == len(failures._by_address)
    clock.now += WINDOW_SECONDS
    failures.add(HERE)

    assert [HERE] == list(failures._by_address)


def test_neighbors_of_one_ipv6_customer_are_one(failures: Failures):
    """Whoever changes the lower half of an IPv6 address is the same; an IPv4 address is one, however it is written."""
    for number in range(PER_ADDRESS):
        failures.add(f"2001:db8::{number:x}")
        failures.add(f"::ffff:{HERE}")

    assert failures.wait_seconds("2001:db8::ffff%eth0") > 0
    assert 0 == failures.wait_seconds("2001:db8:0:1::1")
    assert failures.wait_seconds(HERE) > 0


async def guess(service: Service, address: str, shown: str = "wrong") -> tuple[int, str | None]:
    """Ask through a proxy, from somewhere; give the status, and what to wait for."""
    headers = {"Authorization": f"Bearer {shown}", "X-Forwarded-For": address}
    async with service.http.get("/v1/refunds", headers=headers) as response:
        return response.status, response.headers.get("Retry-After")


async def test_whoever_guesses_waits_and_nobody_else_does(service: Service):
    """After its tries an address hears 429 and when to come back, whatever it shows; a token is good from elsewhere."""
    statuses = [(await guess(service, HERE))[0] for _ in range(PER_ADDRESS)]
    status, after = await guess(service, HERE, TOKEN)

    assert [401] * PER_ADDRESS == statuses
    assert 429 == status
    assert 0 < int(after or 0) <= WINDOW_SECONDS
    assert (200, None) == await guess(service, ELSEWHERE, TOKEN)
    assert (200, None) == await guess(service, ELSEWHERE, OTHER_TOKEN)
    failed = {
        s.labels["reason"]: s.value
        for metric in service.runtime.metrics.authentication_failures.collect()
        for s in metric.samples
        if s.name.endswith("_total")
    }
    assert {"token_unknown": float(PER_ADDRESS), "too_many_failures": 1.0} == failed


async def test_who_shows_nothing_or_what_was_good_does_not_guess(service: Service):
    """A probe without a token, and a backend whose token was replaced, do not use up anybody's tries."""
    async with service.http.post("/v1/tokens", json={"name": "old", "scopes": ["read"]}) as response:
        old = await response.json()
    async with service.http.delete(f"/v1/tokens/{old['id']}") as response:
        assert 200 == response.status
    for _ in range(PER_ADDRESS + 2):
        assert (401, None) == await guess(service, HERE, old["token"])
        assert (401, None) == await guess(service, HERE, "")

    assert (200, None) == await guess(service, HERE, TOKEN)


async def test_platforms_are_heard_whatever_was_guessed(service: Service):
    """A webhook shows no token: one that is not authentic counts for nothing here, and none is refused for a guess."""

    async def statuses() -> list[int]:
        async with (
            service.http.post("/webhooks/stripe/acme", data=b"{}") as hook,
            service.http.get("/healthz") as health,
            service.http.get("/v1/refunds") as answer,
        ):
            return [hook.status, health.status, answer.status]

    for _ in range(PER_ADDRESS + 1):
        assert [401, 200, 200] == await statuses()
    for _ in range(PER_ADDRESS):
        service.runner.app[FAILURES].add("127.0.0.1")
    assert [401, 200, 429] == await statuses()


async def test_guessing_at_the_token_of_metrics_is_limited_too(url: str):
    """Whatever asks for a token stops listening to whoever guesses."""
    chosen = settings().model_copy(update={"admin": Admin(metrics_token="for-prometheus")})
    async with running(url, chosen) as service:
        statuses = []
        for _ in range(PER_ADDRESS + 1):
            async with service.http.get("/metrics", headers={"Authorization": "Bearer x"}) as response:
                statuses.append(response.status)

    assert [401] * PER_ADDRESS + [429] == statuses


@pytest.mark.parametrize(
    ("forwarded", "seen"),
    [
        (HERE, HERE),
        (f"{ELSEWHERE}, {HERE}", HERE),  # what came before the last is hearsay
        (f"{HERE}, 10.0.0.3, 192.168.1.1", HERE),
        ("10.0.0.3", "10.0.0.3"),
        (f"{HERE}, nonsense", "127.0.0.1"),
        ("nonsense, 10.0.0.3", "10.0.0.3"),
        ("", "127.0.0.1"),
        ("2001:db8::1", "2001:db8::1"),
        (f"::ffff:10.0.0.3, {HERE}, ::ffff:10.0.0.3", HERE),
    ],
)
async def test_an_address_is_believed_as_far_as_our_proxies_say_it(service: Service, forwarded: str, seen: str):
    """The list of a proxy is read from its end, for as long as it names proxies of ours."""
    headers = {"X-Forwarded-For": forwarded}
    async with service.http.post("/v1/notifications/ntf_x/replay", headers=headers) as response:
        assert 404 == response.status

    assert [seen] == [record["address"] for record in (await service.get("/v1/audit"))["data"]]


async def test_without_a_trusted_proxy_nobody_is_believed(url: str):
    """Where no network is trusted, an address is the one that connected."""
    async with running(url, settings(trusted_proxies=())) as service:
        headers = {"X-Forwarded-For": HERE}
        async with service.http.post("/v1/notifications/ntf_x/replay", headers=headers) as response:
            assert 404 == response.status
        assert ["127.0.0.1"] == [record["address"] for record in (await service.get("/v1/audit"))["data"]]
