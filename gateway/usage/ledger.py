"""The account of every request to a model: reserved before it is made, settled when it has ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy.exc import OperationalError

from innkeeper.gateway.store.usage import DAY_MS, Call, Changes, RunFacts, Spent, UsageStore, Whose, spent_of
from innkeeper.gateway.usage.accounts import BudgetRefusal
from innkeeper.gateway.usage.budgets import Budgets, Limit, first_refusal
from innkeeper.gateway.usage.entries import ended, given_up, is_open, opened, priced, taken_by, unknown_start
from innkeeper.gateway.usage.price_file import Cost
from innkeeper.gateway.usage.prices import Prices
from innkeeper.nodes.services.llm.call_gate import CallEnd, CallStart

logger = logging.getLogger("innkeeper.gateway")

MAX_BATCH = 200
MAX_KNOWN = 5_000
"""Sums that are kept in memory; the others are summed up anew when they are asked for."""
FORGOTTEN_MS = DAY_MS
"""Whoever holds the leases of requests gives them up much sooner; this is for those that were lost with it."""
LOOK_S = 3_600.0
BUDGET_KNOWN_S = 60.0
"""So long it is not asked again whether a run has a budget: that only says what its workers do without the gateway."""


@dataclass(frozen=True)
class Reserve:
    start: CallStart
    id: str


@dataclass(frozen=True)
class Release:
    id: str


@dataclass(frozen=True)
class Settle:
    end: CallEnd
    id: str


@dataclass(frozen=True)
class GiveUp:
    id: str


Operation = Reserve | Release | Settle | GiveUp


@dataclass(frozen=True)
class Known:
    """What the operations of one batch are decided by.

    Attributes:
        calls: The requests that are written down, of those that the operations name.
        limits: Run to the limits of its requests.
        spent: Of all that the limits count.
        costs: Of each operation, in their order: what it will take at most (Reserve), what it took (Settle).
    """

    calls: Mapping[str, Call]
    facts: Mapping[str, RunFacts]
    limits: Mapping[str, Sequence[Limit]]
    spent: Mapping[Whose, Spent]
    costs: Sequence[Cost | None]
    currency: str
    now_ms: int


@dataclass
class Decided:
    """What came of a batch. `answers`: of each operation, in their order."""

    answers: list[BudgetRefusal | None] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)
    spent: dict[Whose, Spent] = field(default_factory=dict)


def decide(operations: Sequence[Operation], known: Known) -> Decided:
    """Do the operations in their order, in memory. Pure."""
    book = _Book(known)
    answers = [book.do(operation, known.costs[index]) for index, operation in enumerate(operations)]
    return Decided(answers, book.changes(), book.spent)


class _Book:
    """The requests of one batch while its operations are done one after the other."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._calls: dict[str, Call | None] = dict(known.calls)
        self._renamed: list[str] = []
        self.spent = dict(known.spent)

    def do(self, operation: Operation, cost: Cost | None) -> BudgetRefusal | None:
        if isinstance(operation, Reserve):
            return self._reserve(operation.start, cost)
        if isinstance(operation, Settle):
            self._settle(operation.end, cost)
        elif is_open(self._calls.get(operation.id)):
            self._end(operation)
        return None

    def changes(self) -> Changes:
        before = self._known.calls
        fresh = [id for id in self._calls if id not in before or id in self._renamed]
        return Changes(
            renamed=tuple(self._renamed),
            deleted=tuple(id for id in before if self._calls[id] is None and id not in self._renamed),
            updated=tuple(
                call for id, call in self._calls.items() if call is not None and id not in fresh and call != before[id]
            ),
            added=tuple(call for id in fresh if (call := self._calls[id]) is not None),
        )

    def _reserve(self, start: CallStart, cost: Cost | None) -> BudgetRefusal | None:
        known, run = self._calls.get(start.id), start.origin.run
        if is_open(known):  # it asks again: what it may take is reserved
            return None
        call = priced(opened(start, self._known.facts.get(run), self._known.now_ms), cost)
        more = spent_of(call, self._known.currency)
        refusal = first_refusal(self._known.limits.get(run, ()), self.spent, more)
        if refusal is not None:
            return refusal
        if known is not None and start.id in self._known.calls and start.id not in self._renamed:
            self._renamed.append(start.id)
        self._put(start.id, None, call)
        return None

    def _settle(self, end: CallEnd, cost: Cost | None) -> None:
        call = self._calls.get(end.id)
        if call is not None and call.outcome not in ("open", "lost"):
            return  # it was told before
        start = call or unknown_start(end, self._known.now_ms)
        self._put(end.id, call, priced(ended(start, end, self._known.now_ms), cost))

    def _end(self, operation: Release | GiveUp) -> None:
        call = self._calls[operation.id]
        assert call is not None, "it is open"
        after = given_up(call, self._known.now_ms) if isinstance(operation, GiveUp) else None
        self._put(operation.id, call, after)

    def _put(self, id: str, before: Call | None, after: Call | None) -> None:
        self._calls[id] = after
        for call, sign in ((before, -1), (after, 1)):
            if call is not None:
                self._count(call, sign)

    def _count(self, call: Call, sign: int) -> None:
        more = spent_of(call, self._known.currency)
        for whose in counted_in(call):
            if (sum := self.spent.get(whose)) is not None:
                self.spent[whose] = sum + more if sign > 0 else sum - more


