"""Leave for requests to models, asked of the gateway: `nodes.services.llm.call_gate.CallGate` over HTTP.

Not over the worker's socket: what is sent there is acknowledged in order, so that a question would stand behind all
chunks that are on their way, and a gateway that is slow to commit them would hold up the first chunk of every answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from innkeeper.nodes.errors import BudgetReached, NodeError, NodeInputError, NodeMustWait
from innkeeper.nodes.process.critical_tasks import run_critical
from innkeeper.nodes.services.llm.call_gate import CallEnd, CallStart
from innkeeper.nodes.services.llm.call_messages import end_to_json, start_to_json

log = logging.getLogger("innkeeper.link")

RENEW_S = 4.0
REQUEST_S = 5.0
"""How long the gateway may take to answer: a lease must outlive an answer that does not come."""
AGAIN_S = 1.0
AWAY_S = 2.0
SLOW_S = 5.0
"""A gateway that has not answered for so long is away. One that is only slow, or restarted, keeps the limits itself."""
SHORT_WAIT_S, PATIENCE_S = 1.0, 5.0
"""A wait as short is waited for here, and no longer in all: to come again costs more, and takes longer."""
MAX_KEPT = 10_000
MAX_ENDS = 500
"""In one message."""
MAX_REMEMBERED = 10_000
FLUSH_S = 3.0
MINUTE_S = 60.0

JsonObject = dict[str, Any]
K = TypeVar("K")
V = TypeVar("V")


class Door(Protocol):
    """What is needed of `activities.link.gateway_door.GatewayDoor`."""

    async def post(self, path: str, body: Mapping[str, Any]) -> JsonObject: ...


@dataclass
class OwnShare:
    """What this worker may do at one endpoint while the gateway is away. What nobody has told goes once a second.

    Attributes:
        per_minute, concurrent: Of requests; None: no limit.
    """

    per_minute: float | None = MINUTE_S
    concurrent: int | None = None
    next_at: float = 0.0

    def wait_s(self, under_way: int, now: float) -> float:
        """Seconds until one more request may be made; 0: now, and it is counted."""
        if self.concurrent is not None and under_way >= self.concurrent:
            return AGAIN_S
        if self.next_at > now:
            return self.next_at - now
        if self.per_minute:
            self.next_at = max(self.next_at, now) + MINUTE_S / self.per_minute
        return 0.0


@dataclass
class LastWords:
    """What the gateway has said lately, for the time when it is away: bounded, the oldest goes first."""

    shares: OrderedDict[tuple[str, ...], OwnShare] = field(default_factory=OrderedDict)
    budgets: OrderedDict[str, bool] = field(default_factory=OrderedDict)

    def note(self, start: CallStart, told: Mapping[str, Any]) -> None:
        """Remember an answer that let a request go."""
        share = told.get("share")
        known = self.share(start)
        if isinstance(share, Mapping):
            known.per_minute, known.concurrent = _number(share.get("perMinute")), _whole(share.get("concurrent"))
        _put(self.budgets, start.origin.run, bool(told.get("hasBudget")))

    def share(self, start: CallStart) -> OwnShare:
        endpoint = endpoint_of(start)
        return _put(self.shares, endpoint, self.shares.get(endpoint) or OwnShare())


def endpoint_of(start: CallStart) -> tuple[str, ...]:
    """Whose limits a request shares, as far as this worker knows."""
    return start.channel, start.host, start.key, start.model


def _put(known: OrderedDict[K, V], key: K, value: V) -> V:
    known[key] = value
    known.move_to_end(key)
    if len(known) > MAX_REMEMBERED:
        known.popitem(last=False)
    return value


class ModelGate:
    """The gate of one worker (`CallGate`).

    Args:
        door: To the gateway.
        patience_s: So long the gateway may be away until requests are made without asking; those of runs with a budget
            wait for it.
        clock: Seconds.
    """

    def __init__(self, door: Door, *, patience_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._door = door
        self._patience_s = patience_s
        self._clock = clock
        self._words = LastWords()
        self._away_since: float | None = None
        self._under_way: dict[str, CallStart] = {}
        self._unasked: dict[str, CallStart] = {}
        self._ends: OrderedDict[str, JsonObject] = OrderedDict()
        self._dropped = 0
        self._wakes = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self, start: CallStart) -> None:
        """As `CallGate.begin`."""
        self._start_tasks()
        deadline = self._clock() + PATIENCE_S
        while True:
            told = await self._ask(start)
            if told is None or told.get("go"):
                return
            delay_s = _number(told.get("waitS")) or AGAIN_S
            if delay_s > SHORT_WAIT_S or self._clock() + delay_s > deadline:
                reason, limit = str(told.get("reason")), str(told.get("limit"))
                raise NodeMustWait(f"waits for {reason}", delay_s=delay_s, details={"reason": reason, "limit": limit})
            await asyncio.sleep(delay_s)

    def end(self, end: CallEnd) -> None:
        """As `CallGate.end`."""
        self._under_way.pop(end.id, None)
        told = end_to_json(end)
        if (start := self._unasked.pop(end.id, None)) is not None:
            told["start"] = start_to_json(start)
        # What was told first is kept: who settles a lost call once more knows less of it.
        self._ends.setdefault(end.id, told)
        while len(self._ends) > MAX_KEPT:
            self._ends.popitem(last=False)
            self._dropped += 1
        self._wakes.set()

    async def aclose(self) -> None:
        """Tell what is not told yet, for a few seconds at most."""
        with contextlib.suppress(TimeoutError, NodeError):
            async with asyncio.timeout(FLUSH_S):
                while self._ends:
                    await self._tell()
        if lost := len(self._ends) + self._dropped:
            log.warning("the ends of %d requests to models were not told", lost, extra={"event": "ends_lost"})
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- the gateway ----------------------------------------------------------------------------------------------

    async def _ask(self, start: CallStart) -> JsonObject | None:
        """The answer; None: the gateway is away, and the request may be made all the same."""
        if self._ends.get(start.id, {}).get("outcome") == "not_sent":  # it is asked for again
            del self._ends[start.id]
        # Before the question: whoever is cancelled while it is answered may have been let go.
        self._under_way[start.id] = start
        try:
            told = await self._post("/internal/llm/begin", start_to_json(start))
        except NodeInputError:  # what is asked is wrong, and will be
            del self._under_way[start.id]
            raise
        except NodeError as error:
            try:
                if _is_away(error):
                    self._go_without(start)
            except NodeMustWait:
                self._give_back(start)
                raise
            return None
        except BaseException:
            self.end(CallEnd(start.id, "not_sent", "cancelled"))
            raise
        if told.get("go"):
            self._words.note(start, told)
            return told
        del self._under_way[start.id]
        if isinstance(budget := told.get("budget"), Mapping):
            raise BudgetReached(_budget_sentence(budget), details=dict(budget))
        return told

    def _go_without(self, start: CallStart) -> None:
        """Nobody answers: may the request be made without asking?

        Raises:
            NodeMustWait: It may not now.
        """
        now = self._clock()
        if self._away_since is None:
            self._away_since = now
        has_budget = self._words.budgets.get(start.origin.run)
        patience_s = self._patience_s if has_budget is None else min(SLOW_S, self._patience_s)
        if has_budget or now - self._away_since < patience_s:
            raise NodeMustWait("the gateway, which keeps limits and budgets, does not answer", delay_s=AWAY_S)
        endpoint = endpoint_of(start)
        beside = sum(endpoint_of(other) == endpoint for other in self._under_way.values()) - 1
        wait_s = self._words.share(start).wait_s(beside, now)
        if wait_s > 0:
            message = "the gateway does not answer; until it does, each worker makes its part of the requests"
            raise NodeMustWait(message, delay_s=wait_s)
        self._unasked[start.id] = start

    def _give_back(self, start: CallStart) -> None:
        """It is not made, but the gateway may have let it go before it went away. Else it would count as lost."""
        del self._under_way[start.id]
        # The ends of requests that were made are worth more: a gateway that is away for long is asked very often.
        if len(self._ends) < MAX_KEPT // 2:
            self.end(CallEnd(start.id, "not_sent", "cancelled"))

    async def _post(self, path: str, body: Mapping[str, Any]) -> JsonObject:
        """Raises NodeError when there is no answer."""
        try:
            async with asyncio.timeout(REQUEST_S):
                told = await self._door.post(path, body)
        except TimeoutError:
            raise NodeMustWait("the gateway does not answer in time", delay_s=AWAY_S) from None
        self._away_since = None
        return told

    def _start_tasks(self) -> None:
        if not self._tasks:
            self._tasks = [
                run_critical(self._keep_telling(), "model-call-ends"),
                run_critical(self._keep_renewing(), "model-call-leases"),
            ]

    async def _keep_telling(self) -> None:
        while True:
            await self._wakes.wait()
            self._wakes.clear()
            while self._ends:
                try:
                    await self._tell()
                except NodeError:
                    await asyncio.sleep(AGAIN_S)

    async def _tell(self) -> None:
        batch = dict(list(self._ends.items())[:MAX_ENDS])
        try:
            await self._post("/internal/llm/end", {"ends": list(batch.values())})
        except NodeError as error:
            if _is_away(error):
                raise
            # It would refuse them again.
            self._dropped += len(batch)
            log.error("the gateway refuses the ends of %d requests: %s", len(batch), error.message)
        for id, told in batch.items():
            if self._ends.get(id) is told:
                del self._ends[id]
        if self._dropped:
            log.warning("the ends of %d requests to models were not told", self._dropped, extra={"event": "ends_lost"})
            self._dropped = 0

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            if self._under_way:
                with contextlib.suppress(NodeError):  # tried again, well before the leases end
                    await self._post("/internal/llm/renew", {"ids": list(self._under_way)})


def _is_away(error: NodeError) -> bool:
    """May it answer later? A gateway of an older version, which knows nothing of calls, will not."""
    return isinstance(error, NodeMustWait) or error.retryable


def _budget_sentence(budget: Mapping[str, Any]) -> str:
    return (
        f"the budget of the {budget.get('scope')} is reached: {_amounts(budget.get('used'))} of "
        f"{_amounts(budget.get('limit'))} used{_request_words(budget.get('needed'))}; raise it or stop the run"
    )


def _request_words(needed: object) -> str:
    return f", and the request may take {_amounts(needed)}" if needed else ""


def _amounts(told: object) -> str:
    if not isinstance(told, Mapping):
        return "nothing"
    return ", ".join(f"{value} {name}" for name, value in told.items() if value is not None)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
