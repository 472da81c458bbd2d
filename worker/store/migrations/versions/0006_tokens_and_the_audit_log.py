"""Tokens that are made while everything runs, and the audit log, which takes rows and gives none back"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# As in worker/store/tables.py.
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

# SQLite replaces a row without firing the trigger of its deletion, unless recursive triggers are on
# (https://www.sqlite.org/lang_conflict.html), so that an id that is there is refused before.
ON_SQLITE = [
    f"CREATE TRIGGER audit_is_{name} BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
    for name in (
        "never_changed BEFORE UPDATE ON audit",
        "never_deleted BEFORE DELETE ON audit",
        "never_replaced BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id)",
    )
]
# For each statement: TRUNCATE has no rows to fire for (https://www.postgresql.org/docs/current/sql-createtrigger.html).
ON_POSTGRESQL = [
    """CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$""",
    """CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()""",
]


def upgrade() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("hash", TEXT, nullable=False),
        sa.Column("scopes", TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_tokens"),
        sa.UniqueConstraint("hash", name="uq_tokens_hash"),
    )
    op.create_table(
        "audit",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("operator", TEXT, nullable=False),
        sa.Column("token", TEXT, nullable=True),
        sa.Column("address", TEXT, nullable=True),
        sa.Column("action", TEXT, nullable=False),
        sa.Column("target", TEXT, nullable=True),
        sa.Column("outcome", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=True),
        sa.Column("detail", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_at_ms_id", "audit", ["at_ms", "id"])
    for statement in ON_POSTGRESQL if op.get_bind().dialect.name == "postgresql" else ON_SQLITE:
        op.execute(statement)
