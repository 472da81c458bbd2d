"""What subscribers of the API need: environment, rate, rest after failures; and marks about the whole feed"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# As in worker/store/tables.py.
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    # Columns without a value, or with a constant one: neither database rewrites a row for them.
    op.add_column("subscribers", sa.Column("environment", TEXT, nullable=True))
    op.add_column("subscribers", sa.Column("rate_per_second", sa.Float(), nullable=True))
    op.add_column("subscribers", sa.Column("changed_at", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("subscribers", sa.Column("not_before_ms", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("subscribers", sa.Column("failing_since_ms", sa.BigInteger(), nullable=True))
    op.add_column("subscribers", sa.Column("missed_after", sa.BigInteger(), nullable=True))
    # So far the id was made of these two.
    op.drop_index("ix_subscribers_app", "subscribers")
    op.create_index("ix_subscribers_app_url", "subscribers", ["app", "url"], unique=True)
    # Whether anybody heard anything at all is in the subscriber's row now; what is listed has taken the index's place.
    # With everything else, in one transaction, and so not CONCURRENTLY: that takes as long, and leaves half a migration
    # and an invalid index where it fails (https://www.postgresql.org/docs/current/sql-createindex.html).
    op.drop_index("ix_deliveries_delivered", "deliveries")
    finished = sa.text("status <> 'pending'")
    op.create_index(
        "ix_deliveries_finished",
        "deliveries",
        ["subscriber", "created_at_ms", "id"],
        postgresql_where=finished,
        sqlite_where=finished,
    )
    op.add_column("deliveries", sa.Column("retried_at_ms", sa.BigInteger(), nullable=True))
    op.create_table(
        "marks",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_marks"),
    )