def counted_in(call: Call) -> tuple[Whose, ...]:
    """All sums that a request is part of."""
    return Whose(call.run), Whose(None, call.user_id), Whose(None, call.user_id, call.day)


@dataclass(eq=False)
class _Asked:
    operation: Operation
    done: asyncio.Future[BudgetRefusal | None]


class Ledger:
    """Accounts in the gateway's store (`Accounts`).

    One task does everything, so that nobody spends between a look at a budget and the reservation; what comes while it
    writes is done together next. What has returned is committed. A caller that is cancelled takes nothing back.
    """

    def __init__(
        self,
        store: UsageStore,
        budgets: Budgets,
        prices: Prices,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._budgets = budgets
        self._prices = prices
        self._clock = clock
        self._waiting: list[_Asked] = []
        self._task: asyncio.Task[None] | None = None
        self._spent: dict[Whose, Spent] = {}
        self._currency = ""
        self._are_sums_stale = False
        self._have_budget: dict[str, tuple[bool, float]] = {}

    async def reserve(self, start: CallStart) -> BudgetRefusal | None:
        return await self._ask(Reserve(start, start.id))

    async def has_budget(self, start: CallStart) -> bool:
        run, now = start.origin.run, self._clock()
        known = self._have_budget.get(run)
        if known is None or known[1] < now - BUDGET_KNOWN_S:
            limits = await self._budgets.limits(await self._facts([start]), self._now_ms() // DAY_MS)
            known = self._have_budget[run] = bool(limits.get(run)), now
            for old in [*self._have_budget][: max(len(self._have_budget) - MAX_KNOWN, 0)]:
                del self._have_budget[old]
        return known[0]

    async def release(self, id: str) -> None:
        await self._ask(Release(id))

    async def settle(self, end: CallEnd) -> None:
        await self._ask(Settle(end, end.id))

    async def lost(self, ids: Sequence[str]) -> None:
        await asyncio.gather(*(self._ask(GiveUp(id)) for id in ids))

    async def settled(self) -> None:
        """Wait until nothing is being written."""
        if self._task is not None:
            await asyncio.wait({self._task})

    def forget_sums(self) -> None:
        """The rows have changed otherwise: what is kept in memory of them is read anew."""
        self._spent.clear()
        self._are_sums_stale = True  # also those of the batch that is being done now

    async def delete_older(self, age_s: float) -> int:
        """Forget requests that began longer ago. Gives how many."""
        count, before = 0, self._now_ms() - int(age_s * 1000)
        while gone := await self._store.delete_before(before):
            count += gone
        if count:
            self.forget_sums()
        return count

    async def keep_giving_up(self) -> None:
        """For ever: give up requests that began long ago and of whose end nobody told."""
        while True:
            try:
                while ids := await self._store.open_before(self._now_ms() - FORGOTTEN_MS):
                    await self.lost(ids)
            except Exception:
                logger.exception("giving up old requests failed", extra={"event": "usage_failed"})
            await asyncio.sleep(LOOK_S)

    def _now_ms(self) -> int:
        return max(int(self._clock() * 1000), 0)

    async def _ask(self, operation: Operation) -> BudgetRefusal | None:
        asked = _Asked(operation, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        if self._task is None:
            self._task = asyncio.create_task(self._work(), name="usage-ledger")
        return await asked.done

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
                await self._serve(batch)
        finally:
            self._task = None
            for left in self._waiting:  # only when this task is cancelled: nobody may wait for what will not come
                left.done.cancel()

    async def _serve(self, batch: Sequence[_Asked]) -> None:
        try:
            answers = await self._do([asked.operation for asked in batch])
        except Exception as error:
            # Which of it was written is not known: all sums are read anew.
            self._spent.clear()
            # The database being away or full concerns all of them, anything else perhaps one alone.
            if len(batch) > 1 and not isinstance(error, OperationalError):
                for asked in batch:
                    await self._serve([asked])
                return
            for asked in batch:
                if not asked.done.done():
                    asked.done.set_exception(error)
        except BaseException:
            for asked in batch:
                asked.done.cancel()
            raise
        else:
            for asked, answer in zip(batch, answers, strict=True):
                if not asked.done.done():
                    asked.done.set_result(answer)

    async def _do(self, operations: Sequence[Operation]) -> list[BudgetRefusal | None]:
        self._are_sums_stale = False
        known = await self._known(operations)
        decided = decide(operations, known)
        if decided.changes:
            await self._store.write(decided.changes)
        self._keep(decided.spent)
        return decided.answers

    def _keep(self, spent: Mapping[Whose, Spent]) -> None:
        if self._are_sums_stale:
            return
        self._spent.update(spent)
        for whose in [*self._spent][: max(len(self._spent) - MAX_KNOWN, 0)]:
            del self._spent[whose]

    async def _known(self, operations: Sequence[Operation]) -> Known:
        now_ms = self._now_ms()
        currency = (await self._prices.refresh()).currency
        if currency != self._currency:
            self._spent.clear()
            self._currency = currency
        calls = await self._store.calls({operation.id for operation in operations})
        facts = await self._facts([operation.start for operation in operations if isinstance(operation, Reserve)])
        limits = await self._budgets.limits(facts, now_ms // DAY_MS)
        spent = dict(self._spent)
        for whose in {limit.whose for found in limits.values() for limit in found} - spent.keys():
            spent[whose] = await self._store.spent(whose, currency)
        costs = await self._costs(operations, calls, now_ms)
        return Known(calls, facts, limits, spent, costs, currency, now_ms)

    async def _facts(self, starts: Sequence[CallStart]) -> dict[str, RunFacts]:
        """Of the runs that begin requests. One that is not known here counts for the user that it names."""
        named = {start.origin.run: RunFacts(start.origin.user, None, None, {}) for start in starts}
        return {**named, **await self._store.facts(named)}

    async def _costs(
        self, operations: Sequence[Operation], calls: Mapping[str, Call], now_ms: int
    ) -> list[Cost | None]:
        """Of each operation, in their order."""
        asked = {index: call for index, call in enumerate(_to_price(operations, calls, now_ms)) if call is not None}
        found = dict(zip(asked, await self._prices.costs([taken_by(call) for call in asked.values()]), strict=True))
        return [found.get(index) for index in range(len(operations))]


def _to_price(operations: Iterable[Operation], calls: Mapping[str, Call], now_ms: int) -> Iterable[Call | None]:
    for operation in operations:
        if isinstance(operation, Reserve):
            yield opened(operation.start, None, now_ms)
        elif isinstance(operation, Settle):
            yield ended(calls.get(operation.id) or unknown_start(operation.end, now_ms), operation.end, now_ms)
        else:
            yield None
