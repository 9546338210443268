"""What runs and users may spend: which limits count for a call, and raising one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from innkeeper.gateway.store.usage import ALL_DAYS, RunFacts, Spent, UsageStore, Whose
from innkeeper.gateway.store.usage_sums import DAY_MS
from innkeeper.gateway.usage.accounts import BudgetRefusal
from innkeeper.gateway.usage.prices import Prices
from innkeeper.nodes.errors import InvalidWorkflow, Problem, RunError, RunNotFound
from innkeeper.nodes.services.llm.call_gate import CallOrigin
from innkeeper.workflows.document.budget import (
    BUDGET,
    BUDGET_KEYS,
    Budget,
    complaints,
    money_of,
    read_budget,
    unknown_key_complaint,
)
from innkeeper.workflows.document.json_reader import kind

logger = logging.getLogger("innkeeper.runs")

Scope = Literal["run", "workflow", "user", "day"]
INVALID = "invalid_budget"
MAX_KNOWN = 5_000
_NOTHING = Budget()


class InvalidBudget(RunError):
    """A new limit that cannot be one, or would change nothing: an answer that does not count."""

    code = "invalid_answer"


@dataclass(frozen=True)
class RunBudget:
    """The budget that is kept with a run.

    Attributes:
        scope: `run`: the submission said it; `workflow`: it is the default of the stored workflow.
    """

    budget: Budget
    scope: Literal["run", "workflow"] = "run"

    def to_json(self) -> dict[str, Any]:
        return {"tokens": self.budget.tokens, "nanos": self.budget.nanos, "scope": self.scope}


def kept_budget(kept: Mapping[str, Any]) -> RunBudget | None:
    """The budget in what a run's row keeps; None where there is none. Damaged numbers count as absent."""
    limits = {key: value for key in ("tokens", "nanos") if isinstance(value := kept.get(key), int) and value >= 0}
    scope: Literal["run", "workflow"] = "workflow" if kept.get("scope") == "workflow" else "run"
    return RunBudget(Budget(**limits), scope) if limits else None


def submitted_budget(body: Mapping[str, Any]) -> RunBudget | None:
    """The budget in what a client sent.

    Raises:
        InvalidWorkflow: It cannot be one.
    """
    raw = body.get(BUDGET)
    if raw is None:
        return None
    if not isinstance(raw, Mapping):
        raise InvalidWorkflow([Problem(INVALID, f"'budget' must be {{tokens?, money?}}, found {kind(raw)}")])
    wrong = [*complaints(raw), *filter(None, [unknown_key_complaint(raw)])]
    if wrong:
        raise InvalidWorkflow([Problem(INVALID, message) for message in wrong])
    budget = read_budget(raw)
    return RunBudget(budget) if budget else None


@dataclass(frozen=True)
class Limit:
    """One limit that counts for a call."""

    scope: Scope
    whose: Whose
    budget: Budget

    def refusal(self, spent: Spent, more: Spent) -> BudgetRefusal | None:
        """Why `more` may not be spent beside what is `spent`; None: it may."""
        if not self._is_passed(spent + more):
            return None
        return self._refused(spent, more, is_reserved=not self._is_passed(spent.settled + more))

    def _is_passed(self, spent: Spent) -> bool:
        tokens, nanos = self.budget.tokens, self.budget.nanos
        return (tokens is not None and spent.tokens > tokens) or (nanos is not None and spent.nanos > nanos)

    def _refused(self, spent: Spent, more: Spent, *, is_reserved: bool) -> BudgetRefusal:
        used: dict[str, float] = {"tokens": spent.tokens}
        if self.budget.nanos is not None:
            used["money"] = money_of(spent.nanos)
        limit = self.budget.to_json()
        asked = {"tokens": more.tokens, "money": money_of(more.nanos)}
        needed = {key: asked[key] for key in limit}
        return BudgetRefusal(self.scope, limit, used, is_reserved, needed)


