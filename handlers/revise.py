"""Tie what a notification says to the ledger, and say it anew when more is known than the last time.

Entries are never changed. A notification that was read again has a further revision, and of what one notification
said only the highest revision counts.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from handlers import ids
from schemas.base import PlatformName, trusted
from schemas.entry import Entry, EntryKind, Said, Source, Subject

_entry, _source = trusted(Entry), trusted(Source)


class Origin(NamedTuple):
    """Where something was said.

    Attributes:
        notification: our id of it, `ntf_…`.
        notification_id: the platform's own.
        type: the platform's word.
    """

    app: str
    platform: PlatformName
    notification: str
    notification_id: str
    type: str


def revise(said: Sequence[Said], origin: Origin, held: Sequence[Entry] = ()) -> tuple[Entry, ...]:
    """Make the entries that are missing for the ledger to know exactly what is said now.

    Args:
        said: all that the notification says, as it is understood now; nothing: it takes back what it said before.
        origin: the notification.
        held: what the ledger holds of it, of every revision.

    Returns:
        The next revision, or nothing where the last one says the same.
    """
    if not held:
        return _tie(said, origin, 0)
    last = max(entry.revision for entry in held)
    current = {entry.id: entry for entry in held if entry.revision == last}
    wanted = tuple(said) or tuple(_withdrawn(entry) for entry in held if entry.revision == last)
    if current == {entry.id: entry for entry in _tie(wanted, origin, last)}:
        return ()
    return _tie(wanted, origin, last + 1)


def _tie(said: Iterable[Said], origin: Origin, revision: int) -> tuple[Entry, ...]:
    """Give each thing said its place. Revision 0 has the ids that it had before there were others."""
    source = _source(notification=origin.notification, notification_id=origin.notification_id, type=origin.type)
    later = (revision,) if revision else ()
    return tuple(
        [
            _entry(
                **one.__dict__,
                id=ids.make("ent", origin.notification, position, *later),
                app=origin.app,
                platform=origin.platform,
                source=source,
                revision=revision,
            )
            for position, one in enumerate(said)
        ]
    )


def _withdrawn(entry: Entry) -> Said:
    """Say nothing in the place of what was said: the ids that it named, and no more."""
    subject = entry.subject
    if entry.refund and not (subject.purchase_id or subject.aliases or subject.lineage or subject.kin):
        subject = Subject(aliases=(f"refund:{entry.refund.platform_refund_id}",))
    return Said(
        kind=EntryKind.LINKED,
        occurred_at_ms=entry.occurred_at_ms,
        subject=subject,
        environment=entry.environment,
    )
