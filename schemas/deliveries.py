"""How events reach subscribers: a delivery and its attempts as the API shows them, and what may be asked of them."""

from typing import Literal

from pydantic import Field

from schemas.base import Noun

DeliveryStatus = Literal["pending", "delivered", "failed"]


class DeliveryAttempt(Noun):
    """One time that a subscriber was told, or was to be."""

    attempted_at: int
    duration_ms: float
    status_code: int | None = Field(description="What it answered; null: nothing")
    error: str | None = Field(description="`not_2xx`, `timeout`, `address_refused`, …; null: it was delivered")
    response: str | None = Field(description="The beginning of its answer")


class Delivery(Noun):
    """One event on its way to one subscriber."""

    id: str = Field(description="`dlv_…`")
    object: Literal["delivery"] = "delivery"
    subscriber: str
    event: str = Field(description="`evt_…`, the `webhook-id` of every attempt")
    type: str
    app: str
    user_id: str | None
    sequence: int | None
    status: DeliveryStatus = Field(description="`failed`: the schedule is over, and it was given up")
    attempts: tuple[DeliveryAttempt, ...] = Field(description="Every one that was recorded, oldest first")
    next_attempt_at: int | None = Field(description="Not before then; null: there is none")
    created_at: int
    finished_at: int | None
    retried_at: int | None = Field(description="When somebody asked for it again; null: nobody did")


class RetryWanted(Noun):
    """The body of `POST /v1/subscribers/{id}/deliveries/retry`: what was missed, or a stretch of time."""

    missed: bool = Field(default=False, description="What happened since it was disabled, from the feed")
    since: int | None = Field(default=None, ge=0, le=2**40, description="Deliveries made from then on")
    until: int | None = Field(default=None, ge=0, le=2**40, description="Deliveries made before; null: until now")
    status: DeliveryStatus = Field(default="failed", description="Only those that stand so")
    cursor: str | None = Field(default=None, max_length=512, description="`next_cursor` of the answer before")


class Retried(Noun):
    """What a retry put in line."""

    object: Literal["retry"] = "retry"
    queued: int = Field(description="How many deliveries are in line now that were not")
    has_more: bool = Field(description="Ask again, with `next_cursor` if there is one: there is more to put in line")
    next_cursor: str | None = None


class TestWanted(Noun):
    """The body of `POST /v1/subscribers/{id}/test`, all of it optional."""

    type: str | None = Field(default=None, max_length=64, description="Left out: one that the subscriber asks for")


class TestDelivery(Noun):
    """How a sample arrived."""

    object: Literal["test_delivery"] = "test_delivery"
    subscriber: str
    event: str = Field(description='The sample\'s id; its body says `"test": true`')
    type: str
    delivered: bool
    status_code: int | None = Field(description="What it answered; null: nothing")
    duration_ms: float
    error: str | None = Field(description="As in an attempt; null: it was delivered")
    response: str | None = Field(description="The beginning of its answer")
