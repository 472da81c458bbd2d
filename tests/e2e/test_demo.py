"""What people try first: `clawback demo`, and `clawback simulate` against a service that runs.

Real: every process, every signature. What may be asserted: exit codes, what is printed, and what the API shows of it.
"""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.cli.processes import clawback
from tests.e2e.running import Installation, Service, install
from tests.services import require_valkey
from worker.simulator.stories import STORIES, scripts

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory) -> AsyncIterator[Service]:
    """Run everything once; each test has customers of its own."""
    async with install(tmp_path_factory.mktemp("demo")).service() as running:
        yield running


def simulate(installation: Installation, *arguments: str) -> tuple[int, list[dict]]:
    """Send a story, and give the exit code and what is said of each time it was told."""
    done = clawback("simulate", *arguments, "--json", "--data-dir", str(installation.home))
    assert "" == done.stderr
    return done.returncode, json.loads(done.stdout)


async def test_demo_tells_every_story():
    """`clawback demo` plays every story on every platform where it happens, and each ends as it must."""
    require_valkey()

    done = clawback("demo", "--json")

    told = json.loads(done.stdout)
    assert (0, "") == (done.returncode, done.stderr)
    assert [(platform, story.name) for platform, story in scripts()] == [(t["platform"], t["story"]) for t in told]
    assert [] == [each for each in told if each["wrong"] or not each["ok"] or each["ended"] != each["expected"]]


async def test_demo_tells_the_stories_that_are_asked_for():
    """`clawback demo` can be narrowed to a story of one platform, and shows it to a person."""
    require_valkey()

    done = clawback("demo", "--platform", "stripe", "--story", "refund-failed", "--details")

    assert 0 == done.returncode
    assert "Stripe · refund-failed" in done.stdout
    assert done.stdout.endswith("1 of 1 stories ended as they should.\n")


async def test_doctor_knows_a_demo(service: Service):
    """Beside `clawback run`, and without a word of configuration, doctor looks at the demo's, and finds it well."""
    done = clawback("doctor", "--json", "--data-dir", str(service.installation.home))

    findings = [one for one in json.loads(done.stdout)["findings"] if one["check"] == "configuration"]
    assert (0, ["ok"]) == (done.returncode, sorted({one["verdict"] for one in findings}))
    assert ["apps: demo (apple, google, stripe, amazon)"] == [f["detail"] for f in findings if "apps" in f["detail"]]
    assert any("this is the demo's" in one["detail"] for one in findings)


async def test_list_names_every_story():
    """`clawback simulate --list` needs no service, and shows each story with the platforms where it happens."""
    told = json.loads(clawback("simulate", "--list", "--json").stdout)
    shown = clawback("simulate", "--list").stdout

    assert [(s.name, list(s.platforms)) for s in STORIES.values()] == [(s["story"], s["platforms"]) for s in told]
    assert [] == [story.name for story in STORIES.values() if story.name not in shown]


@pytest.mark.parametrize("platform", ["apple", "google", "stripe", "amazon"])
async def test_simulated_refund_is_real_to_the_service(platform, service):
    """A simulated story takes the same way as any other: the API shows its refund and its revoked entitlement."""
    code, (told,) = simulate(service.installation, platform, "purchase-then-refund")

    assert (0, "revoked") == (code, told["ended"])
    (refund,) = await service.every("/v1/refunds", user_id=told["user_id"])
    assert (platform, "succeeded") == (refund["platform"], refund["status"])
    (entitlement,) = await service.every(f"/v1/customers/{told['user_id']}/entitlements")
    assert ("pro", "revoked") == (entitlement["key"], entitlement["status"])


@pytest.mark.parametrize("platform", ["apple", "google", "stripe", "amazon"])
async def test_simulated_coins_are_taken_back(platform, service):
    """100 coins that are refunded are 100 units that the app's backend is told to take back, whoever sold them."""
    code, (told,) = simulate(service.installation, platform, "consumable-refund")

    assert (0, None, 100) == (code, told["ended"], told["clawed_back"])
    (purchase,) = await service.every("/v1/purchases", user_id=told["user_id"])
    assert (100, 100, "consumable") == (purchase["units"], purchase["units_clawed_back"], purchase["kind"])
    events = await service.every("/v1/events", types="balance.clawed_back")
    (balance,) = [e["data"]["balance"] for e in events if e["customer"] == {"user_id": told["user_id"]}]
    assert ("com.demo.coins.100", 100) == (balance["product_id"], balance["units"])


