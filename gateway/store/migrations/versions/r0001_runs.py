"""The index of runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("number", NUMBER, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(200), nullable=False),
        sa.Column("workflow_id", sa.String(200)),
        sa.Column("workflow_name", sa.Text()),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("interrupt_requested", sa.Boolean(), nullable=False),
        sa.Column("sealed", sa.Boolean(), nullable=False),
        sa.Column("submitted_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger()),
        sa.Column("ended_at", sa.BigInteger()),
        sa.Column("key_hash", sa.String(64)),
        sa.Column("body_hash", sa.String(64)),
        sa.Column("plan", sa.LargeBinary()),
        sa.Column("interface", sa.Text(), nullable=False),
        sa.Column("warnings", sa.Text(), nullable=False),
        sa.Column("result", sa.LargeBinary()),
        sa.UniqueConstraint("id", name="uq_runs_id"),
        sa.UniqueConstraint("user_id", "key_hash", name="uq_runs_user_key"),
    )
    op.create_index("ix_runs_status_number", "runs", ["status", "number"])
    op.create_index("ix_runs_sealed", "runs", ["sealed"])


def downgrade() -> None:
    op.drop_table("runs")
