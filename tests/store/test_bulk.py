"""Many rows in one statement: what is asked for and written is the same on both databases.

Real: SQLite, PostgreSQL and its driver. Double: nothing.
"""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, exc, select

from tests.store.outbox_story import new_store
from worker.store import bulk
from worker.store import tables as t
from worker.store.engine import Store
from worker.store.views import ENTITLEMENTS, PURCHASES, REFUNDS, View

CUSTOMER = ("app", "user_id", "sequence")
# What neither database takes in a text is refused at the door: NUL, and halves of characters.
words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
numbers = st.integers(-(2**63), 2**63 - 1)


@pytest.fixture(name="store")
def _store(store_url: str) -> Iterator[Store]:
    opened = new_store(store_url)
    yield opened
    opened.close()


def customers(store: Store) -> list[tuple[str, str, int]]:
    """Read the table of customers."""
    with store.read() as connection:
        rows = connection.execute(select(t.customers).order_by(t.customers.c.app, t.customers.c.user_id))
        return [(row.app, row.user_id, row.sequence) for row in rows]


def test_what_is_there_stays_as_it_is(store: Store):
    """Of rows to be inserted if absent, those that were not there are counted, and the others are left alone."""
    with store.write() as connection:
        assert 1 == bulk.insert_absent(connection, t.customers, CUSTOMER, [("acme", "ann", 1)])()
        assert 1 == bulk.insert_absent(connection, t.customers, CUSTOMER, [("acme", "ann", 7), ("acme", "bob", 2)])()
        assert 0 == bulk.insert_absent(connection, t.customers, CUSTOMER, [])()

    assert [("acme", "ann", 1), ("acme", "bob", 2)] == customers(store)


def test_what_is_there_is_replaced(store: Store):
    """A row with the key of another takes its place."""
    with store.write() as connection:
        bulk.upsert(connection, t.customers, CUSTOMER, [("acme", "bob", 1), ("acme", "ann", 1)])
        bulk.upsert(connection, t.customers, CUSTOMER, [("acme", "ann", 5), ("zeta", "ann", 3)])

    assert [("acme", "ann", 5), ("acme", "bob", 1), ("zeta", "ann", 3)] == customers(store)


def test_what_is_there_is_a_mistake(store: Store):
    """A plain insert refuses the key of a row that is there, and keeps nothing of its set."""
    with pytest.raises(exc.IntegrityError), store.write() as connection:
        bulk.insert(connection, t.customers, CUSTOMER, [("acme", "ann", 1), ("acme", "ann", 2)])

    assert [] == customers(store)


def test_what_all_rows_share_is_said_once(store: Store):
    """A value for every row is in every row."""
    with store.write() as connection:
        bulk.insert(connection, t.customers, ("user_id",), [("ann",), ("bob",)], {"app": "acme", "sequence": 2**40})

    assert [("acme", "ann", 2**40), ("acme", "bob", 2**40)] == customers(store)


def test_only_what_is_named_is_changed(store: Store):
    """Rows named by their key get new values; their other columns, other rows, and keys without a row stay."""
    names = ("name", "holder", "until_ms")
    with store.write() as connection:
        bulk.insert(connection, t.locks, names, [("a", "x", 1), ("b", "y", 2), ("c", "z", 3)])
        bulk.change(connection, t.locks, ("name", "until_ms"), [("c", 30), ("a", 10), ("gone", 9)])
        bulk.change(connection, t.locks, ("name", "until_ms"), [])
        rows = connection.execute(select(t.locks).order_by(t.locks.c.name)).all()

    assert [("a", "x", 10), ("b", "y", 2), ("c", "z", 30)] == [tuple(row) for row in rows]


def test_each_question_is_asked_of_many(store: Store):
    """A text is one of many, or it is not; none is one of none."""
    question = "SELECT app, user_id FROM customers WHERE app IN ? AND user_id IN ? ORDER BY user_id FOR UPDATE"
    with store.write() as connection:
        bulk.insert(connection, t.customers, CUSTOMER, [(app, user, 0) for app in "ab" for user in "xyz"])
        assert [("a", "x"), ("a", "z")] == [
            tuple(row) for row in bulk.ask(connection, question, ["a"], ["x", "z", "-"])
        ]
        assert [] == list(bulk.ask(connection, question, ["a"], []))


