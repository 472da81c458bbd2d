"""The stories themselves: that every step can be said, and that a wrong end is called wrong."""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from random import Random

import pytest

from config.load import load
from config.settings import Settings
from worker.demo.trust import APP, demo_directory, prepare
from worker.simulator.goods import COINS, GOODS
from worker.simulator.registry import SPEAKERS
from worker.simulator.sale import Sale, Simulator
from worker.simulator.sales import DAY_MS, Till
from worker.simulator.stories import ALL, STORIES, scripts
from worker.simulator.story import Story
from worker.simulator.telling import Teller
from worker.simulator.verdict import End, differences, end_of

pytestmark = pytest.mark.unit

NOW = 1_795_000_000.0
EVERY = [pytest.param(platform, story, id=f"{platform}-{story.name}") for platform, story in scripts()]


@pytest.fixture(name="demo", scope="module")
def _demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Settings]:
    home = tmp_path_factory.mktemp("stories")
    return demo_directory(home), load(prepare(home, any_port=True), {})


def simulator_of(demo: tuple[Path, Settings], platform: str) -> Simulator:
    """Speak as a platform, with the demo's trust."""
    directory, settings = demo
    return SPEAKERS[platform].simulator(directory, settings.apps[APP].platform(platform))


def sold(platform: str, *roles: str) -> list[Sale]:
    """Sell a month, and after it one more thing for each role."""
    till = Till(platform, Random(9))
    first = till.sell(0, bought_ms=int(NOW * 1000))
    later = [till.sell(n, bought_ms=int(NOW * 1000), role=role) for n, role in enumerate(roles, 1)]  # type: ignore[arg-type]  # each is a Role
    return [first, *later]


@pytest.mark.parametrize(("platform", "story"), EVERY)
def test_every_step_can_be_said(demo: tuple[Path, Settings], platform: str, story: Story) -> None:
    """Each step of a story is something that its platform's simulator says, about what the story sells."""
    till = Till(platform, Random(9))
    teller = Teller(story, platform, simulator_of(demo, platform), till, NOW)
    for step in teller.steps:
        sale = teller.sale(step)
        assert sale.user_id in {till.user_id, till.member_id}
        assert GOODS[story.good(platform, step.lot)].kind == sale.kind
        if step.verb == "forge":
            assert len(list(teller.forgeries(step, NOW))) > 3
        elif step.verb != "tell":
            assert teller.shot(step, NOW).body


@pytest.mark.parametrize(("platform", "story"), EVERY)
def test_every_story_is_told_to_who_must_know(platform: str, story: Story) -> None:
    """Where the platform leaves out who bought what, the app's backend tells of every purchase of the story."""
    told = {step.lot for step in story.steps_on(platform) if step.verb == "tell"}
    if platform in ("google", "amazon"):
        assert set(range(len(story.lots))) == told


def test_stories_are_named_and_summed_up() -> None:
    """A name is words and hyphens, a summary is one line that no other story has, and a story happens somewhere."""
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in STORIES)
    assert len(STORIES) == len({story.summary for story in STORIES.values()})
    assert all(story.platforms and set(story.platforms) <= set(ALL) for story in STORIES.values())
    assert all("\n" not in story.summary and len(story.summary) <= 120 for story in STORIES.values())


def test_no_two_stories_are_one() -> None:
    """Each story says something that no other says on the same platforms."""
    same = [
        (one.name, other.name)
        for one, other in combinations(STORIES.values(), 2)
        if (one.steps, one.lots, one.platforms) == (other.steps, other.lots, other.platforms)
    ]
    assert [] == same


def test_every_good_is_configured(demo: tuple[Path, Settings]) -> None:
    """The demo app's configuration knows everything that stories sell, of the same kind."""
    products = demo[1].apps[APP].products

    assert {good.product_id: good.kind for good in GOODS.values()} == {n: p.kind for n, p in products.items()}
    assert 100 == products[COINS].units


@pytest.mark.parametrize("platform", ALL)
def test_a_number_is_always_the_same_sale(platform: str) -> None:
    """Whoever asks the till for the same number gets the same sale, and two numbers are two sales."""
    till, again = (Till(platform, Random(9)) for _ in range(2))
    for one in (till, till, again):
        assert sold(platform)[0] == one.sell(0, bought_ms=int(NOW * 1000))
    assert till.sell(0, bought_ms=0).purchase_id != till.sell(1, bought_ms=0, role="again").purchase_id


