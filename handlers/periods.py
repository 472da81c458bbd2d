"""Give each purchase of a lineage its own entries, its facts, and its share of what was said of more than itself."""

from collections.abc import Collection, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from handlers import facts
from handlers.clusters import Cluster, clusters, in_platform_order
from handlers.facts import Users
from handlers.groups import groups
from schemas.entry import Entry, EntryKind, PurchaseFacts

K = EntryKind

_OF_ALL = frozenset({K.PURCHASED, K.LINKED, K.TOLD})
"""Said of a whole lineage, these describe every period of it, whenever it was bought."""
_OF_THE_NEWEST = frozenset({K.RENEWED, K.RESCHEDULED})
"""Said of a whole lineage, these continue the newest period that had begun by then."""

_kin, _subjects_kin = attrgetter("kin"), attrgetter("subject.kin")


class Period(NamedTuple):
    """One purchase with everything that bears on it.

    Attributes:
        whole_lineage: what is said of its whole lineage, or of its store account, and concerns this purchase.
        newest: no later period of its lineage is known.
        entries: everything that bears on it, in platform order.
    """

    cluster: Cluster
    facts: PurchaseFacts
    whole_lineage: tuple[Entry, ...]
    newest: bool
    entries: Sequence[Entry]

    @property
    def renews(self) -> bool:
        """Tell whether its platform may be about to renew it: it set the date, and says itself when it is over."""
        if not self.newest or self.facts.kind != "subscription":
            return False
        ends = facts.who_says_the_end(self.cluster.entries, self.whole_lineage, newest=self.newest)
        return ends is not None and ends.kind is not K.TOLD


def periods(ordered: Sequence[Entry]) -> list[Period]:
    """Split the entries of one lineage, in platform order, into its purchases."""
    whole = [entry for entry in ordered if entry.whole_lineage]
    grouped = clusters([entry for entry in ordered if not entry.whole_lineage] if whole else ordered)
    if len(grouped) == 1 and not whole and not grouped[0].kin:
        return [_alone(grouped[0], ordered)]
    lines = _lines(grouped, whole)
    # Unknown counts as before everything, so that what ends a lineage ends it too.
    started = {cluster.purchase_id: facts.purchased_at_ms(cluster.entries) or 0 for cluster in grouped}
    concerned = [(entry, _concerned(entry, grouped, lines, started)) for entry in whole] if whole else []
    users = _users(ordered, grouped, lines)
    newest = _newest(grouped, lines, started)
    found = []
    for cluster in grouped:
        name = cluster.purchase_id
        last = name in newest
        concerning = tuple([entry for entry, purchases in concerned if name in purchases]) if concerned else ()
        known = facts.merge(cluster.entries, concerning, users[_line(cluster.lineage, lines)], newest=last)
        bearing = in_platform_order((*cluster.entries, *concerning)) if concerning else cluster.entries
        found.append(Period(cluster, known, concerning, last, bearing))
    return found


def _alone(cluster: Cluster, ordered: Sequence[Entry]) -> Period:
    """Take what shares its lineage with nothing, as what is bought once does, and a first period: it has every word."""
    others = {} if len(cluster.entries) == len(ordered) else facts.users(ordered)
    known = facts.merge(cluster.entries, (), others, newest=True)
    return Period(cluster, known, (), newest=True, entries=cluster.entries)


def _newest(grouped: Sequence[Cluster], lines: Mapping[str, str] | None, started: Mapping[str, int]) -> Collection[str]:
    """Find the newest period of each lineage; what belongs to none is its own."""
    newest: dict[str, str] = {}
    for cluster in grouped:
        line = _line(cluster.lineage, lines) if cluster.lineage else cluster.purchase_id
        other = newest.get(line)
        if other is None or (started[other], other) < (started[cluster.purchase_id], cluster.purchase_id):
            newest[line] = cluster.purchase_id
    return set(newest.values())


def _lines(grouped: Sequence[Cluster], whole: Sequence[Entry]) -> Mapping[str, str] | None:
    """Tell apart the lineages that only a store account holds together; None: there is but one."""
    if not any(map(_kin, grouped)) and not any(map(_subjects_kin, whole)):
        return None
    return groups([*(cluster.lineage for cluster in grouped), *(entry.subject.lineage for entry in whole)])


def _line(lineage: Sequence[str], lines: Mapping[str, str] | None) -> str:
    """Name the lineage that these ids belong to: where there is but one, it has no name."""
    return lines[lineage[0]] if lines and lineage else ""


def _users(
    ordered: Sequence[Entry], grouped: Sequence[Cluster], lines: Mapping[str, str] | None
) -> Mapping[str, Users]:
    """Find whose each lineage is. A store account is no user: two of an app's users may share one."""
    if lines is None:
        return {"": facts.users(ordered)}
    names: dict[str, list[Entry]] = {line: [] for line in ("", *lines.values())}
    for cluster in grouped:
        if line := _line(cluster.lineage, lines):
            names[line].extend(cluster.entries)
    for entry in ordered:
        if entry.whole_lineage and entry.subject.lineage:
            names[_line(entry.subject.lineage, lines)].append(entry)
    return {line: facts.users(in_platform_order(entries)) for line, entries in names.items()}


def _concerned(
    entry: Entry, grouped: Sequence[Cluster], lines: Mapping[str, str] | None, started: Mapping[str, int]
) -> Collection[str]:
    """List the purchases that something said of more than one of them is about.

    An end ends every period bought before; a renewal without an order id continues the newest of them.
    """
    candidates = {c.purchase_id for c in grouped if _within(c, entry, lines)}
    if entry.kind in _OF_ALL:
        return candidates
    before = {purchase_id for purchase_id in candidates if started[purchase_id] <= entry.occurred_at_ms}
    if entry.kind in _OF_THE_NEWEST and before:
        return {max(before, key=lambda purchase_id: (started[purchase_id], purchase_id))}
    return before


def _within(cluster: Cluster, entry: Entry, lines: Mapping[str, str] | None) -> bool:
    """Tell whether a purchase belongs to the lineage, or to the store account, that an entry names."""
    if lines is None:
        return True
    if entry.subject.lineage:
        return bool(cluster.lineage) and _line(cluster.lineage, lines) == _line(entry.subject.lineage, lines)
    return not cluster.kin.isdisjoint(entry.subject.kin)
