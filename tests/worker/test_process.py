"""What a notification does once it is accepted, on every platform, with real signatures and a real store."""

import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from config.policy import Policy
from schemas.meaning import Confirm
from tests.worker.house import House, house
from worker.audit import check_fold, rebuild
from worker.simulator.amazon import AmazonSimulator
from worker.simulator.stories import STORIES, scripts
from worker.simulator.telling import Teller
from worker.store import tables
from worker.sweeper import sweep


@pytest.fixture
def home(tmp_path):
    """Open a house whose clock stands at this moment: certificates are real and were made just now."""
    with house(tmp_path, time.time()) as opened:
        yield opened


def amazon_of(home: House) -> AmazonSimulator:
    """Speak as SNS, which says more than an app store does."""
    simulator = home.simulator("amazon")
    assert isinstance(simulator, AmazonSimulator)
    return simulator


def visiting(visited: list[Confirm], *, works: bool) -> Callable[[Confirm], bool]:
    """Make a visitor that only remembers where it went."""

    def visit(confirm: Confirm) -> bool:
        visited.append(confirm)
        return works

    return visit


async def play(home: House, platform: str, story) -> list:
    """Play a story's steps in order, each to its end."""
    teller = Teller(story, platform, home.simulator(platform), home.till(platform), home.clock())
    answers = []
    for step in teller.steps:
        if step.verb == "tell":
            home.tell(platform, teller.sale(step))
        elif step.verb != "forge":
            shot = teller.shot(step, home.clock())
            answers += [(step, await home.post(platform, shot)) for _ in range(step.times)]
    return answers


@pytest.mark.parametrize(("platform", "story"), [pytest.param(p, s, id=f"{p}-{s.name}") for p, s in scripts()])
async def test_every_story_ends_as_it_must(home: House, platform, story):
    """A story ends with the entitlement it must end with, whatever order and repetition it arrives in."""
    answers = await play(home, platform, story)

    till, statuses = home.till(platform), home.statuses()
    assert (story.ends, story.member_ends) == (statuses.get(till.user_id), statuses.get(till.member_id))
    rows = [(step.quarantined, home.notification(accepted)) for step, accepted in answers]
    assert [wanted for wanted, _ in rows] == [r["reason"] if r["status"] == "quarantined" else "" for _, r in rows]
    for user_id in (till.user_id, till.member_id):
        numbered = [e.sequence for e in home.events() if e.customer and e.customer.user_id == user_id]
        assert list(range(1, len(numbered) + 1)) == numbered


async def test_events_of_one_refund(home: House):
    """A purchase and its refund tell subscribers three things, in this order and each with its cause."""
    await play(home, "stripe", STORIES["purchase-then-refund"])

    told = [(event.type, event.data.cause.type, event.data.cause.rule) for event in home.events()]
    assert [
        ("entitlement.granted", "invoice.paid", "bought"),
        ("refund.succeeded", "refund.created", "refund_without_cancellation=revoke"),
        ("entitlement.revoked", "refund.created", "refund_without_cancellation=revoke"),
    ] == told


async def test_a_set_is_processed_like_its_members_one_by_one(home: House, tmp_path):
    """Notifications of many users in one message end as they would in many."""
    simulator = home.simulator("apple")
    for seed in range(20):
        sale = home.till("apple", seed).sell(0, bought_ms=int(home.clock() * 1000))
        await home.arrive("apple", simulator.purchase(sale, home.clock()))
        home.clock.now += 0.001
        await home.arrive("apple", simulator.refund(sale, home.clock()))
    home.work()

    assert ["revoked"] * 20 == list(home.statuses().values())
    assert 60 == len(home.events())


async def test_what_the_queue_lost_is_swept_up(home: House):
    """An accepted notification whose hint was lost is queued again once it is overdue, and not before."""
    sale = home.till("apple").sell(0, bought_ms=int(home.clock() * 1000))
    accepted = await home.arrive("apple", home.simulator("apple").purchase(sale, home.clock()))
    home.queue.notifications.clear()

    assert 0 == sweep(home.runtime)
    home.clock.now += home.settings.work.sweep_after_seconds + 1
    assert 1 == sweep(home.runtime)
    assert [accepted.id] == home.queue.notifications
    home.work()
    assert ["active"] == list(home.statuses().values())


async def test_an_expiry_date_that_passes_ends_access(home: House):
    """When the clock passes an expiry date and no platform says anything, access ends and subscribers hear of it."""
    sale = home.till("apple").sell(0, bought_ms=int(home.clock() * 1000))
    await home.post("apple", home.simulator("apple").purchase(sale, home.clock()))
    home.clock.now += 31 * 86_400

    sweep(home.runtime)
    assert ["expired"] == list(home.statuses().values())
    assert "entitlement.expired" == home.events()[-1].type
    sweep(home.runtime)
    assert 2 == len(home.events())


