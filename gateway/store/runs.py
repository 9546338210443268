"""Queries over the index of runs. Every change of status is one conditional UPDATE: two tasks never both win."""

from __future__ import annotations

import asyncio
import contextlib
import time
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Delete, Table, Update, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, async_sessionmaker
from sqlalchemy.orm import defer

from innkeeper.gateway.store.models import CallbackRow, RunRow
from innkeeper.gateway.store.run_filter import RunFilter
from innkeeper.gateway.store.write_batcher import WriteBatcher, one_by_one

ENDED = ("complete", "error", "interrupted")

MAX_ERROR_CHARS = 2000
MAX_ERROR_NODES = 3
"""Of a run that failed, lists show so many of the nodes."""
LARGE_BYTES = 256_000
"""A result of more JSON is packed and unpacked in a thread: it would hold the event loop, and everybody else."""
# What every run writes is said in plain statements made once: through the ORM each cost several times as much.
_RUNS: Table = RunRow.__table__  # type: ignore[assignment]  # typed as any FROM clause
_ADD = insert(_RUNS)
_STARTED = (
    update(_RUNS)
    .where(_RUNS.c.id.in_(bindparam("runs", expanding=True)))
    .values(started_at=func.coalesce(_RUNS.c.started_at, bindparam("now")), plan=None)
    .returning(*_RUNS.c)
)
_CLOSED = (
    update(_RUNS)
    .where(_RUNS.c.id == bindparam("run"))
    .values(
        status=bindparam("to"),
        ended_at=bindparam("at"),
        result=bindparam("body"),
        told=bindparam("known"),
        error=bindparam("why"),
        plan=None,
    )
)
_TOLD = update(_RUNS).where(_RUNS.c.id.in_(bindparam("runs", expanding=True))).values(told=True)
_SEALED = update(_RUNS).where(_RUNS.c.id.in_(bindparam("runs", expanding=True))).values(sealed=True)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class NewRun:
    """A run about to be written down, with its compiled plan; one that was refused has none."""

    id: str
    user_id: str
    plan: bytes | None
    workflow_id: str | None = None
    workflow_name: str | None = None
    interface: dict[str, Any] = field(default_factory=dict)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    status: str = "queued"
    key_hash: str | None = None
    body_hash: str | None = None
    plan_hash: str | None = None
    rerun: dict[str, Any] | None = None
    over_socket: bool = False
    project_id: str | None = None
    workflow_version: int | None = None
    versions: Mapping[str, int] = field(default_factory=dict)
    origin: str | None = None
    callbacks: Sequence[dict[str, Any]] = ()
    budget: dict[str, Any] | None = None
    document: str | None = None


@dataclass(frozen=True)
class HeldByRun:
    """Where the row of a run may refer to stored values.

    Attributes:
        plan_hash: The blob of its plan, packed.
        document: The blob of its document.
        plain: JSON, of several columns one behind the other.
        packed: JSON texts, each compressed by zlib.
    """

    run: str
    plan_hash: str | None
    plain: bytes
    packed: tuple[bytes, ...]
    document: str | None = None


