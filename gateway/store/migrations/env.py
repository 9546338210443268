"""Alembic's entry: migrations run on the connection that the gateway hands over (gateway/store/database.py)."""

from __future__ import annotations

from alembic import context

from innkeeper.gateway.store.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite cannot alter most of a table in place.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
