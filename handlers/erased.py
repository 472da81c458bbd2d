"""Say the same of nobody: replace a person's names in what was said and told, and keep them out from then on.

A name is an id of a user: the app's own, or a platform's customer that stood for it. What takes its place is drawn by
chance, once for each name, so that everything that belonged together still does, and nothing leads back.
"""

import base64
import binascii
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from handlers.clusters import purchase_named
from schemas.book import Lineage
from schemas.entry import Entry

Names = Mapping[str, str]
"""A person's names → what takes their places."""

PREFIX: Final = "erased_"
PSEUDONYM: Final = re.compile(r"erased_[0-9a-f]{24}")
TEXTS: Final = ("description", "reference", "receipt_number")
"""What a refund carries of people: free text, the bank's number of it, the number of a receipt that was sent."""

SHORT: Final = 8
"""A name of fewer characters is found in anybody's, unless it stands there as a text of its own."""

_WRITTEN: Final = re.compile(rb"[A-Za-z0-9_+/-]{16,}")
"""Base64 of whichever alphabet, without its padding: JWS, Pub/Sub."""
_DEEP_MAX: Final = 3
"""An App Store notification is a JWS in JSON, with others in it."""


def erased_entry(entry: Entry, names: Names) -> Entry:
    """Say it of nobody. Its id stays, and so does everything that is counted."""
    facts, refund = entry.facts, entry.refund
    if facts.user_id is not None and facts.user_id in names:
        facts = facts.model_copy(update={"user_id": names[facts.user_id]})
    if refund is not None:
        refund = refund.model_copy(update=dict.fromkeys(TEXTS))
    return entry.model_copy(update={"facts": facts, "refund": refund})


def erased_document(document: str, names: Names) -> str:
    """Tell an event of nobody: its JSON with every name replaced, and without the texts of a refund."""
    return json.dumps(_erased(json.loads(document), names), ensure_ascii=False, separators=(",", ":"))


def guesses(entries: Sequence[Entry], name: str) -> frozenset[str]:
    """List the other names of a person: a platform's customer that stood for whoever alone a lineage belongs to."""
    sure = {entry.facts.user_id for entry in entries if entry.facts.user_authority != "guess"} - {None}
    guessed = {entry.facts.user_id for entry in entries if entry.facts.user_authority == "guess"}
    return frozenset(other for other in guessed if other and other != name) if sure == {name} else frozenset()


def kept_out(entry: Entry, home: Lineage) -> Entry:
    """Say of nobody what is said of a purchase whose holder was erased; of all others, what was said.

    What names none of a lineage's purchases concerns whoever holds them: if all of these were erased, nobody.
    """
    held = {bought.purchase_id: bought.user_id for bought in home.purchases if bought.user_id}
    named = None if entry.whole_lineage else purchase_named(entry, (*home.entries, entry))
    holders = {held[named]} if named in held else set(held.values())
    if not holders or not all(PSEUDONYM.fullmatch(holder) for holder in holders):
        return entry
    nobody = min(holders)
    return erased_entry(entry, {entry.facts.user_id: nobody} if entry.facts.user_id else {})


def mentions(text: bytes, names: "re.Pattern[bytes]", deep: int = _DEEP_MAX) -> bool:
    """Tell whether a body mentions one of these, in clear or within base64."""
    if names.search(text):
        return True
    return deep > 0 and any(mentions(inner, names, deep - 1) for inner in _within(text))


def pattern_of(names: Collection[str]) -> "re.Pattern[bytes]":
    """Make of names what finds them in bytes, also as JSON writes them: whole words, and short ones only in quotes."""
    written = {json.dumps(name, ensure_ascii=ascii_)[1:-1] for name in names for ascii_ in (True, False)}
    return re.compile(b"|".join(map(_found_as, sorted({*written, *names}))))


def _found_as(name: str) -> bytes:
    text = re.escape(name.encode())
    return b'"%b\\\\*"' % text if len(name) < SHORT else rb"(?<!\w)%b(?!\w)" % text


def _within(text: bytes) -> Iterator[bytes]:
    for found in _WRITTEN.finditer(text):
        piece = found.group().translate(bytes.maketrans(b"-_", b"+/"))
        try:
            yield base64.b64decode(piece + b"=" * (-len(piece) % 4))
        except binascii.Error:
            continue  # it only looked like it


def _erased(value: Any, names: Names) -> Any:
    if isinstance(value, list):
        return [_erased(one, names) for one in value]
    if not isinstance(value, dict):
        return value
    changed = {name: _erased(one, names) for name, one in value.items()}
    if changed.get("user_id") in names:
        changed["user_id"] = names[changed["user_id"]]
    return changed | dict.fromkeys(TEXTS) if changed.get("object") == "refund" else changed
