"""What a salvage must keep in step with."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import create_engine

from innkeeper.gateway.salvage.store_tables import TABLES
from innkeeper.gateway.salvage.tables import Table
from innkeeper.gateway.store.engine import NEWEST, alembic_config
from innkeeper.gateway.store.models import Base

REVISIONS = [f"{number:04}" for number in range(1, int(NEWEST) + 1)]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_table_is_described_as_its_model_has_it(table: Table) -> None:
    assert list(table.columns) == [column.name for column in Base.metadata.tables[table.name].columns]


def test_every_table_of_the_store_is_saved() -> None:
    assert {table.name for table in TABLES} == set(Base.metadata.tables)


@pytest.mark.parametrize("made_with", REVISIONS)
def test_columns_stand_as_in_files_that_earlier_versions_made(made_with: str, tmp_path: Path) -> None:
    """A version makes a file in the order of its models; migrations add what came later at the end."""
    path = tmp_path / "gateway.db"
    migrate(path, made_with)
    with contextlib.closing(sqlite3.connect(path)) as db:
        for table in TABLES:
            if types := columns_of(db, table.name):
                columns = (f"{name} {types[name]}" for name in table.columns if name in types)
                db.execute(f"DROP TABLE {table.name}")
                db.execute(f"CREATE TABLE {table.name}({', '.join(columns)})")
        db.commit()
    migrate(path, "head")
    with contextlib.closing(sqlite3.connect(path)) as db:
        for table in TABLES:
            assert tuple(columns_of(db, table.name)) in table.orders


def migrate(path: Path, revision: str) -> None:
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        command.upgrade(alembic_config(connection), revision)
    engine.dispose()


def columns_of(db: sqlite3.Connection, table: str) -> dict[str, str]:
    """Columns of a table with their types, in the order of the file."""
    return {name: kind for _, name, kind, *_ in db.execute(f"PRAGMA table_info({table})")}
