"""An answer serves everybody for whom it is new enough, and nobody for ever.

Real: `Lookups` with its thread, clients, sockets, a server on this machine. Double: the clock, which is moved by hand.
"""

import asyncio
from typing import Any

from config.settings import App
from config.settings import Lookups as Bounds
from schemas.meaning import Lookup
from tests.worker.lookup_desk import EAGER, NOW, RECEIPT, about, amazon, desk, open_api, until
from tests.worker.platform_api import Api
from worker import lookups as module
from worker.clients.answers import Answer
from worker.lookups import KEPT_MAX

__all__ = ["open_api"]


async def test_who_asks_the_same_shares_one_request(api: Api):
    """Notifications of one receipt that are processed at once cost one question."""
    api.hold = asyncio.Event()
    with desk(**amazon(api)) as at:
        asking = [asyncio.create_task(at.ask(about("annual", f"ntf_{n}"))) for n in range(5)]
        await until(lambda: len(api.asked) == 1)
        api.hold.set()

        assert [[RECEIPT]] * 5 == await asyncio.gather(*asking)
    assert 1 == len(api.asked)


async def test_an_answer_is_good_for_what_happened_before_it(api: Api):
    """A remembered answer is given to older notifications, and not to one that came after it was read."""
    with desk(**amazon(api)) as at:
        await at.ask(about("annual", "ntf_1", since=NOW - 5))
        assert [RECEIPT] == await at.ask(about("annual", "ntf_2", since=NOW - 1))
        assert {("amazon", "rvs", "answered"): 1, ("amazon", "rvs", "cached"): 1} == at.counted()

        at.now += 60
        await at.ask(about("annual", "ntf_3", since=NOW + 30))
    assert 2 == len(api.asked)


async def test_a_question_under_way_is_too_old_for_what_came_since(api: Api):
    """A notification that came after a question was sent does not share its answer."""
    api.hold = asyncio.Event()
    with desk(**amazon(api)) as at:
        older = asyncio.create_task(at.ask(about("annual", "ntf_1")))
        await until(lambda: len(api.asked) == 1)
        at.now += 1
        newer = asyncio.create_task(at.ask(about("annual", "ntf_2", since=NOW + 1)))
        await until(lambda: len(api.asked) == 2)
        api.hold.set()

        assert [[RECEIPT], [RECEIPT]] == list(await asyncio.gather(older, newer))


async def test_whoever_asks_again_wants_to_hear_something_new(api: Api):
    """A notification that had an answer and comes back is not told the same from memory, unless nobody answers."""
    with desk(**amazon(api)) as at:
        await at.ask(about())
        api.answer = {**RECEIPT, "cancelReason": 1}
        assert [api.answer] == await at.ask(about())

        api.status = 500
        assert [api.answer] == await at.ask(about())
    assert 3 == len(api.asked)


async def test_an_answer_is_forgotten_in_time(api: Api):
    """After `cache_seconds` an answer is asked for anew, even by a notification that is older than it."""
    with desk(Bounds(cache_seconds=60), **amazon(api)) as at:
        await at.ask(about("annual", "ntf_1"))
        at.now += 61
        await at.ask(about("annual", "ntf_2"))
    assert 2 == len(api.asked)


async def test_only_so_many_answers_are_remembered(api: Api):
    """Memory is bounded: the oldest answers go first."""
    with desk(**amazon(api)) as at:
        window = module._Window(  # no server could be asked so often in a test
            ("acme", "amazon"), App(), EAGER, _nobody, at.metrics, at.clock
        )
        for number in range(KEPT_MAX + 3):
            window._keep(Lookup("rvs", str(number)), module._Kept(Answer("answered", RECEIPT), NOW))

        assert KEPT_MAX == len(window._kept)
        assert Lookup("rvs", "2") not in window._kept


async def _nobody(*_args: Any, **_more: Any) -> Any:
    raise AssertionError("nothing is asked here")