class Budgets:
    """Limits of runs, of users, and of users' days (UTC).

    Args:
        user: Of all that the runs of one user spend.
        day: Of what they spend in one day.
        prices: Their currency is that of all amounts of money.
    """

    def __init__(
        self,
        store: UsageStore,
        prices: Prices,
        *,
        user: Budget = _NOTHING,
        day: Budget = _NOTHING,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._prices = prices
        self._clock = clock
        self._user = user
        self._day = day
        self._facts: dict[str, RunFacts] = {}
        self._raised: dict[tuple[str, int], Budget] = {}
        self._raised_of: int | None = None
        self._changes = 0

    async def facts(self, origins: Collection[CallOrigin]) -> dict[str, RunFacts]:
        """Of the runs that make requests. One that is not known here counts for the user that it names."""
        named = {origin.run: RunFacts(origin.user, None, None, {}) for origin in origins}
        if missing := named.keys() - self._facts.keys():
            changes = self._changes
            read = await self._store.facts(missing)
            if changes != self._changes:  # a limit was raised meanwhile, perhaps behind what was read
                return {**named, **await self._store.facts(named)}
            self._facts |= read
        found = {**named, **{run: self._facts[run] for run in named if run in self._facts}}
        for run in [*self._facts][: max(len(self._facts) - MAX_KNOWN, 0)]:
            del self._facts[run]
        return found

    async def limits(self, facts: Mapping[str, RunFacts], day: int) -> dict[str, list[Limit]]:
        """Run to all limits that count for a call that it makes on a day (in days since 1970)."""
        if not any((self._user, self._day, *(known.budget for known in facts.values()))):
            return {run: [] for run in facts}
        raised = await self._raised_limits(day)
        return {run: self._limits(run, known, day, raised) for run, known in facts.items()}

    def _limits(self, run: str, facts: RunFacts, day: int, raised: Mapping[tuple[str, int], Budget]) -> list[Limit]:
        own = kept_budget(facts.budget)
        of_user = _raised(self._user, raised.get((facts.user, ALL_DAYS)))
        of_day = _raised(self._day, raised.get((facts.user, day)))
        found = [Limit(own.scope, Whose(run), own.budget)] if own is not None else []
        found += [Limit("day", Whose(None, facts.user, day), of_day)] if of_day else []
        return found + ([Limit("user", Whose(None, facts.user), of_user)] if of_user else [])

    async def _raised_limits(self, day: int) -> Mapping[tuple[str, int], Budget]:
        if not (self._user or self._day):
            return {}
        if self._raised_of != day:
            changes = self._changes
            found = {key: Budget(*limits) for key, limits in (await self._store.raised(day)).items()}
            if changes != self._changes:
                return found
            self._raised, self._raised_of = found, day
        return self._raised

    async def raise_limit(self, run: str, scope: str, values: Mapping[str, Any]) -> None:
        """Let a run, or the user whose run it is, spend more.

        The new limit counts from the next request on, also for other runs where it is the user's. What `values` does
        not name stays. Asking for the same again changes nothing, and so does raising what has no limit.

        Args:
            scope: `BudgetRefusal.scope`.
            values: `{tokens?, money?}`: the new limits.

        Raises:
            RunNotFound: No such run.
            InvalidBudget: No limits, or what was used already reaches them.
        """
        given = checked_raise(scope, values)
        facts = (await self._store.facts([run])).get(run)
        if facts is None:
            raise RunNotFound(f"there is no run {run!r}")
        day = int(self._clock() * 1000) // DAY_MS
        old = next((limit for limit in (await self.limits({run: facts}, day))[run] if _is_of(limit, scope)), None)
        if old is None:  # the operator has taken it away since it was reached
            return
        budget = _merged(old.budget, given)
        currency = (await self._prices.refresh()).currency
        _check_helps(budget, await self._store.spent(old.whose, currency), currency)
        if old.whose.run is not None:
            await self._store.set_budget(run, RunBudget(budget, _run_scope(old.scope)).to_json())
        else:
            await self._store.set_raised(facts.user, old.whose.day, budget.tokens, budget.nanos)
        self._changes += 1
        self._facts.pop(run, None)
        self._raised_of = None
        fields = {"event": "budget_raised", "run": run, "scope": scope, "limit": budget.to_json()}
        logger.info("budget raised", extra=fields)


def first_refusal(limits: Sequence[Limit], spent: Mapping[Whose, Spent], more: Spent) -> BudgetRefusal | None:
    """Which limit a call would pass; None: it passes none. One that stays passed comes before one that may be free."""
    found = [refusal for limit in limits if (refusal := limit.refusal(spent[limit.whose], more)) is not None]
    return min(found, key=lambda refusal: refusal.is_reserved, default=None)


def checked_raise(scope: str, values: Mapping[str, Any]) -> Budget:
    """The new limits. Raises InvalidBudget."""
    if scope not in ("run", "workflow", "user", "day"):
        raise InvalidBudget(f"a limit is of the run, workflow, user or day; found {scope[:40]!r}")
    given = {key: value for key, value in values.items() if value is not None}
    wrong = [*complaints(given, "the new limit")]
    if wrong:
        raise InvalidBudget(wrong[0])
    if not given or not given.keys() <= BUDGET_KEYS:
        raise InvalidBudget("a new limit is {tokens?, money?}, at least one of them")
    return read_budget(given)


def _check_helps(budget: Budget, spent: Spent, currency: str) -> None:
    settled = spent.settled
    if budget.tokens is not None and settled.tokens >= budget.tokens:
        raise InvalidBudget(f"'tokens' must be more than the {settled.tokens} that are used, found {budget.tokens}")
    if budget.nanos is not None and settled.nanos >= budget.nanos:
        used, found = money_of(settled.nanos), money_of(budget.nanos)
        raise InvalidBudget(f"'money' must be more than the {used:g} {currency} that are used, found {found:g}")


def _merged(old: Budget, new: Budget) -> Budget:
    tokens = old.tokens if new.tokens is None else new.tokens
    return Budget(tokens, old.nanos if new.nanos is None else new.nanos)


def _raised(configured: Budget, raised: Budget | None) -> Budget:
    """Of a limit that was raised and one that the operator raised since, the higher one counts."""
    if raised is None:
        return configured
    pairs = ((configured.tokens, raised.tokens), (configured.nanos, raised.nanos))
    tokens, nanos = (None if own is None else max(own, other or 0) for own, other in pairs)
    return Budget(tokens, nanos)


def _is_of(limit: Limit, scope: str) -> bool:
    of_run = ("run", "workflow")
    return limit.scope in of_run if scope in of_run else limit.scope == scope


def _run_scope(scope: Scope) -> Literal["run", "workflow"]:
    return "workflow" if scope == "workflow" else "run"
