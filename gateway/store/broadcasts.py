"""Queries over events for all runs: written down before they are delivered, so that a restart goes on with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, Table, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from innkeeper.gateway.store.engine import StoreEngine
from innkeeper.gateway.store.models import BroadcastRow
from innkeeper.gateway.store.runs import now_ms
from innkeeper.gateway.store.write_batcher import WriteBatcher, one_by_one

KEPT_MS = 7 * 86_400_000
"""How long a client may repeat an Idempotency-Key after the end of a broadcast."""
OPEN, MISSED, DONE = "open", "missed", "done"
_TABLE: Table = BroadcastRow.__table__  # type: ignore[assignment]  # typed as any FROM clause


class BroadcastStore:
    """Events for all runs.

    Args:
        writes: The only writer of this database.
    """

    def __init__(self, engine: StoreEngine, writes: WriteBatcher) -> None:
        self._engine = engine
        self._writes = writes

    async def add(self, row: BroadcastRow) -> bool:
        """Write a broadcast down, open; False when the user's Idempotency-Key has one already."""
        row.status, row.created_at = OPEN, now_ms()
        values = {column.name: getattr(row, column.name) for column in _TABLE.columns}
        try:
            await self._writes.write(_execute, insert(_TABLE).values(**values))
        except IntegrityError:
            return False
        return True

    async def by_key(self, user_id: str, key_hash: str) -> BroadcastRow | None:
        query = select(BroadcastRow).where(BroadcastRow.user_id == user_id, BroadcastRow.key_hash == key_hash)
        return await self._engine.first(query)

    async def interrupted(self) -> Sequence[BroadcastRow]:
        """Those whose gateway died while it delivered them, the oldest first."""
        query = select(BroadcastRow).where(BroadcastRow.status == OPEN).order_by(BroadcastRow.created_at)
        return await self._engine.scalars(query)

    async def end(self, row: BroadcastRow, missed: Sequence[str], answer: dict[str, Any]) -> None:
        """Keep what a client with a key may ask for again. Without one nobody can: it is deleted.

        The data goes as soon as every run has it: the answer is kept for days.
        """
        if row.key_hash is None:
            await self._writes.write(_execute, delete(_TABLE).where(_TABLE.c.id == row.id))
            return
        status, runs, told = MISSED if missed else DONE, orjson.dumps(missed).decode(), orjson.dumps(answer).decode()
        data = {} if missed else {"data": b"null"}
        query = update(_TABLE).where(_TABLE.c.id == row.id).values(status=status, runs=runs, answer=told, **data)
        await self._writes.write(_execute, query)

    async def delete_old(self) -> None:
        """Forget broadcasts whose keys nobody repeats any more."""
        is_old = _TABLE.c.created_at < now_ms() - KEPT_MS
        await self._writes.write(_execute, delete(_TABLE).where(is_old, _TABLE.c.status != OPEN))


@one_by_one
def _execute(connection: Connection, query: Any) -> None:
    connection.execute(query)