async def test_processing_twice_changes_nothing(home: House):
    """Two messages about the same notification have the effect of one."""
    sale = home.till("apple").sell(0, bought_ms=int(home.clock() * 1000))
    accepted = await home.arrive("apple", home.simulator("apple").purchase(sale, home.clock()))
    home.queue.notifications *= 2
    home.work()
    home.queue.notifications = [accepted.id]
    home.work()

    assert 1 == len(home.events())


async def test_what_is_stored_equals_the_fold_of_its_entries(home: House):
    """After any story, every stored view equals the fold of its entries; a view that was tampered with is found."""
    for platform, story in scripts():
        if story.name in ("duplicate", "old-period-refund"):
            await play(home, platform, story)
    assert () == check_fold(home.runtime).differing

    with home.store.write() as connection:
        connection.execute(tables.purchases.update().values(access="active"))
    assert check_fold(home.runtime).differing


async def test_a_row_that_breaks_our_code_harms_no_neighbor(home: House):
    """A notification whose stored body cannot be read is kept and counted; the others of its set are processed."""
    simulator, accepted = home.simulator("stripe"), []
    for seed in range(3):
        sale = home.till("stripe", seed).sell(0, bought_ms=int(home.clock() * 1000))
        accepted.append(await home.arrive("stripe", simulator.purchase(sale, home.clock())))
    with home.store.write() as connection:
        broken = tables.notifications.update().where(tables.notifications.c.id == accepted[1].id)
        connection.execute(broken.values(headers="[1]", platform="apple", body=b"\xff"))
    home.work()

    assert ["processed", "quarantined", "processed"] == [home.notification(each)["status"] for each in accepted]
    assert 2 == len(home.statuses())


@pytest.mark.parametrize(
    ("auto_confirm", "works", "status"),
    [
        (False, True, "quarantined"),
        (True, True, "ignored"),
        (True, False, "quarantined"),
    ],
)
async def test_a_subscription_is_confirmed_only_where_configured(home: House, auto_confirm, works, status):
    """An SNS confirmation is visited only if the app says so, and shown to the operator in every other case."""
    visited: list[Confirm] = []
    app = home.settings.apps["demo"]
    assert app.amazon is not None
    amazon = app.amazon.model_copy(update={"auto_confirm": auto_confirm})
    apps = {"demo": app.model_copy(update={"amazon": amazon})}
    settings = home.settings.model_copy(update={"apps": apps})
    home.runtime = replace(home.runtime, settings=settings, visit=visiting(visited, works=works))
    accepted = await home.post("amazon", amazon_of(home).subscription_confirmation(home.clock()))

    assert status == home.notification(accepted)["status"]
    assert auto_confirm == bool(visited)
    assert all(confirm.url.startswith("https://sns.us-east-1.amazonaws.com/?") for confirm in visited)


async def test_an_unsubscription_raises_an_alarm_and_visits_nothing(home: House):
    """An UnsubscribeConfirmation is kept with an error line; its address would subscribe again and is not visited."""
    visited: list[Confirm] = []
    home.runtime = replace(home.runtime, visit=visiting(visited, works=True))
    with capture_logs() as lines:
        accepted = await home.post("amazon", amazon_of(home).unsubscribe_confirmation(home.clock()))

    assert ("quarantined", "unsubscribed") == (
        home.notification(accepted)["status"],
        home.notification(accepted)["reason"],
    )
    assert ["error"] == [line["log_level"] for line in lines if line["event"] == "process.quarantined"]
    assert [] == visited


async def test_a_new_policy_takes_effect_by_a_rebuild(home: House):
    """After a rule changed, the audit finds what it concerns; a rebuild makes it so, and subscribers hear of it."""
    await play(home, "stripe", STORIES["purchase-then-refund"])
    app = home.settings.apps["demo"]
    lenient = app.model_copy(update={"policy": Policy(refund_without_cancellation="keep")})
    home.runtime = replace(home.runtime, settings=home.settings.model_copy(update={"apps": {"demo": lenient}}))
    [differing] = check_fold(home.runtime).differing

    assert 1 == rebuild(home.runtime, differing)
    assert () == check_fold(home.runtime).differing
    last = home.events()[-1]
    assert ("entitlement.reinstated", None, "refund_without_cancellation=keep") == (
        last.type,
        last.data.cause.notification,
        last.data.cause.rule,
    )
    assert 0 == rebuild(home.runtime, differing)
