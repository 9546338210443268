"""Budgets of submissions and workflows as runs have them, and limits that somebody raises."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from innkeeper.gateway.store.usage import RunFacts
from innkeeper.gateway.usage.budgets import InvalidBudget, kept_budget, submitted_budget
from innkeeper.nodes.errors import InvalidWorkflow, RunNotFound
from innkeeper.nodes.services.llm.call_gate import CallEnd, CallOrigin, CallStart
from innkeeper.workflows.document.budget import NANOS, Budget
from tests.gateway.api.test_control import answer, until_open
from tests.gateway.api.test_prompts import graph, node
from tests.gateway.asking import submit, until
from tests.gateway.conftest import Stack
from tests.gateway.usage.accounting import books, end, start, usage

# --- what a submission says -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (5, "'budget' must be {tokens?, money?}, found a number"),
        ([], "'budget' must be {tokens?, money?}, found a list"),
        ({"tokens": -1}, "'tokens' of 'budget' must be a whole number"),
        ({"money": "5 USD"}, "'money' of 'budget' must be a number"),
        ({"cents": 5}, "'budget' has 'tokens' and 'money'; found 'cents'"),
    ],
)
def test_a_budget_that_cannot_be_one_is_refused(raw: Any, told: str) -> None:
    with pytest.raises(InvalidWorkflow) as refused:
        submitted_budget({"budget": raw})
    (problem,) = refused.value.problems
    assert problem.code == "invalid_budget"
    assert problem.message.startswith(told)


@pytest.mark.parametrize("raw", [None, {}, {"tokens": None}])
def test_a_budget_without_amounts_is_none(raw: Any) -> None:
    assert submitted_budget({"budget": raw}) is None


@pytest.mark.parametrize("kept", [{}, {"tokens": "5"}, {"tokens": -5, "nanos": None}, {"scope": "workflow"}])
def test_a_damaged_budget_counts_as_none(kept: dict[str, Any]) -> None:
    assert kept_budget(kept) is None


@pytest.fixture
async def http(shared: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with shared.http() as client:
        yield client


async def budget_of(http: httpx.AsyncClient, body: dict[str, Any]) -> Any:
    run = (await http.post("/api/prompt", json={**body, "wait": 20})).json()
    return run["promptId"], run.get("usage", {}).get("budget")


async def test_a_run_has_the_budget_of_its_submission_else_that_of_its_workflow(http: httpx.AsyncClient) -> None:
    refused = await http.post("/api/prompt", json={**graph(node("a", "Say")), "budget": {"tokens": "many"}})
    assert (refused.status_code, refused.json()["problems"][0]["code"]) == (422, "invalid_budget")
    stored = {"id": "thrifty", "name": "thrifty", "nodes": [{"id": "a", "type": "toys:Say"}], "edges": []}
    saved = await http.post("/api/workflows", json={**stored, "budget": {"money": -1}})
    assert saved.json()["valid"] is False
    saved = await http.put(
        "/api/workflows/thrifty", json={**stored, "budget": {"money": 0.5}}, headers={"If-Match": "*"}
    )
    assert saved.json()["valid"] is True
    default = {"scope": "workflow", "money": 0.5}
    first, found = await budget_of(http, {"workflowId": "thrifty"})
    assert found == default
    mine, found = await budget_of(http, {"workflowId": "thrifty", "budget": {"tokens": 7}})
    assert found == {"scope": "run", "tokens": 7}
    # Reruns begin anew, with what the workflow says: the budget of a submission was for that run.
    assert (await budget_of(http, {"baseRun": first}))[1] == default
    assert (await budget_of(http, {"baseRun": mine}))[1] is None
    assert (await budget_of(http, {"baseRun": first, "budget": {"tokens": 9}}))[1] == {"scope": "run", "tokens": 9}


# --- raising ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "values", "told"),
    [
        ("run", {}, "a new limit is {tokens?, money?}, at least one of them"),
        ("run", {"tokens": None}, "a new limit is"),
        ("run", {"tokens": 500, "more": 1}, "a new limit is"),
        ("run", {"tokens": -5}, "'tokens' of the new limit must be a whole number"),
        ("run", {"tokens": "500"}, "'tokens' of the new limit must be a whole number"),
        ("run", {"money": float("nan")}, "'money' of the new limit must be a number"),
        ("run", {"tokens": 100}, "'tokens' must be more than the 100 that are used, found 100"),
        ("galaxy", {"tokens": 500}, "a limit is of the run, workflow, user or day; found 'galaxy'"),
    ],
)
async def test_a_limit_that_helps_nobody_is_refused(
    tmp_path: Path, scope: str, values: dict[str, Any], told: str
) -> None:
    async with books(tmp_path) as its:
        await its.add_run("r", Budget(tokens=100))
        await its.ledger.reserve(start("a"))
        await its.ledger.settle(end("a", used=(50, 50)))
        with pytest.raises(InvalidBudget) as refused:
            await its.budgets.raise_limit("r", scope, values)
    assert refused.value.message.startswith(told)


async def test_a_limit_that_is_gone_needs_no_raising(tmp_path: Path) -> None:
    """The operator took it away while nodes waited: their answer must go through all the same."""
    async with books(tmp_path) as its:
        await its.add_run("r")
        for scope in ("run", "day", "user"):
            await its.budgets.raise_limit("r", scope, {"tokens": 5})
        assert await its.ledger.reserve(start("a")) is None


async def test_a_limit_of_no_run_cannot_be_raised(tmp_path: Path) -> None:
    async with books(tmp_path) as its:
        with pytest.raises(RunNotFound):
            await its.budgets.raise_limit("nobody", "run", {"tokens": 5})


async def test_what_is_raised_is_logged_and_keeps_the_other_limit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "innkeeper.runs")
    async with books(tmp_path) as its:
        await its.add_run("r", Budget(tokens=100, nanos=NANOS))
        await its.budgets.raise_limit("r", "workflow", {"tokens": 300})
        (facts,) = (await its.budgets.facts([CallOrigin("r")])).values()
        kept = kept_budget(facts.budget)
    assert kept is not None
    assert kept.budget == Budget(300, NANOS)
    (line,) = [record for record in caplog.records if getattr(record, "event", "") == "budget_raised"]
    assert (line.run, line.limit) == ("r", {"tokens": 300, "money": 1.0})  # type: ignore[attr-defined]


async def test_a_raised_day_is_over_with_the_day_and_a_higher_setting_counts(tmp_path: Path) -> None:
    async with books(tmp_path, day=Budget(tokens=100)) as its:
        await its.add_run("r")
        await its.ledger.reserve(start("a"))
        await its.budgets.raise_limit("r", "day", {"tokens": 200, "money": 5})
        assert await its.ledger.reserve(start("b")) is None
        assert await its.ledger.reserve(start("c")) is not None
        its.clock.now += 86_400
        assert await its.ledger.reserve(start("c")) is None
        assert await its.ledger.reserve(start("d")) is not None
        its.clock.now -= 86_400
    async with books(tmp_path, day=Budget(tokens=300)) as its:
        assert await its.ledger.reserve(start("d")) is None


async def test_a_limit_raised_while_others_ask_counts_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who read the old limit meanwhile must not keep it."""
    async with books(tmp_path) as its:
        await its.add_run("r", Budget(tokens=100))
        read, is_reading, may_go = its.store.facts, asyncio.Event(), asyncio.Event()

        async def slow(runs: Any) -> dict[str, RunFacts]:
            found = await read(runs)
            is_reading.set()
            await may_go.wait()
            return found

        with monkeypatch.context() as slowly:
            slowly.setattr(its.store, "facts", slow)
            asking = asyncio.create_task(its.budgets.facts([CallOrigin("r")]))
            await is_reading.wait()
            slowly.setattr(its.store, "facts", read)
            await its.budgets.raise_limit("r", "run", {"tokens": 500})
            may_go.set()
            found = await asking
        assert found["r"].budget["tokens"] == 500
        assert [await its.ledger.reserve(start(id)) for id in "ab"] == [None, None]


