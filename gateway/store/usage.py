"""Queries over requests to models: what each took and cost, and what may be spent."""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any

import orjson
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    String,
    Table,
    bindparam,
    case,
    cast,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session
from sqlalchemy.sql.selectable import CompoundSelect

from innkeeper.gateway.store.engine import StoreEngine
from innkeeper.gateway.store.models import ModelCallRow, RaisedBudgetRow, RunRow
from innkeeper.gateway.store.runs import json_of, now_ms
from innkeeper.gateway.store.usage_sums import (
    DAY_MS,
    OPEN,
    forget_days,
    next_day,
    sum_up,
    sum_up_changed,
)
from innkeeper.gateway.store.write_batcher import WriteBatcher, one_by_one

ALL_DAYS = -1
DELETED_AT_ONCE = 5_000
_CALLS: Table = ModelCallRow.__table__  # type: ignore[assignment]  # typed as any FROM clause
_RAISED: Table = RaisedBudgetRow.__table__  # type: ignore[assignment]
_RUNS: Table = RunRow.__table__  # type: ignore[assignment]


@dataclass(frozen=True)
class Call:
    """One request to a model, as `ModelCallRow` says it."""

    id: str
    run: str
    node: str
    attempt: int
    user_id: str
    day: int
    started_at: int
    workflow: str | None = None
    project: str | None = None
    channel: str = ""
    host: str = ""
    adapter: str = ""
    model: str = ""
    answered: str = ""
    key: str = ""
    ended_at: int | None = None
    outcome: str = OPEN
    code: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = True
    cost: int | None = None
    currency: str | None = None
    first_ms: int | None = None
    whole_ms: int | None = None

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens


_NAMES = tuple(field.name for field in fields(Call))
_COLUMNS = tuple(_CALLS.c[name] for name in _NAMES)
_INSERT = insert(_CALLS)
_UPDATE = (
    update(_CALLS)
    .where(_CALLS.c.id == bindparam("of"))
    .values({name: bindparam(f"new_{name}") for name in _NAMES if name != "id"})
)
_RENAME = (
    update(_CALLS)
    .where(_CALLS.c.id == bindparam("of"))
    .values(id=func.substr(_CALLS.c.id, 1, 40) + "/" + cast(_CALLS.c.number, String))
)


@dataclass(frozen=True)
class Changes:
    """What one batch of the ledger writes, in this order.

    Attributes:
        renamed: Ids of ended requests whose id another request has now.
    """

    renamed: tuple[str, ...] = ()
    deleted: tuple[Call, ...] = ()
    updated: tuple[Call, ...] = ()
    added: tuple[Call, ...] = ()

    def __bool__(self) -> bool:
        return self != Changes()


@dataclass(frozen=True)
class RunFacts:
    """What the accounts need of a run. `budget`: JSON as it was kept with it."""

    user: str
    workflow: str | None
    project: str | None
    budget: Mapping[str, Any]


@dataclass(frozen=True)
class Spent:
    """What requests took together, those under way with the most that they may take.

    Attributes:
        nanos: Of the currency that was asked for.
        unpriced: How many took something of which nobody knows the price in that currency.
        open_tokens, open_nanos: Of those under way.
    """

    tokens: int = 0
    nanos: int = 0
    unpriced: int = 0
    open_tokens: int = 0
    open_nanos: int = 0

    @property
    def settled(self) -> Spent:
        """Without those under way."""
        return Spent(self.tokens - self.open_tokens, self.nanos - self.open_nanos, self.unpriced)

    def __add__(self, other: Spent) -> Spent:
        return Spent(*map(operator.add, astuple(self), astuple(other)))

    def __sub__(self, other: Spent) -> Spent:
        return Spent(*map(operator.sub, astuple(self), astuple(other)))


@dataclass(frozen=True)
class Whose:
    """Whose requests are counted together: a run's, or a user's, of one day or (`ALL_DAYS`) of all."""

    run: str | None = None
    user: str = ""
    day: int = ALL_DAYS

    def conditions(self) -> list[ColumnElement[bool]]:
        if self.run is not None:
            return [_CALLS.c.run == self.run]
        of_user = [_CALLS.c.user_id == self.user]
        return of_user if self.day == ALL_DAYS else [*of_user, _CALLS.c.day == self.day]


