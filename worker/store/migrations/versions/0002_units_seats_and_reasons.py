"""Units of consumables, late renewals, references of refunds, and what a reason is about"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# As in worker/store/tables.py.
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    with op.batch_alter_table("purchases", schema=None) as batch_op:
        batch_op.add_column(sa.Column("units", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("units_clawed_back", sa.BigInteger(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("lapses_at", sa.BigInteger(), nullable=True))
        batch_op.drop_index(batch_op.f("ix_purchases_access_expires_at"))
        batch_op.create_index(batch_op.f("ix_purchases_access_lapses_at"), ["access", "lapses_at"], unique=False)
    op.execute("UPDATE purchases SET lapses_at = expires_at")
    with op.batch_alter_table("refunds", schema=None) as batch_op:
        batch_op.add_column(sa.Column("quantity", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("reference_type", TEXT, nullable=True))
        batch_op.add_column(sa.Column("reference_status", TEXT, nullable=True))
        batch_op.add_column(sa.Column("contradiction", TEXT, nullable=True))
    with op.batch_alter_table("notifications", schema=None) as batch_op:
        batch_op.add_column(sa.Column("detail", TEXT, nullable=True))
    with op.batch_alter_table("refs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_refs_ref"), ["ref"], unique=False)
