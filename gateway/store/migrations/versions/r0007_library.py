"""Stored workflows with their versions, projects, and which versions a run took."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    with op.batch_alter_table("runs") as runs:
        runs.add_column(sa.Column("project_id", sa.String(200)))
        runs.add_column(sa.Column("workflow_version", sa.Integer()))
        runs.add_column(sa.Column("versions", sa.Text()))
    op.create_table(
        "projects",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("user_id", sa.String(200), nullable=False),
        sa.Column("id", sa.String(200), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("more", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("user_id", "id", "deleted_at", name="uq_projects_id"),
    )
    _create_workflows()
    op.create_table(
        "workflow_versions",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("workflow", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("author", sa.String(200), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("problems", sa.Text(), nullable=False),
        sa.Column("valid", sa.Boolean(), nullable=False),
        sa.Column("saved_at", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("workflow", "version", name="uq_workflow_versions"),
    )


def _create_workflows() -> None:
    op.create_table(
        "workflows",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("user_id", sa.String(200), nullable=False),
        sa.Column("project_id", sa.String(200), nullable=False),
        sa.Column("id", sa.String(200), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("interface", sa.Text(), nullable=False),
        sa.Column("refers_to", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("valid", sa.Boolean(), nullable=False),
        sa.Column("published", sa.Integer()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=False),
        sa.Column("file", sa.Text()),
        sa.Column("file_hash", sa.String(64)),
        sa.UniqueConstraint("user_id", "project_id", "id", "deleted_at", name="uq_workflows_id"),
    )
    op.create_index("ix_workflows_name", "workflows", ["user_id", "project_id", "name"])
    op.create_index("ix_workflows_deleted", "workflows", ["deleted_at"])


def downgrade() -> None:
    for table in ("workflow_versions", "workflows", "projects"):
        op.drop_table(table)
    with op.batch_alter_table("runs") as runs:
        for column in ("versions", "workflow_version", "project_id"):
            runs.drop_column(column)
