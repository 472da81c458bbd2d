"""The inbox with keys: what lies sealed is processed, shown and sealed anew, and what no key opens is kept.

Real: inbox, processing, store on SQLite and PostgreSQL, Stripe's event shapes. Double: queue and clock.
"""

from dataclasses import replace

import pytest
from cryptography.fernet import Fernet

from tests.worker.desk import Desk, arrival
from tests.worker.stripe_events import charge, refund
from worker import reseal as resealing
from worker.bodies import PLAIN, Bodies, is_sealed
from worker.inbox import Inbox
from worker.process import process
from worker.reseal import Resealed, reseal
from worker.runtime import Runtime
from worker.sealing import NoEncryptionKey
from worker.store import seals, tables

OLD, NEW, LOST = (Fernet.generate_key().decode() for _ in range(3))
TOLD = (("charge.succeeded", charge("1")), ("refund.created", refund("1")))


async def accepted(at: Desk, *keys: str, first: int = 0) -> list[str]:
    """Stripe posts these, and the door seals with the first key."""
    inbox = Inbox(at.store, at.queue, bodies=Bodies(keys))
    return [(await inbox.accept(arrival(first + number, *each))).id for number, each in enumerate(TOLD)]


def with_keys(at: Desk, *keys: str) -> Runtime:
    """Give the parts of a process that has these keys."""
    return replace(at.runtime, bodies=Bodies(keys))


def stored(at: Desk) -> dict[str, bytes]:
    """Read every body as it lies in the database."""
    return {row["id"]: bytes(row["body"]) for row in at.rows(tables.notifications)}


async def test_what_lies_sealed_takes_effect(at: Desk):
    """A worker with the key reads what the door sealed, and nothing of it lies open."""
    ids = await accepted(at, OLD)
    assert all(is_sealed(body) and b"ch_" not in body for body in stored(at).values())

    process(with_keys(at, NEW, OLD), ids)

    assert {"user-1": "revoked"} == at.statuses()


async def test_a_repetition_is_one_whatever_sealed_it(at: Desk):
    """A notification that comes again is a duplicate, though it would be sealed differently: only its id tells."""
    ids, before = await accepted(at, OLD), stored(at)

    assert ids == await accepted(at, NEW)
    assert before == stored(at)


async def test_without_its_key_it_waits_and_loses_nothing(at: Desk):
    """What no key opens is tried again and kept; once the key is back, it takes effect."""
    ids = await accepted(at, LOST)
    process(with_keys(at, NEW), ids)
    assert {("accepted", "error:WrongEncryptionKey")} == {
        (row["status"], row["reason"]) for row in at.rows(tables.notifications)
    }

    process(with_keys(at, NEW, LOST), ids)

    assert {"user-1": "revoked"} == at.statuses()


async def test_a_key_can_be_retired(at: Desk):
    """What an old key sealed, and what lay open before there was any, is sealed with the first: then it opens alone."""
    old, open_ = await accepted(at, OLD), await accepted(at, first=10)
    assert [Resealed(4, 4)] == list(reseal(with_keys(at, NEW, OLD), dry_run=True))
    assert [Resealed(4, 4)] == list(reseal(with_keys(at, NEW, OLD)))
    assert [Resealed(4)] == list(reseal(with_keys(at, NEW, OLD)))

    process(with_keys(at, NEW), [*old, *open_])

    assert {"processed"} == {row["status"] for row in at.rows(tables.notifications)}
    with at.store.read() as connection:
        assert {Bodies([NEW]).current: 4} == seals.count_by_prefix(connection)


async def test_what_no_key_opens_is_counted_and_left(at: Desk):
    """Sealing anew changes nothing that it cannot open, by its key's name or by its contents."""
    lost, broken = await accepted(at, LOST), await accepted(at, OLD, first=10)
    with at.store.write() as connection:
        (kept,) = seals.hold(connection, broken[:1])
        seals.replace(connection, [kept._replace(body=kept.body[:-1] + bytes([kept.body[-1] ^ 1]))])
    before = stored(at)
    assert [Resealed(4, 1, 3)] == list(reseal(with_keys(at, NEW, OLD)))

    after = stored(at)
    assert [before[id_] for id_ in (*lost, broken[0])] == [after[id_] for id_ in (*lost, broken[0])]


async def test_it_goes_on_stretch_by_stretch(at: Desk):
    """However long the inbox is, a stretch is one transaction; an interrupted run is simply begun again."""
    many = resealing.STRETCH + 1
    await Inbox(at.store, at.queue).accept(arrival(0, *TOLD[0]))
    with at.store.write() as connection:
        row = dict(at.rows(tables.notifications)[0])
        rows = [{**row, "id": f"ntf_{n:024}", "notification_id": str(n)} for n in range(many - 1)]
        connection.execute(tables.notifications.insert(), rows)
    going = reseal(with_keys(at, NEW))
    assert Resealed(resealing.STRETCH, resealing.STRETCH) == next(going)
    going.close()

    assert [Resealed(resealing.STRETCH, 0), Resealed(many, 1)] == list(reseal(with_keys(at, NEW)))


async def test_without_a_key_nothing_can_be_sealed(at: Desk):
    """Who has no key is told which setting to change."""
    with pytest.raises(NoEncryptionKey, match="encryption_keys"):
        next(reseal(replace(at.runtime, bodies=PLAIN)))
