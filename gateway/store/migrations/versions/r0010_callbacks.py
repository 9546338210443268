"""Whom a run tells how it goes, and what became of each message."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("callbacks", sa.Text()))
    op.create_table(
        "callbacks",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("run", sa.String(64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("event", sa.String(40), nullable=False),
        sa.Column("node", sa.Text()),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("sends", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_status", sa.Integer()),
        sa.Column("last_error", sa.Text()),
        sa.Column("next_attempt_at", sa.BigInteger()),
        sa.Column("delivered_at", sa.BigInteger()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("check_at", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.UniqueConstraint("run", "position", "event", name="uq_callbacks_event"),
    )
    op.create_index("ix_callbacks_status_check", "callbacks", ["status", "check_at"])


def downgrade() -> None:
    op.drop_table("callbacks")
    with op.batch_alter_table("runs") as runs:
        runs.drop_column("callbacks")
