"""To erase a person leaves the sums, and nothing of the person: not in any row, and not in the database's files.

Real: signatures, verification, inbox, ledger, outbox, audit, on SQLite and PostgreSQL; stories of all four platforms.
The files are read byte by byte. Double: queue and clock.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from handlers.erased import PSEUDONYM
from tests.clusters import Cluster
from tests.worker.desk import Killed, Statements
from tests.worker.house import House, house
from worker.audit import check_fold
from worker.demo.trust import APP
from worker.erase import compact, erase, find
from worker.sealing import Sealer
from worker.simulator.sale import Sale, Shot
from worker.simulator.sales import DAY_MS
from worker.store import answers, tables

NOW = 1_795_000_000.0
PLATFORMS = ("apple", "google", "stripe", "amazon")
KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
EMAIL = "erika.mustermann@example.net"


@dataclass
class Lived:
    """What a person bought, and everything that was posted about it."""

    platform: str
    sale: Sale
    shots: list[Shot]

    @property
    def user(self) -> str:
        """Give the app's id."""
        return self.sale.user_id


async def live(at: House, platform: str, seed: int) -> Lived:
    """Buy, have it paid back, and something more: for life, and refunded in part where the platform knows that."""
    simulator, till = at.simulator(platform), at.till(platform, seed)
    sale = till.sell(0, bought_ms=int(NOW * 1000) - 5 * DAY_MS)
    other = till.sell(1, bought_ms=int(NOW * 1000) - 4 * DAY_MS, subscription=False, role="again")
    shots = [simulator.purchase(sale, NOW), simulator.refund(sale, NOW + 1), simulator.purchase(other, NOW + 2)]
    if undone := simulator.undo_refund(sale, NOW + 3):
        shots.append(undone)
    at.clock.now = NOW + 5
    at.tell(platform, sale)
    at.tell(platform, other)
    for shot in shots:
        await at.post(platform, shot)
    return Lived(platform, sale, shots)


def leave_traces(at: House, user: str, email: str = EMAIL) -> None:
    """Have backends answer with the person, and answers kept: one in clear, one sealed."""
    seal = Sealer([KEY]).seal
    with at.store.write() as connection:
        own = connection.execute(select(tables.deliveries.c.id).where(tables.deliveries.c.user_id == user)).scalars()
        for delivery in list(own):
            said = {"delivery": delivery, "attempted_at_ms": 1, "duration_ms": 1.0, "response": f"{user} {email}"}
            connection.execute(tables.attempts.insert().values(said))
        for kept, body in ((f"1-{email}", json.dumps({"user_id": user})), (f"2-{email}", "sealed:" + seal(user))):
            claimed = answers.claim(connection, kept, "fingerprint", now_ms=int(NOW * 1000), kept_ms=86_400_000)
            answers.keep(connection, kept, claimed, 200, body)


def sums(at: House) -> dict[str, Any]:
    """Add up what was paid and what went back."""
    p, r = tables.purchases.c, tables.refunds.c
    bought = select(p.platform, p.currency, func.count(), func.sum(p.amount), func.sum(p.amount_refunded))
    back = select(r.platform, r.currency, r.status, r.type, func.count(), func.sum(r.amount))
    with at.store.read() as connection:
        return {
            "bought": sorted(map(str, connection.execute(bought.group_by(p.platform, p.currency)))),
            "back": sorted(map(str, connection.execute(back.group_by(r.platform, r.currency, r.status, r.type)))),
            "entries": connection.execute(select(func.count()).select_from(tables.entries)).scalar(),
            "events": connection.execute(select(func.count()).select_from(tables.events)).scalar(),
            "notifications": connection.execute(select(func.count()).select_from(tables.notifications)).scalar(),
        }


def rows(at: House) -> str:
    """Write every row of every table out."""
    with at.store.read() as connection:
        return "\n".join(
            str(row) for table in tables.metadata.sorted_tables for row in connection.execute(select(table))
        )


