"""The document that a run runs, and why it failed, short enough for lists."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("document", sa.String(64)))
        runs.add_column(sa.Column("error", sa.Text()))


def downgrade() -> None:
    with op.batch_alter_table("runs") as runs:
        for name in ("error", "document"):
            runs.drop_column(name)
