"""Gather the entries of a lineage into its purchases: whatever shares an id is the same purchase.

Sources know a purchase by different ids (a charge, its payment intent, its invoice), and which of them arrives first
is chance. Grouping all entries by shared ids gives the same purchases in any order of arrival.
"""

from collections.abc import Collection, Iterable, Sequence
from operator import attrgetter, lt
from typing import NamedTuple

from handlers.groups import groups
from schemas.entry import Entry, EntryKind

RANK: dict[EntryKind, int] = {
    kind: rank
    for rank, kind in enumerate(
        (
            EntryKind.LINKED,
            EntryKind.TOLD,
            EntryKind.SIGNALED,
            # A period that is paid at the very moment at which the last one ran out goes on.
            EntryKind.LAPSED,
            EntryKind.SUSPENDED,
            EntryKind.RESUMED,
            EntryKind.PURCHASED,
            EntryKind.RENEWED,
            EntryKind.RESCHEDULED,
            EntryKind.EXPIRED,
            EntryKind.REVOKED,
            EntryKind.MEMBER_REMOVED,
            EntryKind.CONSENT_RESCINDED,
            # Stripe's clock has seconds: what can only follow comes later within one.
            EntryKind.REFUND_REQUESTED,
            EntryKind.REFUND_DECLINED,
            EntryKind.REFUND_PENDING,
            EntryKind.REFUND_REQUIRES_ACTION,
            EntryKind.REFUND_SUCCEEDED,
            EntryKind.REFUNDED_TOTAL,
            EntryKind.REFUND_CANCELED,
            EntryKind.REFUND_FAILED,
            EntryKind.REFUND_REVERSED,
            EntryKind.INQUIRY_OPENED,
            EntryKind.INQUIRY_CLOSED,
            EntryKind.CHARGEBACK_OPENED,
            EntryKind.CHARGEBACK_WON,
            EntryKind.CHARGEBACK_LOST,
        )
    )
}
"""Which of two entries with the same platform time comes first."""

_revision = attrgetter("revision")


class Cluster(NamedTuple):
    """One purchase and every entry that names it.

    Attributes:
        purchase_id: the platform's.
        entries: in platform order.
        aliases: the other ids of this purchase, `kind:value`.
        lineage: the ids that it shares with its renewals.
        kin: the ids that it shares with everything its store account bought.
    """

    purchase_id: str
    entries: tuple[Entry, ...]
    aliases: tuple[str, ...]
    lineage: tuple[str, ...]
    kin: frozenset[str]


def current(entries: Sequence[Entry]) -> Sequence[Entry]:
    """Leave out what a notification said before it was read again, knowing more."""
    if not any(map(_revision, entries)):
        return entries
    last: dict[str | None, int] = {}
    for entry in entries:
        last[entry.source.notification] = max(entry.revision, last.get(entry.source.notification, 0))
    return [e for e in entries if e.revision == last[e.source.notification]]


def in_platform_order(entries: Iterable[Entry]) -> list[Entry]:
    """Sort by the platform's time, then by rank, then by where it was said, so that every order of arrival gives this.

    Two words of one kind in one notification and moment are sorted by what they say: their ids depend on how often it
    was read.
    """
    entries = list(entries)
    places = [_place(entry) for entry in entries]
    if all(map(lt, places, places[1:])):
        return entries  # mostly they came in it
    if len(set(places)) < len(places):
        return sorted(entries, key=lambda entry: (_place(entry), _words(entry)))
    return [entry for _, entry in sorted(zip(places, entries, strict=True))]


def _place(entry: Entry) -> tuple[int, int, str]:
    return entry.occurred_at_ms, RANK[entry.kind], entry.source.notification or entry.id


def _words(entry: Entry) -> str:
    return entry.model_dump_json(exclude={"id", "revision"})


def clusters(entries: Sequence[Entry]) -> tuple[Cluster, ...]:
    """Group entries that name a purchase by the ids they share.

    Args:
        entries: entries of one lineage, in platform order. Those that name no purchase are left out.
    """
    named = [(entry, names) for entry in entries if (names := _names(entry))]
    if len({names[0] for _, names in named}) == 1:
        return (_cluster([entry for entry, _ in named]),)
    group_of = groups([names for _, names in named])
    grouped: dict[str, list[Entry]] = {}
    for entry, names in named:
        grouped.setdefault(group_of[names[0]], []).append(entry)
    return tuple([_cluster(group) for group in grouped.values()])


def purchase_named(entry: Entry, lineage: Iterable[Entry]) -> str | None:
    """Find the platform's id of the purchase that an entry names, by whichever id; None: no entry names it so far."""
    names = set(_names(entry))
    grouped = clusters(in_platform_order(each for each in current(tuple(lineage)) if not each.whole_lineage))
    return next((c.purchase_id for c in grouped if any(names.intersection(_names(each)) for each in c.entries)), None)


def _names(entry: Entry) -> tuple[str, ...]:
    """List what names the purchase an entry is about, and nothing that it shares with another."""
    names, subject = entry.names, entry.subject
    if not subject.lineage and not subject.kin:
        return names
    return tuple([name for name in names if name not in subject.lineage and name not in subject.kin])


def _cluster(entries: Sequence[Entry]) -> Cluster:
    """Gather what the entries of one purchase say of its ids.

    It goes by the smallest of the platform's ids; while only aliases are known, by one of those.
    """
    known: set[str] = set()
    aliases: set[str] = set()
    lineage: set[str] = set()
    kin: set[str] = set()
    for entry in entries:
        subject = entry.subject
        if subject.purchase_id:
            known.add(subject.purchase_id)
        aliases.update(subject.aliases)
        lineage.update(subject.lineage)
        kin.update(subject.kin)
    names = known or {alias.partition(":")[2] for alias in aliases} or _refunds(entries)
    return Cluster(min(names), tuple(entries), tuple(sorted(aliases)), tuple(sorted(lineage)), frozenset(kin))


def _refunds(entries: Iterable[Entry]) -> Collection[str]:
    return {entry.refund.platform_refund_id for entry in entries if entry.refund}
