"""What an operator did, as the audit log keeps it."""

from typing import Any, Literal

from pydantic import Field

from schemas.base import Noun

Outcome = Literal["done", "refused", "failed"]


class AuditRecord(Noun):
    """One thing that an operator did, or tried to do. It never changes, and holds no secret and no body."""

    id: str = Field(description="`aud_…`")
    object: Literal["audit_record"] = "audit_record"
    at: int = Field(description="Unix seconds")
    operator: str = Field(
        description="The name of the token that was shown, `admin.tokens[N]` for one of the configuration, "
        "or `cli:user@host`"
    )
    token: str | None = Field(description="The token's id, if it is one that was made; null: another, or none")
    address: str | None = Field(description="Where the request came from; null: no request")
    action: str = Field(description="`subscriber.create`, `notification.replay`, …")
    target: str | None = Field(description="The id of what it was done to; null: of nothing, or of many")
    outcome: Outcome
    reason: str | None = Field(description="Why it was refused: the code of the error that was answered")
    detail: dict[str, Any] = Field(description="What else there is to know: names of fields, numbers, filters")
