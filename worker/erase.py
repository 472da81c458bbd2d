"""Erase a person and keep the sums: what was bought and went back stays, and belongs to nobody that anybody knows.

In this order, each step leaving everything consistent, so that a kill at any time only means to begin again:

1. find every lineage in which the person was ever named, and draw a pseudonym for each name;
2. in one transaction, rename the person in the ledger and in all that it amounts to. From then on whatever is said of
   these purchases is said of the pseudonym (`handlers/erased.py: kept_out`), by platforms and by the app's backend;
3. a stretch at a time: rename the person in events, destroy bodies, delete deliveries with what was answered to them,
   and answers that were kept for an Idempotency-Key;
4. forget the pseudonyms, and have the database forget what it has deleted.
"""

import re
import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection, or_

from handlers.erased import PREFIX, SHORT, guesses, mentions, pattern_of
from schemas.entry import Entry
from worker.runtime import Runtime
from worker.sealing import Sealed
from worker.store import answers, erasing
from worker.store import tables as t

T = TypeVar("T")

Tell = Callable[[int], None]
"""Is told of so many rows that were looked at."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What was found of a person, and erased.

    Attributes:
        names: how many there were: the app's own, and a platform's customers that stood for it.
        unread: notifications that no key opens, so that nobody knows whether they are the person's.
        waiting: notifications that mention the person and were not processed yet.
        remains: the database may still hold, in old versions of rows, what was erased.
    """

    names: int = 0
    lineages: int = 0
    entries: int = 0
    events: int = 0
    notifications: int = 0
    deliveries: int = 0
    answers: int = 0
    unread: int = 0
    waiting: int = 0
    remains: bool = True


@dataclass(frozen=True, slots=True)
class Person:
    """Whom to erase, as far as the store knows.

    Attributes:
        names: each with its pseudonym.
        lineages: in which any of them, or its pseudonym, is named.
        resumed: it was begun before, and did not come to its end.
    """

    user: str
    app: str | None
    names: dict[str, str]
    lineages: dict[str, list[Entry]] = field(default_factory=dict)
    resumed: bool = False

    @property
    def mark(self) -> str:
        """Name the mark that is there while this is under way."""
        return f"erasing:{self.app or ''}:{self.user}"

    @property
    def notifications(self) -> set[str]:
        """List the notifications that said something of the person's purchases."""
        return {e.source.notification for said in self.lineages.values() for e in said if e.source.notification}


def find(runtime: Runtime, user: str, app: str | None, tell: Tell = lambda _: None) -> Person:
    """Find every lineage in which a person is named, by whichever name; changes nothing.

    Raises:
        StoreUnavailable: the search could not be made.
    """
    person = Person(user, app, {})
    with runtime.store.read() as connection:
        begun = erasing.remembered(connection, person.mark)
    person = replace(person, names=begun or {user: _pseudonym()}, resumed=bool(begun))
    while True:
        known = {*person.names, *person.names.values()}
        found = _lineages(runtime, known, app, tell)
        more = {name for said in found.values() for name in guesses(said, user)} - known
        if not more or begun:
            return replace(person, lineages=found)
        person.names.update({name: _pseudonym() for name in sorted(more)})


def erase(runtime: Runtime, person: Person, tell: Tell = lambda _: None) -> Erased:
    """Erase a person who was found. Beside running workers; may be done again at any time.

    Raises:
        StoreUnavailable: the database went away; what was done is done, and erasing again goes on.
    """
    store, names = runtime.store, person.names
    if not person.resumed:
        store.change(lambda connection: erasing.remember(connection, person.mark, names))
    entries, lineages = _erase_ledger(runtime, person)
    person = replace(person, lineages=lineages)
    done = Erased(names=len(names), lineages=len(lineages), entries=entries)
    done = replace(done, events=_erase_events(runtime, person, tell))
    done = _destroy_bodies(runtime, person, done, tell)
    done = replace(
        done, deliveries=_forget_deliveries(runtime, person, tell), answers=_forget_answers(runtime, person, tell)
    )
    store.change(lambda connection: erasing.forget(connection, person.mark))
    return done


def compact(runtime: Runtime, done: Erased, *, rewrite: bool = False) -> Erased:
    """Have the database forget what it has deleted: SQLite always, PostgreSQL where others may wait for it.

    Raises:
        StoreUnavailable: somebody holds on to it.
    """
    if runtime.store.engine.dialect.name == "sqlite":
        return replace(done, remains=not erasing.compact(runtime.store))
    if rewrite:
        erasing.rewrite(runtime.store)
    return replace(done, remains=not rewrite)


def _pseudonym() -> str:
    return PREFIX + secrets.token_hex(12)


def _lineages(runtime: Runtime, names: Collection[str], app: str | None, tell: Tell) -> dict[str, list[Entry]]:
    named = erasing.speaks_of(t.entries.c.document, names), *erasing.of_app(t.entries, app)
    found: set[str] = set()
    for rows in erasing.walk(runtime.store, t.entries, "lineage", ("lineage", "document"), *named):
        tell(erasing.STRETCH)
        found |= {row.lineage for row in rows if Entry.model_validate_json(row.document).facts.user_id in names}
    with runtime.store.read() as connection:
        return erasing.load_entries(connection, found)


