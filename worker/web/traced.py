"""The door, where traces are on: each notification's trace begins here, and is stored with it.

Only a POST whose sender has proved who it is goes on with the trace that it names. A stranger's begins one of its own,
so that nobody writes into the traces of others; and of what is no address of ours there is none at all.
"""

from contextvars import ContextVar
from typing import TYPE_CHECKING, cast

from schemas.received import Identity, Received
from worker.inbox import Accepted
from worker.tracing import TRACEPARENT, well_formed
from worker.web.errors import explain
from worker.web.ingest import Door, Endpoint

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from worker.spans import Spans

_verifying: ContextVar[float] = ContextVar("verifying")
"""Unix seconds at which this request's sender began to be looked at."""


class TracedDoor(Door):
    """A door that tells of what comes through it."""

    @property
    def _spans(self) -> "Spans":
        return cast("Spans", self.runtime.traces)  # there is no such door where traces are off

    async def verify(self, endpoint: Endpoint, received: Received) -> Identity:
        """Prove who sent it; whoever cannot leaves a trace that says so."""
        began = self.runtime.clock()
        _verifying.set(began)
        try:
            return await super().verify(endpoint, received)
        except Exception as error:
            with self._spans.received(None, endpoint.platform.name, endpoint.app, began) as span:
                self._refused(span, error)
            raise

    async def accept(
        self, endpoint: Endpoint, received: Received, identity: Identity, at: float, traceparent: str | None = None
    ) -> Accepted:
        """Make it durable, with where its trace goes on."""
        spans, said = self._spans, well_formed(traceparent or received.headers.get(TRACEPARENT))
        with spans.received(said, endpoint.platform.name, endpoint.app, at) as span:
            spans.step("verify", span, _verifying.get(), self.runtime.clock())
            try:
                with spans.stored(span) as context:
                    accepted = await super().accept(endpoint, received, identity, at, context)
            except Exception as error:
                self._refused(span, error)
                raise
            spans.answered(span, 200, notification=accepted.id, duplicate=accepted.duplicate)
            return accepted

    def _refused(self, span: "Span", error: Exception) -> None:
        refusal = explain(error)
        # Nobody here says 500: `ingest.serve` answers that it be tried again.
        status = 503 if refusal.status == 500 else refusal.status
        self._spans.answered(span, status, error=refusal.code, reason=refusal.code)