@pytest.mark.parametrize("platform", ALL)
def test_a_period_shares_what_its_subscription_is_known_by(platform: str) -> None:
    """A renewal has the lineage of the first period; only Amazon's has its receipt too."""
    first, second, third = sold(platform, "period", "period")

    assert first.original_purchase_id == second.original_purchase_id == third.original_purchase_id
    ids = {first.purchase_id, second.purchase_id, third.purchase_id}
    assert (1 if platform == "amazon" else 3) == len(ids)
    if platform == "google":
        assert (f"{first.purchase_id}..0", f"{first.purchase_id}..1") == (second.purchase_id, third.purchase_id)


@pytest.mark.parametrize("platform", ALL)
def test_who_shares_is_somebody_else(platform: str) -> None:
    """A family member has an id, a purchase and a lineage of their own."""
    first, copy = sold(platform, "member")

    assert (False, True) == (first.family, copy.family)
    assert first.user_id != copy.user_id
    assert first.purchase_id != copy.purchase_id
    assert first.original_purchase_id != copy.original_purchase_id


@pytest.mark.parametrize("platform", ALL)
def test_an_upgrade_names_what_it_replaces(platform: str) -> None:
    """A better plan is a purchase of its own that knows the first."""
    first, better = sold(platform, "upgrade")

    assert first.purchase_id == better.replaces != better.purchase_id
    assert (platform != "amazon") == (first.original_purchase_id == better.original_purchase_id)


@pytest.mark.parametrize(("good", "days"), [("month", 30), ("year", 365), ("lifetime", None), ("coins", None)])
def test_what_is_sold_lasts_as_long_as_it_says(good: str, days: int | None) -> None:
    """A period ends after its days, and what is bought once never does."""
    sale = Till("stripe", Random(9)).sell(0, bought_ms=0, good=good)

    assert (None if days is None else days * DAY_MS) == sale.expires_at_ms


def endings(story: Story) -> Iterator[tuple[str, End]]:
    """Make the right end of a story, then each way in which it can be wrong, with a word of the complaint."""
    right = End(story.ends, story.member_ends, story.refunds, story.clawed_back, ("entitlement.renewed", *story.told))
    yield "", right
    yield "the entitlement is expired", replace(right, entitlement="expired")
    yield "the member's is active", replace(right, member_entitlement="active")
    yield "refunds on record: none", replace(right, refunds=())
    yield "7 units", replace(right, clawed_back=7)
    yield "nobody was told", replace(right, told=())


def test_every_wrong_end_is_called_wrong() -> None:
    """What a story states is compared one by one, and only what it states."""
    story = STORIES["family-organizer-refunded"]
    story = replace(story, told=("entitlement.revoked",))
    for complaint, end in endings(story):
        found = list(differences(story, end))
        assert (1 if complaint else 0) == len(found)
        assert all(line.startswith(complaint) for line in found)


def test_a_missing_entitlement_is_called_missing() -> None:
    """Coins give no entitlement; where one is expected, none is said to be missing."""
    coins, month = STORIES["consumable-refund"], STORIES["purchase-then-refund"]

    assert "the entitlement is active, not missing" in list(differences(coins, End("active")))
    assert "the entitlement is missing, not revoked" in list(differences(month, End(None)))


def test_an_end_is_gathered_from_what_the_api_answers() -> None:
    """Statuses, units and events are taken from the lists; what the ledger says is nothing that anyone was told."""
    end = end_of(
        [{"status": "revoked"}],
        [],
        [{"status": "succeeded"}, {"status": "failed"}],
        [{"units_clawed_back": 100}, {"units_clawed_back": 200}],
        [{"type": "refund.succeeded"}, {"type": "ledger.refund_succeeded"}],
    )

    assert End("revoked", None, ("failed", "succeeded"), 300, ("refund.succeeded",)) == end


def test_the_page_of_stories_lists_them_all() -> None:
    """`docs/stories.md` names every story in its order, with its summary and where it happens."""
    page = (Path(__file__).parents[2] / "docs" / "stories.md").read_text("utf-8")

    listed = [f"| `{s.name}` | {s.summary} | {', '.join(s.platforms)} |" for s in STORIES.values()]
    assert listed == [line for line in page.splitlines() if line.startswith("| `")]
