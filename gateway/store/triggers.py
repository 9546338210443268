"""Queries over triggers and what came for them."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import defer

from innkeeper.gateway.store.engine import StoreEngine
from innkeeper.gateway.store.models import DeliveryRow, TriggerRow
from innkeeper.gateway.store.workflows import unpack
from innkeeper.gateway.store.write_batcher import WriteBatcher, one_by_one

OPEN = ("accepted", "queued", "fired")
NOTED = ("filtered", "duplicate", "skipped", "refused")
KEPT_RESULTS = 100
"""Deliveries of a trigger that are kept for people, whatever became of them."""
READ_AT_ONCE = 100
_TRIGGERS: Table = TriggerRow.__table__  # type: ignore[assignment]  # typed as any FROM clause
_DELIVERIES: Table = DeliveryRow.__table__  # type: ignore[assignment]


@dataclass(frozen=True)
class TriggerChange:
    """Columns of a trigger that change, while it has this version."""

    number: int
    version: int
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Move:
    """Columns of a delivery that change, while its status is `status`."""

    id: str
    status: str
    values: Mapping[str, Any]


class TriggerStore:
    """Triggers and deliveries.

    Args:
        writes: The only writer of this database.
    """

    def __init__(self, engine: StoreEngine, writes: WriteBatcher) -> None:
        self._engine = engine
        self._writes = writes

    # --- triggers -------------------------------------------------------------------------------------------------

    async def triggers(self) -> Sequence[TriggerRow]:
        return await self._engine.scalars(select(TriggerRow).order_by(TriggerRow.number))

    async def add(self, values: Mapping[str, Any]) -> int | None:
        """Write a trigger down; gives its number. None: its name is taken."""
        try:
            return await self._writes.write(_add_trigger, values)
        except IntegrityError:
            return None

    async def change(self, change: TriggerChange) -> bool | None:
        """Change a trigger. False: it is gone or has another version by now. None: its new name is taken."""
        is_it = and_(_TRIGGERS.c.number == change.number, _TRIGGERS.c.version == change.version)
        try:
            return await self._writes.write(_changed, update(_TRIGGERS).where(is_it).values(**change.values)) > 0
        except IntegrityError:
            return None

    async def set_counters(self, counters: Mapping[int, str]) -> None:
        """Counters by the number of their trigger."""
        for number, text in counters.items():
            await self._writes.write(
                _changed, update(_TRIGGERS).where(_TRIGGERS.c.number == number).values(counters=text)
            )

    async def delete(self, number: int, version: int) -> bool:
        """Forget a trigger with its deliveries; False when it is gone or has another version by now."""
        return await self._writes.write(_delete_trigger, (number, version))

    # --- deliveries -----------------------------------------------------------------------------------------------

    async def receive(self, values: Mapping[str, Any]) -> bool:
        """Write a delivery down; False when one with its dedupe or replay key is there."""
        return await self._writes.write(_receive, values)

    async def same(self, trigger: int, dedupe_key: str | None, replay_key: str | None) -> DeliveryRow | None:
        """The delivery of a trigger that has one of these keys."""
        keys: list[ColumnElement[bool]] = []
        if dedupe_key is not None:
            keys.append(DeliveryRow.dedupe_key == dedupe_key)
        if replay_key is not None:
            keys.append(DeliveryRow.replay_key == replay_key)
        if not keys:
            return None
        return next(iter(await self._deliveries(DeliveryRow.trigger == trigger, or_(*keys), limit=1)), None)

    async def delivery(self, delivery: str) -> DeliveryRow | None:
        return next(iter(await self._deliveries(DeliveryRow.id == delivery, limit=1)), None)

    async def of_run(self, run: str) -> DeliveryRow | None:
        """The delivery that starts a run."""
        starts = DeliveryRow.status.in_((*OPEN, "failed"))
        return next(iter(await self._deliveries(DeliveryRow.run_id == run, starts, limit=1)), None)

    async def accepted(self, limit: int) -> Sequence[DeliveryRow]:
        """Some deliveries whose run is to be made, first come first, with what is to be submitted."""
        query = select(DeliveryRow).where(DeliveryRow.status == "accepted").order_by(DeliveryRow.number).limit(limit)
        return await self._engine.scalars(query)

    async def open(self) -> Sequence[DeliveryRow]:
        """All deliveries that are queued, or whose run has not ended."""
        return await self._deliveries(DeliveryRow.ended.is_(False), DeliveryRow.status.in_(OPEN))

    async def open_of(self, trigger: int) -> Sequence[DeliveryRow]:
        """The same of one trigger."""
        mine = (DeliveryRow.trigger == trigger, DeliveryRow.ended.is_(False), DeliveryRow.status.in_(OPEN))
        return await self._deliveries(*mine)

    async def pending(self) -> int:
        """How many deliveries have no run yet."""
        query = select(func.count()).where(DeliveryRow.status.in_(("accepted", "queued")))
        return await self._engine.first(query) or 0

    async def counts(self) -> Sequence[tuple[int, str, int]]:
        """Trigger, status and how many of its deliveries have it, of those that keep their rows."""
        query = select(DeliveryRow.trigger, DeliveryRow.status, func.count())
        query = query.where(DeliveryRow.status.not_in(NOTED)).group_by(DeliveryRow.trigger, DeliveryRow.status)
        return [(row[0], row[1], row[2]) for row in await self._engine.rows(query)]

    async def first_queued(self, trigger: int, concurrency_key: str) -> DeliveryRow | None:
        """The oldest delivery that waits behind open runs with this key."""
        mine = (DeliveryRow.trigger == trigger, DeliveryRow.concurrency_key == concurrency_key)
        return next(iter(await self._deliveries(*mine, DeliveryRow.status == "queued", limit=1)), None)

    async def move(self, move: Move) -> bool:
        """Change a delivery; False when its status is another by now."""
        is_it = and_(_DELIVERIES.c.id == move.id, _DELIVERIES.c.status == move.status)
        return await self._writes.write(_changed, update(_DELIVERIES).where(is_it).values(**move.values)) > 0

    async def end_run(self, run: str) -> None:
        """The run of a delivery has ended."""
        await self._writes.write(_changed, update(_DELIVERIES).where(_DELIVERIES.c.run_id == run).values(ended=True))

    async def note(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write down deliveries of which no run comes."""
        await self._writes.write(_note, rows)

    async def results(self, trigger: int, limit: int) -> Sequence[DeliveryRow]:
        """The last deliveries of a trigger, newest first."""
        query = select(DeliveryRow).where(DeliveryRow.trigger == trigger).order_by(DeliveryRow.number.desc())
        return await self._engine.scalars(query.limit(limit).options(defer(DeliveryRow.request)))

    async def counted(self, trigger: int, since: int, limit: int) -> Sequence[DeliveryRow]:
        """The deliveries that count for a trigger's debounce and rate, from a moment on, first come first."""
        mine = (DeliveryRow.trigger == trigger, DeliveryRow.at >= since, DeliveryRow.limit_keys.is_not(None))
        return await self._deliveries(*mine, limit=limit)

    async def trim(self, trigger: int) -> None:
        """Forget deliveries of which no run came, and that no repetition needs, but for the last results."""
        await self._writes.write(_trim, trigger)

    async def purge(self, before: int) -> None:
        """Forget what came before a moment and is over. Sent again, it would count as new."""
        is_old = and_(_DELIVERIES.c.at < before, _DELIVERIES.c.ended.is_(True))
        await self._writes.write(_changed, delete(_DELIVERIES).where(is_old))

    async def texts(self) -> AsyncIterator[bytes]:
        """Everything in which triggers and open deliveries may refer to stored values and secrets."""
        for row in await self.triggers():
            yield row.definition.encode()
            yield row.secrets.encode()
        after = 0
        while True:
            query = select(DeliveryRow.number, DeliveryRow.request).where(
                DeliveryRow.number > after, DeliveryRow.request.is_not(None)
            )
            rows = await self._engine.rows(query.order_by(DeliveryRow.number).limit(READ_AT_ONCE))
            if not rows:
                return
            after = rows[-1][0]
            for _, request in rows:
                with contextlib.suppress(zlib.error, TypeError):  # one that is damaged says nothing to anybody
                    yield await unpack(request or b"")

    async def _deliveries(self, *conditions: ColumnElement[bool], limit: int | None = None) -> Sequence[DeliveryRow]:
        query = select(DeliveryRow).where(*conditions).order_by(DeliveryRow.number).limit(limit)
        return await self._engine.scalars(query.options(defer(DeliveryRow.request)))


