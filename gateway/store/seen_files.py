"""Queries over watched folders and the files that were seen in them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, select

from innkeeper.gateway.store.engine import StoreEngine
from innkeeper.gateway.store.models import FileWatchRow, SeenFileRow
from innkeeper.gateway.store.write_batcher import WriteBatcher, one_by_one

WRITTEN_AT_ONCE = 500
_WATCHES: Table = FileWatchRow.__table__  # type: ignore[assignment]  # typed as any FROM clause
_FILES: Table = SeenFileRow.__table__  # type: ignore[assignment]


class SeenFileStore:
    """Watches of file triggers, by the trigger's number, and what each has seen.

    Args:
        writes: The only writer of this database.
    """

    def __init__(self, engine: StoreEngine, writes: WriteBatcher) -> None:
        self._engine = engine
        self._writes = writes

    async def watch(self, trigger: int) -> FileWatchRow | None:
        """The watch that has begun; None: the files that are there have not been told from those to come."""
        return await self._engine.first(select(FileWatchRow).where(FileWatchRow.trigger == trigger))

    async def files(self, trigger: int) -> Sequence[SeenFileRow]:
        return await self._engine.scalars(select(SeenFileRow).where(SeenFileRow.trigger == trigger))

    async def begin(self, watch: FileWatchRow) -> None:
        """Note that everything there was is written down: from now on files are new."""
        await self._writes.write(_begin, watch)

    async def put(self, rows: Sequence[SeenFileRow]) -> None:
        """Write files down, each in place of what was known of its path."""
        for start in range(0, len(rows), WRITTEN_AT_ONCE):
            await self._writes.write(_put, rows[start : start + WRITTEN_AT_ONCE])

    async def drop(self, trigger: int, paths: Sequence[str]) -> None:
        """Forget files."""
        for start in range(0, len(paths), WRITTEN_AT_ONCE):
            await self._writes.write(_drop, (trigger, paths[start : start + WRITTEN_AT_ONCE]))

    async def end(self, trigger: int) -> None:
        """End a watch. What it has seen is kept for the next one."""
        await self._writes.write(_end, trigger)

    async def forget(self, trigger: int) -> None:
        """End a watch and forget what it has seen."""
        await self._writes.write(_forget, trigger)

    async def numbers(self) -> set[int]:
        """The triggers of which anything is known."""
        watched = await self._engine.scalars(select(FileWatchRow.trigger))
        seen = await self._engine.scalars(select(SeenFileRow.trigger).distinct())
        return {*watched, *seen}


def _values(table: Table, row: FileWatchRow | SeenFileRow) -> dict[str, Any]:
    return {column.name: getattr(row, column.name) for column in table.columns if column.name != "number"}


@one_by_one
def _begin(connection: Connection, watch: FileWatchRow) -> None:
    connection.execute(delete(_WATCHES).where(_WATCHES.c.trigger == watch.trigger))
    connection.execute(insert(_WATCHES).values(**_values(_WATCHES, watch)))


@one_by_one
def _put(connection: Connection, rows: Sequence[SeenFileRow]) -> None:
    paths: dict[int, list[str]] = {}
    for row in rows:
        paths.setdefault(row.trigger, []).append(row.path)
    for trigger, its in paths.items():
        _delete_files(connection, trigger, its)
    if rows:
        connection.execute(insert(_FILES), [_values(_FILES, row) for row in rows])


@one_by_one
def _drop(connection: Connection, which: tuple[int, Sequence[str]]) -> None:
    _delete_files(connection, *which)


@one_by_one
def _end(connection: Connection, trigger: int) -> None:
    connection.execute(delete(_WATCHES).where(_WATCHES.c.trigger == trigger))


@one_by_one
def _forget(connection: Connection, trigger: int) -> None:
    connection.execute(delete(_WATCHES).where(_WATCHES.c.trigger == trigger))
    connection.execute(delete(_FILES).where(_FILES.c.trigger == trigger))


def _delete_files(connection: Connection, trigger: int, paths: Collection[str]) -> None:
    connection.execute(delete(_FILES).where(_FILES.c.trigger == trigger, _FILES.c.path.in_(paths)))