class UsageStore:
    """Requests to models of all runs.

    Args:
        writes: The only writer of this database.
    """

    def __init__(self, engine: StoreEngine, writes: WriteBatcher) -> None:
        self._engine = engine
        self._writes = writes

    # --- requests -------------------------------------------------------------------------------------------------

    async def calls(self, ids: Collection[str]) -> dict[str, Call]:
        """Those of these ids that are known."""
        found = await self.rows(select(*_COLUMNS).where(_CALLS.c.id.in_(ids))) if ids else []
        return {row["id"]: Call(**row) for row in found}

    async def open_calls(self) -> list[Call]:
        """All requests that are under way."""
        return [Call(**row) for row in await self.rows(select(*_COLUMNS).where(_CALLS.c.outcome == OPEN))]

    async def write(self, changes: Changes) -> None:
        await self._writes.write(_apply, changes)

    async def spent(self, whose: Whose, currency: str) -> Spent:
        """What their requests took together."""
        return Spent(**(await self.rows(select(*_spent_columns(currency)).where(*whose.conditions())))[0])

    async def open_before(self, moment: int, limit: int = 200) -> Sequence[str]:
        """Some requests that began before a moment (milliseconds since 1970) and of whose end nobody told."""
        is_old = (_CALLS.c.outcome == OPEN, _CALLS.c.started_at < moment)
        return [row["id"] for row in await self.rows(select(_CALLS.c.id).where(*is_old).limit(limit))]

    async def delete_before(self, day: int) -> int:
        """Forget some of the requests that began before a day (in days since 1970); gives how many."""
        return await self._writes.write(_delete_before, day)

    async def sum_up_days(self, today: int) -> int:
        """Sum up the days before today on which there were requests, one by one. Gives how many."""
        count = 0
        while await self._writes.write(_sum_up_next, today):
            count += 1
        return count

    # --- runs and limits ------------------------------------------------------------------------------------------

    async def facts(self, runs: Collection[str]) -> dict[str, RunFacts]:
        """Of those of these runs that there are."""
        columns = (_RUNS.c.id, _RUNS.c.user_id, _RUNS.c.workflow_id, _RUNS.c.project_id, _RUNS.c.budget)
        found = await self.rows(select(*columns).where(_RUNS.c.id.in_(runs))) if runs else []
        return {
            row["id"]: RunFacts(row["user_id"], row["workflow_id"], row["project_id"], json_of(row["budget"]))
            for row in found
        }

    async def set_budget(self, run: str, budget: Mapping[str, Any]) -> None:
        query = update(_RUNS).where(_RUNS.c.id == run).values(budget=orjson.dumps(budget).decode())
        await self._writes.write(_execute, query)

    async def raised(self, day: int) -> dict[tuple[str, int], tuple[int | None, int | None]]:
        """(user, day) to the raised limits of that day and of all days: tokens, and money in billionths."""
        columns = (_RAISED.c.user_id, _RAISED.c.day, _RAISED.c.tokens, _RAISED.c.nanos)
        found = await self.rows(select(*columns).where(_RAISED.c.day.in_((day, ALL_DAYS))))
        return {(row["user_id"], row["day"]): (row["tokens"], row["nanos"]) for row in found}

    async def set_raised(self, user: str, day: int, tokens: int | None, nanos: int | None) -> None:
        values = {"user_id": user, "day": day, "tokens": tokens, "nanos": nanos, "raised_at": now_ms()}
        await self._writes.write(_raise, values)

    # --- reports --------------------------------------------------------------------------------------------------

    async def rows(self, query: Select[Any] | CompoundSelect[Any], **parameters: Any) -> list[dict[str, Any]]:
        """The rows of a query over `model_calls`, as mappings."""

        def read(session: Session) -> list[dict[str, Any]]:
            return [dict(row) for row in session.execute(query, parameters).mappings()]

        return await self._engine.read(read)


def spent_of(call: Call, currency: str) -> Spent:
    """What one request counts in `UsageStore.spent`."""
    is_priced = call.cost is not None and (call.currency == currency or call.cost == 0)
    unpriced = not is_priced and call.tokens > 0
    nanos = (call.cost or 0) if call.currency == currency else 0
    reserved = (call.tokens, nanos) if call.outcome == OPEN else (0, 0)
    return Spent(call.tokens, nanos, int(unpriced), *reserved)


def _spent_columns(currency: str) -> Iterable[ColumnElement[Any]]:
    tokens = _CALLS.c.input_tokens + _CALLS.c.output_tokens
    is_foreign = or_(_CALLS.c.cost.is_(None), (_CALLS.c.currency != currency) & (_CALLS.c.cost != 0))
    nanos = case((_CALLS.c.currency == currency, _CALLS.c.cost), else_=0)
    is_open = _CALLS.c.outcome == OPEN
    sums = {
        "tokens": tokens,
        "nanos": nanos,
        "open_tokens": case((is_open, tokens), else_=0),
        "open_nanos": case((is_open, nanos), else_=0),
        "unpriced": case((is_foreign & (tokens > 0), 1), else_=0),
    }
    return [func.coalesce(func.sum(value), 0).label(name) for name, value in sums.items()]


def _values(call: Call) -> dict[str, Any]:
    return {name: getattr(call, name) for name in _NAMES}


def _new_values(call: Call) -> dict[str, Any]:
    """As `_UPDATE` names them."""
    return {"of": call.id, **{f"new_{name}": value for name, value in _values(call).items() if name != "id"}}


@one_by_one
def _apply(connection: Connection, changes: Changes) -> None:
    if changes.renamed:
        connection.execute(_RENAME, [{"of": id} for id in changes.renamed])
    if changes.deleted:
        connection.execute(delete(_CALLS).where(_CALLS.c.id.in_([call.id for call in changes.deleted])))
    if changes.updated:
        connection.execute(_UPDATE, [_new_values(call) for call in changes.updated])
    if changes.added:
        connection.execute(_INSERT, [_values(call) for call in changes.added])
    changed = (*changes.deleted, *changes.updated, *changes.added)
    sum_up_changed(connection, {(call.day, call.run) for call in changed})


@one_by_one
def _delete_before(connection: Connection, day: int) -> int:
    old = select(_CALLS.c.number).where(_CALLS.c.started_at < day * DAY_MS).limit(DELETED_AT_ONCE)
    forget_days(connection, day)
    return connection.execute(delete(_CALLS).where(_CALLS.c.number.in_(old))).rowcount


@one_by_one
def _sum_up_next(connection: Connection, today: int) -> bool:
    day = next_day(connection, today)
    if day is not None:
        sum_up(connection, day)
    return day is not None


@one_by_one
def _raise(connection: Connection, values: Mapping[str, Any]) -> None:
    is_same = (_RAISED.c.user_id == values["user_id"], _RAISED.c.day == values["day"])
    if connection.execute(update(_RAISED).where(*is_same).values(**values)).rowcount == 0:
        connection.execute(insert(_RAISED).values(**values))


@one_by_one
def _execute(connection: Connection, query: Any) -> int:
    """How many rows it has changed."""
    return connection.execute(query).rowcount
