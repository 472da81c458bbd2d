"""What all readers of Stripe's objects share: their shape, how ids are written, and whose a purchase is.

A purchase is one charge. Its canonical id is the charge's id and nothing else; what else names it (payment
intent, invoice, checkout session) is an alias, and a subscription is what it shares with its renewals.
Amounts stay in minor units of their currency; nothing here compares currencies or knows their exponents.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from config.platforms import Stripe
from schemas.base import Foreign, trusted
from schemas.entry import EntryKind, PurchaseFacts, RefundFacts, Said, Subject
from schemas.meaning import Ignored, Quarantined
from schemas.platforms.stripe import SnapshotEvent

Told = tuple[Said, ...] | Ignored | Quarantined
Reader = Callable[[SnapshotEvent, Any, Stripe], Told]
_NOTHING = PurchaseFacts()
_said = trusted(Said)


def parse(model: type[Foreign], value: Any) -> Any:
    """Read an object as what is promised, or name the first field that is not as documented."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        return Quarantined("unexpected_shape", f"{'.'.join(map(str, first['loc']))}: {first['type']}")


def say(
    event: SnapshotEvent,
    kind: EntryKind,
    subject: Subject,
    *,
    occurred_at_ms: int | None = None,
    facts: PurchaseFacts = _NOTHING,
    refund: RefundFacts | None = None,
    reason: str | None = None,
) -> Said:
    """Say one thing, at the event's time unless a better one is known."""
    return _said(
        kind=kind,
        occurred_at_ms=event.created_ms if occurred_at_ms is None else occurred_at_ms,
        subject=subject,
        environment="production" if event.livemode else "sandbox",
        facts=facts,
        refund=refund,
        reason=reason,
    )


def aliases_of(**ids: str | None) -> tuple[str, ...]:
    """Write the ids that are there as `kind:value`."""
    return tuple([f"{kind}:{value}" for kind, value in ids.items() if value])


def buyer(metadata: Mapping[str, str], reference: str | None, customer: str | None, settings: Stripe) -> dict[str, Any]:
    """Name the user: the app's own id in metadata or `client_reference_id`, else the customer as a guess."""
    known = metadata.get(settings.user_id_metadata) or reference
    if known:
        return {"user_id": known, "user_authority": "platform"}
    return {"user_id": customer, "user_authority": "guess"} if customer else {}


def milliseconds(seconds: int | None) -> int | None:
    """Write Unix seconds as milliseconds."""
    return None if seconds is None else seconds * 1000
