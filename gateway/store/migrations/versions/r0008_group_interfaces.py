"""Which interface of its groups each stored workflow was brought up to, and why it does not compile any more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("workflows") as workflows:
        workflows.add_column(sa.Column("groups", sa.Text()))
        workflows.add_column(sa.Column("reason", sa.Text()))


def downgrade() -> None:
    with op.batch_alter_table("workflows") as workflows:
        for column in ("reason", "groups"):
            workflows.drop_column(column)
