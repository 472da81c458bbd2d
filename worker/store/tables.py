"""The tables, and what each is for.

| table | one row is | written by |
|---|---|---|
| notifications | a verified POST as it came: the inbox | ingest; its status by processing |
| entries | one thing that happened to a purchase: append-only | processing, the API, the lapse sweep |
| lineages | purchases that belong together: a lock | with its first entry |
| refs | an id under which a lineage is found | with its entries |
| purchases, refunds | the fold of a lineage's entries, stored | processing |
| entitlements | what a user may use: the union over purchases | processing |
| customers | how many events a customer has had: the gapless sequence, and a lock | processing |
| events | one thing the app's backends are told | processing |
| subscribers | who is told | configuration, the API |
| deliveries | one event on its way to one subscriber: the outbox | processing, delivery |
| attempts | one try of a delivery | delivery |
| idempotency | the first answer to a POST with an Idempotency-Key | the API |
| tokens | who may ask: the hash of a bearer token, and what it opens | the API, the command line |
| audit | what an operator did: append-only, which triggers see to | the API, the command line |
| locks | who does what must run once | sweeper |
| marks | one word about the whole: whose feed this is, how far back it and the inbox go | migration, pruning |

Nothing here is of one database only: text, integers (64 bit), blobs. Times are Unix milliseconds (`*_ms`) or, where
a resource shows them, Unix seconds (`*_at`). JSON is text that we wrote ourselves.

What each index is for, and why there are no more: docs/decisions/0015-few-indexes.md.
"""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
    text,
)

REVISION = "0006"
"""The migration that makes these tables."""
FITS_FROM = "0006"
"""The oldest one whose code works on these tables as well: hosts are brought up to date one after the other.

Raise it to your own with a migration after which older code would fail, or write what newer code does not understand.
"""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite makes a growing rowid only of a plain INTEGER PRIMARY KEY.
Serial = BigInteger().with_variant(Integer, "sqlite")
# Sorted by bytes, as SQLite does: pages come in one order everywhere, and an upgrade of the C library, whose sorting of
# words PostgreSQL would use, breaks no index (https://www.postgresql.org/docs/current/collation.html).
Words = Text().with_variant(Text(collation="C"), "postgresql")

ACCEPTED: Final = literal_column("'accepted'", Text())
QUARANTINED: Final = literal_column("'quarantined'", Text())
DEAD: Final = literal_column("'dead'", Text())
PENDING: Final = literal_column("'pending'", Text())
"""Written out in statements: that an index of some rows will do, a database sees in the text and in no parameter."""

# A row that is rewritten stays on its page where there is room for it twice: then PostgreSQL logs what changed and not
# the whole row, and, if no indexed column changed, leaves every index alone (a "heap-only tuple").
_REWRITTEN: Final[dict[str, Any]] = {"postgresql_with": {"fillfactor": "50"}}
# What SQLite alone is told, by `sqlite.py`: to tell it here would have each process load its half of SQLAlchemy.
# It keeps the rows of some in their key, where it would have a copy of each key beside a row that is hardly more.
_KEY_IS_ROW: Final[dict[str, Any]] = {"info": {"sqlite": {"with_rowid": False}}}
_NEVER_AGAIN: Final[dict[str, Any]] = {"info": {"sqlite": {"autoincrement": True}}}


def _some(*columns: str, where: str, name: str | None = None) -> Index:
    """Index some of the rows."""
    some = text(where)
    return Index(name, *columns, postgresql_where=some, info={"sqlite": {"where": some}})


