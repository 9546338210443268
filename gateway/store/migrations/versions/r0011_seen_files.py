"""Watched folders, and the files that were seen in them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "file_watches",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("trigger", sa.BigInteger(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("glob", sa.Text(), nullable=False),
        sa.UniqueConstraint("trigger", name="uq_file_watches_trigger"),
    )
    op.create_table(
        "seen_files",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("trigger", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(64)),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("gone_at", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("trigger", "path", name="uq_seen_files_path"),
    )


def downgrade() -> None:
    op.drop_table("seen_files")
    op.drop_table("file_watches")
