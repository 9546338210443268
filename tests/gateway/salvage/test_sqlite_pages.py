from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from innkeeper.gateway.salvage.sqlite_pages import PageReader, Record
from tests.effort import examples

VALUES = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(), st.binary())


def made(path: Path, rows: list[tuple[object, ...]], *, shrinks: bool = False) -> bytes:
    """A database with these rows in a table of three columns."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA auto_vacuum={'INCREMENTAL' if shrinks else 'NONE'}")
        db.execute("CREATE TABLE t(a, b, c)")
        db.executemany("INSERT INTO t VALUES(?,?,?)", rows)
        db.commit()
    return path.read_bytes()


def rows_in(data: bytes) -> list[Record]:
    return [record for record in PageReader(data).records() if len(record.values) == 3 and record.rowid]


@examples(60)
@given(rows=st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=30))
def test_every_row_is_read_as_sqlite_wrote_it(tmp_path_factory: object, rows: list[tuple[object, ...]]) -> None:
    path = Path(tmp_path_factory.mktemp("pages"), "a.db")  # type: ignore[attr-defined]
    found = rows_in(made(path, rows))
    assert [(record.rowid, record.values) for record in sorted(found)] == list(enumerate(rows, 1))


def test_large_values_and_many_pages_are_read(tmp_path: Path) -> None:
    rows = [(number, "x" * (number * 37 % 9000), bytes(number * 101 % 20_000)) for number in range(600)]
    for shrinks in (False, True):
        found = rows_in(made(tmp_path / f"{shrinks}.db", rows, shrinks=shrinks))
        assert sorted(record.values for record in found) == rows  # type: ignore[type-var]


def test_a_lost_page_costs_its_rows_and_no_others(tmp_path: Path) -> None:
    """The root page, too, through which a query would find all of them."""
    rows = [(number, "x" * 300, None) for number in range(500)]
    data = made(tmp_path / "a.db", rows)
    for page in range(1, len(data) // 4096):
        damaged = data[: page * 4096] + bytes(4096) + data[(page + 1) * 4096 :]
        found = {record.values[0] for record in rows_in(damaged)}
        assert len(rows) - len(found) <= 13
    without_header = bytes(4096) + data[4096:]
    assert len(rows_in(without_header)) == len(rows)


def test_deleted_rows_do_not_come_back(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    made(path, [(number, "x" * 300, None) for number in range(500)])
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM t WHERE a % 100 != 0 OR a > 300")
        db.commit()
    assert sorted(record.values[0] for record in rows_in(path.read_bytes())) == [0, 100, 200, 300]  # type: ignore[type-var]


@examples(200)
@given(data=st.data())
def test_no_damage_stops_the_reader(tmp_path_factory: object, data: st.DataObject) -> None:
    path = Path(tmp_path_factory.mktemp("pages"), "a.db")  # type: ignore[attr-defined]
    damaged = bytearray(made(path, [(number, "x" * 900, bytes(5000)) for number in range(12)], shrinks=True))
    for _ in range(data.draw(st.integers(1, 20))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(damaged)))
    for content in (bytes(damaged), bytes(damaged[:end]), data.draw(st.binary(max_size=5000))):
        list(PageReader(content).records())
