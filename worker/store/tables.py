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
| locks | who does what must run once | sweeper |

Nothing here is of one database only: text, integers (64 bit), blobs. Times are Unix milliseconds (`*_ms`) or, where
a resource shows them, Unix seconds (`*_at`). JSON is text that we wrote ourselves.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

REVISION = "0003"
"""The migration that makes these tables."""

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
    UniqueConstraint("app", "platform", "scope", "notification_id"),
    Index(None, "status", "retry_at_ms"),
    Index(None, "received_at_ms", "id"),
    Index(None, "app", "platform", "received_at_ms"),
)

entries = Table(
    "entries",
    metadata,
    Column("id", Words, primary_key=True),
    Column("lineage", Words, nullable=False),
    Column("app", Words, nullable=False),
    Column("platform", Words, nullable=False),
    Column("kind", Words, nullable=False),
    Column("occurred_at_ms", BigInteger, nullable=False),
    Column("recorded_at_ms", BigInteger, nullable=False),
    Column("notification", Words),
    Column("document", Words, nullable=False),
    Index(None, "lineage"),
    Index(None, "notification"),
)

lineages = Table("lineages", metadata, Column("id", Words, primary_key=True))

refs = Table(
    "refs",
    metadata,
    Column("app", Words, primary_key=True),
    Column("platform", Words, primary_key=True),
    Column("realm", Words, primary_key=True),
    Column("ref", Words, primary_key=True),
    Column("lineage", Words, nullable=False),
    # The id that a purchase has while this is the best of its ids: once a better one is known, it still leads here.
    Column("purchase", Words, nullable=False),
    Index(None, "ref"),
    Index(None, "lineage"),
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
    Index(None, "lineage"),
    Index(None, "user_id", "app"),
    Index(None, "purchase_id"),
    Index(None, "original_purchase_id"),
    Index(None, "sort_at", "id"),
    Index(None, "access", "lapses_at"),
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
    Index(None, "charge_id"),
    Index(None, "user_id", "app"),
    Index(None, "created_at", "id"),
)

entitlements = Table(
    "entitlements",
    metadata,
    Column("app", Words, primary_key=True),
    Column("user_id", Words, primary_key=True),
    Column("environment", Words, primary_key=True),
    Column("key", Words, primary_key=True),
    Column("active", Boolean, nullable=False),
    Column("status", Words, nullable=False),
    Column("reason", Words),
    Column("expires_at", BigInteger),
    Column("purchases", Words, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Index(None, "user_id"),
)

customers = Table(
    "customers",
    metadata,
    Column("app", Words, primary_key=True),
    Column("user_id", Words, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
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
    sqlite_autoincrement=True,
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
    Index(None, "app"),
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
    UniqueConstraint("event_id", "subscriber"),
    Index(None, "subscriber", "status", "next_attempt_ms"),
    Index(None, "subscriber", "status", "app", "user_id", "sequence"),
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
    sqlite_autoincrement=True,
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

locks = Table(
    "locks",
    metadata,
    Column("name", Words, primary_key=True),
    Column("holder", Words, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
)
