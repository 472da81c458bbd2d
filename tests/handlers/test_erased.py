"""What a person was part of is said of nobody, and stays so whatever is said later."""

import base64
import json
from typing import Any

import pytest

from handlers.erased import erased_document, erased_entry, guesses, kept_out, mentions, pattern_of
from handlers.ledger import fold
from schemas.book import Lineage
from schemas.entry import Entry, EntryKind
from tests.handlers.entries import ANN, BOB, SUBSCRIPTION, acme, bought, entry, money, told

NOBODY, NOBODY_ELSE = "erased_" + "0" * 24, "erased_" + "1" * 24
APP = acme()
USER = "7b0c6e7c-5ee2-4f5e-9d0b-1f2e3d4c5b6a"


def lineage(*said: Entry) -> Lineage:
    """Fold what was said, as the store would."""
    view = fold(said, policy=APP.policy, products=APP.products)
    return Lineage(said, view.purchases, view.refunds)


def test_an_entry_keeps_everything_but_the_person():
    """Sums, times and ids stay; the name is another one, and a refund's texts are gone."""
    back = money(EntryKind.REFUND_SUCCEEDED, 2, description="for Ann", reference="7", receipt_number="1-1", user_id=ANN)
    nobody = erased_entry(back, {ANN: NOBODY})
    assert nobody.refund is not None
    assert back.refund is not None

    assert (NOBODY, None, None, None) == (
        nobody.facts.user_id,
        nobody.refund.description,
        nobody.refund.reference,
        nobody.refund.receipt_number,
    )
    assert (back.id, back.refund.amount, back.occurred_at_ms) == (
        nobody.id,
        nobody.refund.amount,
        nobody.occurred_at_ms,
    )
    for other in (bought(user_id=BOB), bought(user_id=None)):
        assert other == erased_entry(other, {ANN: NOBODY})


def test_renaming_changes_nothing_else_of_the_fold():
    """What the entries amount to is the same with every name replaced: that is what keeps the stored view true."""
    said = (bought(), money(EntryKind.REFUND_SUCCEEDED, 2), bought(3, "ch_next", lineage=SUBSCRIPTION, user_id=BOB))
    before, after = lineage(*said), lineage(*(erased_entry(each, {ANN: NOBODY}) for each in said))

    assert [p.model_copy(update={"user_id": NOBODY if p.user_id == ANN else p.user_id}) for p in before.purchases] == [
        *after.purchases
    ]


def test_an_event_is_told_of_nobody():
    """Names are replaced where users are named and nowhere else, however deep; numbers and other texts stay."""
    refund = {"object": "refund", "user_id": "usd", "currency": "usd", "description": "for Ann", "amount": 5}
    document = {"customer": {"user_id": "usd"}, "data": {"refund": refund, "many": [{"user_id": BOB}, "usd", 1]}}
    told_of: dict[str, Any] = json.loads(erased_document(json.dumps(document), {"usd": NOBODY}))

    assert {"user_id": NOBODY} == told_of["customer"]
    assert (
        refund | {"user_id": NOBODY, "description": None, "reference": None, "receipt_number": None}
        == (told_of["data"]["refund"])
    )
    assert [{"user_id": BOB}, "usd", 1] == told_of["data"]["many"]


def test_a_customer_that_stood_for_the_person_is_one_of_its_names():
    """A platform's customer is the person's where the purchases are nobody else's."""
    guess = bought(1, user_id="cus_1", user_authority="guess")

    assert {"cus_1"} == guesses([guess, told()], ANN)
    assert set() == guesses([guess, told(), told(2, "ch_other", user_id=BOB)], ANN)
    assert set() == guesses([guess], ANN)


def test_what_is_said_later_is_said_of_nobody():
    """The platform's next word, or the backend's, names the person in vain."""
    home = lineage(erased_entry(bought(lineage=SUBSCRIPTION), {ANN: NOBODY}))
    for late in (
        money(EntryKind.REFUND_SUCCEEDED, 9, user_id=ANN),
        told(9),
        bought(30, "ch_next", lineage=SUBSCRIPTION),
        entry(EntryKind.EXPIRED, 40, None, lineage=SUBSCRIPTION, user_id=ANN),
    ):
        assert NOBODY == kept_out(late, home).facts.user_id
    assert None is kept_out(money(EntryKind.REFUND_SUCCEEDED, 9), home).facts.user_id


def test_what_is_said_of_others_is_said_of_them():
    """Of a lineage that several share, only what the erased one held is nobody's."""
    mine = erased_entry(bought(lineage=SUBSCRIPTION), {ANN: NOBODY})
    home = lineage(mine, bought(1, "ch_bob", lineage=SUBSCRIPTION, user_id=BOB))

    assert NOBODY == kept_out(told(9), home).facts.user_id
    assert BOB == kept_out(told(9, "ch_bob", user_id=BOB), home).facts.user_id
    assert BOB == kept_out(bought(9, "ch_new", lineage=SUBSCRIPTION, user_id=BOB), home).facts.user_id
    assert ANN == kept_out(told(9), Lineage()).facts.user_id


def b64(text: bytes) -> bytes:
    """Write as a JWS does."""
    return base64.urlsafe_b64encode(text).rstrip(b"=")


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (f'{{"user": "{USER}"}}'.encode(), True),
        (b'{"signedPayload": "eyJhbGciOiJFUzI1NiJ9.%b.c2ln"}' % b64(f'{{"appAccountToken":"{USER}"}}'.encode()), True),
        (b'{"message": {"data": "%b"}}' % base64.b64encode(f'{{"account": "{USER}"}}'.encode()), True),
        (b'{"a": "%b"}' % b64(b'{"b":"%b"}' % b64(f'{{"c": "{USER}"}}'.encode())), True),
        (f'{{"user": "{USER}0"}}'.encode(), False),
        (b'{"signature": "AAAAAAAAAAAAAAAAA"}', False),
        (b'{"Message": "{\\"user\\":\\"u7\\"}"}', True),
        (b'{"user": "u7"}', True),
        (b'{"user": "u77", "charge": "ch_u7"}', False),
        ('{"user": "Jürgen Groß"}'.encode(), True),
        (json.dumps({"user": "Jürgen Groß"}).encode(), True),
    ],
)
def test_a_body_is_read_through(body: bytes, found: bool):  # noqa: FBT001 - a case of the table
    """A name is found in clear and in base64 within base64, whole, and a short one as a text of its own only."""
    assert found == mentions(body, pattern_of([USER, "u7", "Jürgen Groß"]))
