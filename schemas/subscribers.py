"""Who is told: a subscriber as the API shows it, and what may be asked for when one is made, changed or re-keyed."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from schemas.base import Environment, Noun

SubscriberState = Literal["enabled", "paused", "disabled"]
SubscriberOrder = Literal["per_customer", "none"]
Signature = Literal["v1", "v1a"]


def _frozen(value: object) -> object:
    """Take a JSON array for what it becomes here."""
    return tuple(value) if isinstance(value, list) else value


TypePattern = Annotated[str, StringConstraints(pattern=r"^(\*|[a-z_]{1,32}\.(\*|[a-z_]{1,32}))$")]
Types = Annotated[
    tuple[TypePattern, ...],
    BeforeValidator(_frozen),
    Field(
        min_length=1,
        max_length=32,
        description="Names (`refund.succeeded`), families (`refund.*`), or `*` for all",
        examples=[["entitlement.*", "refund.succeeded"]],
    ),
]
Url = Annotated[
    str, Field(min_length=1, max_length=2048, description="`https://…`, at a public address. No redirect is followed")
]
Rate = Annotated[float, Field(gt=0, le=1000, description="Attempts per second at most; null: no limit")]
Timeout = Annotated[float, Field(gt=0, le=60, description="For one attempt, in seconds")]
OwnSecret = Annotated[
    str,
    Field(
        min_length=1,
        max_length=128,
        description="A secret of your own instead of one of ours: `whsec_` or `whsk_` and base64, to fit `signature`",
    ),
]
BOTH = "`production` or `sandbox`; null: both"
PRIVATE = "Private and loopback addresses too, and `http://`; only where `[subscribing] allow_private` permits it"
ORDER = "`per_customer`: an event waits until the customer's one before it has arrived, or was given up"
SIGNATURE = "`v1`: HMAC-SHA256 with a shared secret. `v1a`: ed25519, verified with a public key"


def _stays(description: str | None = None) -> Any:
    """Declare a field that may be left out, which no default could say."""
    return Field(default=None, description=description, json_schema_extra=lambda schema: schema.pop("default", None))


class Subscriber(Noun):
    """An app backend that is told of events."""

    id: str = Field(description="`sub_…`")
    object: Literal["subscriber"] = "subscriber"
    app: str
    url: str
    types: tuple[str, ...] = Field(description="Which types of events it asks for")
    environment: Environment | None = Field(description=BOTH)
    order: SubscriberOrder = Field(description=ORDER)
    rate_per_second: float | None
    timeout_seconds: float
    allow_private: bool
    signature: Signature = Field(description=SIGNATURE)
    public_key: str | None = Field(description="`v1a`: what its signatures are verified with, `whpk_…`")
    active_secrets: int = Field(description="So many sign each attempt: two while a replaced one has not ended")
    secrets_end_at: int | None = Field(
        description="When the last one that was replaced ends; null: none was, or it has"
    )
    state: SubscriberState = Field(
        description="`paused`: events are queued and none is sent. `disabled`: nothing is queued"
    )
    reason: str | None = Field(
        description="Why it is disabled: `gone`, `long_failure`, `by_operator` or `removed_from_configuration`"
    )
    changed_at: int = Field(description="When `state` changed last")
    failing_since: int | None = Field(description="Since when no attempt has succeeded; null: the last one did")
    not_before: int | None = Field(description="It asked to be left alone until then")
    backlog: int = Field(description="Deliveries that have not arrived yet")
    origin: Literal["config", "api"] = Field(description="Who made it: the configuration file, or the API")
    created_at: int


class SubscriberWithSecret(Subscriber):
    """A subscriber with its new secret: the only time that it is shown."""

    secret: str | None = Field(
        repr=False,
        description="`whsec_…`, shown this once. null: it is your own, or `v1a` signs and `public_key` is all you need",
    )


class SubscriberWanted(Noun):
    """The body of `POST /v1/subscribers`."""

    app: str = Field(min_length=1, max_length=64)
    url: Url
    types: Types = ("*",)
    environment: Environment | None = Field(default=None, description=BOTH)
    order: SubscriberOrder = Field(default="per_customer", description=ORDER)
    rate_per_second: Rate | None = None
    timeout_seconds: Timeout = 15.0
    allow_private: bool = Field(default=False, description=PRIVATE)
    signature: Signature = Field(default="v1", description=SIGNATURE)
    secret: OwnSecret | None = Field(default=None, repr=False)


class SubscriberChange(Noun):
    """The body of `PATCH /v1/subscribers/{id}`: what is left out stays."""

    url: Url = _stays()
    types: Types = _stays()
    environment: Environment | None = _stays(BOTH)
    order: SubscriberOrder = _stays(ORDER)
    rate_per_second: Rate | None = _stays()
    timeout_seconds: Timeout = _stays()
    allow_private: bool = _stays(PRIVATE)
    state: SubscriberState = _stays("`disabled` stays so over a restart, and its reason is `by_operator`")


class Rotation(Noun):
    """The body of `POST /v1/subscribers/{id}/rotate`, all of it optional."""

    expires_in_seconds: int = Field(
        default=86_400, ge=0, le=30 * 86_400, description="How long the secret until now goes on signing; 0: no longer"
    )
    signature: Signature | None = Field(default=None, description="Left out: as before")
    secret: OwnSecret | None = Field(default=None, repr=False)


class SubscriberDeleted(Noun):
    """A subscriber that is no more."""

    id: str
    object: Literal["subscriber"] = "subscriber"
    deleted: Literal[True] = True