@one_by_one
def _add_trigger(connection: Connection, values: Mapping[str, Any]) -> int:
    added = connection.execute(insert(_TRIGGERS).values(**values).returning(_TRIGGERS.c.number))
    return int(added.scalar_one())


@one_by_one
def _changed(connection: Connection, query: Any) -> int:
    """How many rows it has changed."""
    return connection.execute(query).rowcount


@one_by_one
def _delete_trigger(connection: Connection, which: tuple[int, int]) -> bool:
    number, version = which
    is_it = and_(_TRIGGERS.c.number == number, _TRIGGERS.c.version == version)
    if connection.execute(delete(_TRIGGERS).where(is_it)).rowcount == 0:
        return False
    connection.execute(delete(_DELIVERIES).where(_DELIVERIES.c.trigger == number))
    return True


_RECEIVE = insert(_DELIVERIES).prefix_with("OR IGNORE", dialect="sqlite")


@one_by_one
def _receive(connection: Connection, values: Mapping[str, Any]) -> bool:
    return connection.execute(_RECEIVE, dict(values)).rowcount > 0


def _note(connection: Connection, groups: Sequence[Sequence[Mapping[str, Any]]]) -> Sequence[None]:
    rows = [dict(row) for group in groups for row in group]
    if rows:
        connection.execute(insert(_DELIVERIES), rows)
    return [None] * len(groups)


@one_by_one
def _trim(connection: Connection, trigger: int) -> None:
    mine = _DELIVERIES.c.trigger == trigger
    newest = select(_DELIVERIES.c.number).where(mine).order_by(_DELIVERIES.c.number.desc()).limit(KEPT_RESULTS)
    oldest_kept = select(func.min(newest.subquery().c.number)).scalar_subquery()
    has_no_key = and_(_DELIVERIES.c.dedupe_key.is_(None), _DELIVERIES.c.replay_key.is_(None))
    is_noted = or_(_DELIVERIES.c.status.in_(NOTED), and_(_DELIVERIES.c.status == "failed", has_no_key))
    connection.execute(delete(_DELIVERIES).where(mine, is_noted, _DELIVERIES.c.number < oldest_kept))
