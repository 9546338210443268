"""Does a database have the tables that its version has?

SQLite's own checks compare pages with the schema as it stands in the file. A damaged name of a column passes them, and
every query that names the column fails from then on.

What somebody has added stays: tables, views, and indexes that only make queries faster. Triggers and unique indexes
change what a write does, and are taken for damage.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

SchemaCheck = Callable[[sqlite3.Connection], str | None]
"""What is wrong with the schema of a database of ours; None when nothing is, or when a newer version wrote it."""
Schema = Mapping[str, "TableSchema"]
"""Tables by their names."""

# Both names of an entry count, though SQLite reads the text beside them only: migrations look for the names.
_COLUMNS = """
SELECT entry.name, found.name, found.type, found."notnull", found.dflt_value, found.pk
FROM sqlite_schema AS entry, pragma_table_info(entry.name) AS found
WHERE entry.type='table' AND entry.tbl_name=entry.name"""
_INDEXES = """
SELECT entry.name, list.name, list.origin, list."unique", found.name
FROM sqlite_schema AS entry, pragma_index_list(entry.name) AS list, pragma_index_info(list.name) AS found
WHERE entry.type='table' AND entry.tbl_name=entry.name AND list.origin IN ('c', 'u')
ORDER BY found.seqno"""
_ENTRIES = "SELECT name, tbl_name FROM sqlite_schema WHERE type="


class ColumnSchema(NamedTuple):
    """One column. `key`: its place in the primary key, from 1; 0: it is in none."""

    name: str
    type: str
    not_null: bool
    default: str | None
    key: int


class IndexSchema(NamedTuple):
    """One index. `name`: empty for that of a constraint. `columns`: None stands for an expression."""

    name: str
    is_unique: bool
    columns: tuple[str | None, ...]


@dataclass(frozen=True)
class TableSchema:
    """One table. The order of its columns does not count: migrations add theirs at the end."""

    columns: frozenset[ColumnSchema]
    indexes: frozenset[IndexSchema] = frozenset()
    triggers: frozenset[str] = frozenset()


def schema_of(db: sqlite3.Connection) -> dict[str, TableSchema]:
    """The tables of a database, without those of SQLite itself. Takes about a millisecond for 15 tables.

    Raises:
        sqlite3.DatabaseError: The schema cannot be read.
    """
    columns: dict[str, list[ColumnSchema]] = {}
    for table, name, kind, not_null, default, key in db.execute(_COLUMNS):
        # Versions of SQLAlchemy differ in the parentheses.
        bare = default.strip("()") if isinstance(default, str) else default
        columns.setdefault(table, []).append(ColumnSchema(name, kind, bool(not_null), bare, key))
    indexes = _indexes(db)
    triggers = db.execute(_ENTRIES + "'trigger'").fetchall()
    return {
        table: TableSchema(
            frozenset(found),
            frozenset(indexes.get(table, ())),
            frozenset(name for name, of in triggers if of == table),
        )
        for table, found in columns.items()
        if not table.startswith("sqlite_")
    }


def _indexes(db: sqlite3.Connection) -> dict[str, list[IndexSchema]]:
    entries = set(db.execute(_ENTRIES + "'index'"))
    columns: dict[tuple[str, str, str, int], list[str | None]] = {}
    for table, *facts, column in db.execute(_INDEXES):
        columns.setdefault((table, *facts), []).append(column)
    found: dict[str, list[IndexSchema]] = {}
    for (table, name, origin, is_unique), named in columns.items():
        if (name, table) in entries:
            index = IndexSchema(name if origin == "c" else "", bool(is_unique), tuple(named))
            found.setdefault(table, []).append(index)
    return found


def fingerprint(db: sqlite3.Connection) -> str:
    """What tells whether a schema was changed by others than SQLite: it counts a number up with every change.

    Raises:
        sqlite3.DatabaseError: The schema cannot be read.
    """
    (count,) = db.execute("PRAGMA schema_version").fetchone()
    # As bytes: damaged text is none any more.
    columns = ", ".join(f"CAST({name} AS BLOB)" for name in ("type", "name", "tbl_name", "sql"))
    content = repr(db.execute(f"SELECT {columns} FROM sqlite_schema").fetchall())
    return f"{count}:{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def is_changed_by_damage(then: str, now: str) -> bool:
    """Do two fingerprints differ, though SQLite has counted no change? An empty one is not known."""
    return then != now and then.partition(":")[0] == now.partition(":")[0]


def difference(found: Schema, expected: Schema) -> str | None:
    """What is missing of the expected tables, or different, in a few words; None when nothing is."""
    for name, table in expected.items():
        if (has := found.get(name)) is None:
            return f"its table {name!r} is missing"
        if columns := sorted(column.name for column in has.columns ^ table.columns):
            return f"the columns {', '.join(dict.fromkeys(columns))} of its table {name!r} are not those of its version"
        ours = {index for index in has.indexes if index.is_unique or index in table.indexes}
        if ours != table.indexes:
            return f"the indexes of its table {name!r} are not those of its version"
        if has.triggers != table.triggers:
            return f"its table {name!r} has a trigger"
    return None
