"""Migrations with data: up and down through all of them, nothing that two schemas know is lost between them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Boolean, Connection, Integer, LargeBinary, MetaData, Table, create_engine, insert, select

from innkeeper.gateway.store.engine import NEWEST, alembic_config, sqlite_url
from innkeeper.gateway.store.models import Base

REVISIONS = [f"{number:04}" for number in range(1, int(NEWEST) + 1)]
VERSION_TABLE = "alembic_version"
Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = create_engine(sqlite_url(tmp_path / "gateway.db"))
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def tables(connection: Connection) -> dict[str, Table]:
    found = MetaData()
    found.reflect(connection)
    return {name: table for name, table in found.tables.items() if name != VERSION_TABLE}


def rows(connection: Connection) -> Rows:
    """All rows of all tables, in the order in which they were added."""
    return {
        name: [dict(row._mapping) for row in connection.execute(select(table).order_by(*table.primary_key.columns))]
        for name, table in tables(connection).items()
    }


def add_rows(connection: Connection, mark: str) -> None:
    """Two rows in every table that there is: all columns filled, and only those that must be."""
    for table in tables(connection).values():
        for may_lack in (False, True):
            values = {
                column.name: value_of(column, f"{mark}-{may_lack}")
                for column in table.columns
                if not (column.nullable and may_lack) and not (column.primary_key and is_number(column))
            }
            connection.execute(insert(table).values(**values))


def is_number(column: Any) -> bool:
    return isinstance(column.type, Integer)


def value_of(column: Any, mark: str) -> Any:
    """Of its kind, and another one in each row and column."""
    if isinstance(column.type, Boolean):
        return True
    if is_number(column):
        return sum(f"{column.name}{mark}".encode())
    return f"{column.name} {mark}".encode() if isinstance(column.type, LargeBinary) else f"{column.name} {mark}"


def step(connection: Connection, revision: str, *, up: bool) -> None:
    (command.upgrade if up else command.downgrade)(alembic_config(connection), revision)


def check_kept(before: Rows, after: Rows) -> None:
    """Tables and columns that both know have the same in all rows that were there."""
    for name in before.keys() & after.keys():
        assert len(after[name]) == len(before[name]), name
        for old, new in zip(before[name], after[name], strict=True):
            common = old.keys() & new.keys()
            assert {key: new[key] for key in common} == {key: old[key] for key in common}, name


def test_rows_of_every_step_are_kept_on_the_way_up_and_down_and_up(connection: Connection) -> None:
    for way in ("first", "second"):
        for revision in REVISIONS:
            before = rows(connection)
            step(connection, revision, up=True)
            check_kept(before, rows(connection))
            add_rows(connection, f"{way}-{revision}")
        assert set(rows(connection)) == set(Base.metadata.tables)
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
        for revision in reversed(REVISIONS[:-1]):
            before = rows(connection)
            step(connection, revision, up=False)
            check_kept(before, rows(connection))
    assert len(rows(connection)["runs"]) == 2 * 2 * len(REVISIONS)


def test_rows_of_the_newest_schema_are_those_of_the_oldest_after_a_way_down_and_up(connection: Connection) -> None:
    step(connection, REVISIONS[0], up=True)
    add_rows(connection, "old")
    before = rows(connection)["runs"]
    step(connection, "head", up=True)
    add_rows(connection, "new")
    step(connection, REVISIONS[0], up=False)
    step(connection, "head", up=True)
    after = rows(connection)
    assert len(after["runs"]) == len(before) + 2
    check_kept({"runs": before}, {"runs": after["runs"][: len(before)]})
    # Tables that an old schema does not know are gone with it: who goes back keeps a backup.
    assert [name for name, found in after.items() if not found] == [
        name for name in sorted(Base.metadata.tables) if name != "runs"
    ]
