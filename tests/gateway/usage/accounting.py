"""A ledger over a store of its own, and the requests that tests make."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from innkeeper.gateway.store.engine import ensure_schema, open_engine, sqlite_url
from innkeeper.gateway.store.runs import NewRun, RunStore
from innkeeper.gateway.store.usage import Call, UsageStore, Whose
from innkeeper.gateway.store.write_batcher import WriteBatcher
from innkeeper.gateway.usage.budgets import Budgets, RunBudget
from innkeeper.gateway.usage.ledger import Ledger
from innkeeper.gateway.usage.prices import Prices
from innkeeper.nodes.services.llm.call_gate import CallEnd, CallOrigin, CallStart, Outcome
from innkeeper.workflows.document.budget import Budget

NOON_S = 1_900_000_000.0
PRICES = """
prices:
  - {model: priced, input: 1, output: 2, cachedInput: 0.5}
"""
"""A token of input costs 1,000 nanos, one of output 2,000."""


@dataclass
class Clock:
    """A clock that tests set. Seconds since 1970."""

    now: float = NOON_S

    def __call__(self) -> float:
        return self.now


@dataclass
class Books:
    """All that accounts are made of."""

    store: UsageStore
    runs: RunStore
    budgets: Budgets
    prices: Prices
    ledger: Ledger
    clock: Clock = field(default_factory=Clock)

    async def add_run(self, run: str, budget: Budget | None = None, **more: Any) -> None:
        kept = None if budget is None else RunBudget(budget).to_json()
        await self.runs.add(NewRun(run, "me", None, budget=kept, **more))

    async def row(self, id: str) -> Call:
        return (await self.store.calls([id]))[id]

    async def spent(self, run: str) -> int:
        return (await self.store.spent(Whose(run), "USD")).tokens


@contextlib.asynccontextmanager
async def books(folder: Path, *, user: Budget | None = None, day: Budget | None = None) -> AsyncIterator[Books]:
    """Accounts in a folder: opened again they are those of the same gateway after a crash."""
    (folder / "prices.yaml").write_text(PRICES)
    engine = open_engine(sqlite_url(folder / "gateway.db"))
    await ensure_schema(engine)
    writes = WriteBatcher(engine)
    store, prices, clock = (
        UsageStore(engine, writes),
        Prices(folder / "prices.yaml", lambda: lambda taken, provider: None),
        Clock(),
    )
    budgets = Budgets(store, prices, user=user or Budget(), day=day or Budget(), clock=clock)
    ledger = Ledger(store, budgets, prices, clock=clock)
    try:
        yield Books(store, RunStore(engine, writes), budgets, prices, ledger, clock)
    finally:
        await ledger.settled()
        await writes.settled()
        await engine.dispose()


def start(id: str, run: str = "r", *, model: str = "priced", tokens: Sequence[int] = (10, 90)) -> CallStart:
    given, made = tokens
    origin = CallOrigin(run, "n", 1, "me")
    return CallStart(id, origin, "c", "host.example:443", "openai", model, input_tokens=given, output_tokens=made)


def end(id: str, outcome: Outcome = "ok", *, used: Sequence[int] | None = (20, 30), **more: Any) -> CallEnd:
    return CallEnd(id, outcome, usage=None if used is None else usage(*used), **more)


def usage(given: Any, made: Any, cached: Any = None) -> Mapping[str, Any]:
    details = {} if cached is None else {"prompt_tokens_details": {"cached_tokens": cached}}
    return {"prompt_tokens": given, "completion_tokens": made, **details}
