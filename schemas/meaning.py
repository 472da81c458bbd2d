"""What a notification can mean, and what must be known before its meaning is clear."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.entry import Said


@dataclass(frozen=True, slots=True)
class Lookup:
    """Something the platform's API must be asked before the meaning is known: a value, so that the shell asks.

    Attributes:
        kind: what to ask for, in the platform's words: `subscriptionsv2`, `orders`, `invoice_payments`.
        key: the id to ask with.
    """

    kind: str
    key: str


@dataclass(frozen=True, slots=True)
class Missing:
    """The platform's answer to a look-up is that there is no such thing (any more).

    Attributes:
        status: its HTTP status: 404, 410, Amazon's 400.
    """

    status: int


Facts = Mapping[Lookup, Any]
"""The answers so far: JSON values, or `Missing`.

A look-up that is not here could not be made; `normalize` says what it could not learn.
"""


@dataclass(frozen=True, slots=True)
class Meaning:
    """Ledger entries, in the order in which they were said.

    Attributes:
        said: never empty.
        unlearned: what a look-up would have told, for the notification's `reason`.
    """

    said: tuple[Said, ...]
    unlearned: tuple[Lookup, ...] = ()


@dataclass(frozen=True, slots=True)
class Ignored:
    """Authentic, understood, and nothing that concerns a purchase. `reason` is a snake_case name.

    Attributes:
        unlearned: look-ups whose answer could still give it a meaning.
    """

    reason: str
    unlearned: tuple[Lookup, ...] = ()


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Authentic and not understood: kept, visible, replayable, without effect. `reason` is a snake_case name."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Confirm:
    """The platform asks to confirm a subscription (SNS). An operator does, or the shell if configured."""

    url: str = field(repr=False)
    token: str = field(repr=False)
    topic: str = ""


Normalized = Meaning | Ignored | Quarantined | Confirm