async def test_simulated_forgery_is_refused(service):
    """A forged story exits 0 because each of its forgeries is refused."""
    code, (told,) = simulate(service.installation, "apple", "forged")

    forged = [posted for posted in told["posted"] if posted["what"].startswith("forged")]
    assert (0, "active") == (code, told["ended"])
    assert len(forged) > 3
    assert {posted["status"] for posted in forged} <= {400, 401, 403}


async def test_stories_repeat_at_a_rate(service):
    """`--count` stories are begun `--rate` a second, each about somebody else."""
    code, told = simulate(service.installation, "stripe", "purchase-then-refund", "--count", "5", "--rate", "20")

    assert (0, 5, 5) == (code, len(told), len({each["user_id"] for each in told}))
    assert {"revoked"} == {each["ended"] for each in told}


async def test_user_and_purchase_are_the_ones_that_are_named(service):
    """`--user` buys and `--purchase` is what is bought."""
    names = ("--user", "annual-subscriber", "--purchase", "ch_3AnnualPlanAfterNineMonths")

    code, (told,) = simulate(service.installation, "stripe", "purchase-then-refund", *names)

    assert (0, "annual-subscriber") == (code, told["user_id"])
    (purchase,) = await service.every("/v1/purchases", purchase_id="ch_3AnnualPlanAfterNineMonths")
    assert ("annual-subscriber", "revoked") == (purchase["user_id"], purchase["access"])


async def test_seed_makes_the_same_ids_again(service):
    """The same `--seed` speaks of the same customer and purchase: told again, nothing is bought or refunded twice."""
    seeded = (service.installation, "google", "purchase-then-refund", "--seed", "9")

    (_, (first,)), (_, (second,)) = simulate(*seeded), simulate(*seeded)

    assert first["user_id"] == second["user_id"]
    assert 1 == len(await service.every("/v1/purchases", user_id=first["user_id"]))
    assert 1 == len(await service.every("/v1/refunds", user_id=first["user_id"]))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("apple", "happily-ever-after"), "apple has no story 'happily-ever-after'"),
        (("paypal", "duplicate"), "the platform 'paypal' is unknown; known are amazon, apple, google, stripe"),
        (("nope", "happily-ever-after"), "the platform 'nope' is unknown"),
        (("apple", "refund-failed"), "apple has no story 'refund-failed'"),
        (("apple",), "name a PLATFORM and a STORY"),
        (("apple", "duplicate", "--count", "0"), "Invalid value for '--count'"),
    ],
)
async def test_story_that_is_not_there_is_one_line(arguments, line):
    """Who asks for a story that does not exist is told in one line, with exit code 2."""
    done = clawback("simulate", *arguments)

    assert (2, "", 1) == (done.returncode, done.stdout, len(done.stderr.splitlines()))
    assert line in done.stderr


async def test_service_that_is_not_there_is_one_line(tmp_path, service):
    """Who simulates against nothing is told in one line, with exit code 1, and told what to start."""
    no_demo = clawback("simulate", "apple", "duplicate", "--data-dir", str(tmp_path))
    install(tmp_path)
    not_running = clawback("simulate", "apple", "duplicate", "--data-dir", str(tmp_path))

    assert (1, 1) == (no_demo.returncode, len(no_demo.stderr.splitlines()))
    assert "start `clawback run` first" in no_demo.stderr
    assert (1, 1) == (not_running.returncode, len(not_running.stderr.splitlines()))
    assert "is the service running?" in not_running.stderr


async def test_stranger_learns_nothing(service):
    """A wrong bearer token is one line, and exit code 1."""
    done = clawback(
        "simulate", "google", "duplicate", "--token", "a-strangers-guess", "--data-dir", str(service.installation.home)
    )

    assert (1, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert "was answered 401" in done.stderr
