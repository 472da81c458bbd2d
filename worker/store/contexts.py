"""Find the traces that deliveries belong to: an event goes on with that of the notification which caused it."""

import json
from collections.abc import Iterable
from dataclasses import replace

from sqlalchemy import Connection

from worker.store import bulk
from worker.store.outbox import Claimed
from worker.tracing import TRACEPARENT

_CAUSES = """
    SELECT events.id, notifications.stations FROM events JOIN notifications ON notifications.id = events.notification
    WHERE events.id IN ?"""


def find_contexts(connection: Connection, claimed: Claimed) -> Claimed:
    """Tell each claim where its trace goes on. Of what no notification caused, or one that is forgotten, none does."""
    found = dict(_contexts(connection, {claim.event_id for claim in claimed.claims}))
    if not found:
        return claimed
    return replace(claimed, claims=[replace(one, traceparent=found.get(one.event_id)) for one in claimed.claims])


def _contexts(connection: Connection, events: set[str]) -> Iterable[tuple[str, str]]:
    for event, stations in bulk.ask(connection, _CAUSES, events) if events else ():
        if TRACEPARENT in (passed := json.loads(stations)):
            yield event, passed[TRACEPARENT]
