"""Does a store have the tables of its version? The newest are those of the models; migrations make older ones."""

from __future__ import annotations

import re
import sqlite3

from sqlalchemy import Column, DefaultClause, Table, UniqueConstraint, create_engine
from sqlalchemy.dialects import sqlite

from innkeeper.gateway.salvage.schema import ColumnSchema, IndexSchema, Schema, TableSchema, difference, schema_of
from innkeeper.gateway.store.engine import NEWEST, VERSIONS, migrate
from innkeeper.gateway.store.models import Base

_SQLITE = sqlite.dialect()


def store_schema_problem(db: sqlite3.Connection) -> str | None:
    """What is wrong with the tables of a store (a `SchemaCheck`).

    Raises:
        sqlite3.DatabaseError: The schema cannot be read.
    """
    found = schema_of(db)
    if not found:
        return None  # nothing was written yet
    if (problem := difference(found, {VERSIONS.name: _table(VERSIONS)})) is not None:
        return problem
    versions = [version for (version,) in db.execute(f"SELECT version_num FROM {VERSIONS.name}")]
    if len(versions) != 1 or not _is_revision(versions[0]):
        return f"its version {', '.join(map(str, versions))!r} is none"
    if versions[0] > NEWEST:
        return None  # whoever opens it refuses it
    return difference(found, newest_schema() if versions[0] == NEWEST else schema_at(versions[0]))


def _is_revision(version: object) -> bool:
    """Four digits, as all of ours have: also those that come."""
    return isinstance(version, str) and re.fullmatch("[0-9]{4}", version) is not None and version > "0000"


def newest_schema() -> dict[str, TableSchema]:
    """The tables of the models. Making them in memory would take ten times as long as comparing them."""
    return {name: _table(table) for name, table in Base.metadata.tables.items()}


def schema_at(revision: str) -> Schema:
    """The tables that migrations make up to a revision. Takes a fifth of a second: Alembic is loaded."""
    engine = create_engine("sqlite://")
    try:
        with engine.begin() as connection:
            migrate(connection, revision)
            made = connection.connection.driver_connection
            assert isinstance(made, sqlite3.Connection)
            return schema_of(made)
    finally:
        engine.dispose()


def _table(table: Table) -> TableSchema:
    named = {
        IndexSchema(str(index.name), bool(index.unique), tuple(column.name for column in index.columns))
        for index in table.indexes
    }
    unique = {
        IndexSchema("", True, tuple(column.name for column in constraint.columns))
        for constraint in table.constraints
        if isinstance(constraint, UniqueConstraint)
    }
    key = [column.name for column in table.primary_key.columns]
    return TableSchema(frozenset(_column(column, key) for column in table.columns), frozenset(named | unique))


def _column(column: Column[object], key: list[str]) -> ColumnSchema:
    return ColumnSchema(
        column.name,
        column.type.compile(_SQLITE),
        not column.nullable,
        _default(column),
        key.index(column.name) + 1 if column.name in key else 0,
    )


def _default(column: Column[object]) -> str | None:
    """As its text stands in the file."""
    default = column.server_default
    if not isinstance(default, DefaultClause):
        return None
    return default.arg if isinstance(default.arg, str) else str(default.arg.compile(dialect=_SQLITE))
