"""What a start does to the table of subscribers, and what it leaves alone."""

from collections.abc import Iterator

import pytest
from sqlalchemy import select, update

from handlers.backoff import Verdict
from tests.services import emptied, postgresql, shared_database, store_url
from tests.store.outbox_steps import claim, settle
from tests.store.outbox_story import NOW, announce, event, new_store, subscribe, subscriber
from worker.store.engine import Store
from worker.store.subscribers import forget_orphans, remove_subscriber
from worker.store.tables import deliveries, subscribers

__all__ = ["emptied", "postgresql", "shared_database", "store_url"]


@pytest.fixture(name="store")
def _store(store_url: str) -> Iterator[Store]:
    made = new_store(store_url)
    yield made
    made.close()


def stands(store: Store, id_: str) -> tuple[str, str | None, int]:
    """Read how a subscriber stands, and since when."""
    with store.read() as connection:
        row = connection.execute(select(subscribers).where(subscribers.c.id == id_)).one()
        return row.state, row.reason, row.changed_at


def state(store: Store, one: str) -> tuple[str, str | None]:
    """Read whether a subscriber is told anything, and why not."""
    return stands(store, one)[:2]


@pytest.mark.parametrize(
    ("state", "reason", "after"),
    [
        ("enabled", None, "enabled"),
        ("paused", None, "paused"),
        ("disabled", "by_operator", "disabled"),
        ("disabled", "gone", "enabled"),
        ("disabled", "long_failure", "enabled"),
        ("disabled", "removed_from_configuration", "enabled"),
    ],
)
def test_a_start_mends_failures_and_undoes_no_operator(store: Store, state: str, reason: str | None, after: str):
    """Starting again enables what failed, and neither a pause nor an operator's end is undone by it."""
    (who,) = subscribe(store, subscriber())
    with store.write() as connection:
        connection.execute(update(subscribers).values(state=state, reason=reason, failing_since_ms=1))

    subscribe(store, subscriber(), now=NOW + 60)

    changed_at = int(NOW) + 60 if state != after else int(NOW)
    assert (after, None if after == "enabled" else reason, changed_at) == stands(store, who)


def test_what_left_the_configuration_notes_once_where(store: Store):
    """The first start without it disables it and keeps from where on it missed events; later starts change nothing."""
    (who,) = subscribe(store, subscriber())
    announce(store, [event(1)])
    subscribe(store, now=NOW + 60)
    announce(store, [event(2)])
    subscribe(store, now=NOW + 120)

    assert ("disabled", "removed_from_configuration", int(NOW) + 60) == stands(store, who)
    with store.read() as connection:
        row = connection.execute(select(subscribers.c.missed_after, subscribers.c.secrets)).one()
    assert (1, "[]") == (row.missed_after, row.secrets)


def test_secrets_that_lay_in_clear_are_cleared(store: Store):
    """What an earlier version stored of configured secrets is gone after a start, configured still or not."""
    for configured in ((subscriber(),), ()):
        subscribe(store, subscriber())
        with store.write() as connection:
            connection.execute(update(subscribers).values(secrets='["whsec_in_clear"]'))
        subscribe(store, *configured)
        with store.read() as connection:
            assert ["[]"] == list(connection.execute(select(subscribers.c.secrets)).scalars())


def test_the_configuration_takes_over_what_the_api_made(store: Store):
    """An address that the file names as well stays one subscriber, under its id, and is the file's from then on."""
    (who,) = subscribe(store, subscriber())
    with store.write() as connection:
        connection.execute(update(subscribers).values(id="sub_of_the_api", origin="api", secrets="[{}]"))
    assert ["sub_of_the_api"] == subscribe(store, subscriber(environment="sandbox", rate_per_second=5))

    with store.read() as connection:
        (row,) = connection.execute(select(subscribers))
    assert ("config", "[]", "sandbox", 5.0) == (row.origin, row.secrets, row.environment, row.rate_per_second)
    assert who != row.id


def test_what_was_queued_during_a_deletion_is_forgotten(store: Store):
    """Deliveries that were decided while their subscriber was deleted are dropped, and nobody else's."""
    dead, _alive = subscribe(store, subscriber(), subscriber("https://b.acme.example/"))
    with store.write() as connection:
        assert 0 == forget_orphans(connection)
    announce(store, [event(1)])
    with store.write() as connection:
        assert 1 == remove_subscriber(connection, dead)
        connection.execute(update(deliveries).values(subscriber="sub_deleted"))
        assert 1 == forget_orphans(connection)
        assert [] == list(connection.execute(select(deliveries.c.id)))


def test_the_configuration_decides_who_subscribes(store):
    """Starting again changes, removes and brings back subscribers under the same ids."""
    (who,) = subscribe(store, subscriber(types=("refund.*",)))
    subscribe(store)
    assert ("disabled", "removed_from_configuration") == state(store, who)

    assert [who] == subscribe(store, subscriber(types=("*",), timeout_seconds=5.0), now=NOW + 60)

    assert ("enabled", None) == state(store, who)
    with store.read() as connection:
        row = connection.execute(select(subscribers)).one()
    assert ('["*"]', 5.0, "config", int(NOW)) == (row.types, row.timeout_seconds, row.origin, row.created_at)


def test_a_start_enables_what_is_still_configured(store):
    """A subscriber that was disabled for its failures gets another chance when the operator starts again."""
    (who,) = subscribe(store, subscriber())
    settle(store, claim(store, announce(store, [event(1)]))[0], Verdict("failed", 5.0, gone=True))

    subscribe(store, subscriber())

    assert ("enabled", None) == state(store, who)


def test_subscribers_of_other_origin_are_left_alone(store):
    """The configuration speaks only for what came from it."""
    (who,) = subscribe(store, subscriber())
    with store.write() as connection:
        connection.execute(update(subscribers).values(origin="api"))

    subscribe(store)

    assert ("enabled", None) == state(store, who)
