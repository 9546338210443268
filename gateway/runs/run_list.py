"""All runs of a user in one list, whatever their state."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from typing import Protocol

from innkeeper.gateway.events.activity import Activity
from innkeeper.gateway.runs.run_log import RunLog
from innkeeper.gateway.runs.run_summary import list_item, shown_status
from innkeeper.gateway.runs.stuck_runs import StuckRuns
from innkeeper.gateway.runs.view import JsonObject
from innkeeper.gateway.store.models import RunRow
from innkeeper.gateway.store.run_filter import RunFilter
from innkeeper.gateway.store.runs import ENDED, RunStore

MAX_PAGE = 200
WantedRuns = RunFilter
"""Which runs a page shows, for those who do not know the database."""


class Costs(Protocol):
    """What runs cost (`usage.report.UsageReports`)."""

    async def costs(self, runs: Collection[str]) -> dict[str, JsonObject]:
        """Run to `{cost, currency}`."""


class RunList:
    """Pages of runs, and single ones, in one shape."""

    def __init__(self, store: RunStore, run_log: RunLog, stuck_runs: StuckRuns, costs: Costs) -> None:
        self._store = store
        self._run_log = run_log
        self._stuck_runs = stuck_runs
        self._costs = costs

    async def page(self, wanted: RunFilter, before: int | None, limit: int) -> tuple[list[JsonObject], int | None]:
        """A page, newest first, and the cursor of the next one."""
        found: list[tuple[RunRow, Activity]] = []
        while len(found) <= limit:
            rows = await self._store.search(wanted, before, limit + 1)
            fitting = await self._with_activity(rows)
            if wanted.statuses:  # whether a run waits is not in its row
                fitting = [(row, doing) for row, doing in fitting if shown_status(row, doing) in wanted.statuses]
            found += fitting
            if len(rows) <= limit:
                break
            before = rows[-1].number
        cursor = found[limit - 1][0].number if len(found) > limit else None
        return await self._items(found[:limit]), cursor

    async def items(self, user_id: str, runs: Collection[str]) -> list[JsonObject]:
        """Those of these runs that a user has, previews included."""
        return await self._items(await self._with_activity(await self._store.of_user(user_id, runs)))

    async def open_approvals(self, user_id: str) -> dict[str, int]:
        """A user's runs that have not ended, and how many approvals of each are open."""
        rows = [row for row in await self._store.active() if row.user_id == user_id]
        return {row.id: doing.approvals for row, doing in await self._with_activity(rows)}

    async def _with_activity(self, rows: Sequence[RunRow]) -> list[tuple[RunRow, Activity]]:
        """Read together: while the log is away, each answer takes its time."""

        async def activity(row: RunRow) -> Activity:
            return Activity() if row.status in ENDED else await self._run_log.activity(row.id)

        return list(zip(rows, await asyncio.gather(*map(activity, rows)), strict=True))

    async def _items(self, found: Sequence[tuple[RunRow, Activity]]) -> list[JsonObject]:
        costs = await self._costs.costs([row.id for row, _ in found])
        return [list_item(row, doing, self._stuck_runs.known(row.id), costs.get(row.id)) for row, doing in found]