def found_in_files(directory: Path, *words: str) -> set[str]:
    """Look for words in every file of a database, byte by byte."""
    files = [file for file in directory.rglob("*") if file.is_file() and file.suffix not in (".pem", ".der", ".toml")]
    contents = [file.read_bytes() for file in files]
    return {word for word in words for content in contents if word.encode() in content}


@pytest.fixture(name="at")
async def _at(tmp_path: Path, store_url: str) -> AsyncIterator[House]:
    with house(tmp_path, NOW, store_url) as opened:
        opened.runtime = replace(opened.runtime, sealer=Sealer([KEY]))
        yield opened


@pytest.mark.parametrize("platform", PLATFORMS)
async def test_the_person_goes_and_the_sums_stay(at: House, platform: str):
    """No row names the person any more; money, counts, the fold and everybody else's rows are as they were."""
    theirs, other = await live(at, platform, 1), await live(at, platform, 2)
    leave_traces(at, theirs.user)
    before = sums(at)
    assert theirs.user in rows(at)
    person = find(at.runtime, theirs.user, APP)
    done = erase(at.runtime, person)

    assert theirs.user not in rows(at)
    assert other.user in rows(at)
    assert before == sums(at)
    assert () == check_fold(at.runtime).differing
    assert (2, 0, 0) == (done.answers, done.unread, done.waiting)
    assert min(done.lineages, done.entries, done.events, done.notifications, done.deliveries) > 0
    assert {"status": "active"}.items() <= {"status": at.statuses()[other.user]}.items()


@pytest.mark.parametrize("platform", PLATFORMS)
async def test_nothing_brings_the_person_back(at: House, platform: str):
    """Replays, repetitions, the next notification and the backend's own word find a purchase that is nobody's."""
    theirs = await live(at, platform, 1)
    erase(at.runtime, find(at.runtime, theirs.user, APP))
    after = sums(at)
    with at.store.write() as connection:
        ids = [*connection.execute(select(tables.notifications.c.id)).scalars()]
        connection.execute(tables.notifications.update().values(status="accepted", attempts=0, finished_at_ms=None))
    at.queue.notifications += ids
    at.work()
    for shot in theirs.shots:
        assert (await at.post(platform, shot)).duplicate
    at.tell(platform, theirs.sale)
    assert after["bought"] == sums(at)["bought"]
    assert after["back"] == sums(at)["back"]
    late = await at.post(platform, at.simulator(platform).refund(theirs.sale, NOW + 4))

    assert theirs.user not in rows(at)
    assert ("processed", "erased", b"") == tuple(at.notification(late)[name] for name in ("status", "reason", "body"))
    assert () == check_fold(at.runtime).differing


async def test_the_file_of_sqlite_holds_nothing(tmp_path: Path):
    """Neither the database nor what lies beside it holds one byte of ids, of addresses or of what was signed."""
    with house(tmp_path, NOW) as at:
        lives, others = [await live(at, p, 1) for p in PLATFORMS], [await live(at, p, 2) for p in PLATFORMS]
        words = [word for lived, other in zip(lives, others, strict=True) for word in words_of(at, lived, other)]
        for lived in lives:
            leave_traces(at, lived.user)
        before = found_in_files(tmp_path, *words)  # a piece may lie across two pages
        assert len(before) > len(words) // 2
        assert {EMAIL, *(lived.user for lived in lives)} <= before
        done = [compact(at.runtime, erase(at.runtime, find(at.runtime, lived.user, APP))) for lived in lives]

        assert [False] * 4 == [each.remains for each in done]
        assert set() == found_in_files(tmp_path, *words)
        assert {other.user for other in others} == found_in_files(tmp_path, *(other.user for other in others))


