"""The account of every request to a model: reserved before it is made, settled when it has ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy.exc import OperationalError

from innkeeper.gateway.store.usage import Call, Changes, RunFacts, Spent, UsageStore, Whose, spent_of
from innkeeper.gateway.store.usage_sums import DAY_MS, OPEN
from innkeeper.gateway.usage.accounts import BudgetRefusal
from innkeeper.gateway.usage.budgets import Budgets, Limit, first_refusal
from innkeeper.gateway.usage.entries import ended, given_up, is_over, opened, priced, start_of, taken_by, unknown_start
from innkeeper.gateway.usage.price_file import Cost
from innkeeper.gateway.usage.prices import Prices
from innkeeper.nodes.services.llm.call_gate import CallEnd, CallStart

logger = logging.getLogger("innkeeper.gateway")

MAX_BATCH = 200
GATHER_S = 0.005
"""Batches begin no faster than that: one that is alone is done at once, and of many each costs a part of a commit."""
MAX_KNOWN = 5_000
"""Sums that are kept in memory; the others are summed up anew when they are asked for."""
FORGOTTEN_MS = DAY_MS
"""Whoever holds the leases of requests gives them up much sooner; this is for those that were lost with it."""
LOOK_S = 3_600.0


@dataclass(frozen=True)
class Reserve:
    start: CallStart

    @property
    def id(self) -> str:
        return self.start.id


@dataclass(frozen=True)
class Release:
    id: str


@dataclass(frozen=True)
class Settle:
    """`start`: of a request that was made without asking, if nothing else is known of it."""

    end: CallEnd
    start: CallStart | None = None

    @property
    def id(self) -> str:
        return self.end.id


@dataclass(frozen=True)
class GiveUp:
    id: str


Operation = Reserve | Release | Settle | GiveUp


@dataclass(frozen=True)
class Known:
    """What the operations of one batch are decided by.

    Attributes:
        calls: The requests of these ids that are under way, and of those that are settled or given up, all there are.
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
    """What came of a batch.

    Attributes:
        answers: Of each operation, in their order.
        after: Each request that has changed; None: it is not made.
    """

    answers: list[BudgetRefusal | None] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)
    spent: dict[Whose, Spent] = field(default_factory=dict)
    after: dict[str, Call | None] = field(default_factory=dict)


def decide(operations: Sequence[Operation], known: Known) -> Decided:
    """Do the operations in their order, in memory. No two of them may have the same id. Pure."""
    book = _Book(known)
    answers = [book.do(operation, known.costs[index]) for index, operation in enumerate(operations)]
    return Decided(answers, book.changes(), book.spent, book.after)


