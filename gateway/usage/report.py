"""What requests to models took and cost, as clients see it."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from innkeeper.gateway.errors import BadRequest
from innkeeper.gateway.store.usage import UsageStore, Whose
from innkeeper.gateway.store.usage_sums import (
    DAY_MS,
    Filter,
    Group,
    grouped_sums,
    other_costs,
    sums_of_run,
    sums_of_runs,
)
from innkeeper.gateway.usage.budgets import kept_budget
from innkeeper.gateway.usage.prices import Prices
from innkeeper.nodes.yaml_tree import LineProblem
from innkeeper.workflows.document.budget import money_of

JsonObject = dict[str, Any]
MAX_GROUPS = 500
MAX_NODES = 2_000
_COUNTS = {
    "calls": "calls",
    "openCalls": "open",
    "failedCalls": "failed",
    "estimatedCalls": "estimated",
    "inputTokens": "input_tokens",
    "outputTokens": "output_tokens",
    "cachedTokens": "cached_tokens",
    "reasoningTokens": "reasoning_tokens",
    "totalTokens": "tokens",
}


@dataclass(frozen=True)
class RunUsage:
    """What a run took: `usage` of its status, and that of its nodes by their path."""

    usage: JsonObject
    nodes: Mapping[str, JsonObject]


class UsageReports:
    """Reports over the accounts."""

    def __init__(self, store: UsageStore, prices: Prices) -> None:
        self._store = store
        self._prices = prices

    async def page(self, which: Filter, group: Group, *, offset: int, limit: int) -> JsonObject:
        """A page of groups, and the sums over all of them."""
        file = await self._prices.refresh()
        query = grouped_sums(which, group, file.currency, offset=offset, limit=min(limit, MAX_GROUPS) + 1)
        total, *found = await self._store.rows(query)
        others = await self._store.rows(other_costs(which, group, file.currency)) if total["foreign_calls"] else []
        shown = found[:limit]
        return {
            "groupBy": group,
            "groups": [
                {"key": _key(group, row["key"]), **shown_sums(row, file.currency, _of(others, row["key"]))}
                for row in shown
            ],
            "total": shown_sums(total, file.currency, others),
            "nextCursor": offset + limit if len(found) > limit else None,
            "priceProblems": [_problem(problem) for problem in file.problems],
        }

    async def costs(self, runs: Collection[str]) -> dict[str, JsonObject]:
        """Run to `{cost, currency}`, of those of these runs that made requests of which something is known."""
        if not runs:
            return {}
        currency = (await self._prices.refresh()).currency
        rows = await self._store.rows(sums_of_runs(runs, currency))
        sums = {row["key"]: shown_sums(row, currency) for row in rows}
        return {
            run: {"cost": found["cost"], "currency": currency}
            for run, found in sums.items()
            if found["cost"] is not None
        }

    async def of_run(self, run: str) -> RunUsage | None:
        """What a run took so far; None when it made no request and has no budget."""
        currency, which = (await self._prices.refresh()).currency, Filter(run=run)
        facts = (await self._store.facts([run])).get(run)
        budget = None if facts is None else kept_budget(facts.budget)
        total, *nodes = await self._store.rows(sums_of_run(currency, MAX_NODES), run=run)
        if not total["calls"] and budget is None:
            return None
        others = await self._store.rows(other_costs(which, "node", currency)) if total["foreign_calls"] else []
        usage = shown_sums(total, currency, others)
        if budget is not None:
            usage["budget"] = {"scope": budget.scope, **budget.budget.to_json()}
            if budget.budget.nanos is not None:
                usage["budgetBlind"] = (await self._store.spent(Whose(run), currency)).unpriced > 0
        shown = {row["key"]: shown_sums(row, currency, _of(others, row["key"])) for row in nodes}
        return RunUsage(usage, shown)


def with_usage(status: Mapping[str, Any], found: RunUsage | None) -> JsonObject:
    """The full status of a run with what it took."""
    if found is None:
        return dict(status)
    nodes = {
        path: {**node, "usage": found.nodes[path]} if path in found.nodes else node
        for path, node in (status.get("nodeStatus") or {}).items()
    }
    return {**status, "nodeStatus": nodes, "usage": found.usage}


def shown_sums(row: Mapping[str, Any], currency: str, others: Iterable[Mapping[str, Any]] = ()) -> JsonObject:
    """Sums as clients see them.

    The cost is null where nothing is known: it is never 0 because a price is missing.
    """
    more: dict[str, int] = {}
    for other in others:
        more[other["currency"]] = more.get(other["currency"], 0) + other["nanos"]
    is_unknown = row["unknown"] > 0 and row["nanos"] == 0
    shown: JsonObject = {name: int(row[column]) for name, column in _COUNTS.items()}
    shown |= {"cost": None if is_unknown else money_of(row["nanos"]), "currency": currency}
    shown["unknownCost"] = int(row["unknown"])
    return {**shown, "otherCosts": {name: money_of(nanos) for name, nanos in sorted(more.items())}} if more else shown


def filter_of(begin: str | None, end: str | None, **names: str | None) -> Filter:
    """Which requests are asked for.

    Args:
        begin, end: Days or moments, as `moment_of` reads them.
        names: Of `Filter`.

    Raises:
        BadRequest: They are not understood.
    """
    from_ms = None if begin is None else moment_of(begin, "from")
    return Filter(from_ms, None if end is None else moment_of(end, "to", is_end=True), **names)


def moment_of(text: str, name: str, *, is_end: bool = False) -> int:
    """Milliseconds since 1970 of an ISO moment or day (UTC). Of an end that is a day the moment behind it.

    Raises:
        BadRequest: It is neither.
    """
    try:
        moment = datetime.datetime.fromisoformat(text)
        found = int((moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        message = f"{name!r} must be a day (2030-01-31) or a moment (2030-01-31T12:00:00Z)"
        raise BadRequest(message) from None
    return found + DAY_MS if is_end and len(text) <= len("2030-01-31") else found


def _key(group: Group, key: Any) -> str | None:
    if group == "day" and key is not None:
        return (datetime.date(1970, 1, 1) + datetime.timedelta(days=key)).isoformat()
    return key if key is None else str(key)


def _of(others: Sequence[Mapping[str, Any]], key: Any) -> list[Mapping[str, Any]]:
    return [row for row in others if row["key"] == key]


def _problem(problem: LineProblem) -> JsonObject:
    return {"line": problem.line, "message": problem.message}
