"""Sums over requests to models: by what they are grouped, and which of them count."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, Select, Table, and_, case, func, literal_column, not_, select

from innkeeper.gateway.store.models import ModelCallRow
from innkeeper.gateway.store.usage import LOST, NOT_SENT, OPEN

Group = Literal["run", "node", "workflow", "channel", "model", "user", "day"]
GROUPS: tuple[Group, ...] = get_args(Group)
_CALLS: Table = ModelCallRow.__table__  # type: ignore[assignment]  # typed as any FROM clause
_C = _CALLS.c
_COLUMNS: dict[Group, ColumnElement[Any]] = {
    "run": _C.run,
    "node": _C.node,
    "workflow": _C.workflow,
    "channel": _C.channel,
    "model": _C.model,
    "user": _C.user_id,
    "day": _C.day,
}


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

    def conditions(self) -> list[ColumnElement[bool]]:
        found = [_C.started_at >= self.from_ms] if self.from_ms is not None else []
        found += [_C.started_at < self.to_ms] if self.to_ms is not None else []
        named = {
            _C.run: self.run,
            _C.node: self.node,
            _C.workflow: self.workflow,
            _C.project: self.project,
            _C.channel: self.channel,
            _C.model: self.model,
            _C.user_id: self.user,
        }
        return found + [column == value for column, value in named.items() if value is not None]


def sums(which: Filter, currency: str) -> Select[Any]:
    """One row of sums (`_sums`)."""
    return select(*_sums(currency)).where(*which.conditions())


def grouped_sums(
    which: Filter, group: Group, currency: str, *, offset: int = 0, limit: int | None = None
) -> Select[Any]:
    """Rows of sums with their `key`: the days newest first, everything else by cost and then tokens, most first."""
    key = _COLUMNS[group].label("key")
    query = select(key, *_sums(currency)).where(*which.conditions()).group_by(_COLUMNS[group])
    order = (key.desc(),) if group == "day" else (_label("nanos").desc(), _label("tokens").desc(), key)
    return query.order_by(*order).offset(offset).limit(limit)


def other_costs(which: Filter, group: Group | None, currency: str) -> Select[Any]:
    """Costs in other currencies: rows of `key`, `currency` and `nanos`."""
    key = [] if group is None else [_COLUMNS[group].label("key")]
    query = select(*key, _C.currency, func.sum(_C.cost).label("nanos"))
    is_other = (_C.currency != currency, _C.cost > 0, _C.outcome != OPEN)
    return query.where(*which.conditions(), *is_other).group_by(*key, _C.currency)


def _sums(currency: str) -> Iterable[ColumnElement[Any]]:
    is_over, is_sent = _C.outcome != OPEN, _C.outcome != NOT_SENT
    is_own = and_(is_over, _C.currency == currency)
    found = {
        "calls": case((is_sent, 1), else_=0),
        "open": case((_C.outcome == OPEN, 1), else_=0),
        "failed": case((_C.outcome.in_(("failed", "cut", LOST)), 1), else_=0),
        "estimated": case((and_(is_over, _C.estimated), 1), else_=0),
        "input_tokens": case((is_over, _C.input_tokens), else_=0),
        "output_tokens": case((is_over, _C.output_tokens), else_=0),
        "cached_tokens": case((is_over, _C.cached_tokens), else_=0),
        "reasoning_tokens": case((is_over, _C.reasoning_tokens), else_=0),
        "tokens": case((is_over, _C.input_tokens + _C.output_tokens), else_=0),
        "nanos": case((is_own, _C.cost), else_=0),
        "unknown": case((and_(is_over, _C.cost.is_(None)), 1), else_=0),
        "foreign": case((and_(is_over, not_(is_own), _C.cost > 0), 1), else_=0),
    }
    return [func.coalesce(func.sum(value), 0).label(name) for name, value in found.items()]


def _label(name: str) -> ColumnElement[Any]:
    return literal_column(name)
