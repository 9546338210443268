"""Sums over requests to models: by what they are grouped, and which of them count.

Days that are over are summed up once (`usage_days`, by run and what else reports name), so that a report over a million
requests takes a moment. Every change of a request of such a day sums its run up anew in the same transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, cast, get_args

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Table,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.sql.selectable import CompoundSelect

from innkeeper.gateway.store.models import ModelCallRow, UsageDayRow

Group = Literal["run", "node", "workflow", "channel", "model", "user", "day"]
GROUPS: tuple[Group, ...] = get_args(Group)
DAY_MS = 86_400_000
OPEN, LOST, NOT_SENT = "open", "lost", "not_sent"
_CALLS: Table = ModelCallRow.__table__  # type: ignore[assignment]  # typed as any FROM clause
_DAYS: Table = UsageDayRow.__table__  # type: ignore[assignment]
_NAMES = ("day", "run", "user_id", "workflow", "project", "channel", "model", "currency")
_COUNTS = (
    *("calls", "open", "failed", "estimated", "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens"),
    *("cost", "unknown"),
)
_COLUMNS: dict[Group, str] = {**{group: group for group in GROUPS}, "user": "user_id"}


@dataclass(frozen=True)
class Filter:
    """Which requests count: all of them, unless something is said.

    Attributes:
        from_ms, to_ms: When they began, in milliseconds since 1970; `to_ms` is the first moment behind.
    """

    from_ms: int | None = None
    to_ms: int | None = None
    run: str | None = None
    node: str | None = None
    workflow: str | None = None
    project: str | None = None
    channel: str | None = None
    model: str | None = None
    user: str | None = None

    def of_names(self, table: Table) -> list[ColumnElement[bool]]:
        named = {
            "run": self.run,
            "node": self.node,
            "workflow": self.workflow,
            "project": self.project,
            "channel": self.channel,
            "model": self.model,
            "user_id": self.user,
        }
        return [table.c[name] == value for name, value in named.items() if value is not None]


@lru_cache(8)
def sums_of_run(currency: str, limit: int) -> CompoundSelect[Any]:
    """`grouped_sums` of the nodes of one run, the parameter `run`. Every status asks for it: building it takes several
    times as long as running it."""
    of_run = Filter(run=cast(str, bindparam("run")))
    return grouped_sums(of_run, "node", currency, limit=limit)


def grouped_sums(which: Filter, group: Group, currency: str, *, offset: int = 0, limit: int) -> CompoundSelect[Any]:
    """First a row of all sums (`part` 0), then rows with their `key` (`part` 1): the days newest first, everything else
    by cost and then tokens, most first."""
    entries = _entries(which, needs_nodes=group == "node" or which.node is not None)
    key = entries.c[_COLUMNS[group]]
    groups = select(key.label("key"), *_sums(entries, currency)).group_by(key).cte("groups")
    columns = [column.name for column in groups.c if column.name != "key"]
    total = [func.coalesce(func.sum(groups.c[name]), 0).label(name) for name in columns]
    order = [groups.c.key.desc()] if group == "day" else [groups.c.nanos.desc(), groups.c.tokens.desc(), groups.c.key]
    page = select(literal(1).label("part"), groups.c.key, *(groups.c[name] for name in columns))
    shown = page.order_by(*order).offset(offset).limit(limit).subquery()
    return union_all(select(literal(0).label("part"), null().label("key"), *total), select(shown))


def other_costs(which: Filter, group: Group, currency: str) -> Select[Any]:
    """Costs in other currencies: rows of `key`, `currency` and `nanos`."""
    entries = _entries(which, needs_nodes=group == "node" or which.node is not None)
    key = entries.c[_COLUMNS[group]]
    is_other = (entries.c.currency != currency, entries.c.cost > 0)
    query = select(key.label("key"), entries.c.currency, func.sum(entries.c.cost).label("nanos"))
    return query.where(*is_other).group_by(key, entries.c.currency)


def sums_of_runs(runs: Collection[str], currency: str) -> Select[Any]:
    """Rows with the run as their `key`, of those of these runs that made requests."""
    columns = [_CALLS.c[name] for name in _NAMES]
    entries = select(*columns, *_counts_of_call()).where(_CALLS.c.run.in_(runs)).subquery("entries")
    return select(entries.c.run.label("key"), *_sums(entries, currency)).group_by(entries.c.run)


def _sums(entries: FromClause, currency: str) -> Sequence[ColumnElement[Any]]:
    column = entries.c
    is_own = column.currency == currency
    found = {name: column[name] for name in _COUNTS if name != "cost"} | {
        "tokens": column.input_tokens + column.output_tokens,
        "nanos": case((is_own, column.cost), else_=0),
        "foreign_calls": case((and_(column.currency != currency, column.cost > 0), 1), else_=0),
    }
    return [func.coalesce(func.sum(value), 0).label(name) for name, value in found.items()]


# --- where the sums come from -----------------------------------------------------------------------------------------


def _entries(which: Filter, *, needs_nodes: bool) -> FromClause:
    """Requests, and days of them that are summed up, with the same columns."""
    times = _times(which)
    calls = _call_entries(which, needs_nodes=needs_nodes)
    if needs_nodes or which.run is not None:  # days do not name nodes; of one run there is an index
        return calls.where(*times).subquery("entries")
    first = None if which.from_ms is None else -(-which.from_ms // DAY_MS)
    behind = None if which.to_ms is None else which.to_ms // DAY_MS
    whole = [_DAYS.c.day >= first] if first is not None else []
    whole += [_DAYS.c.day < behind] if behind is not None else []
    days = select(*(_DAYS.c[name] for name in (*_NAMES, *_COUNTS))).where(*which.of_names(_DAYS), *whole)
    # What is not in whole days that are summed up: what came later, and parts of days at both ends.
    rest = [_CALLS.c.started_at >= (_last_day() + 1) * DAY_MS]
    rest += [_CALLS.c.started_at < first * DAY_MS] if first is not None else []
    rest += [_CALLS.c.started_at >= behind * DAY_MS] if behind is not None else []
    return union_all(days, calls.where(*times, or_(*rest))).subquery("entries")


def _times(which: Filter) -> list[ColumnElement[bool]]:
    found = [_CALLS.c.started_at >= which.from_ms] if which.from_ms is not None else []
    return found + ([_CALLS.c.started_at < which.to_ms] if which.to_ms is not None else [])


def _call_entries(which: Filter, *, needs_nodes: bool) -> Select[Any]:
    names = [_CALLS.c[name] for name in (*_NAMES, *(("node",) if needs_nodes else ()))]
    return select(*names, *_counts_of_call()).where(*which.of_names(_CALLS))


def _last_day() -> ColumnElement[int]:
    """The last day that is summed up; all days before it are, too."""
    return select(func.coalesce(func.max(_DAYS.c.day), -1)).scalar_subquery()


def _counts_of_call() -> list[ColumnElement[Any]]:
    column = _CALLS.c
    is_over = column.outcome != OPEN
    found: dict[str, ColumnElement[Any]] = {
        "calls": case((column.outcome != NOT_SENT, 1), else_=0),
        "open": case((is_over, 0), else_=1),
        "failed": case((column.outcome.in_(("failed", "cut", LOST)), 1), else_=0),
        "estimated": case((and_(is_over, column.estimated), 1), else_=0),
        **{
            name: case((is_over, column[name]), else_=0)
            for name in ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
        },
        "cost": case((is_over, func.coalesce(column.cost, 0)), else_=0),
        "unknown": case((and_(is_over, column.cost.is_(None)), 1), else_=0),
    }
    return [value.label(name) for name, value in found.items()]


# --- summing up days --------------------------------------------------------------------------------------------------


def next_day(connection: Connection, today: int) -> int | None:
    """The first day before today (in days since 1970) that has requests and is not summed up."""
    query = select(func.min(_CALLS.c.started_at)).where(_CALLS.c.started_at >= (_last_day() + 1) * DAY_MS)
    found = connection.scalar(query)
    return None if found is None or found // DAY_MS >= today else int(found // DAY_MS)


def sum_up(connection: Connection, day: int, run: str | None = None) -> None:
    """Sum a day up anew, or what one run did on it."""
    gone = [_DAYS.c.day == day] + ([] if run is None else [_DAYS.c.run == run])
    kept = [_CALLS.c.started_at >= day * DAY_MS, _CALLS.c.started_at < (day + 1) * DAY_MS]
    kept += [] if run is None else [_CALLS.c.run == run]
    calls = select(*(_CALLS.c[name] for name in _NAMES), *_counts_of_call()).where(*kept).subquery()
    names = [calls.c[name] for name in _NAMES]
    sums = select(*names, *(func.sum(calls.c[name]) for name in _COUNTS)).group_by(*names)
    connection.execute(delete(_DAYS).where(*gone))
    connection.execute(insert(_DAYS).from_select([*_NAMES, *_COUNTS], sums))


def sum_up_changed(connection: Connection, changed: Collection[tuple[int, str]]) -> None:
    """Sum up anew what these runs did on these days, as far as the days are summed up."""
    last = connection.scalar(select(_last_day())) if changed else -1
    for day, run in changed:
        if last is not None and day <= last:
            sum_up(connection, day, run)


def forget_days(connection: Connection, before: int) -> None:
    """Delete the sums of the days before one."""
    connection.execute(delete(_DAYS).where(_DAYS.c.day < before))
