"""The audit table: what operators did. Rows are added and read, and never changed: triggers of the migration refuse."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert, select

from schemas.audit import AuditRecord
from worker.store.queries import After, Filters, equal, newest_first
from worker.store.tables import audit


def add_record(connection: Connection, values: Mapping[str, Any]) -> None:
    """Add one row."""
    connection.execute(insert(audit).values({**values, "detail": json.dumps(values["detail"], ensure_ascii=False)}))


def list_records(
    connection: Connection, filters: Filters, *, after: After, limit: int
) -> list[tuple[int, AuditRecord]]:
    """List what was done, newest first, each with its millisecond."""
    statement = select(audit).where(*equal(audit, filters))
    found = newest_first(connection, statement, audit.c.at_ms, audit.c.id, after, limit)
    return [(row["at_ms"], _record(row)) for row in found]


def _record(row: Mapping[Any, Any]) -> AuditRecord:
    names = ("id", "operator", "token", "address", "action", "target", "outcome", "reason")
    detail = json.loads(row["detail"])
    return AuditRecord(**{name: row[name] for name in names}, at=row["at_ms"] // 1000, detail=detail)