notifications = Table(
    "notifications",
    metadata,
    Column("id", Words, primary_key=True),
    Column("app", Words, nullable=False),
    Column("platform", Words, nullable=False),
    Column("environment", Words),
    Column("scope", Words, nullable=False),
    Column("notification_id", Words, nullable=False),
    Column("type", Words, nullable=False),
    Column("subtype", Words, nullable=False),
    Column("occurred_at_ms", BigInteger, nullable=False),
    Column("received_at_ms", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("headers", Words, nullable=False),
    Column("status", Words, nullable=False),
    Column("reason", Words),
    Column("detail", Words),
    Column("attempts", Integer, nullable=False, default=0),
    Column("retry_at_ms", BigInteger, nullable=False, default=0),
    Column("finished_at_ms", BigInteger),
    Column("stations", Words, nullable=False, default="{}"),
    _some("retry_at_ms", where="status = 'accepted'"),
    _some("status", "received_at_ms", where="status IN ('quarantined', 'dead')"),
    Index(None, "received_at_ms", "id"),
    Index(None, "app", "platform", "received_at_ms"),
    **_REWRITTEN,
)

entries = Table(
    "entries",
    metadata,
    Column("id", Words, nullable=False),
    Column("lineage", Words, nullable=False),
    Column("app", Words, nullable=False),
    Column("platform", Words, nullable=False),
    Column("kind", Words, nullable=False),
    Column("occurred_at_ms", BigInteger, nullable=False),
    Column("recorded_at_ms", BigInteger, nullable=False),
    Column("notification", Words),
    Column("document", Words, nullable=False),
    # Always asked for by lineage, so that is where they are unique.
    PrimaryKeyConstraint("lineage", "id"),
    Index(None, "notification"),
)

lineages = Table("lineages", metadata, Column("id", Words, primary_key=True), **_KEY_IS_ROW)

refs = Table(
    "refs",
    metadata,
    Column("app", Words, nullable=False),
    Column("platform", Words, nullable=False),
    Column("realm", Words, nullable=False),
    Column("ref", Words, nullable=False),
    Column("lineage", Words, nullable=False),
    # The id that a purchase has while this is the best of its ids: once a better one is known, it still leads here.
    Column("purchase", Words, nullable=False),
    # The ref first, as whoever looks a purchase up knows nothing else.
    PrimaryKeyConstraint("ref", "app", "platform", "realm"),
    Index(None, "purchase"),
)

purchases = Table(
    "purchases",
    metadata,
    Column("id", Words, primary_key=True),
    Column("lineage", Words, nullable=False),
    Column("app", Words, nullable=False),
    Column("platform", Words, nullable=False),
    Column("environment", Words, nullable=False),
    Column("purchase_id", Words, nullable=False),
    Column("original_purchase_id", Words),
    Column("product_id", Words),
    Column("kind", Words),
    Column("user_id", Words),
    Column("quantity", BigInteger),
    Column("amount", BigInteger),
    Column("amount_refunded", BigInteger, nullable=False),
    Column("units", BigInteger),
    Column("units_clawed_back", BigInteger, nullable=False, server_default="0"),
    Column("currency", Words),
    Column("purchased_at", BigInteger),
    Column("expires_at", BigInteger),
    Column("lapses_at", BigInteger),
    Column("access", Words, nullable=False),
    Column("access_reason", Words),
    Column("rule", Words),
    Column("entitlements", Words, nullable=False),
    Column("aliases", Words, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("sort_at", BigInteger, nullable=False),
    # When somebody must look whether it lapsed: a column of its own, as `access` changes with each refund.
    Column("due_at", BigInteger),
    Index(None, "lineage"),
    Index(None, "user_id", "app"),
    Index(None, "purchase_id"),
    _some("original_purchase_id", where="original_purchase_id IS NOT NULL"),
    Index(None, "sort_at", "id"),
    _some("due_at", where="due_at IS NOT NULL"),
    **_REWRITTEN,
)

refunds = Table(
    "refunds",
    metadata,
    Column("id", Words, primary_key=True),
    Column("lineage", Words, nullable=False),
    Column("app", Words, nullable=False),
    Column("platform", Words, nullable=False),
    Column("environment", Words, nullable=False),
    Column("platform_refund_id", Words, nullable=False),
    Column("charge_id", Words, nullable=False),
    Column("user_id", Words),
    Column("amount", BigInteger),
    Column("amount_source", Words, nullable=False),
    Column("currency", Words),
    Column("scope", Words, nullable=False),
    Column("status", Words, nullable=False),
    Column("type", Words, nullable=False),
    Column("reason", Words),
    Column("description", Words),
    Column("quantity", BigInteger),
    Column("reference", Words),
    Column("reference_type", Words),
    Column("reference_status", Words),
    Column("receipt_number", Words),
    Column("offline", Boolean, nullable=False, default=False),
    Column("contradiction", Words),
    Column("failed_reason", Words),
    Column("failed_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Index(None, "lineage"),
    Index(None, "user_id", "app"),
    Index(None, "created_at", "id"),
    **_REWRITTEN,
)

entitlements = Table(
    "entitlements",
    metadata,
    Column("app", Words, nullable=False),
    Column("user_id", Words, nullable=False),
    Column("environment", Words, nullable=False),
    Column("key", Words, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("status", Words, nullable=False),
    Column("reason", Words),
    Column("expires_at", BigInteger),
    Column("purchases", Words, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    # The user first, as whoever asks may not say which app.
    PrimaryKeyConstraint("user_id", "app", "environment", "key"),
    **_REWRITTEN,
)

customers = Table(
    "customers",
    metadata,
    Column("app", Words, primary_key=True),
    Column("user_id", Words, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    **_REWRITTEN,
    **_KEY_IS_ROW,
)

events = Table(
    "events",
    metadata,
    Column("position", Serial, primary_key=True, autoincrement=True),
    Column("id", Words, nullable=False),
    Column("app", Words, nullable=False),
    Column("environment", Words, nullable=False),
    Column("type", Words, nullable=False),
    Column("user_id", Words),
    Column("sequence", BigInteger),
    Column("timestamp_ms", BigInteger, nullable=False),
    Column("notification", Words),
    Column("document", Words, nullable=False),
    UniqueConstraint("id"),
    Index(None, "user_id", "position"),
    Index(None, "notification"),
    **_NEVER_AGAIN,
)

subscribers = Table(
    "subscribers",
    metadata,
    Column("id", Words, primary_key=True),
    Column("app", Words, nullable=False),
    Column("url", Words, nullable=False),
    Column("secrets", Words, nullable=False),
    Column("types", Words, nullable=False),
    Column("order", Words, nullable=False),
    Column("allow_private", Boolean, nullable=False),
    Column("timeout_seconds", Float, nullable=False),
    Column("state", Words, nullable=False),
    Column("reason", Words),
    Column("origin", Words, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("environment", Words),
    Column("rate_per_second", Float),
    Column("changed_at", BigInteger, nullable=False, default=0, server_default="0"),
    Column("not_before_ms", BigInteger, nullable=False, default=0, server_default="0"),
    Column("failing_since_ms", BigInteger),
    Column("missed_after", BigInteger),
    # Found by its app, and told once at an address.
    Index(None, "app", "url", unique=True),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Words, primary_key=True),
    Column("event_id", Words, nullable=False),
    Column("subscriber", Words, nullable=False),
    Column("app", Words, nullable=False),
    Column("user_id", Words),
    Column("sequence", BigInteger),
    Column("status", Words, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_attempt_ms", BigInteger, nullable=False),
    Column("claimed_until_ms", BigInteger, nullable=False, default=0),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("finished_at_ms", BigInteger),
    Column("retried_at_ms", BigInteger),
    _some("subscriber", "next_attempt_ms", where="status = 'pending'"),
    _some("subscriber", "app", "user_id", "sequence", where="status = 'pending'"),
    _some("subscriber", "created_at_ms", "id", where="status <> 'pending'", name="ix_deliveries_finished"),
    **_REWRITTEN,
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("delivery", Words, nullable=False),
    Column("attempted_at_ms", BigInteger, nullable=False),
    Column("duration_ms", Float, nullable=False),
    Column("status_code", Integer),
    Column("error", Words),
    Column("response", Words),
    Index(None, "delivery"),
    **_NEVER_AGAIN,
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("key", Words, primary_key=True),
    Column("fingerprint", Words, nullable=False),
    Column("status", Integer),
    Column("body", Words),
    Column("created_at_ms", BigInteger, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", Words, primary_key=True),
    Column("name", Words, nullable=False),
    Column("hash", Words, nullable=False),
    Column("scopes", Words, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    UniqueConstraint("hash"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Words, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("operator", Words, nullable=False),
    Column("token", Words),
    Column("address", Words),
    Column("action", Words, nullable=False),
    Column("target", Words),
    Column("outcome", Words, nullable=False),
    Column("reason", Words),
    Column("detail", Words, nullable=False),
    Index(None, "at_ms", "id"),
)

locks = Table(
    "locks",
    metadata,
    Column("name", Words, primary_key=True),
    Column("holder", Words, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
)

marks = Table(
    "marks",
    metadata,
    Column("name", Words, primary_key=True),
    Column("value", Words, nullable=False),
)
