"""How a table of a damaged database is described: once, column by column, in the order of its model.

A record does not say which table it is of, nor which version of the schema it was written with. Both follow from the
values that it has: each column says which ones are sound.
"""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import orjson

from innkeeper.gateway.salvage.sqlite_pages import Record, Value

Row = dict[str, Value]
Check = Callable[[Value], Value]
"""Gives a value as it is, or a sound one in its place. Raises Unsound: without this value there is no row."""
ID_CHARS = 64
LATEST_MS = 253_402_300_799_999
"""The end of the year 9999, the last that a date can tell."""


class Unsound(ValueError):
    """A record is no row of the table."""


@dataclass(frozen=True)
class Column:
    """One column. `since`: the migration that added it."""

    check: Check
    since: int = 1


@dataclass(frozen=True)
class Table:
    """A table of the store.

    Attributes:
        columns: In the order of the model.
        row_number: The column that stands for SQLite's own number of a row; None: it has none.
    """

    name: str
    columns: Mapping[str, Column]
    row_number: str | None = "number"

    @cached_property
    def orders(self) -> tuple[tuple[str, ...], ...]:
        """Columns as files have them, the newest first: what came after a file was made stands at its end."""
        revisions = sorted({column.since for column in self.columns.values()}, reverse=True)
        return tuple(dict.fromkeys(self._order(revision) for revision in revisions))

    def _order(self, revision: int) -> tuple[str, ...]:
        by_age = sorted(self.columns, key=lambda name: max(self.columns[name].since, revision))
        return tuple(by_age)

    @cached_property
    def _counts(self) -> frozenset[int]:
        """How many values a row may have: one that was written before a column came lacks it."""
        ages = [column.since for column in self.columns.values()]
        return frozenset(sum(age <= revision for age in ages) for revision in ages)

    def read(self, record: Record) -> Row | None:
        """The row that a record is; None when it is none of this table."""
        if record.rowid is None or len(record.values) not in self._counts:
            return None
        for order in self.orders:
            with contextlib.suppress(Unsound):
                row = self.sound(dict(zip(order, record.values, strict=False)))
                # SQLite keeps this column in the place of its own number, and nothing in the record.
                return row if self.row_number is None else {**row, self.row_number: record.rowid}
        return None

    def sound(self, values: Mapping[str, Value]) -> Row:
        """A row with sound values, its number as it is. Raises Unsound: a value is missing that a row must have."""
        return {
            name: values.get(name) if name == self.row_number else column.check(values.get(name))
            for name, column in self.columns.items()
        }

    def insert(self, db: sqlite3.Connection, rows: Iterable[Row]) -> None:
        """Write rows down, except those that contradict earlier ones."""
        names = ", ".join(self.columns)
        query = f"INSERT OR IGNORE INTO {self.name}({names}) VALUES({', '.join('?' * len(self.columns))})"
        db.executemany(query, ([row[name] for name in self.columns] for row in rows))


# --- checks: with a word for what may be missing, or must not -------------------------------------------------------


def need_text(value: Value) -> Value:
    if not isinstance(value, str):
        raise Unsound
    return value


def need_id(value: Value) -> Value:
    if not isinstance(value, str) or not 0 < len(value) <= ID_CHARS or not value.isprintable():
        raise Unsound
    return value


def need_number(value: Value) -> Value:
    """A number from 1."""
    if not isinstance(value, int) or value < 1:
        raise Unsound
    return value


def need_count(value: Value) -> Value:
    """A number from 0."""
    if not isinstance(value, int) or value < 0:
        raise Unsound
    return value


def need_integer(value: Value) -> Value:
    if not isinstance(value, int):
        raise Unsound
    return value


def need_moment(value: Value) -> Value:
    if not isinstance(value, int) or not 0 <= value <= LATEST_MS:
        raise Unsound
    return value


def need_flag(value: Value) -> Value:
    if value not in (0, 1):
        raise Unsound
    return value


def need_bytes(value: Value) -> Value:
    if not isinstance(value, bytes):
        raise Unsound
    return value


def need_one_of(allowed: Collection[str]) -> Check:
    def check(value: Value) -> Value:
        if value not in allowed:
            raise Unsound
        return value

    return check


def need_packed_object(value: Value) -> Value:
    """Compressed JSON of an object."""
    if not isinstance(value, bytes) or unpacked_object(value) is None:
        raise Unsound
    return value


def unpacked_object(packed: bytes) -> dict[str, object] | None:
    """The object in compressed JSON; None when it cannot be read."""
    with contextlib.suppress(zlib.error, ValueError):
        found = orjson.loads(zlib.decompress(packed))
        return found if isinstance(found, dict) else None
    return None


def text(value: Value) -> Value:
    return value if isinstance(value, str) else None


def number(value: Value) -> Value:
    return value if isinstance(value, int) else None


def flag(value: Value) -> Value:
    return int(value == 1)


def true_flag(value: Value) -> Value:
    """True unless it says otherwise."""
    return int(value != 0)


def packed(value: Value) -> Value:
    with contextlib.suppress(zlib.error):
        if isinstance(value, bytes):
            zlib.decompress(value)
            return value
    return None


def json_of(kind: type, otherwise: str | None = None, *, needs_text: bool = False) -> Check:
    """JSON of a kind. `needs_text`: what is no text at all is no row."""

    def check(value: Value) -> Value:
        if not isinstance(value, str):
            if needs_text:
                raise Unsound
            return otherwise
        with contextlib.suppress(ValueError):
            if isinstance(orjson.loads(value), kind):
                return value
        return otherwise

    return check
