"""Which purchases something concerns that was said of more than one: a lineage, or a whole store account."""

from typing import Any

from schemas.base import Access
from schemas.entry import EntryKind
from tests.handlers.entries import ANN, BOB, BUNDLE, bought, entry, settle, told

K = EntryKind
ACCOUNT: dict[str, Any] = {"kin": ("app_transaction:7",), "platform": "apple"}
PLAN: dict[str, Any] = {"lineage": ("original:1000",), **ACCOUNT}
BOOK: dict[str, Any] = {"lineage": ("original:3000",), **ACCOUNT}


def test_an_account_does_not_mix_its_lineages():
    """Two subscriptions of one store account: when one of them ends, the other does not."""
    story = settle(
        bought(0, "1000", **PLAN),
        bought(5, "3000", product_id=BUNDLE, **BOOK),
        entry(K.EXPIRED, 30, None, lineage=("original:1000",), platform="apple"),
    )

    assert {"1000": Access.EXPIRED, "3000": Access.ACTIVE} == {k: p.access for k, p in story.purchases.items()}


def test_an_account_is_no_user():
    """Two of the app's users share a tablet: what is known of one purchase's user says nothing of the other's."""
    story = settle(bought(0, "1000", user_id=ANN, **PLAN), bought(5, "3000", user_id=None, **BOOK))

    assert {"1000": ANN, "3000": None} == {k: p.user_id for k, p in story.purchases.items()}


def test_a_lineage_shares_its_user_within_an_account():
    """The periods of one subscription are one user's, beside another subscription of the same account."""
    story = settle(
        bought(0, "1000", user_id=None, **PLAN),
        bought(30, "1001", user_id=None, **PLAN),
        told(0, None, lineage=("original:1000",), platform="apple", user_id=BOB, product_id=None),
        bought(5, "3000", user_id=ANN, **BOOK),
    )

    assert {"1000": BOB, "1001": BOB, "3000": ANN} == {k: p.user_id for k, p in story.purchases.items()}


def test_what_belongs_to_no_lineage():
    """A purchase that is tied to its account alone is concerned by what is said of the account, and of nothing else."""
    story = settle(
        bought(0, "1000", **PLAN),
        bought(0, "lamp", user_id=BOB, product_id=BUNDLE, **ACCOUNT),
        entry(K.EXPIRED, 30, None, lineage=("original:1000",), platform="apple"),
        entry(K.REVOKED, 40, None, **ACCOUNT),
    )

    assert {"1000": Access.REVOKED, "lamp": Access.REVOKED} == {k: p.access for k, p in story.purchases.items()}
