"""Gather the entries of a lineage into its purchases: whatever shares an id is the same purchase.

Sources know a purchase by different ids (a charge, its payment intent, its invoice), and which of them arrives first
is chance. Grouping all entries by shared ids gives the same purchases in any order of arrival.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Cluster:
    """One purchase and every entry that names it, in platform order."""

    purchase_id: str
    entries: tuple[Entry, ...]

    @property
    def aliases(self) -> tuple[str, ...]:
        """List the other ids of this purchase, `kind:value`."""
        return tuple(sorted({alias for entry in self.entries for alias in entry.subject.aliases}))

    @property
    def lineage(self) -> tuple[str, ...]:
        """List the ids that it shares with its renewals."""
        return tuple(sorted({ref for entry in self.entries for ref in entry.subject.lineage}))

    @property
    def kin(self) -> frozenset[str]:
        """List the ids that it shares with everything its store account bought."""
        return frozenset(ref for entry in self.entries for ref in entry.subject.kin)


def current(entries: Sequence[Entry]) -> Sequence[Entry]:
    """Leave out what a notification said before it was read again, knowing more."""
    last: dict[str | None, int] = {}
    for entry in entries:
        if entry.revision > last.get(entry.source.notification, 0):
            last[entry.source.notification] = entry.revision
    return [e for e in entries if e.revision == last.get(e.source.notification, 0)] if last else entries


def in_platform_order(entries: Iterable[Entry]) -> list[Entry]:
    """Sort by the platform's time, then by rank, then by where it was said, so that every order of arrival gives this.

    Two words of one kind in one notification and moment are sorted by what they say: their ids depend on how often it
    was read.
    """
    placed = [(*_place(entry), entry) for entry in entries]
    if len({place[:3] for place in placed}) < len(placed):
        return [entry for *_, entry in sorted(placed, key=lambda place: (*place[:3], _words(place[3])))]
    return [entry for *_, entry in sorted(placed)]


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
    group_of = groups(names for _, names in named)
    grouped: dict[str, list[Entry]] = {}
    for entry, names in named:
        grouped.setdefault(group_of[names[0]], []).append(entry)
    return tuple(Cluster(_purchase_id(group), tuple(group)) for group in grouped.values())


def purchase_named(entry: Entry, lineage: Iterable[Entry]) -> str | None:
    """Find the platform's id of the purchase that an entry names, by whichever id; None: no entry names it so far."""
    names = set(_names(entry))
    grouped = clusters(in_platform_order(each for each in current(tuple(lineage)) if not each.whole_lineage))
    return next((c.purchase_id for c in grouped if any(names.intersection(_names(each)) for each in c.entries)), None)


def _names(entry: Entry) -> tuple[str, ...]:
    """List what names the purchase an entry is about. A refund belongs to one purchase, so its id names it too."""
    shared = (*entry.subject.lineage, *entry.subject.kin)
    return tuple(ref for ref in entry.refs if ref not in shared)


def _purchase_id(entries: Iterable[Entry]) -> str:
    """Choose the platform's id of the purchase; while only aliases are known, one of those."""
    entries = tuple(entries)
    known = {entry.subject.purchase_id for entry in entries if entry.subject.purchase_id}
    aliases = {alias.partition(":")[2] for entry in entries for alias in entry.subject.aliases}
    refunds = {entry.refund.platform_refund_id for entry in entries if entry.refund}
    return min(known or aliases or refunds)