def _erase_ledger(runtime: Runtime, person: Person) -> tuple[int, dict[str, list[Entry]]]:
    """All at once: until then workers decide about the person, from then on about the pseudonym.

    What began since the search is known by its holder, who is locked: nobody adds to it any more.
    """

    def change(connection: Connection) -> tuple[int, dict[str, list[Entry]]]:
        known = {*person.names, *person.names.values()}
        erasing.hold_ledger(connection, person.lineages, known, person.app)
        held = erasing.held_by(connection, person.names, person.app)
        said = erasing.load_entries(connection, {*person.lineages, *held})
        return erasing.erase_ledger(connection, said, person.names, person.app), said

    return runtime.store.change(change)


def _erase_events(runtime: Runtime, person: Person, tell: Tell) -> int:
    c, columns = t.events.c, ("position", "user_id", "document")
    named = or_(erasing.speaks_of(c.document, person.names), c.user_id.in_(person.names))
    renamed = partial(erasing.erase_events, names=person.names)
    done = 0
    for rows in erasing.walk(
        runtime.store, t.events, "position", columns, named, *erasing.of_app(t.events, person.app)
    ):
        done += _each(runtime, rows, renamed)
        tell(erasing.STRETCH)
    for some in erasing.portions(person.notifications):  # a refund of which it was not known yet whose it was
        with runtime.store.read() as connection:
            told = erasing.told_by(connection, some)
        done += _each(runtime, told, renamed)
    return done


def _destroy_bodies(runtime: Runtime, person: Person, done: Erased, tell: Tell) -> Erased:
    """Destroy what said something of the person's purchases, and what mentions the person without being understood."""
    wanted = pattern_of({*person.names, *_ids(person)})
    c, unread, waiting = t.notifications.c, 0, 0
    count = _each(runtime, sorted(person.notifications), erasing.empty)
    columns = ("id", "status", "body", "headers")
    others = c.status != "processed", *erasing.of_app(t.notifications, person.app)
    for rows in erasing.walk(runtime.store, t.notifications, "id", columns, *others):
        tell(erasing.STRETCH)
        opened = [(row, _opened(runtime, row)) for row in rows if row.body]
        unread += sum(body is None for _, body in opened)
        theirs = [row for row, body in opened if body and mentions(body, wanted)]
        waiting += sum(row.status == "accepted" for row in theirs)
        count += _each(runtime, [row.id for row in theirs if row.status != "accepted"], erasing.empty)
    return replace(done, notifications=count, unread=unread, waiting=waiting)


def _ids(person: Person) -> Iterator[str]:
    """List the ids of everything that the person bought, as platforms write them."""
    refs = {ref for said in person.lineages.values() for entry in said for ref in entry.refs}
    return (id_ for ref in refs if len(id_ := ref.partition(":")[2]) >= SHORT)


def _opened(runtime: Runtime, row: erasing.AnyRow) -> bytes | None:
    try:
        return runtime.bodies.take(row.id, row.body, {})[0]
    except Sealed:
        return None


def _each(runtime: Runtime, rows: Sequence[T], work: Callable[[Connection, Sequence[T]], int]) -> int:
    """Do work on a few rows at a time, each few in a transaction of their own; tell how many that changed."""
    few = (rows[at : at + erasing.PORTION] for at in range(0, len(rows), erasing.PORTION))
    return sum(runtime.store.change(partial(_turned, work, some)) for some in few)


def _turned(work: Callable[[Connection, Sequence[T]], int], some: Sequence[T], connection: Connection) -> int:
    return work(connection, some)


def _forget_deliveries(runtime: Runtime, person: Person, tell: Tell) -> int:
    own = t.deliveries.c.user_id.in_(person.names), *erasing.of_app(t.deliveries, person.app)
    done = 0
    for rows in erasing.walk(runtime.store, t.deliveries, "id", ("id",), *own):
        done += _each(runtime, [row.id for row in rows], erasing.forget_deliveries)
        tell(erasing.STRETCH)
    return done


def _forget_answers(runtime: Runtime, person: Person, tell: Tell) -> int:
    wanted, done = pattern_of(person.names), 0
    for rows in erasing.walk(runtime.store, t.idempotency, "key", ("key", "body")):
        own = [row.key for row in rows if row.body and _answers_with(runtime, row.body, wanted)]
        done += _each(runtime, own, erasing.forget_answers)
        tell(erasing.STRETCH)
    return done


def _answers_with(runtime: Runtime, body: str, wanted: "re.Pattern[bytes]") -> bool:
    """Tell whether an answer mentions the person; one that no key opens answers nobody, and may go."""
    try:
        answer = runtime.sealer.open(body.removeprefix(answers.SEALED)) if body.startswith(answers.SEALED) else body
    except Sealed:
        return True
    return wanted.search(answer.encode()) is not None
