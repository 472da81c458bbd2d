"""Fewer indexes, smaller ones, and room on the page for what is rewritten"""

from typing import Literal

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

REWRITTEN = ("notifications", "purchases", "refunds", "entitlements", "customers", "deliveries")


def upgrade() -> None:
    _notifications()
    _ledger()
    _views()
    _outbox()
    if op.get_bind().dialect.name == "postgresql":
        for table in REWRITTEN:
            op.execute(f"ALTER TABLE {table} SET (fillfactor = 50)")
        _press_fast()


def _notifications() -> None:
    with op.batch_alter_table("notifications") as table:
        # The id is made of these columns.
        table.drop_constraint("uq_notifications_app_platform_scope_notification_id", type_="unique")
        table.drop_index("ix_notifications_status_retry_at_ms")
    _some("notifications", "retry_at_ms", where="status = 'accepted'")
    _some("notifications", "status", "received_at_ms", where="status IN ('quarantined', 'dead')")


def _ledger() -> None:
    with op.batch_alter_table("entries") as table:
        table.drop_index("ix_entries_lineage")
        table.drop_constraint("pk_entries", type_="primary")
        table.create_primary_key("pk_entries", ["lineage", "id"])
    with op.batch_alter_table("refs") as table:
        for column in ("ref", "lineage"):
            table.drop_index(f"ix_refs_{column}")
        table.drop_constraint("pk_refs", type_="primary")
        table.create_primary_key("pk_refs", ["ref", "app", "platform", "realm"])
    for name in ("lineages", "customers"):
        # SQLite changes that by making the table anew, and PostgreSQL has nothing to change.
        anew: Literal["always", "never"] = "always" if op.get_bind().dialect.name == "sqlite" else "never"
        with op.batch_alter_table(name, recreate=anew, table_kwargs={"sqlite_with_rowid": False}):
            pass


def _views() -> None:
    with op.batch_alter_table("purchases") as table:
        table.add_column(sa.Column("due_at", sa.BigInteger(), nullable=True))
        table.drop_index("ix_purchases_original_purchase_id")
        table.drop_index("ix_purchases_access_lapses_at")
    op.execute("UPDATE purchases SET due_at = lapses_at WHERE access IN ('active', 'suspended')")
    _some("purchases", "original_purchase_id", where="original_purchase_id IS NOT NULL")
    _some("purchases", "due_at", where="due_at IS NOT NULL")
    op.drop_index("ix_refunds_charge_id", "refunds")
    with op.batch_alter_table("entitlements") as table:
        table.drop_index("ix_entitlements_user_id")
        table.drop_constraint("pk_entitlements", type_="primary")
        table.create_primary_key("pk_entitlements", ["user_id", "app", "environment", "key"])


def _outbox() -> None:
    with op.batch_alter_table("deliveries") as table:
        # The id is made of these columns.
        table.drop_constraint("uq_deliveries_event_id_subscriber", type_="unique")
        table.drop_index("ix_deliveries_subscriber_status_next_attempt_ms")
        table.drop_index("ix_deliveries_subscriber_status_app_user_id_sequence")
    _some("deliveries", "subscriber", "next_attempt_ms", where="status = 'pending'")
    _some("deliveries", "subscriber", "app", "user_id", "sequence", where="status = 'pending'")
    _some("deliveries", "subscriber", "next_attempt_ms", where="status = 'delivered'", name="ix_deliveries_delivered")


def _press_fast() -> None:
    """Have PostgreSQL compress what is long by LZ4, or no bodies where it was built without: its own way takes longer
    than all else that it does to take a notification in.
    """
    found = sa.text("SELECT enumvals FROM pg_settings WHERE name = 'default_toast_compression'")
    if "lz4" in op.get_bind().execute(found).scalar_one():
        for table, column in (("notifications", "body"), ("entries", "document"), ("events", "document")):
            op.execute(f"ALTER TABLE {table} ALTER {column} SET COMPRESSION lz4")
    else:
        op.execute("ALTER TABLE notifications ALTER body SET STORAGE EXTERNAL")


def _some(table: str, *columns: str, where: str, name: str | None = None) -> None:
    """Index some of the rows."""
    name, found = name or f"ix_{table}_{'_'.join(columns)}", sa.text(where)
    op.create_index(name, table, columns, postgresql_where=found, sqlite_where=found)
