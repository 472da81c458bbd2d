"""Who is let in when there is not room for everybody: laws of fairness, for any room and anybody who holds any of it.

Real: the decision. Doubles: none.
"""

from hypothesis import assume, given
from hypothesis import strategies as st

from handlers.platforms import PLATFORMS
from handlers.shares import WEIGHTS, Source, may_hold, share

SOURCES = st.tuples(st.sampled_from([*PLATFORMS, "another"]), st.sampled_from(["acme", "beta", "demo"]))
HELD = st.dictionaries(SOURCES, st.integers(0, 500), max_size=8)
ROOM = st.integers(1, 2_000)
SIZES = st.integers(1, 50)


@given(HELD, ROOM, SOURCES, SIZES)
def test_while_there_is_room_nobody_is_refused(held: dict[Source, int], room: int, source: Source, size: int):
    """No pressure, no refusal, whoever holds how much: what others leave is not wasted."""
    assume(sum(held.values()) + size <= room)

    assert may_hold(held, room, source, size)


@given(HELD, ROOM, SOURCES, SIZES, SOURCES, st.integers(0, 10_000))
def test_a_storm_of_another_refuses_nobody_who_holds_less_than_his_share(
    held: dict[Source, int], room: int, source: Source, size: int, other: Source, more: int
):
    """Whoever is within his share is let in, however much another holds."""
    assume(other != source)
    held[other] = held.get(other, 0) + more
    assume(held.get(source, 0) + size <= share(held, room, source))

    assert may_hold(held, room, source, size)


@given(HELD, ROOM, SOURCES)
def test_whoever_holds_nothing_is_let_in(held: dict[Source, int], room: int, source: Source):
    """The first of each comes in, however little room there is."""
    held.pop(source, None)

    assert may_hold(held, room, source)


@given(HELD, ROOM, SOURCES, st.integers(1, 10_000))
def test_no_more_is_refused_to_less(held: dict[Source, int], room: int, source: Source, less: int):
    """Who may hold more with much in hand may do so with less in hand."""
    assume(may_hold(held, room, source))
    fewer = {**held, source: max(0, held.get(source, 0) - less)}

    assert may_hold(fewer, room, source)


@given(st.lists(st.tuples(SOURCES, SIZES), max_size=300), st.integers(1, 400))
def test_what_is_held_is_bounded(asked: list[tuple[Source, int]], room: int):
    """Whatever comes, never is more held than twice the room and the first of each source."""
    held: dict[Source, int] = {}
    for source, size in asked:
        if may_hold(held, room, source, size):
            held[source] = held.get(source, 0) + size

    assert sum(held.values()) <= 2 * room + len(held) * 50


@given(HELD, ROOM)
def test_shares_are_all_of_the_room(held: dict[Source, int], room: int):
    """What is fair to each who holds any adds up to the room."""
    here = [source for source, amount in held.items() if amount]
    assume(here)

    assert abs(sum(share(held, room, source) for source in here) - room) < 1e-6 * room


def test_a_storm_leaves_its_room_to_others_bit_by_bit():
    """A storm that filled the room is refused until it holds its share, and whoever came later has the rest of it."""
    held: dict[Source, int] = {("stripe", "acme"): 100}
    came = 0
    while may_hold(held, 100, ("google", "acme")):
        held["google", "acme"] = came = came + 1

    assert 50 == came
    assert not may_hold(held, 100, ("stripe", "acme"))


def test_apps_of_a_platform_share_its_part():
    """A platform has one share, however many apps it sends to, and each app the same part of that."""
    held = {("stripe", "acme"): 10, ("stripe", "beta"): 90, ("google", "acme"): 1}

    assert [25, 25, 50] == [share(held, 100, source) for source in held]


def test_more_is_left_to_whom_a_refusal_costs_more():
    """SNS gives up within a minute, and Apple comes back an hour later."""
    held = {("amazon", "acme"): 1, ("apple", "acme"): 1, ("stripe", "acme"): 1, ("google", "acme"): 1}

    assert [50, 25, 12.5, 12.5] == [share(held, 100, source) for source in held]
    assert set(WEIGHTS) <= set(PLATFORMS)