async def test_runs_without_any_limit_cost_no_look_at_sums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with books(tmp_path) as its:
        await its.add_run("r")
        monkeypatch.delattr(its.store.__class__, "spent")
        assert await its.ledger.reserve(start("a")) is None
        await its.ledger.settle(end("a"))


async def test_an_answer_with_too_low_a_limit_does_not_count_and_says_why(stack: Stack) -> None:
    """Through the approvals of a real run: a node of it is out of budget."""
    async with stack.up() as http:
        run = await submit(http, {**graph(node("a", "Spend", refused=1)), "budget": {"tokens": 100}})
        await until_open(http, run)
        origin = CallOrigin(run, "a", 1, stack.settings.user)
        await stack.container.ledger.reserve(CallStart("x", origin, "", "h:1", "openai", "m"))
        await stack.container.ledger.settle(CallEnd("x", "ok", usage=usage(60, 50)))
        low = await answer(http, run, "a", approved=True, values={"tokens": 110})
        assert (low.status_code, low.json()["code"]) == (422, "invalid_answer")
        assert low.json()["error"] == "'tokens' must be more than the 110 that are used, found 110"
        assert (await answer(http, run, "a", approved=True, values={"tokens": 500})).status_code == 200
        done = await until(http, run, "complete")
    assert done["usage"]["budget"] == {"scope": "run", "tokens": 500}
