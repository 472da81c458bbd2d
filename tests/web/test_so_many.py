"""As many subscribers of an app as the operator allows, whoever asks at the same moment.

Real: PostgreSQL, a connection for each of two requests. Double: a clock that stands still until the test lets it go.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from config.settings import Subscribing
from schemas.subscribers import SubscriberWanted
from tests.store.contention import waits
from tests.store.outbox_story import SEALER, SECRET
from tests.worker.desk import Desk, desk
from worker import keyring
from worker.deeds import of_the_command_line
from worker.runtime import Runtime
from worker.store.subscribers import count_of
from worker.web.errors import Refused
from worker.web.subscribing import create


@pytest.fixture(name="at")
def _at(tmp_path: Path, emptied: str) -> Iterator[Desk]:
    with desk(tmp_path, url=emptied) as opened:
        yield opened


def make(runtime: Runtime, number: int) -> str:
    """Make a subscriber at an address of its own; give its id, or why not."""
    wanted = SubscriberWanted(app="acme", url=f"https://api.acme.example/{number}")
    try:
        deed = of_the_command_line("subscriber.create", lambda: 0.0)
        return create(runtime, deed, wanted, keyring.keep(SECRET, SEALER)).id
    except Refused as refused:
        return refused.refusal.code


def test_two_at_once_are_not_one_too_many(at: Desk) -> None:
    """Of two who would each be the last one allowed the second waits for the first, counts it, and is refused."""
    held, go_on = threading.Event(), threading.Event()

    def stands() -> float:
        held.set()
        assert go_on.wait(20)
        return at.clock.now

    allowed = at.runtime.settings.model_copy(update={"subscribing": Subscribing(max_per_app=1)})
    second = replace(at.runtime, settings=allowed, sealer=SEALER)
    first = replace(second, clock=stands)
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(make, first, 1)
        assert held.wait(20)
        other = pool.submit(make, second, 2)
        waited = waits(at)
        go_on.set()
        made = [one.result(20), other.result(20)]

    assert waited
    assert (True, "too_many_subscribers") == (made[0].startswith("sub_"), made[1])
    with at.store.read() as connection:
        assert 1 == count_of(connection, "acme")
