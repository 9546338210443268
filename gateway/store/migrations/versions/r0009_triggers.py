"""Triggers, what came for them, and of each run what started it and whether its end was told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("origin", sa.Text()))
        runs.add_column(sa.Column("told", sa.Boolean(), nullable=False, server_default=sa.true()))
        runs.create_index("ix_runs_told", ["told"])
    op.create_table(
        "triggers",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(200), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("token_hash", sa.String(64)),
        sa.Column("secrets", sa.Text(), nullable=False),
        sa.Column("counters", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("id", name="uq_triggers_id"),
        sa.UniqueConstraint("user_id", "name", name="uq_triggers_name"),
        sa.UniqueConstraint("token_hash", name="uq_triggers_token"),
    )
    _create_deliveries()


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("trigger", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.String(64)),
        sa.Column("dedupe_key", sa.String(300)),
        sa.Column("replay_key", sa.String(300)),
        sa.Column("concurrency_key", sa.String(300), nullable=False),
        sa.Column("limit_keys", sa.Text()),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("request", sa.LargeBinary()),
        sa.Column("sample", sa.Text(), nullable=False),
        sa.Column("ended", sa.Boolean(), nullable=False),
        sa.UniqueConstraint("id", name="uq_deliveries_id"),
        sa.UniqueConstraint("trigger", "dedupe_key", name="uq_deliveries_dedupe"),
        sa.UniqueConstraint("trigger", "replay_key", name="uq_deliveries_replay"),
    )
    op.create_index("ix_deliveries_trigger", "deliveries", ["trigger", "number"])
    op.create_index("ix_deliveries_outcome", "deliveries", ["trigger", "status", "number"])
    op.create_index("ix_deliveries_status", "deliveries", ["status", "number"])
    op.create_index("ix_deliveries_run", "deliveries", ["run_id"])
    op.create_index("ix_deliveries_ended", "deliveries", ["ended"])
    op.create_index("ix_deliveries_at", "deliveries", ["at"])


def downgrade() -> None:
    for table in ("deliveries", "triggers"):
        op.drop_table(table)
    with op.batch_alter_table("runs") as runs:
        runs.drop_index("ix_runs_told")
        for column in ("told", "origin"):
            runs.drop_column(column)
