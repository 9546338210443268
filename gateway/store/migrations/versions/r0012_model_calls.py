"""Requests to models with what they cost, and what runs and users may spend."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("budget", sa.Text()))
    op.create_table(
        "model_calls",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("run", sa.String(64), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("workflow", sa.String(200)),
        sa.Column("project", sa.String(200)),
        sa.Column("user_id", sa.String(200), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("adapter", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("answered", sa.Text(), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger()),
        sa.Column("outcome", sa.String(20), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_tokens", sa.BigInteger(), nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger(), nullable=False),
        sa.Column("estimated", sa.Boolean(), nullable=False),
        sa.Column("cost", sa.BigInteger()),
        sa.Column("currency", sa.String(8)),
        sa.Column("first_ms", sa.BigInteger()),
        sa.Column("whole_ms", sa.BigInteger()),
        sa.UniqueConstraint("id", name="uq_model_calls_id"),
    )
    op.create_index("ix_model_calls_run", "model_calls", ["run"])
    op.create_index("ix_model_calls_user_day", "model_calls", ["user_id", "day"])
    op.create_index("ix_model_calls_started", "model_calls", ["started_at"])
    op.create_index("ix_model_calls_outcome", "model_calls", ["outcome", "started_at"])
    op.create_table(
        "usage_days",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("run", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(200), nullable=False),
        sa.Column("workflow", sa.String(200)),
        sa.Column("project", sa.String(200)),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("currency", sa.String(8)),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("open", sa.BigInteger(), nullable=False),
        sa.Column("failed", sa.BigInteger(), nullable=False),
        sa.Column("estimated", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_tokens", sa.BigInteger(), nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost", sa.BigInteger(), nullable=False),
        sa.Column("unknown", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_usage_days_day", "usage_days", ["day", "run"])
    op.create_table(
        "raised_budgets",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("user_id", sa.String(200), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.BigInteger()),
        sa.Column("nanos", sa.BigInteger()),
        sa.Column("raised_at", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("user_id", "day", name="uq_raised_budgets_day"),
    )


def downgrade() -> None:
    op.drop_table("raised_budgets")
    op.drop_table("usage_days")
    op.drop_table("model_calls")
    with op.batch_alter_table("runs") as runs:
        runs.drop_column("budget")
