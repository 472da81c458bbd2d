"""Write nouns as the JSON that they are told and stored as, each of them once.

A refund is told of in two events and stored in its own row, and so is its purchase. What an event holds is put together
of texts that are there already; it is what pydantic writes of the whole event, byte for byte.
"""

from collections.abc import Iterable
from json.encoder import encode_basestring as quoted
from operator import itemgetter
from typing import Any, Final

from schemas.base import Noun
from schemas.resources import Customer, Event, EventData

_OF_EVENT: Final = itemgetter(*Event.model_fields)
_OF_DATA: Final = itemgetter(*EventData.model_fields)
"""What they hold, in the order in which it is written."""


class Documents:
    """The JSON of the nouns of one transaction, known by being that one: what is equal may be written twice."""

    def __init__(self) -> None:
        self._written: dict[int, str] = {}
        self._kept: list[Noun] = []
        """Whatever was written stays, so that nothing else can get its number."""

    def of(self, noun: Noun | None) -> str:
        """Write a noun, or null."""
        return "null" if noun is None else self._written.get(id(noun)) or self._keep(noun, plain(noun))

    def of_all(self, nouns: Iterable[Noun]) -> str:
        """Write a list of nouns."""
        return f"[{','.join([self.of(noun) for noun in nouns])}]"

    def of_event(self, event: Event) -> str:
        """Write an event."""
        return self._written.get(id(event)) or self._keep(event, self._event(event))

    def _event(self, event: Event) -> str:
        id_, type_, timestamp, app, environment, customer, sequence, data = _OF_EVENT(event.__dict__)
        return (
            f'{{"id":{quoted(id_)},"type":{quoted(type_)},"timestamp":{quoted(timestamp)},"app":{quoted(app)},'
            f'"environment":{quoted(environment)},"customer":{_customer(customer)},'
            f'"sequence":{"null" if sequence is None else sequence},"data":{self._data(data.__dict__)}}}'
        )

    def _data(self, held: dict[str, Any]) -> str:
        of = self.of
        entitlement, refund, purchase, balance, cause = _OF_DATA(held)
        return (
            f'{{"entitlement":{of(entitlement)},"refund":{of(refund)},"purchase":{of(purchase)},'
            f'"balance":{of(balance)},"cause":{of(cause)}}}'
        )

    def _keep(self, noun: Noun, text: str) -> str:
        self._kept.append(noun)
        self._written[id(noun)] = text
        return text


def plain(noun: Noun, *, exclude_defaults: bool = False) -> str:
    """Write one noun as `model_dump_json` does, without asking for each what else that could be told to do."""
    return noun.__pydantic_serializer__.to_json(noun, exclude_defaults=exclude_defaults).decode()


def _customer(customer: Customer | None) -> str:
    return "null" if customer is None else f'{{"user_id":{quoted(customer.user_id)}}}'
