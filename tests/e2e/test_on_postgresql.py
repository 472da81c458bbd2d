"""The whole service on PostgreSQL: the same verbs, the same story, and a database that goes away and comes back.

Real: every process, the broker, PostgreSQL with passwords, the signatures. Doubles: none.
"""

import asyncio
import time
from collections.abc import Iterator
from random import Random

import pytest

from tests.cli.processes import clawback
from tests.clusters import PASSWORD, Cluster
from tests.e2e.running import Installation, install, till, until
from worker.simulator.sales import DAY_MS

pytestmark = [pytest.mark.e2e, pytest.mark.crash]


@pytest.fixture(name="own")
def _own(postgresql: Cluster) -> Iterator[Cluster]:
    """Run a server of the test's own, to be stopped and started."""
    cluster = Cluster.create()
    yield cluster
    cluster.remove()


def on(tmp_path, url: str) -> Installation:
    """Install on a database."""
    return install(tmp_path, environment={"CLAWBACK_STORE__URL": url})


def verb(installation: Installation, *arguments: str) -> tuple[int, str]:
    """Run a verb to its end; give its exit code and all that it said."""
    done = clawback(*arguments, *installation.options, environment=dict(installation.environment))
    return done.returncode, done.stdout + done.stderr


async def test_a_story_and_a_database_that_is_restarted(tmp_path, own: Cluster):
    """Each verb works; a crash of the database loses nothing, answers 503 meanwhile, and is over by itself."""
    url = own.url(own.new())
    installation = on(tmp_path, url)
    code, said = verb(installation, "serve")
    assert (1, True) == (code, "clawback migrate" in said)
    code, said = verb(installation, "migrate")
    assert (0, True) == (code, "from empty to" in said)
    async with installation.service() as service:
        simulator = installation.simulator("apple")
        bought_ms = int(time.time() * 1000) - 5 * DAY_MS
        sales = [till("apple", Random(seed)).sell(seed, bought_ms=bought_ms) for seed in range(3)]
        for sale in sales:
            await service.told("apple", simulator.purchase(sale, time.time()))
        await service.told("apple", simulator.refund(sales[0], time.time()))

        await asyncio.to_thread(own.stop, mode="immediate")
        status, _ = await service.post("apple", simulator.refund(sales[1], time.time()))
        assert 503 == status
        await asyncio.to_thread(own.start)
        for sale in sales[1:]:
            notification, _ = await service.insist("apple", simulator.refund(sale, time.time()))
            assert "processed" == (await service.finished(notification))["status"]
        for sale in sales:
            (entitlement,) = await service.every(f"/v1/customers/{sale.user_id}/entitlements")
            assert "revoked" == entitlement["status"]
        assert await until(lambda: verb(installation, "doctor")[0] == 0, 60, every_seconds=0.5), verb(
            installation, "doctor"
        )

    assert PASSWORD not in installation.log.read_text("utf-8")
    assert "horse" not in installation.log.read_text("utf-8")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"password": "wrong"}, "it refuses this user or password"),
        ({"database": "nowhere"}, "there is no such database"),
        ({"user": "nobody-we-know"}, "it refuses this user or password"),
        ({"port": "1"}, "nothing listens there"),
    ],
)
def test_what_is_wrong_with_the_way_in_costs_one_line(tmp_path, postgresql: Cluster, wrong, says):
    """Server away, no such database, wrong password: one line that says where, what, and what to do; no traceback."""
    port = wrong.pop("port", None)
    url = postgresql.url(**({"database": "postgres"} | wrong))
    installation = on(tmp_path, url.replace(f":{postgresql.port}/", f":{port}/") if port else url)
    code, said = verb(installation, "migrate")

    assert (1, 1) == (code, len(said.splitlines())), said
    assert said.startswith("clawback: the database is away: 127.0.0.1")
    assert says in said
    assert "horse" not in said
    assert 1 == verb(installation, "doctor")[0]