class RunStore:
    """The runs index.

    Args:
        writes: The only writer of this database, shared with what else is kept in it.

    Attributes:
        on_change: Told the id of a run when something that lists show of it was written: quick, and on the event loop.
        on_delete: Told the id and the user of a run that was deleted.
    """

    def __init__(self, engine: AsyncEngine, writes: WriteBatcher | None = None) -> None:
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)
        self._writes = writes or WriteBatcher(engine)
        self.on_change: Callable[[str], None] = lambda run: None
        self.on_delete: Callable[[str, str], None] = lambda run, user: None

    async def aclose(self) -> None:
        """Have finished what is being written."""
        await self._writes.settled()

    async def add(self, run: NewRun) -> RunRow | None:
        """Write a run down; gives it without its number. None when its id, or the user's Idempotency-Key, has a run
        already."""
        values = {
            "id": run.id,
            "user_id": run.user_id,
            "workflow_id": run.workflow_id,
            "workflow_name": run.workflow_name,
            "status": run.status,
            "interrupt_requested": False,
            "terminate": False,
            "paused": False,
            "sealed": False,
            "submitted_at": now_ms(),
            "key_hash": run.key_hash,
            "body_hash": run.body_hash,
            "plan": run.plan,
            "plan_hash": run.plan_hash,
            "rerun": orjson.dumps(run.rerun).decode() if run.rerun is not None else None,
            "preview": bool(run.rerun and run.rerun.get("preview")),
            "over_socket": run.over_socket,
            "interface": orjson.dumps(run.interface).decode(),
            "warnings": orjson.dumps(run.warnings).decode(),
            "project_id": run.project_id,
            "workflow_version": run.workflow_version,
            "versions": orjson.dumps(run.versions).decode() if run.versions else None,
            "origin": run.origin,
            "told": True,
            "callbacks": orjson.dumps(list(run.callbacks)).decode() if run.callbacks else None,
            "budget": orjson.dumps(run.budget).decode() if run.budget else None,
            "document": run.document,
        }
        try:
            await self._writes.write(_add, values)
        except IntegrityError:
            return None
        self.on_change(run.id)
        return RunRow(**values)

    async def get(self, run_id: str) -> RunRow | None:
        return await self._first(RunRow.id == run_id)

    async def result(self, run_id: str) -> dict[str, Any]:
        """The full status kept at the end of a run; empty where there is none that can be read."""
        row = await self.get(run_id)
        return (await stored_result(row) if row is not None else None) or {}

    async def plan(self, run_id: str) -> bytes | None:
        """The compiled plan of a run that Temporal does not have yet."""
        async with self._sessions() as session:
            return (await session.scalars(select(RunRow.plan).where(RunRow.id == run_id))).first()

    async def by_key(self, user_id: str, key_hash: str) -> RunRow | None:
        return await self._first(RunRow.user_id == user_id, RunRow.key_hash == key_hash)

    async def claim(self, run_id: str) -> bool:
        """Turn `queued` into `running`; False when somebody else did, or the run was interrupted or paused before."""
        return await self._change(run_id, RunRow.status == "queued", RunRow.paused.is_(False), status="running")

    async def drop_queued(self, run_id: str) -> bool:
        """Turn `queued` into `interrupted`; False when the run is not waiting any more."""
        ended = {"status": "interrupted", "ended_at": now_ms(), "plan": None}
        return await self._change(run_id, RunRow.status == "queued", **_interrupted(), **ended)

    async def mark_started(self, run_id: str) -> RunRow:
        """Temporal has the run: its plan is not needed here any more. Gives the run as it is then."""
        row = await self._writes.write(_mark_started, run_id)
        self.on_change(run_id)
        return row

    async def request_interrupt(self, run_id: str) -> bool:
        """Remember that a running run is to stop; False when it has ended."""
        return await self._change(run_id, RunRow.status == "running", **_interrupted())

    async def request_termination(self, run_id: str) -> bool:
        """Remember that a running run is to end at once, and that Temporal must be told; False when it has ended."""
        return await self._change(run_id, RunRow.status == "running", **_interrupted(), terminate=True)

    async def owe_termination(self, run_id: str) -> None:
        """Remember that Temporal must be told to end the workflow of a run that has ended here."""
        await self._change(run_id, terminate=True)

    async def mark_terminated(self, run_id: str) -> bool:
        """Temporal has ended the workflow of a run; False when the run has not ended here yet."""
        return await self._change(run_id, RunRow.status.in_(ENDED), terminate=False)

    async def to_terminate(self) -> Sequence[str]:
        """Runs whose workflow Temporal must still be told to end."""
        async with self._sessions() as session:
            return (await session.scalars(select(RunRow.id).where(RunRow.terminate.is_(True)))).all()

    async def set_paused(self, run_id: str, paused: bool) -> bool:
        """Remember that a run is to pause, or to go on; False when it has ended."""
        return await self._change(run_id, RunRow.status.in_(("queued", "running")), paused=paused)

    async def close(
        self, run_id: str, status: str, ended_at: int, result: dict[str, Any], *, told: bool = True
    ) -> None:
        """Keep the end of a run. `told`: nobody waits to be told of it."""
        text = orjson.dumps(result)
        body = await asyncio.to_thread(zlib.compress, text, 6) if len(text) > LARGE_BYTES else zlib.compress(text, 6)
        error = _short_error(result.get("errorInfo"))
        end = {"run": run_id, "to": status, "at": ended_at, "body": body, "known": told, "why": error}
        await self._writes.write(_close, end)
        self.on_change(run_id)

    async def untold(self, limit: int, after: int = 0) -> Sequence[RunRow]:
        """Some runs that ended and whose end was not told, above a number, first come first; without what they gave."""
        return await self._many(RunRow.told.is_(False), RunRow.number > after, limit=limit)

    async def mark_told(self, *run_ids: str) -> None:
        await self._writes.write(_mark_told, run_ids)

    async def mark_sealed(self, *run_ids: str) -> None:
        await self._writes.write(_mark_sealed, run_ids)

    async def claimed(self) -> Sequence[RunRow]:
        """Runs that may start and that Temporal does not have yet, first come first."""
        return await self._many(RunRow.status == "running", RunRow.started_at.is_(None), RunRow.plan.is_not(None))

    async def queued(self, limit: int | None) -> Sequence[RunRow]:
        """The first of the queued runs that are not paused; all of them without a limit."""
        if limit == 0:
            return []
        return await self._many(RunRow.status == "queued", RunRow.paused.is_(False), limit=limit)

    async def unsealed(self) -> Sequence[RunRow]:
        """Runs whose log is still open, first come first."""
        return await self._many(RunRow.sealed.is_(False))

    async def open_over_socket(self) -> Sequence[tuple[str, str]]:
        """Id and user of each run whose log is open and that was submitted over a socket, first come first."""
        query = select(RunRow.id, RunRow.user_id).where(RunRow.sealed.is_(False), RunRow.over_socket.is_(True))
        async with self._sessions() as session:
            return [(row[0], row[1]) for row in await session.execute(query.order_by(RunRow.number))]

    async def open_with_callbacks(self) -> Sequence[RunRow]:
        """Runs whose log is open and that tell somebody how they go, first come first."""
        return await self._many(RunRow.sealed.is_(False), RunRow.callbacks.is_not(None))

    async def active(self) -> Sequence[RunRow]:
        """Runs that wait or run, first come first."""
        return await self._many(RunRow.status.in_(("queued", "running")))

    async def running(self) -> Sequence[str]:
        """Ids of the runs that run, first come first."""
        query = select(RunRow.id).where(RunRow.status == "running").order_by(RunRow.number)
        async with self._sessions() as session:
            return (await session.scalars(query)).all()

    async def oldest_open(self) -> int | None:
        """When the first of the runs was submitted whose log is still open (milliseconds since 1970)."""
        async with self._sessions() as session:
            return await session.scalar(select(func.min(RunRow.submitted_at)).where(RunRow.sealed.is_(False)))

    async def ended_before(self, moment: int, limit: int = 100) -> Sequence[str]:
        """Some runs that were over before a moment (milliseconds since 1970), first come first."""
        is_over = (RunRow.sealed.is_(True), RunRow.terminate.is_(False), RunRow.told.is_(True))
        query = select(RunRow.id).where(*is_over, RunRow.ended_at < moment)
        async with self._sessions() as session:
            return (await session.scalars(query.order_by(RunRow.number).limit(limit))).all()

    async def delete(self, run_id: str) -> bool:
        """Forget a run that is over; False when there is none."""
        user = await self._writes.write(_delete, run_id)
        if user is not None:
            self.on_delete(run_id, user)
        return user is not None

    async def references(self, after: int = 0, limit: int = 20) -> tuple[int, list[HeldByRun]]:
        """Where some runs may refer to stored values, and the number to go on after. Nothing: these were all."""
        plain = (RunRow.rerun, RunRow.callbacks)
        columns = (RunRow.number, RunRow.id, RunRow.plan_hash, RunRow.document, *plain, RunRow.plan, RunRow.result)
        query = select(*columns).where(RunRow.number > after).order_by(RunRow.number).limit(limit)
        async with self._sessions() as session:
            rows = (await session.execute(query)).all()
        held = [
            HeldByRun(
                run,
                plan_hash,
                f"{rerun or ''}{callbacks or ''}".encode(),
                tuple(data for data in packed if data is not None),
                document,
            )
            for _, run, plan_hash, document, rerun, callbacks, *packed in rows
        ]
        return rows[-1][0] if rows else after, held

    async def active_counts(self) -> tuple[int, int]:
        """How many runs run, and how many wait in the queue."""
        query = select(RunRow.status, func.count()).where(RunRow.status.in_(("queued", "running")))
        async with self._sessions() as session:
            found = {row[0]: row[1] for row in await session.execute(query.group_by(RunRow.status))}
        return found.get("running", 0), found.get("queued", 0)

    async def running_count(self) -> int:
        """How many runs were handed to Temporal and have not ended, for all that is known here."""
        query = select(func.count()).where(RunRow.status == "running", RunRow.started_at.is_not(None))
        async with self._sessions() as session:
            return await session.scalar(query) or 0

    async def page(
        self, *, before: int | None, limit: int, status: str | None, previews: bool = False
    ) -> Sequence[RunRow]:
        """Ended runs, newest first, of numbers below `before`; previews only when asked for."""
        conditions: list[ColumnElement[bool]] = [RunRow.status == status if status else RunRow.status.in_(ENDED)]
        if before is not None:
            conditions.append(RunRow.number < before)
        if not previews:
            conditions.append(RunRow.preview.is_(False))
        query = select(RunRow).where(*conditions).order_by(RunRow.number.desc()).limit(limit)
        async with self._sessions() as session:
            return (await session.scalars(query.options(defer(RunRow.plan), defer(RunRow.result)))).all()

    async def search(self, wanted: RunFilter, before: int | None, limit: int) -> Sequence[RunRow]:
        """Runs that fit, newest first, of numbers below `before`; without plan and result."""
        conditions = wanted.conditions()
        if before is not None:
            conditions.append(RunRow.number < before)
        query = select(RunRow).where(*conditions).order_by(RunRow.number.desc()).limit(limit)
        async with self._sessions() as session:
            return (await session.scalars(query.options(defer(RunRow.plan), defer(RunRow.result)))).all()

    async def of_user(self, user_id: str, run_ids: Collection[str]) -> Sequence[RunRow]:
        """Those of these runs that a user has; without plan and result."""
        return await self._many(RunRow.user_id == user_id, RunRow.id.in_(run_ids))

    async def _first(self, *conditions: ColumnElement[bool]) -> RunRow | None:
        async with self._sessions() as session:
            return (await session.scalars(select(RunRow).where(*conditions))).first()

    async def _many(self, *conditions: ColumnElement[bool], limit: int | None = None) -> Sequence[RunRow]:
        query = select(RunRow).where(*conditions).order_by(RunRow.number).limit(limit)
        query = query.options(defer(RunRow.plan), defer(RunRow.result))
        async with self._sessions() as session:
            return (await session.scalars(query)).all()

    async def _change(self, run_id: str, *conditions: ColumnElement[bool], **values: Any) -> bool:
        query = update(_RUNS).where(RunRow.id == run_id, *conditions).values(**values)
        is_changed = await self._writes.write(_change, query)
        if is_changed:
            self.on_change(run_id)
        return is_changed


