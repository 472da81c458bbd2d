"""The audit log takes rows and gives none back, whatever the database."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from worker.store import audit, migrate
from worker.store.engine import Store

CHANGES = {
    "sqlite": ("UPDATE audit SET operator = 'nobody'", "DELETE FROM audit", "REPLACE INTO audit SELECT * FROM audit"),
    "postgresql": ("UPDATE audit SET operator = 'nobody'", "DELETE FROM audit", "TRUNCATE audit"),
}


def record(number: int, **changes: object) -> dict[str, object]:
    """Make a row."""
    return {
        "id": f"aud_{number}",
        "at_ms": number * 1000,
        "operator": "ada",
        "token": None,
        "address": "192.0.2.1",
        "action": "subscriber.delete",
        "target": "sub_1",
        "outcome": "done",
        "reason": None,
        "detail": {"deliveries": number},
        **changes,
    }


@pytest.fixture(name="store")
def _store(store_url: str) -> Iterator[Store]:
    store = Store(store_url)
    migrate.upgrade(store)
    yield store
    store.close()


@pytest.mark.parametrize("number", range(3))
def test_no_row_is_ever_changed_or_taken_back(store: Store, number: int):
    """An update, a deletion and what would do either by another name are refused by the database itself."""
    with store.write() as connection:
        audit.add_record(connection, record(1))
    with pytest.raises(DBAPIError, match="append-only"), store.engine.connect() as connection, connection.begin():
        connection.execute(text(CHANGES[connection.dialect.name][number]))
    with store.read() as connection:
        ((_, kept),) = audit.list_records(connection, {}, after=None, limit=10)
    assert ("aud_1", 1, "ada", {"deliveries": 1}) == (kept.id, kept.at, kept.operator, kept.detail)


def test_the_log_is_read_newest_first_and_by_what_is_asked(store: Store):
    """Pages carry on where one ended, and filters are columns."""
    with store.write() as connection:
        for number in (1, 2, 3):
            audit.add_record(connection, record(number, operator="ada" if number < 3 else "ben"))
    with store.read() as connection:
        first = audit.list_records(connection, {}, after=None, limit=2)
        rest = audit.list_records(connection, {}, after=(first[-1][0], first[-1][1].id), limit=2)
        by_ada = audit.list_records(connection, {"operator": "ada", "target": None}, after=None, limit=9)

    assert ["aud_3", "aud_2", "aud_1"] == [one.id for _, one in (*first, *rest)]
    assert ["aud_2", "aud_1"] == [one.id for _, one in by_ada]
