"""Queries over messages to those whom runs tell how they go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Table, func, insert, select, update
from sqlalchemy.orm import defer

from innkeeper.gateway.store.engine import StoreEngine
from innkeeper.gateway.store.models import CallbackRow
from innkeeper.gateway.store.runs import now_ms
from innkeeper.gateway.store.write_batcher import WriteBatcher, one_by_one

NEW, PENDING, DELIVERED, FAILED, STOPPED = "new", "pending", "delivered", "failed", "stopped"
OPEN = (NEW, PENDING)
MAX_SHOWN = 100
_TABLE: Table = CallbackRow.__table__  # type: ignore[assignment]  # typed as any FROM clause


@dataclass(frozen=True)
class NewMessage:
    """A message about to be written down; `event` and `node` as in `CallbackRow`."""

    run: str
    position: int
    event: str
    body: bytes
    node: str | None = None


@dataclass(frozen=True)
class Progress:
    """What is known of a message now. Times in milliseconds since 1970."""

    status: str
    attempts: int = 0
    last_status: int | None = None
    last_error: str | None = None
    next_attempt_at: int | None = None
    delivered_at: int | None = None


class CallbackStore:
    """Messages of all runs.

    Args:
        writes: The only writer of this database.
    """

    def __init__(self, engine: StoreEngine, writes: WriteBatcher) -> None:
        self._engine = engine
        self._writes = writes

    async def add(self, messages: Sequence[NewMessage]) -> None:
        """Write messages down that are to be sent. One that is there already stays as it is."""
        if messages:
            await self._writes.write(_add, messages)

    async def of_run(self, run: str) -> Sequence[CallbackRow]:
        """The newest messages of a run without their bodies, the oldest of them first."""
        query = select(CallbackRow).where(CallbackRow.run == run).options(defer(CallbackRow.body))
        return (await self._engine.scalars(query.order_by(CallbackRow.number.desc()).limit(MAX_SHOWN)))[::-1]

    async def of_callback(self, run: str, position: int, event: str | None) -> Sequence[CallbackRow]:
        """The messages of one callback, the oldest first, without their bodies.

        Args:
            event: Only those that were sent for it; `waiting` means those of all nodes that waited.
        """
        query = select(CallbackRow).where(CallbackRow.run == run, CallbackRow.position == position)
        if event is not None:
            query = query.where(
                (CallbackRow.event == event) | CallbackRow.event.startswith(f"{event}-", autoescape=True)
            )
        return await self._engine.scalars(query.options(defer(CallbackRow.body)).order_by(CallbackRow.number))

    async def count(self, run: str) -> int:
        """How many messages a run has."""
        return await self._engine.first(select(func.count()).where(CallbackRow.run == run)) or 0

    async def due(self, now: int, limit: int) -> Sequence[CallbackRow]:
        """Messages for which there is something to do now (milliseconds since 1970), the first that is due first."""
        query = select(CallbackRow).where(CallbackRow.status.in_(OPEN), CallbackRow.check_at <= now)
        return await self._engine.scalars(query.order_by(CallbackRow.check_at).limit(limit))

    async def next_check(self) -> int | None:
        """When there is something to do next; None: all messages have ended."""
        query = select(func.min(CallbackRow.check_at)).where(CallbackRow.status.in_(OPEN))
        return await self._engine.first(query)

    async def is_stopped(self, run: str, position: int) -> bool:
        """Did the receiver of a callback say that it wants no more?"""
        query = select(CallbackRow.number).where(
            CallbackRow.run == run, CallbackRow.position == position, CallbackRow.status == STOPPED
        )
        return await self._engine.first(query.limit(1)) is not None

    async def note(self, row: CallbackRow, progress: Progress, check_at: int) -> None:
        """Keep what is known of a message, unless a user has had it sent anew meanwhile."""
        is_same = (_TABLE.c.number == row.number, _TABLE.c.sends == row.sends)
        values = {**asdict(progress), "check_at": check_at}
        await self._writes.write(_execute, update(_TABLE).where(*is_same).values(**values))

    async def send_anew(self, row: CallbackRow) -> bool:
        """Make a message that has ended `new` again; False: it has not ended."""
        has_ended = (_TABLE.c.number == row.number, _TABLE.c.sends == row.sends, _TABLE.c.status.not_in(OPEN))
        values = {**asdict(Progress(NEW)), "sends": row.sends + 1, "created_at": now_ms(), "check_at": 0}
        return await self._writes.write(_execute, update(_TABLE).where(*has_ended).values(**values)) > 0


@one_by_one
def _execute(connection: Connection, query: Any) -> int:
    """How many rows it has changed."""
    return connection.execute(query).rowcount


@one_by_one
def _add(connection: Connection, messages: Sequence[NewMessage]) -> None:
    for message in messages:
        is_same = (getattr(_TABLE.c, name) == getattr(message, name) for name in ("run", "position", "event"))
        if connection.execute(select(_TABLE.c.number).where(*is_same)).first() is None:
            values = {**asdict(message), **asdict(Progress(NEW)), "sends": 1, "created_at": now_ms(), "check_at": 0}
            connection.execute(insert(_TABLE).values(**values))