def _interrupted() -> dict[str, Any]:
    return {"interrupt_requested": True, "interrupted_at": func.coalesce(RunRow.interrupted_at, now_ms())}


async def _add(connection: AsyncConnection, runs: Sequence[dict[str, Any]]) -> Sequence[None]:
    await connection.execute(_ADD, list(runs))
    return [None] * len(runs)


async def _mark_started(connection: AsyncConnection, runs: Sequence[str]) -> Sequence[RunRow]:
    found = await connection.execute(_STARTED, {"runs": list(runs), "now": now_ms()})
    rows = {row.id: RunRow(**row._mapping) for row in found}
    return [rows[run] for run in runs]


async def _close(connection: AsyncConnection, ends: Sequence[dict[str, Any]]) -> Sequence[None]:
    await connection.execute(_CLOSED, list(ends))
    return [None] * len(ends)


async def _mark_sealed(connection: AsyncConnection, groups: Sequence[Sequence[str]]) -> Sequence[None]:
    await connection.execute(_SEALED, {"runs": [run for group in groups for run in group]})
    return [None] * len(groups)


async def _mark_told(connection: AsyncConnection, groups: Sequence[Sequence[str]]) -> Sequence[None]:
    await connection.execute(_TOLD, {"runs": [run for group in groups for run in group]})
    return [None] * len(groups)


