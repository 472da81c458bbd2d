"""Tell one platform's notifications, whatever stands in them, and hold what comes of them to the laws of bad input.

Hypothesis does so in CI and the fuzzer outside of it. A story is JSON: a list of notifications, each
`[says, answer, …]`, the answers in the order of what `needs` asks for.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from pydantic import BaseModel

from config.products import Product
from config.settings import App
from handlers import ids, strict_json
from handlers.decide import decide
from handlers.errors import Malformed
from handlers.ledger import fold
from schemas.book import Book
from schemas.entry import Entry, Said, Source
from schemas.meaning import Confirm, Ignored, Lookup, Meaning, Missing, Normalized, Quarantined
from schemas.received import Identity
from tests.fuzz.samples import Genuine
from tests.handlers.platform_cases import NOW_MS, Case, wrap
from worker.simulator.sale import Shot

APP: Final = App(
    products={
        "com.acme.pro.monthly": Product(entitlements=("pro",)),
        "com.acme.levels": Product(kind="non_consumable", entitlements=("levels",)),
        "com.acme.coins": Product(kind="consumable", units=100),
    }
)
"""What the stories sell, under the default policy."""

SILENCE: Final = "no answer"
"""In the place of an answer: the platform could not be asked. A whole number there: it knows of no such thing."""

CHAPTERS_MAX: Final = 6
_NAME = re.compile(r"[a-z0-9_]+")
_STORED_MAX = 2**63 - 1
_DETAIL_MAX_CHARS = 1000


def play(genuine: Genuine, story: Any) -> list[Normalized | None]:
    """Tell a whole story; return what each notification means, None where it is malformed."""
    case, shot = genuine.case, genuine.shots[0]
    chapters = story if isinstance(story, list) else [story]
    heard = []
    entries: list[Entry] = []
    for number, chapter in enumerate(chapters[:CHAPTERS_MAX]):
        says, *answers = chapter if isinstance(chapter, list) and chapter else [chapter]
        found = hear(case, wrap(case.platform.name, shot, says), answers)
        heard.append(found)
        if isinstance(found, Meaning):
            entries += [_entry(case, said, number, place) for place, said in enumerate(found.said)]
    keep(entries)
    return heard


def hear(case: Case, shot: Shot, answers: Sequence[Any] = ()) -> Normalized | None:
    """Read, name, ask and normalize one notification, and check all of it; None: it is malformed."""
    try:
        payload = case.read(shot)
        identity: Any = case.platform.identify(payload)
        needs: Any = case.platform.needs(payload)
        facts = dict(_learned(needs, answers))
        found = case.platform.normalize(payload, facts, settings=case.settings)
    except Malformed:
        return None
    assert isinstance(identity, Identity)
    assert storable(identity.id, identity.type, identity.subtype, identity.scope, identity.occurred_at_ms)
    assert all(isinstance(need, Lookup) and storable(need.kind, need.key) for need in needs)
    _check(found, {need for need, answer in facts.items() if isinstance(answer, Missing)})
    return found


def keep(entries: Sequence[Entry]) -> None:
    """Fold and decide, forwards and backwards: nothing breaks, all of it can be stored, and both end alike."""
    forwards, backwards = _told(entries), _told(entries[::-1])

    assert _standing(forwards) == _standing(backwards)
    for lineage in forwards.lineages.values():
        view = fold(lineage.entries, policy=APP.policy, products=APP.products)
        assert (lineage.purchases, lineage.refunds) == (view.purchases, view.refunds)
        assert all(storable(*values(noun)) for noun in (*view.purchases, *view.refunds))


def _told(entries: Iterable[Entry]) -> Book:
    book = Book()
    for entry in entries:
        book = decide(book, [entry], app=APP, now_ms=NOW_MS).book
    return book


def _standing(book: Book) -> object:
    """Reduce a book to what the API shows of it."""
    purchases = {p.id: p for lineage in book.lineages.values() for p in lineage.purchases}
    refunds = {r.id: r for lineage in book.lineages.values() for r in lineage.refunds}
    held = {key: (e.status, e.expires_at) for key, e in book.entitlements.items() if e.purchases}
    return purchases, refunds, held


def _learned(needs: Iterable[Lookup], answers: Iterable[Any]) -> Iterator[tuple[Lookup, Any]]:
    """Put answers as the shell hands them on: JSON that passed its strict reader, or the word that there is nothing."""
    for need, answer in zip(needs, answers, strict=False):
        if type(answer) is int:
            yield need, Missing(answer)
        elif answer != SILENCE:
            try:
                yield need, strict_json.parse(json.dumps(answer).encode())
            except Malformed:
                continue


def _check(found: Normalized, missing: set[Lookup]) -> None:
    match found:
        case Meaning(said=said, unlearned=unlearned):
            assert said
            assert all(_names_something(one) and storable(*values(one)) for one in said)
            assert all(isinstance(lookup, Lookup) for lookup in unlearned)
            assert not missing & set(unlearned), "it was answered that there is nothing, and wants to know again"
        case Quarantined(reason=reason, detail=detail):
            assert _NAME.fullmatch(reason)
            assert storable(detail)
            assert len(detail) <= _DETAIL_MAX_CHARS
        case Ignored(reason=reason):
            assert _NAME.fullmatch(reason)
        case _:
            assert isinstance(found, Confirm)


def _names_something(said: Said) -> bool:
    subject = said.subject
    return any((subject.purchase_id, *subject.aliases, *subject.lineage, *subject.kin))


def values(noun: BaseModel) -> Iterator[Any]:
    """List every single value in a noun."""
    for _, value in noun:
        if isinstance(value, BaseModel):
            yield from values(value)
        elif isinstance(value, tuple):
            yield from value
        else:
            yield value


def storable(*values: Any) -> bool:
    """Tell whether a store can hold it: 64 bits of whole number, text without NUL and surrogates, and no float."""
    for value in values:
        if isinstance(value, float) or (isinstance(value, int) and abs(value) > _STORED_MAX):
            return False
        if isinstance(value, str) and re.search("[\0\ud800-\udfff]", value):
            return False
    return True


def _entry(case: Case, said: Said, number: int, place: int) -> Entry:
    source = Source(notification=f"ntf_{number}", notification_id=str(number), type="fuzz")
    return Entry(
        **dict(said), id=ids.make("ent", number, place), app="acme", platform=case.platform.name, source=source
    )
