"""Every forgery of the catalogue is sent through the door, and then the genuine notification that it was made of.

Real: the sockets, the server, verification, the inbox, the store, every signature. Doubles: the queue, the clock, which
stands, and the network, which holds what Amazon would serve and nothing of anybody else.
"""

import json
import logging
import re
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import func, select
from structlog.testing import capture_logs

from handlers.platforms import PLATFORMS
from tests.forgeries.any_platform import BY_THE_SERVER
from tests.forgeries.case import Answered, Forgery, Post, send, texts
from tests.forgeries.catalogue import FORGERIES, OWN
from tests.forgeries.desk import OTHER_CERTIFICATE, Desk
from tests.web.service import Service
from worker.simulator.amazon import sign
from worker.store import tables
from worker.web.ingest import OUTCOMES

on_one_loop = pytest.mark.asyncio(loop_scope="module")

CASES_MIN, OWN_CASES_MIN = 80, 20
PUBLIC = {"Content-Encoding", "application/json"}
"""What the service says too, of itself."""
AMAZONS_OWN = re.compile(r"https://sns\.us-east-1\.amazonaws\.com/SimpleNotificationService-[0-9a-f]+\.pem")


@on_one_loop
@pytest.mark.parametrize("name", FORGERIES)
async def test_a_forgery_is_refused_and_what_it_was_made_of_is_not(
    name: str, desk: Desk, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """A forgery is refused for its own reason, counted, not stored, not logged, and spoils nothing for the genuine."""
    platform, forgery = FORGERIES[name]
    genuine = desk.genuine(platform)
    forged = forgery.forge(desk, genuine)
    assert forged.wire() != genuine.wire()
    before = Counter(service.counted())

    with caplog.at_level(logging.DEBUG), capture_logs() as lines:
        answered = await send(service.port, forged.wire())

    assert [forgery.status] == answered.statuses
    assert ({}, []) == (_stored(service), service.queue.put)
    _assert_told(forgery, answered, Counter(service.counted()) - before, lines)
    _assert_nothing_leaks(forgery, forged, answered, json.dumps(lines, default=str) + caplog.text)
    assert all(AMAZONS_OWN.fullmatch(url) for url in desk.network.asked), "a stranger chose what is fetched"

    taken = await send(service.port, genuine.wire())
    assert ([200], False) == (taken.statuses, taken.says["duplicate"])
    assert {"notifications": 1} == _stored(service)


def test_there_are_enough_of_every_kind() -> None:
    """At least eighty forgeries are known, at least twenty that are each platform's own, and none under two names."""
    own = Counter({platform: len(table) for platform, table in OWN.items()})

    assert set(PLATFORMS) == set(own)
    assert min(own.values()) >= OWN_CASES_MIN
    assert own.total() >= CASES_MIN
    assert len(FORGERIES) == len({name.casefold() for name in FORGERIES})


@on_one_loop
@pytest.mark.parametrize("platform", sorted(PLATFORMS.keys() - {"apple"}))
async def test_what_the_simulator_forges_is_in_the_catalogue(platform: str, desk: Desk, service: Service) -> None:
    """Whatever a simulator learns to forge is refused at the door, too."""
    for name, _ in desk.cases[platform].simulator.forge(desk.shot(platform), service.clock.now):
        answered = await send(service.port, desk.simulated(platform, name).wire())
        assert answered.statuses[0] in {400, 401, 403}, name
    assert {} == _stored(service)


@on_one_loop
async def test_the_certificate_of_another_year_is_good_where_it_belongs(desk: Desk, service: Service) -> None:
    """The swapped certificate of the catalogue is one that is fetched and believed, under its own key."""
    genuine = desk.genuine("amazon")
    envelope = {**json.loads(genuine.body), "SigningCertURL": OTHER_CERTIFICATE}

    answered = await send(service.port, genuine.saying(sign(envelope, desk.sns_key_of_another_year)).wire())

    assert [200] == answered.statuses


def _stored(service: Service) -> dict[str, int]:
    """Count the rows of every table that has some; marks are there from the beginning."""
    with service.store.read() as connection:
        counted = {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in tables.metadata.sorted_tables
            if table is not tables.marks
        }
    return {name: count for name, count in counted.items() if count}


def _assert_told(forgery: Forgery, answered: Answered, counted: Counter[Any], lines: Any) -> None:
    """One count under the outcome of the status and one line with the reason; no count of what was no request."""
    # Every few seconds the endpoint says that it misses what was emptied since it answered 200: it is right.
    said = [line for line in lines if line["event"] != "follow.lost"]
    if forgery.reason == BY_THE_SERVER:
        assert ({}, ["http.refused"]) == (counted, [line["event"] for line in said])
        return
    (line,) = [line for line in said if line["event"].startswith(("ingest.", "http."))]
    ((_, _, outcome),) = counted
    assert (OUTCOMES[forgery.status], "ingest.rejected", forgery.reason) == (outcome, line["event"], line["reason"])
    assert forgery.reason == answered.says["error"]["code"]


def _assert_nothing_leaks(forgery: Forgery, forged: Post, answered: Answered, logged: str) -> None:
    """Nothing of head or body that is long enough to be told apart is in the log, or in an answer of ours."""
    said = AMAZONS_OWN.sub("", logged)  # what was fetched is logged, and only such addresses are
    if forgery.reason != BY_THE_SERVER:
        said += answered.raw.decode("latin-1")

    assert set() == {text for text in set(texts(forged.wire())) - PUBLIC if text in said}