@one_by_one
async def _change(connection: AsyncConnection, query: Update | Delete) -> bool:
    """Whether it has changed a row."""
    return (await connection.execute(query)).rowcount > 0


@one_by_one
async def _delete(connection: AsyncConnection, run_id: str) -> str | None:
    """With it goes what was told of it. Gives whose it was; None: there is none that is over."""
    is_over = (RunRow.sealed.is_(True), RunRow.terminate.is_(False), RunRow.told.is_(True))
    query = delete(_RUNS).where(RunRow.id == run_id, *is_over).returning(_RUNS.c.user_id)
    user: str | None = await connection.scalar(query)
    if user is not None:
        await connection.execute(delete(CallbackRow).where(CallbackRow.run == run_id))
    return user


def _short_error(info: Any) -> str | None:
    """Why a run failed, as lists show it."""
    if not isinstance(info, Mapping):
        return None
    short = {"code": info.get("code"), "message": str(info.get("message"))[:MAX_ERROR_CHARS]}
    nodes = info.get("nodes")
    return orjson.dumps(short if not nodes else {**short, "nodes": nodes[:MAX_ERROR_NODES]}).decode()


def lineage(row: RunRow) -> dict[str, Any]:
    """Where a run comes from, as its status tells it."""
    told = {
        "baseRun": json_of(row.rerun).get("baseRun"),
        "isPreview": row.preview or None,
        "projectId": row.project_id,
        "workflowVersion": row.workflow_version,
        "workflowVersions": json_of(row.versions) or None,
        **_started_by(json_of(row.origin)),
    }
    return {key: value for key, value in told.items() if value is not None}