class _Book:
    """The requests of one batch while its operations are done one after the other."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._begun: list[str] = []
        self.after: dict[str, Call | None] = {}
        self.spent = dict(known.spent)

    def do(self, operation: Operation, cost: Cost | None) -> BudgetRefusal | None:
        call = self._known.calls.get(operation.id)
        if isinstance(operation, Reserve):
            return self._reserve(operation.start, call, cost)
        if isinstance(operation, Settle):
            self._settle(operation, call, cost)
        elif call is not None and call.outcome == OPEN:
            gone = given_up(call, self._known.now_ms) if isinstance(operation, GiveUp) else None
            self._put(operation.id, call, gone)
        return None

    def changes(self) -> Changes:
        before = self._known.calls
        kept = [call for call in self.after.values() if call is not None]
        return Changes(
            renamed=tuple(self._begun),
            deleted=tuple(before[id] for id, call in self.after.items() if call is None),
            updated=tuple(call for call in kept if call.id in before and call.id not in self._begun),
            added=tuple(call for call in kept if call.id not in before or call.id in self._begun),
        )

    def _reserve(self, start: CallStart, call: Call | None, cost: Cost | None) -> BudgetRefusal | None:
        if call is not None and call.outcome == OPEN:  # it asks again: what it may take is reserved
            return None
        run = start.origin.run
        new = priced(opened(start, self._known.facts.get(run), self._known.now_ms), cost)
        more = spent_of(new, self._known.currency)
        refusal = first_refusal(self._known.limits.get(run, ()), self.spent, more)
        if refusal is None:
            self._begun.append(start.id)  # an ended one may have had the id before
            self._put(start.id, None, new)
        return refusal

    def _settle(self, told: Settle, call: Call | None, cost: Cost | None) -> None:
        if call is not None and is_over(call):
            return  # it was told before
        begun = call or begun_before(told, self._known.facts, self._known.now_ms)
        self._put(told.id, call, priced(ended(begun, told.end, self._known.now_ms), cost))

    def _put(self, id: str, before: Call | None, after: Call | None) -> None:
        self.after[id] = after
        for call, sign in ((before, -1), (after, 1)):
            if call is not None:
                self._count(call, sign)

    def _count(self, call: Call, sign: int) -> None:
        more = spent_of(call, self._known.currency)
        for whose in counted_in(call):
            if (known := self.spent.get(whose)) is not None:
                self.spent[whose] = known + more if sign > 0 else known - more


def begun_before(told: Settle, facts: Mapping[str, RunFacts], now_ms: int) -> Call:
    """A request of which nothing was known before its end."""
    start = told.start
    return unknown_start(told.end, now_ms) if start is None else opened(start, facts.get(start.origin.run), now_ms)


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
        self._open: dict[str, Call] | None = None
        self._spent: dict[Whose, Spent] = {}
        self._currency = ""
        self._are_sums_stale = False

    async def reserve(self, start: CallStart) -> BudgetRefusal | None:
        return await self._ask(Reserve(start))

    async def has_budget(self, start: CallStart) -> bool:
        facts = await self._budgets.facts([start.origin])
        return bool((await self._budgets.limits(facts, self._now_ms() // DAY_MS))[start.origin.run])

    async def release(self, id: str) -> None:
        await self._ask(Release(id))

    async def settle(self, end: CallEnd, start: CallStart | None = None) -> None:
        await self._ask(Settle(end, start))

    async def open_calls(self) -> Sequence[CallStart]:
        return [start_of(call) for call in await self._store.open_calls()]

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
        """Forget requests of days that are longer ago. Gives how many."""
        count, before = 0, (self._now_ms() - int(age_s * 1000)) // DAY_MS
        while gone := await self._store.delete_before(before):
            count += gone
        if count:
            self.forget_sums()
        return count

    async def keep_tidy(self) -> None:
        """For ever: give up requests that began long ago and of whose end nobody told; sum up days that are over."""
        while True:
            try:
                while ids := await self._store.open_before(self._now_ms() - FORGOTTEN_MS):
                    await self.lost(ids)
                await self._store.sum_up_days(self._now_ms() // DAY_MS)
            except Exception:
                logger.exception("giving up old requests, or summing up days, failed", extra={"event": "usage_failed"})
            await asyncio.sleep(LOOK_S)

    def _now_ms(self) -> int:
        return max(int(self._clock() * 1000), 0)

    # --- the task -------------------------------------------------------------------------------------------------

    async def _ask(self, operation: Operation) -> BudgetRefusal | None:
        asked = _Asked(operation, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        if self._task is None:
            self._task = asyncio.create_task(self._work(), name="usage-ledger")
        return await asked.done

    async def _work(self) -> None:
        try:
            while self._waiting:
                began = time.monotonic()
                await self._serve(self._next_batch())
                await asyncio.sleep(max(began + GATHER_S - time.monotonic(), 0))
        finally:
            self._task = None
            for left in self._waiting:  # only when this task is cancelled: nobody may wait for what will not come
                left.done.cancel()
            self._waiting = []

    def _next_batch(self) -> list[_Asked]:
        """The first ones that wait, as far as each has an id of its own."""
        batch: dict[str, _Asked] = {}
        for asked in self._waiting[:MAX_BATCH]:
            if asked.operation.id in batch:
                break
            batch[asked.operation.id] = asked
        self._waiting = self._waiting[len(batch) :]
        return [*batch.values()]

    async def _serve(self, batch: Sequence[_Asked]) -> None:
        try:
            answers = await self._do([asked.operation for asked in batch])
        except Exception as error:
            # Which of it was written is not known: all is read anew.
            self._spent.clear()
            self._open = None
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
        if self._open is None:
            self._open = {call.id: call for call in await self._store.open_calls()}
        known = await self._known(operations, self._open)
        decided = decide(operations, known)
        if decided.changes:
            await self._store.write(decided.changes)
        self._keep(decided, self._open)
        return decided.answers

    def _keep(self, decided: Decided, open_calls: dict[str, Call]) -> None:
        for id, call in decided.after.items():
            if call is not None and call.outcome == OPEN:
                open_calls[id] = call
            else:
                open_calls.pop(id, None)
        if self._are_sums_stale:
            return
        self._spent.update(decided.spent)
        for whose in [*self._spent][: max(len(self._spent) - MAX_KNOWN, 0)]:
            del self._spent[whose]

    # --- what a batch is decided by -------------------------------------------------------------------------------

    async def _known(self, operations: Sequence[Operation], open_calls: Mapping[str, Call]) -> Known:
        now_ms = self._now_ms()
        currency = (await self._prices.refresh()).currency
        if currency != self._currency:
            self._spent.clear()
            self._currency = currency
        calls = await self._calls(operations, open_calls)
        starts = [operation.start for operation in operations if isinstance(operation, Reserve | Settle)]
        facts = await self._budgets.facts([start.origin for start in starts if start is not None])
        limits = await self._budgets.limits(facts, now_ms // DAY_MS)
        spent = await self._sums({limit.whose for found in limits.values() for limit in found}, currency)
        # The first request of all need not wait for prices that nothing depends on.
        limits_money = any(limit.budget.nanos is not None for found in limits.values() for limit in found)
        needs_prices = limits_money or any(isinstance(operation, Settle) for operation in operations)
        costs = await self._costs(operations, calls, now_ms, in_a_hurry=not needs_prices)
        return Known(calls, facts, limits, spent, costs, currency, now_ms)

    async def _calls(self, operations: Sequence[Operation], open_calls: Mapping[str, Call]) -> dict[str, Call]:
        found = {operation.id: call for operation in operations if (call := open_calls.get(operation.id)) is not None}
        # An end that comes twice, or after its request was given up.
        others = {operation.id for operation in operations if isinstance(operation, Settle)} - found.keys()
        return {**found, **await self._store.calls(others)}

    async def _sums(self, asked: Collection[Whose], currency: str) -> dict[Whose, Spent]:
        found = dict(self._spent)
        for whose in asked:
            if whose not in found:
                found[whose] = await self._store.spent(whose, currency)
        return found

    async def _costs(
        self, operations: Sequence[Operation], calls: Mapping[str, Call], now_ms: int, *, in_a_hurry: bool
    ) -> list[Cost | None]:
        """Of each operation, in their order."""
        asked = {index: call for index, call in enumerate(_to_price(operations, calls, now_ms)) if call is not None}
        costs = await self._prices.costs([taken_by(call) for call in asked.values()], in_a_hurry=in_a_hurry)
        found = dict(zip(asked, costs, strict=True))
        return [found.get(index) for index in range(len(operations))]


def _to_price(operations: Iterable[Operation], calls: Mapping[str, Call], now_ms: int) -> Iterable[Call | None]:
    for operation in operations:
        if isinstance(operation, Reserve):
            yield opened(operation.start, None, now_ms)
        elif isinstance(operation, Settle):
            begun = calls.get(operation.id) or begun_before(operation, {}, now_ms)
            yield ended(begun, operation.end, now_ms)
        else:
            yield None
