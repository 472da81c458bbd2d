"""`/v1/audit`: what operators did, newest first."""

from typing import Annotated

from aiohttp import web
from pydantic import Field

from schemas.audit import AuditRecord, Outcome
from worker.store.audit import list_records
from worker.web.keys import ask
from worker.web.pages import Listing, Text, TimePaged, listing
from worker.web.routes import Answer, Route


class AuditList(Listing[AuditRecord]):
    """A page of the audit log."""


class AuditQuery(TimePaged):
    """What may be asked of the audit log."""

    operator: Annotated[Text | None, Field(description="The name of a token, or `cli:user@host`")] = None
    action: Annotated[Text | None, Field(description="`token.create`, …")] = None
    target: Annotated[Text | None, Field(description="The id of what it was done to")] = None
    outcome: Outcome | None = None


async def list_(request: web.Request, asked: AuditQuery) -> web.Response:
    """List what was done, newest first."""
    filters = asked.model_dump(include={"operator", "action", "target", "outcome"})
    found = await ask(request, list_records, filters, after=asked.cursor, limit=asked.limit + 1)
    done = {record.id: at_ms for at_ms, record in found}
    return listing([record for _, record in found], asked.limit, lambda record: (done[record.id], record.id))


ROUTES = (
    Route(
        "GET",
        "/v1/audit",
        list_,
        "Read the audit log",
        "Operation",
        {200: Answer("What operators did, newest first", AuditList)},
        query=AuditQuery,
        scope="operate",
    ),
)
