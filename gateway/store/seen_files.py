"""Queries over watched folders and the files that were seen in them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Table, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, async_sessionmaker

from innkeeper.gateway.store.models import FileWatchRow, SeenFileRow
from innkeeper.gateway.store.write_batcher import WriteBatcher, one_by_one

READ_AT_ONCE = 200
WRITTEN_AT_ONCE = 500
_WATCHES: Table = FileWatchRow.__table__  # type: ignore[assignment]  # typed as any FROM clause
_FILES: Table = SeenFileRow.__table__  # type: ignore[assignment]


class SeenFileStore:
    """Watches of file triggers, by the trigger's number, and what each has seen.

    Args:
        writes: The only writer of this database.
    """

    def __init__(self, engine: AsyncEngine, writes: WriteBatcher) -> None:
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)
        self._writes = writes

    async def watch(self, trigger: int) -> FileWatchRow | None:
        """The watch that has begun; None: the files that are there have not been told from those to come."""
        async with self._sessions() as session:
            return (await session.scalars(select(FileWatchRow).where(FileWatchRow.trigger == trigger))).first()

    async def files(self, trigger: int) -> Sequence[SeenFileRow]:
        # Some at a time: thousands at once hold the event loop.
        query = select(SeenFileRow).where(SeenFileRow.trigger == trigger).execution_options(yield_per=READ_AT_ONCE)
        async with self._sessions() as session:
            return [row async for row in await session.stream_scalars(query)]

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
        async with self._sessions() as session:
            watched = (await session.scalars(select(FileWatchRow.trigger))).all()
            seen = (await session.scalars(select(SeenFileRow.trigger).distinct())).all()
        return {*watched, *seen}


def _values(table: Table, row: FileWatchRow | SeenFileRow) -> dict[str, Any]:
    return {column.name: getattr(row, column.name) for column in table.columns if column.name != "number"}


@one_by_one
async def _begin(connection: AsyncConnection, watch: FileWatchRow) -> None:
    await connection.execute(delete(_WATCHES).where(_WATCHES.c.trigger == watch.trigger))
    await connection.execute(insert(_WATCHES).values(**_values(_WATCHES, watch)))


@one_by_one
async def _put(connection: AsyncConnection, rows: Sequence[SeenFileRow]) -> None:
    paths: dict[int, list[str]] = {}
    for row in rows:
        paths.setdefault(row.trigger, []).append(row.path)
    for trigger, its in paths.items():
        await _delete_files(connection, trigger, its)
    if rows:
        await connection.execute(insert(_FILES), [_values(_FILES, row) for row in rows])


@one_by_one
async def _drop(connection: AsyncConnection, which: tuple[int, Sequence[str]]) -> None:
    await _delete_files(connection, *which)


@one_by_one
async def _end(connection: AsyncConnection, trigger: int) -> None:
    await connection.execute(delete(_WATCHES).where(_WATCHES.c.trigger == trigger))


@one_by_one
async def _forget(connection: AsyncConnection, trigger: int) -> None:
    await connection.execute(delete(_WATCHES).where(_WATCHES.c.trigger == trigger))
    await connection.execute(delete(_FILES).where(_FILES.c.trigger == trigger))


async def _delete_files(connection: AsyncConnection, trigger: int, paths: Collection[str]) -> None:
    await connection.execute(delete(_FILES).where(_FILES.c.trigger == trigger, _FILES.c.path.in_(paths)))
