"""Requests to models, from the first question of a worker to their end: limits and accounts in one step."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from innkeeper.gateway.events.fence import STATUS
from innkeeper.gateway.store.runs import ENDED
from innkeeper.gateway.usage.accounts import Accounts, BudgetRefusal
from innkeeper.gateway.usage.leases import LEASE_S
from innkeeper.gateway.usage.limit_state import LimitState
from innkeeper.gateway.usage.limiter import Limiter, Wait
from innkeeper.gateway.usage.limits import Limit
from innkeeper.nodes.services.llm.call_gate import CallEnd, CallStart

logger = logging.getLogger("innkeeper.gateway")

SWEEP_S = 1.0
RESERVED_S = 1.0
"""When a request asks again for which others under way hold the budget: they take seconds."""
LimitsOf = Callable[[CallStart], Awaitable[Sequence[Limit]]]


@dataclass(frozen=True)
class EndedCall:
    """An end. `start`: of a call that was made while the gateway was away, of which it knows nothing."""

    end: CallEnd
    start: CallStart | None = None


@dataclass
class CallCounts:
    """What has happened since this gateway began."""

    begun: int = 0
    waits: int = 0
    refused: int = 0
    lost: int = 0


@dataclass(frozen=True)
class Share:
    """What one worker may do by itself while the gateway is away; None: no limit."""

    per_minute: float | None = None
    concurrent: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {"perMinute": self.per_minute, "concurrent": self.concurrent}


def share_of(limits: Iterable[Limit], learned: float | None, workers: int) -> Share:
    """A worker's part of the limits of a call."""
    found = list(limits)
    rates = [limit.amount for limit in found if limit.kind == "requests"] + ([] if learned is None else [learned])
    at_once = [limit.amount for limit in found if limit.kind == "concurrent"]
    parts = max(workers, 1)
    return Share(
        min(rates) / parts if rates else None,
        max(int(min(at_once) // parts), 1) if at_once else None,
    )


@dataclass(frozen=True)
class Go:
    """The request may be made. `has_budget`: somebody limits what the run may spend."""

    share: Share = field(default_factory=Share)
    has_budget: bool = False


class CallAdmission:
    """See the module.

    Args:
        limits_of: The limits that the operator has written for a call.
        accounts: Budgets and records.
        state: Where limits are kept across restarts.
        workers: How many workers there are now.
    """

    def __init__(
        self,
        limiter: Limiter,
        limits_of: LimitsOf,
        accounts: Accounts,
        state: LimitState,
        *,
        workers: Callable[[], int],
    ) -> None:
        self._limiter = limiter
        self._limits_of = limits_of
        self._accounts = accounts
        self._state = state
        self._workers = workers
        self._saved: dict[str, Any] = {}
        self._lost: list[str] = []
        self.counts = CallCounts()

    @property
    def waiting(self) -> int:
        """Nodes that wait for a limit."""
        return self._limiter.waiting

    @property
    def under_way(self) -> int:
        return self._limiter.under_way

    async def begin(self, start: CallStart) -> Go | Wait | BudgetRefusal:
        """Let a request go with all that its limits and budgets ask, or spend nothing. Asked again, it goes once.

        A caller that is cancelled meanwhile may hold a lease, which then runs out.
        """
        limits = await self._limits_of(start)
        wait = self._limiter.take(start, limits)
        if wait is not None:
            self.counts.waits += 1
            return wait
        try:
            refusal = await self._accounts.reserve(start)
            has_budget = refusal is None and await self._accounts.has_budget(start)
        except Exception:
            self._limiter.put_back(start.id)
            raise
        if refusal is not None and refusal.is_reserved:
            self._limiter.put_back(start.id)
            self.counts.waits += 1
            return Wait(RESERVED_S, f"the budget of the {refusal.scope}, which requests under way hold", 1)
        if refusal is not None:
            self._limiter.put_back(start.id)
            self.counts.refused += 1
            return refusal
        self.counts.begun += 1
        return Go(share_of(limits, self._limiter.learned_rate(start), self._workers()), has_budget)

    def renew(self, ids: Sequence[str]) -> list[str]:
        """Calls that are still under way; gives those that are not known."""
        return self._limiter.renew(ids)

    async def end(self, ended: Sequence[EndedCall]) -> None:
        """Requests have ended. What comes twice counts once."""
        named = [each for told in ended for each in self._named(told)]
        # First the limits: others wait for what is given back.
        for each in named:
            self._limiter.end(each.end)
        await asyncio.gather(*(self._settle(each) for each in named))

    def _named(self, told: EndedCall) -> list[EndedCall]:
        """The ends that are told by it: of an attempt that died, those of all its requests that are still open.

        An attempt asks one model after the other (without a refused parameter, through another channel), so the text
        is that of the last one.
        """
        if told.end.lost_of is None:
            return [told]
        *others, last = self._limiter.calls_of(told.end.lost_of) or [""]
        ends = [replace(told.end, id=id, output_chars=0) for id in others]
        ends += [replace(told.end, id=last)] if last else []
        return [EndedCall(end) for end in ends]

    async def _settle(self, ended: EndedCall) -> None:
        if ended.end.outcome == "not_sent":
            await self._accounts.release(ended.end.id)
            return
        await self._accounts.settle(ended.end, ended.start)

    def observe(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Follow the events of one run in one commit: when it ends, its places in the lines are free."""
        last = events[-1]
        if last["type"] == STATUS and last["payload"]["status"] in ENDED:
            self._limiter.forget_run(last["payload"]["promptId"])

    async def load(self) -> None:
        """Go on from what an earlier gateway has kept. Once, before the first call."""
        found = await asyncio.to_thread(self._state.load)
        if found is not None:
            try:
                self._limiter.restore(*found)
            except ValueError as error:  # another version has written it
                logger.warning("what was kept of limits is not used: %s", error, extra={"event": "limits_not_read"})
        # One that died has not kept its last second. Without a lease such a call would hold its reservation for ever.
        for start in await self._accounts.open_calls():
            self._limiter.adopt(start)

    async def keep_sweeping(self) -> None:
        """For ever: end leases that were not renewed, and keep what limits have spent."""
        while True:
            await asyncio.sleep(SWEEP_S)
            await self.sweep()

    async def sweep(self) -> None:
        """One round of `keep_sweeping`."""
        lost = self._limiter.sweep()
        if lost:
            self.counts.lost += len(lost)
            logger.warning("%d requests to models: their worker is silent for %g s", len(lost), LEASE_S)
        self._lost += lost
        if self._lost:
            try:
                await self._accounts.lost(self._lost)
                self._lost = []
            except Exception:  # the next round does it
                if lost:
                    logger.exception("lost requests are not noted yet", extra={"event": "usage_failed"})
        await self.save()

    async def save(self) -> None:
        """Keep what there is now."""
        snapshot = self._limiter.snapshot()
        if snapshot != self._saved:
            self._saved = snapshot
            await asyncio.to_thread(self._state.save, snapshot)

    async def close(self) -> None:
        await self.save()
        await asyncio.to_thread(self._state.close)
