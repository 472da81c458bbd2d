"""The tables, and what each is for.

| table | one row is | written by |
|---|---|---|
| notifications | a verified POST as it came: the inbox | ingest; its status by processing |
| entries | one thing that happened to a purchase: append-only | processing, the API, the lapse sweep |
| refs | an id under which a lineage is found | with its entries |
| purchases, refunds | the fold of a lineage's entries, stored | processing |
| entitlements | what a user may use: the union over purchases | processing |
| customers | how many events a customer has had: the gapless sequence | processing |
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

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite makes a growing rowid only of a plain INTEGER PRIMARY KEY.
Serial = BigInteger().with_variant(Integer, "sqlite")

notifications = Table(
    "notifications",
    metadata,
    Column("id", Text, primary_key=True),
    Column("app", Text, nullable=False),
    Column("platform", Text, nullable=False),
    Column("environment", Text),
    Column("scope", Text, nullable=False),
    Column("notification_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("subtype", Text, nullable=False),
    Column("occurred_at_ms", BigInteger, nullable=False),
    Column("received_at_ms", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("headers", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("detail", Text),
    Column("attempts", Integer, nullable=False, default=0),
    Column("retry_at_ms", BigInteger, nullable=False, default=0),
    Column("finished_at_ms", BigInteger),
    Column("stations", Text, nullable=False, default="{}"),
    UniqueConstraint("app", "platform", "scope", "notification_id"),
    Index(None, "status", "retry_at_ms"),
    Index(None, "received_at_ms", "id"),
    Index(None, "app", "platform", "received_at_ms"),
)

entries = Table(
    "entries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("lineage", Text, nullable=False),
    Column("app", Text, nullable=False),
    Column("platform", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("occurred_at_ms", BigInteger, nullable=False),
    Column("recorded_at_ms", BigInteger, nullable=False),
    Column("notification", Text),
    Column("document", Text, nullable=False),
    Index(None, "lineage"),
    Index(None, "notification"),
)

refs = Table(
    "refs",
    metadata,
    Column("app", Text, primary_key=True),
    Column("platform", Text, primary_key=True),
    Column("realm", Text, primary_key=True),
    Column("ref", Text, primary_key=True),
    Column("lineage", Text, nullable=False),
    # The id that a purchase has while this is the best of its ids: once a better one is known, it still leads here.
    Column("purchase", Text, nullable=False),
    Index(None, "ref"),
    Index(None, "lineage"),
    Index(None, "purchase"),
)

purchases = Table(
    "purchases",
    metadata,
    Column("id", Text, primary_key=True),
    Column("lineage", Text, nullable=False),
    Column("app", Text, nullable=False),
    Column("platform", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("purchase_id", Text, nullable=False),
    Column("original_purchase_id", Text),
    Column("product_id", Text),
    Column("kind", Text),
    Column("user_id", Text),
    Column("quantity", BigInteger),
    Column("amount", BigInteger),
    Column("amount_refunded", BigInteger, nullable=False),
    Column("units", BigInteger),
    Column("units_clawed_back", BigInteger, nullable=False, server_default="0"),
    Column("currency", Text),
    Column("purchased_at", BigInteger),
    Column("expires_at", BigInteger),
    Column("lapses_at", BigInteger),
    Column("access", Text, nullable=False),
    Column("access_reason", Text),
    Column("rule", Text),
    Column("entitlements", Text, nullable=False),
    Column("aliases", Text, nullable=False),
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
    Column("id", Text, primary_key=True),
    Column("lineage", Text, nullable=False),
    Column("app", Text, nullable=False),
    Column("platform", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("platform_refund_id", Text, nullable=False),
    Column("charge_id", Text, nullable=False),
    Column("user_id", Text),
    Column("amount", BigInteger),
    Column("amount_source", Text, nullable=False),
    Column("currency", Text),
    Column("scope", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("reason", Text),
    Column("description", Text),
    Column("quantity", BigInteger),
    Column("reference", Text),
    Column("reference_type", Text),
    Column("reference_status", Text),
    Column("receipt_number", Text),
    Column("offline", Boolean, nullable=False, default=False),
    Column("contradiction", Text),
    Column("failed_reason", Text),
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
    Column("app", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("environment", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("active", Boolean, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("expires_at", BigInteger),
    Column("purchases", Text, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Index(None, "user_id"),
)

customers = Table(
    "customers",
    metadata,
    Column("app", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("position", Serial, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False),
    Column("app", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("user_id", Text),
    Column("sequence", BigInteger),
    Column("timestamp_ms", BigInteger, nullable=False),
    Column("notification", Text),
    Column("document", Text, nullable=False),
    UniqueConstraint("id"),
    Index(None, "user_id", "position"),
    Index(None, "notification"),
    sqlite_autoincrement=True,
)

subscribers = Table(
    "subscribers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("app", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("secrets", Text, nullable=False),
    Column("types", Text, nullable=False),
    Column("order", Text, nullable=False),
    Column("allow_private", Boolean, nullable=False),
    Column("timeout_seconds", Float, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("origin", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index(None, "app"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("event_id", Text, nullable=False),
    Column("subscriber", Text, nullable=False),
    Column("app", Text, nullable=False),
    Column("user_id", Text),
    Column("sequence", BigInteger),
    Column("status", Text, nullable=False),
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
    Column("delivery", Text, nullable=False),
    Column("attempted_at_ms", BigInteger, nullable=False),
    Column("duration_ms", Float, nullable=False),
    Column("status_code", Integer),
    Column("error", Text),
    Column("response", Text),
    Index(None, "delivery"),
    sqlite_autoincrement=True,
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("key", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("status", Integer),
    Column("body", Text),
    Column("created_at_ms", BigInteger, nullable=False),
)

locks = Table(
    "locks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until_ms", BigInteger, nullable=False),
)
