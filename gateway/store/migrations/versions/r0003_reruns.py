"""Plans of runs are kept, and what a run took over from another one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("plan_hash", sa.String(64)))
        runs.add_column(sa.Column("rerun", sa.Text()))
        runs.add_column(sa.Column("preview", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    with op.batch_alter_table("runs") as runs:
        for name in ("preview", "rerun", "plan_hash"):
            runs.drop_column(name)