def test_each_key_is_looked_up_by_itself(store: Store):
    """What is found for a key comes with it; a key that leads to nothing comes with nothing, and none to none."""
    look = """
        SELECT sequence FROM customers AS c WHERE c.app = asked.app AND c.user_id >= asked.user_id
        ORDER BY c.user_id DESC LIMIT 1"""
    keys = [("a", "y"), ("b", "x"), ("a", "zz"), ("b", 'é"\\\n')]
    with store.write() as connection:
        rows = [(app, user, number) for app in "ab" for number, user in enumerate("xyz")]
        bulk.insert(connection, t.customers, CUSTOMER, [*rows, ("b", 'é"\\\n', 7)])
        found = [tuple(row) for row in bulk.ask_each(connection, look, ("app", "user_id"), keys)]
        assert [] == list(bulk.ask_each(connection, look, ("app", "user_id"), keys[:0]))

    assert sorted([("a", "y", 2), ("b", "x", 7), ("a", "zz", None), ("b", 'é"\\\n', 7)]) == sorted(found)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.dictionaries(words, st.tuples(st.none() | words, st.none() | numbers, st.binary(max_size=9)), max_size=6)
)
def test_every_value_comes_back(store: Store, rows: dict[str, tuple[str | None, int | None, bytes]]):
    """Whatever text, number, null or bytes a column is given, it holds, and is found by it."""
    names = ("id", "reason", "finished_at_ms", "body")
    filled = {c.name: 0 if c.name.endswith("_ms") else "" for c in t.notifications.columns if not c.nullable}
    same = {
        name: value for name, value in (filled | {"attempts": 0}).items() if name not in (*names, "notification_id")
    }
    given_rows = [(key, *values, key) for key, values in rows.items()]
    with store.write() as connection:
        connection.execute(delete(t.notifications))
        bulk.insert(connection, t.notifications, (*names, "notification_id"), given_rows, same)
        found = bulk.ask(connection, "SELECT id, reason, finished_at_ms, body FROM notifications WHERE id IN ?", rows)

    assert rows == {key: tuple(values) for key, *values in found}


def _resources(view: View) -> st.SearchStrategy:
    fields = {name: words for name, field in view.model.model_fields.items() if field.annotation is str}
    whole = {name: numbers for name, field in view.model.model_fields.items() if field.annotation is int}
    maybe = {
        name: st.none() | (words if field.annotation == str | None else numbers)
        for name, field in view.model.model_fields.items()
        if field.annotation in (str | None, int | None)
    }
    many = {n: st.lists(words, max_size=3).map(tuple) for n in ("aliases", "entitlements", "purchases")}
    many = {name: value for name, value in many.items() if name in view.model.model_fields}
    return st.builds(view.model, **fields, **whole, **maybe, **many)


@pytest.mark.parametrize("view", [PURCHASES, REFUNDS, ENTITLEMENTS], ids=lambda view: view.table.name)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_field_comes_back(store: Store, view: View, data: st.DataObject):
    """What is read of a resource equals what was written, field by field, as a document and by its columns."""
    written = data.draw(_resources(view))
    if view is REFUNDS:
        written = written.model_copy(update={"charge": None})
    names = tuple(n for n in ("lineage", "sort_at") if n in view.table.c)
    beside = [tuple({"lineage": "lin_1", "sort_at": 1}[name] for name in names)]
    with store.write() as connection:
        connection.execute(delete(view.table))
        view.write(connection, [written], names, beside)
        view.write(connection, [written], names, beside)
        ((_, found),) = view.find(connection, "app", "app IN ?", [written.app])
        (row,) = connection.execute(select(view.table)).mappings()

        assert written == found == view.read(row)
