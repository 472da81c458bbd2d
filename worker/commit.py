"""Commit what was said to the ledger: load the book, decide step by step, write once, within one transaction."""

from collections.abc import Sequence

from sqlalchemy import Connection

from config.settings import App
from handlers.decide import decide, rebuild
from handlers.erased import PREFIX, kept_out
from handlers.placing import refs_of
from schemas.book import Book, Decision, Draft
from schemas.entry import Entry
from schemas.resources import Event
from worker.store import feed, ledger, listening, outbox
from worker.store.documents import Documents
from worker.store.naming import purchase_of


class Bookkeeper:
    """One transaction's work on the ledger.

    Args:
        connection: an open write transaction, of `Store.change`.
        entries: everything that will be said in it; what they concern is loaded at once.
        now_ms: Unix milliseconds, one reading for the whole transaction.
        room: who may be told from this process, right after the commit.

    Raises:
        Contended: as `write`, and before anything was decided.
    """

    def __init__(
        self, connection: Connection, entries: Sequence[Entry], *, now_ms: int, room: listening.Room = listening.no_room
    ) -> None:
        self._connection = connection
        self._now_ms = now_ms
        self._room = room
        # Asked before it is needed: then nobody waits for it alone.
        self._listening = listening.ask_listening(connection, {entry.app for entry in entries})
        self._before, self._begun = ledger.lock_book(connection, entries)
        self._draft = Draft(self._before)
        self._merged: dict[str, str] = {}
        self._erased = {
            key
            for key, lineage in self._before.lineages.items()
            if any(bought.user_id and bought.user_id.startswith(PREFIX) for bought in lineage.purchases)
        }
        self.events: list[Event] = []
        self.erased: set[str] = set()
        """Notifications that spoke of somebody who was erased: their bodies are to be destroyed."""
        self.claims: Sequence[outbox.Claim] = ()
        """Deliveries that `write` claimed for this process, which had room: to be begun once that is committed."""

    @property
    def book(self) -> Book:
        """The book as it stands after everything that was told so far."""
        return self._draft.book

    def tell(self, entries: Sequence[Entry], app: App) -> Decision:
        """Decide about what one source says. If this raises, nothing of it has happened.

        Returns:
            What follows from it.
        """
        decision = decide(self.book, self._kept_out(entries), app=app, now_ms=self._now_ms)
        self._take(decision)
        return decision

    def _kept_out(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Say of nobody what concerns a purchase whose holder was erased; all else, which is nearly all, as it is."""
        if not self._erased:
            return entries
        refs = self.book.refs
        homes = [next((refs[ref] for ref in refs_of(entry) if ref in refs), None) for entry in entries]
        concerned = [entry for entry, home in zip(entries, homes, strict=True) if home in self._erased]
        self.erased |= {entry.source.notification for entry in concerned if entry.source.notification}
        return [
            entry if home is None else kept_out(entry, self.book.lineages[home])
            for entry, home in zip(entries, homes, strict=True)
        ]

    def contradictions(self, entries: Sequence[Entry]) -> tuple[str, ...]:
        """List why refunds are not believed that these speak of, or else bear on, as the book stands now.

        What names a price, or ties a refund to one, bears on every refund of its purchase.
        """
        refunds = [r for lineage in self.book.lineages.values() for r in lineage.refunds if r.contradiction]
        about = {entry.refund.platform_refund_id for entry in entries if entry.refund}
        charges = {self._purchase_of(e) for e in entries if not e.refund or e.facts.amount is not None}
        wrong = [r for r in refunds if r.platform_refund_id in about] or [r for r in refunds if r.charge_id in charges]
        return tuple(refund.contradiction for refund in wrong if refund.contradiction)

    def _purchase_of(self, entry: Entry) -> str | None:
        """Find our id of the purchase that an entry names."""
        purchase = purchase_of(entry, self.book.lineages[self.book.refs[refs_of(entry)[0]]])
        return purchase.id if purchase and not entry.whole_lineage else None

    def rebuild(self, app: App) -> None:
        """Fold every lineage of the book again, as the app's products and policy are now."""
        for key in list(self.book.lineages):
            self._take(rebuild(self.book, key, app=app, now_ms=self._now_ms))

    def _take(self, decision: Decision) -> None:
        self._draft.take(decision.changes)
        self._merged |= decision.changes.merged
        self.events.extend(decision.events)

    def write(self) -> outbox.Owners:
        """Write everything that changed, the outbox, and last the events: commit soon after.

        Returns:
            Deliveries that others may attempt once the transaction has committed, and whose they are.

        Raises:
            Contended: the transaction must be done again; `Store.change` does.
        """
        documents = Documents()
        written = ledger.write_book(
            self._connection,
            self._before,
            self.book,
            begun=self._begun,
            merged=self._merged,
            documents=documents,
            now_ms=self._now_ms,
        )
        queue = listening.enqueue(self._connection, self.events, self._listening, self._now_ms, self._room, documents)
        feed.append(self._connection, self.events, now_ms=self._now_ms, documents=documents)
        written.confirm()
        queued = queue()
        self.claims = queued.claims
        return queued.owners
