"""The inbox table, statement by statement.

Real: the store on SQLite. Double: nothing.
"""

import json
import threading
from typing import Any

from schemas.received import Identity
from tests.worker.desk import Desk
from worker.inbox import Arrival
from worker.store import inbox, tables
from worker.store.inbox import Outcome

NOW_MS = 1_770_000_000_000


def row(name: str, **said: Any) -> dict[str, Any]:
    """One notification as ingest writes it."""
    return {
        "id": f"ntf_{name}",
        "app": "acme",
        "platform": "stripe",
        "environment": "production",
        "scope": "",
        "notification_id": f"evt_{name}",
        "type": "refund.created",
        "subtype": "",
        "occurred_at_ms": NOW_MS,
        "received_at_ms": NOW_MS,
        "body": b'{"\x00": "\xff"}',
        "headers": '{"webhook-id": "7"}',
        "status": "accepted",
        "attempts": 0,
        "retry_at_ms": NOW_MS,
        "stations": '{"verified": 0.25}',
        **said,
    }


def identified(**said: Any) -> dict[str, Any]:
    """One notification with the id that its identity gives it."""
    made = row("1", **said)
    identity = Identity(made["notification_id"], "", 0, None, scope=made["scope"])
    return {**made, "id": Arrival(made["app"], made["platform"], identity, b"", {}, 0.0, 0.0).id}


def insert(at: Desk, *rows: dict[str, Any]) -> set[str]:
    """Insert what is not there."""
    with at.store.write() as connection:
        return set(inbox.insert_absent(connection, rows))


def stored(at: Desk) -> dict[str, dict[str, Any]]:
    """Read the table by id."""
    return {each["id"]: dict(each) for each in at.rows(tables.notifications)}


def test_only_what_is_new_is_inserted(at: Desk):
    """Of a batch the known ones are passed over and named by their absence from the answer; they stay as they were."""
    assert set() == insert(at)
    assert {"ntf_1", "ntf_2"} == insert(at, row("1"), row("2"))
    assert {"ntf_3"} == insert(at, row("2", body=b"other"), row("3"))
    assert row("2")["body"] == stored(at)["ntf_2"]["body"]


def test_the_identity_is_what_must_not_repeat(at: Desk):
    """The same id of another app, platform or topic is another notification."""
    others = [identified(app="other"), identified(platform="apple"), identified(scope="topic")]

    assert 4 == len(insert(at, identified(), *others))
    assert set() == insert(at, identified(type="another", body=b"other"))


def test_only_accepted_ones_are_loaded_oldest_first(at: Desk):
    """What is finished is not read again, and the order of the answer is that of receipt."""
    insert(at, row("1", received_at_ms=5), row("2", received_at_ms=3), row("3", status="processed"), row("4"))
    with at.store.read() as connection:
        loaded = inbox.load(connection, ["ntf_1", "ntf_2", "ntf_3", "ntf_unknown"])

    assert ["ntf_2", "ntf_1"] == [each.id for each in loaded]
    assert (row("2")["body"], {"webhook-id": "7"}, {"verified": 0.25}) == (
        loaded[0].body,
        loaded[0].headers,
        loaded[0].stations,
    )


def test_finishing_writes_what_became_of_it(at: Desk):
    """A status, a reason, and when; what is to be tried again is not finished."""
    insert(at, row("1"), row("2"))
    with at.store.write() as connection:
        inbox.finish(connection, [], now_ms=NOW_MS)
        assert {"ntf_1", "ntf_2"} == inbox.claim(connection, ["ntf_1", "ntf_2", "ntf_3"])().keys()
        outcomes = [
            Outcome("ntf_1", "processed", None, 1, {"decided": 1.5}),
            Outcome("ntf_2", "accepted", "error:KeyError", 1, {}, NOW_MS + 5),
        ]
        inbox.finish(connection, outcomes, now_ms=NOW_MS + 1)
        assert {"ntf_2"} == inbox.claim(connection, ["ntf_1", "ntf_2"])().keys()

    one, two = stored(at)["ntf_1"], stored(at)["ntf_2"]
    assert ("processed", NOW_MS + 1) == (one["status"], one["finished_at_ms"])
    assert {"decided": 1.5} == json.loads(one["stations"])
    assert ("accepted", None, "error:KeyError", NOW_MS + 5) == (
        two["status"],
        two["finished_at_ms"],
        two["reason"],
        two["retry_at_ms"],
    )


def test_overdue_is_what_nobody_finished(at: Desk):
    """The longest overdue come first, up to a limit; what was postponed or finished is not among them."""
    insert(at, row("1", retry_at_ms=3), row("2", retry_at_ms=1), row("3", retry_at_ms=9), row("4", status="dead"))
    with at.store.write() as connection:
        assert ["ntf_2", "ntf_1"] == inbox.overdue(connection, now_ms=8, limit=5)
        assert ["ntf_2"] == inbox.overdue(connection, now_ms=8, limit=1)
        inbox.postpone(connection, [], now_ms=8, until_ms=99)
        inbox.postpone(connection, ["ntf_2"], now_ms=8, until_ms=9)
        assert ["ntf_1"] == inbox.overdue(connection, now_ms=8, limit=5)


def test_what_was_put_off_or_finished_meanwhile_is_not_put_off_again(at: Desk):
    """A sweeper that comes late changes nothing of what others made of a notification since it was found."""
    insert(at, row("1", retry_at_ms=7_000), row("2", status="processed", retry_at_ms=1), row("3", retry_at_ms=1))
    with at.store.write() as connection:
        inbox.postpone(connection, ["ntf_1", "ntf_2", "ntf_3"], now_ms=8, until_ms=99)

    assert {"ntf_1": 7_000, "ntf_2": 1, "ntf_3": 99} == {id_: one["retry_at_ms"] for id_, one in stored(at).items()}


def test_reopening_begins_anew(at: Desk):
    """A finished notification is accepted again, with no attempts behind it and due at once; an unknown one is not."""
    insert(at, row("1", status="dead", attempts=8, reason="error:KeyError", finished_at_ms=NOW_MS))
    with at.store.write() as connection:
        assert ["ntf_1"] == inbox.reopen(connection, ["ntf_1", "ntf_2"], now_ms=NOW_MS + 7)
        assert ["ntf_1"] == inbox.overdue(connection, now_ms=0, limit=5)

    again = stored(at)["ntf_1"]
    assert ("accepted", 0, None, None) == (again["status"], again["attempts"], again["reason"], again["finished_at_ms"])
    assert {"verified": 0.25, "replayed": 7} == json.loads(again["stations"])


def test_many_writers_insert_each_notification_once(at: Desk):
    """Eight threads that insert the same notifications agree: every one of them was new to exactly one thread."""
    new: list[set[str]] = []
    together = threading.Barrier(8)

    def insert_all() -> None:
        together.wait()
        new.append(insert(at, *(row(str(number)) for number in range(40))))

    threads = [threading.Thread(target=insert_all) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 40 == len(stored(at)) == sum(map(len, new))
