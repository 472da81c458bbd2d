"""What a genuine signature does not prove: that what it signs is ours to act on, or anything that anyone expected."""

from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.platforms import Amazon, Google, Stripe
from config.settings import App
from handlers.errors import Unauthentic
from handlers.platforms import PLATFORMS
from handlers.stripe import PLATFORM
from schemas.meaning import Quarantined
from schemas.received import Received
from tests.effort import law
from tests.fuzz.edits import stories
from tests.fuzz.samples import NUMBERS, Genuine
from tests.fuzz.samples import genuine as genuine_of
from tests.fuzz.story import play
from tests.handlers.json_edits import ANY_JSON, places_of, put
from tests.handlers.stripe_story import CHARGE, REFUND, SETTINGS, event_of
from worker.simulator.stripe import sign

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module", params=sorted(PLATFORMS), name="genuine")
def _genuine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Genuine:
    return genuine_of(request.param, tmp_path_factory.mktemp("hostile"))


@law
@given(data=st.data())
def test_whatever_a_platform_says_ends_well(genuine: Genuine, data: st.DataObject) -> None:
    """Whatever is changed in notifications and answers, they end in values that fold, converge and can be stored."""
    story = data.draw(stories(genuine))

    assert play(genuine, story) is not None


@law
@given(says=ANY_JSON, answers=st.lists(ANY_JSON, max_size=3))
def test_any_json_ends_well(genuine: Genuine, says: Any, answers: list[Any]) -> None:
    """Any JSON at all, with any answers, is malformed or ends in a value."""
    assert 1 == len(play(genuine, [[says, *answers]]))


def test_numbers_of_any_size_end_well(genuine: Genuine) -> None:
    """Money, time and counts may have any size and sign, wherever one stands in a notification or an answer."""
    places = {_path(chapter, place): (chapter, place) for chapter in genuine.chapters for place in places_of(chapter)}
    numbers = [(chapter, place) for chapter, place in places.values() if _number(_at(chapter, place))]

    assert numbers
    for chapter, place in numbers:
        for number in NUMBERS:
            assert 1 == len(play(genuine, [put(chapter, place, number)])), place


@pytest.mark.parametrize(("kind", "subject"), [("charge.succeeded", CHARGE), ("refund.created", REFUND)])
def test_what_happened_on_a_connected_account_waits_for_a_person(kind, subject):
    """An event of a connected account changes no purchase and asks for nothing, whatever its metadata says."""
    # A Connect endpoint's secret signs the events of every account that is connected. The owner of one could charge his
    # own card ten cents, write any user and any product into the metadata, and own the annual plan.
    event = event_of(kind, subject, account="acct_stranger")

    assert Quarantined("connected_account", kind) == PLATFORM.normalize(event, {}, settings=SETTINGS)
    assert () == PLATFORM.needs(event)


@pytest.mark.parametrize("secrets", [("",), (" ",), ("\t\n",), ("", "  ")])
def test_what_an_empty_secret_signs_is_never_believed(secrets):
    """Empty and blank secrets switch nothing on, and even handed to `verify` directly they verify nothing."""
    blank = Stripe.model_construct(webhook_secrets=secrets, livemode=True)
    for secret in secrets:
        received = Received("acme", b"{}", {"stripe-signature": sign(b"{}", secret=secret, now=1000)})
        with pytest.raises(Unauthentic):
            PLATFORM.verify(received, settings=blank, keys={}, now=1000)

    assert App(stripe=Stripe(webhook_secrets=secrets)).platform("stripe") is None


@pytest.mark.parametrize("blank", ["", " ", "\n"])
def test_blank_settings_switch_no_platform_on(blank):
    """Topics, audiences and accounts that are blank are none."""
    google = {
        "package_name": "com.acme.app",
        "audience": "https://a.example",
        "service_account_email": "push@a.example",
    }
    for name in google:
        assert App(google=Google(**{**google, name: blank})).platform("google") is None
    assert App(amazon=Amazon(package_name="com.acme.app", topic_arns=(blank,))).platform("amazon") is None


def _at(chapter: Any, place: tuple[Any, ...]) -> Any:
    return reduce(lambda value, key: value[key], place, chapter)


def _number(value: Any) -> bool:
    """Tell whether it is a number, or a text that begins like one: an amount, a date."""
    return (isinstance(value, int | float) and not isinstance(value, bool)) or (
        isinstance(value, str) and value[:4].isdecimal()
    )


def _path(chapter: list[Any], place: tuple[Any, ...]) -> tuple[Any, ...]:
    """Name a place by its fields and the answer it is in, however long the lists on the way are."""
    return place[:1], tuple(key for key in place if isinstance(key, str)), type(_at(chapter, place))