async def test_the_files_of_postgresql_hold_nothing_once_they_are_written_anew(tmp_path: Path, postgresql: Cluster):
    """Tables and statistics hold nothing of the person after the tables were written anew; before, they are said to."""
    name = postgresql.new()
    with house(tmp_path, NOW, postgresql.url(name)) as at:
        lived, other = await live(at, "apple", 1), await live(at, "apple", 2)
        leave_traces(at, lived.user)
        leave_traces(at, other.user, "somebody@example.net")  # statistics of a table without rows are never made anew
        words = (lived.user, EMAIL)
        with at.store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            own = connection.exec_driver_sql("SELECT oid FROM pg_database WHERE datname = current_database()").scalar()
            connection.exec_driver_sql("ANALYZE")
            connection.exec_driver_sql("CHECKPOINT")
        files = next(postgresql.home.rglob("base")) / str(own)
        assert {*words} == found_in_files(files, *words)
        done = erase(at.runtime, find(at.runtime, lived.user, APP))
        assert compact(at.runtime, done).remains

        assert not compact(at.runtime, done, rewrite=True).remains
        with at.store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("CHECKPOINT")
        assert set() == found_in_files(files, *words)
        assert {other.user} == found_in_files(files, other.user)


def words_of(at: House, lived: Lived, other: Lived) -> list[str]:
    """List what must not be found: the app's id, an e-mail address, and what was posted of this person and no other.

    The platforms' ids of purchases, refunds and notifications stay: they are what the sums are made of.
    """
    with at.store.read() as connection:
        kept = [
            *connection.execute(select(tables.refs.c.ref)).scalars(),
            *connection.execute(select(tables.notifications.c.notification_id)).scalars(),
        ]
    stays = " ".join(kept).encode() + b"".join(shot.body for shot in other.shots)
    pieces = [shot.body[at : at + 24] for shot in lived.shots for at in range(0, len(shot.body) - 24, 24)]
    own = [piece.decode() for piece in pieces if not any(piece[at : at + 8] in stays for at in range(0, 24, 8))]
    return [lived.user, EMAIL, *own[:: max(1, len(own) // 20)]]


async def test_an_erasure_that_was_killed_goes_on(at: House):
    """Whichever statement was its last, doing it again ends where one run would have, with one pseudonym per name."""
    theirs = await live(at, "stripe", 1)
    leave_traces(at, theirs.user)
    before, watch, kills = sums(at), Statements().watch(at.store), 0
    while True:
        watch.kill_after = 2 + 5 * kills
        try:
            erase(at.runtime, find(at.runtime, theirs.user, APP))
            break
        except Killed:
            kills += 1
            assert () == check_fold(at.runtime).differing
    watch.kill_after = None
    with at.store.read() as connection:
        own = select(tables.purchases.c.user_id).union(select(tables.customers.c.user_id))
        names = {*connection.execute(own).scalars()}

    assert kills > 4
    assert theirs.user not in rows(at)
    assert before == sums(at)
    assert [True] == [PSEUDONYM.fullmatch(name) is not None for name in names]
    assert "erasing:" not in rows(at)


async def test_what_waits_or_is_shut_is_told(at: House):
    """What was not processed yet is not destroyed, and what no key opens cannot be judged: both are told."""
    theirs = await live(at, "apple", 1)
    await at.arrive("apple", at.simulator("apple").renew(replace(theirs.sale, period=1), NOW + 4))
    with at.store.write() as connection:
        shut = dict(connection.execute(select(tables.notifications).limit(1)).mappings().one())
        shut |= {"id": "ntf_shut", "body": b"\x01nobody opens this", "status": "dead", "notification_id": "shut"}
        connection.execute(tables.notifications.insert().values(shut))
    done = erase(at.runtime, find(at.runtime, theirs.user, APP))

    assert (1, 1) == (done.waiting, done.unread)
    at.work()
    assert 0 == erase(at.runtime, find(at.runtime, theirs.user, APP)).waiting
    assert theirs.user not in rows(at)
