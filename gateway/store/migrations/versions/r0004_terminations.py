"""Runs that are ended by force."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("interrupted_at", sa.BigInteger()))
        runs.add_column(sa.Column("terminate", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    with op.batch_alter_table("runs") as runs:
        for name in ("terminate", "interrupted_at"):
            runs.drop_column(name)
