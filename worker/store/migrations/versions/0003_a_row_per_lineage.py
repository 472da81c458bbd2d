"""A row per lineage, so that whoever decides about one can lock it"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# As in worker/store/tables.py.
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "lineages", sa.Column("id", TEXT, nullable=False), sa.PrimaryKeyConstraint("id", name="pk_lineages")
    )
    op.execute("INSERT INTO lineages (id) SELECT DISTINCT lineage FROM refs")
