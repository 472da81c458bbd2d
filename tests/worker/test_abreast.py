"""What requests of one turn of the event loop have done abreast.

Real: the event loop. Doubles: none. What may be asserted: the order, what each gets, and that none is forgotten.
"""

import asyncio

import pytest

from worker.abreast import TOGETHER_MAX, Abreast


async def test_same_step_of_all_is_done_in_a_row():
    """Nobody is served further before the step is done for everybody who came in the same turn."""
    abreast, seen = Abreast(), []

    async def request(name: str) -> None:
        seen.append(f"{name} read")
        await abreast.result(lambda: seen.append(f"{name} proved"))
        seen.append(f"{name} answered")

    await asyncio.gather(*map(request, "abc"))
    expected = [f"{name} {done}" for done in ("read", "proved", "answered") for name in "abc"]
    assert expected == seen


async def test_what_fails_is_raised_for_whom_it_failed():
    """One that cannot be proved is nothing to the others."""
    abreast = Abreast()

    def fail() -> str:
        raise ValueError("no")

    first, second, third = await asyncio.gather(
        abreast.result(lambda: "one"), abreast.result(fail), abreast.result(lambda: "three"), return_exceptions=True
    )
    assert ("one", ValueError, "three") == (first, type(second), third)


async def test_nothing_is_done_for_who_hung_up():
    """A client that is gone by then costs nothing more, and holds up nobody."""
    abreast, done = Abreast(), []
    gone = asyncio.create_task(abreast.result(lambda: done.append("gone")))
    await asyncio.sleep(0)
    gone.cancel()
    here = asyncio.create_task(abreast.result(lambda: done.append("here")))
    await here
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert ["here"] == done


async def test_one_that_breaks_has_no_other_forgotten():
    """A line that cannot be written is reported by the loop, and the next one is written."""
    abreast, done, reported = Abreast(), [], []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context["exception"]))

    def fail() -> None:
        raise OSError("disk full")

    abreast.later(fail)
    async with asyncio.timeout(5):
        await abreast.result(lambda: done.append("next"))
    assert ["next"] == done
    assert [OSError] == [type(each) for each in reported]


async def test_a_storm_lets_others_be_heard_in_between():
    """No more than so many are taken before everything else that is ready has its turn."""
    abreast, done = Abreast(), []
    for _ in range(TOGETHER_MAX + 1):
        abreast.later(lambda: done.append("step"))
    asyncio.get_running_loop().call_soon(done.append, "other")
    async with asyncio.timeout(5):
        await abreast.result(lambda: done.append("last"))
    assert [*["step"] * TOGETHER_MAX, "other", "step", "last"] == done