def _started_by(origin: Mapping[str, Any]) -> dict[str, Any]:
    if not origin:
        return {}
    named = {"id": "trigger", "name": "triggerName", "kind": "kind", "deliveryId": "delivery"}
    trigger = {key: found for key, column in named.items() if isinstance(found := origin.get(column), str)}
    return {"trigger": trigger, "labels": origin.get("labels") or None}


def json_of(text: str | None) -> dict[str, Any]:
    """The object in a column of JSON; an empty one where there is none, or one that is damaged."""
    with contextlib.suppress(ValueError, TypeError):
        if text and isinstance(found := orjson.loads(text), dict):
            return found
    return {}


def json_list(text: str | None) -> list[dict[str, Any]]:
    """The list of objects in a column of JSON; an empty one where there is none, or one that is damaged."""
    with contextlib.suppress(ValueError, TypeError):
        if text and isinstance(found := orjson.loads(text), list):
            return [item for item in found if isinstance(item, dict)]
    return []


async def stored_result(row: RunRow) -> dict[str, Any] | None:
    """The full status kept at the run's end; None as long as there is none, and when it is damaged."""
    packed = row.result
    if packed is None:
        return None
    return await asyncio.to_thread(_unpacked, packed) if len(packed) > LARGE_BYTES // 8 else _unpacked(packed)


def _unpacked(packed: bytes) -> dict[str, Any] | None:
    with contextlib.suppress(zlib.error, ValueError):
        if isinstance(found := orjson.loads(zlib.decompress(packed)), dict):
            return found
    return None
