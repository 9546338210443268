"""Nodes that wait in their run, for long or for somebody who lets them spend more: on the real stack."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from innkeeper.activities.execution import attempt
from tests.gateway.api.test_control import answer, approvals_of, events_of, graph, node, refused, save, until_open
from tests.gateway.asking import submit, until
from tests.gateway.conftest import Stack

Json = dict[str, Any]


class Budgets:
    """What the gateway was asked to raise."""

    def __init__(self) -> None:
        self.raised: list[tuple[str, str, Json]] = []

    async def raise_limit(self, run: str, scope: str, values: Mapping[str, Any]) -> None:
        self.raised.append((run, scope, dict(values)))


async def test_one_answer_lets_all_nodes_of_a_run_go_on_that_wait_for_the_same_budget(stack: Stack) -> None:
    save(stack, "spends", graph([node("s", "Spend"), node("other", "Spend", scope="day")]))
    nodes = [node("a", "Spend"), node("b", "Spend"), node("g", "core:NodeGroup", {"referencedWorkflowId": "spends"})]
    async with stack.up() as http:
        budgets = Budgets()
        stack.container.approvals._budgets = budgets
        run = await submit(http, graph(nodes))
        asked = {item["approvalId"]: item for item in await until_open(http, run, 4)}
        assert {item["kind"] for item in asked.values()} == {"budget"}
        about = asked["g/s"]
        assert (about["scope"], about["limit"], about["until"]) == ("run", {"tokens": 100}, None)
        assert about["used"] == {"tokens": 99, "money": 0.5}
        status = (await http.get(f"/api/prompt/{run}")).json()
        assert (status["status"], status["openApprovals"]) == ("waiting", 4)
        assert status["nodeStatus"]["a"]["wait"]["kind"] == "budget"

        assert refused(await answer(http, run, "a", approved=True)) == (422, "invalid_answer")
        for odd in ({"tokens": 0}, {"money": 5}, {"tokens": "many"}):
            assert refused(await answer(http, run, "a", approved=True, values=odd)) == (422, "invalid_answer")
        assert budgets.raised == []
        assert (await answer(http, run, "a", approved=True, values={"tokens": 500}, by="me")).status_code == 200
        assert budgets.raised == [(run, "run", {"tokens": 500})]
        # That of the day is another one.
        assert [item["approvalId"] for item in await until_open(http, run)] == ["g/other"]
        assert (await answer(http, run, "g/other", approved=True, values={"tokens": 9})).status_code == 200
        assert budgets.raised[1:] == [(run, "day", {"tokens": 9})]
        done = await until(http, run, "complete")
        assert {path: entry["attempts"] for path, entry in done["nodeStatus"].items() if path != "g"} == dict.fromkeys(
            ("a", "b", "g/s", "g/other"), 2
        )
        events = [event["type"] for event in await events_of(http, run)]
        assert events.count("BUDGET_REACHED") == events.count("APPROVAL_ANSWERED") == 4
        assert {item["status"] for item in await approvals_of(http, run)} == {"answered"}
        assert refused(await answer(http, run, "a", approved=False)) == (409, "run_not_active")


async def test_a_run_out_of_budget_survives_the_death_of_everything_and_can_be_stopped(stack: Stack) -> None:
    async with stack.up() as http:
        run = await submit(http, graph([node("a", "Spend", refused=2), node("b", "Spend", refused=2)]))
        await until_open(http, run, 2)
    async with stack.up() as http:
        await until_open(http, run, 2)
        async with asyncio.timeout(30):  # the new worker may take a moment to get the run
            while (await answer(http, run, "a", approved=True, values={"tokens": 150})).status_code == 503:
                pass
        async with asyncio.timeout(30):
            while [item["attempt"] for item in await until_open(http, run, 2)] != [2, 2]:
                await asyncio.sleep(0.02)
        assert (await answer(http, run, "b", approved=False, by="me")).status_code == 200
        done = await until(http, run, "error")
    errors = [entry["error"] for entry in done["nodeStatus"].values()]
    assert [(error["code"], error["message"]) for error in errors] == [
        ("budget_reached", "it may spend 200 tokens; it was stopped by me")
    ] * 2


async def test_a_node_that_must_wait_for_long_says_so_and_goes_on_in_another_process(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "PARK_AFTER_S", 0.5)
    async with stack.up() as http:
        run = await submit(http, graph([node("n", "ComeBack", seconds=3)]))
        status = await until(http, run, "waiting")
        told = status["nodeStatus"]["n"]
        assert (told["status"], told["reason"]) == ("waiting", "60 requests a minute")
        assert told["retryAt"] == told["nextAttemptAt"]
    async with stack.up() as http:
        done = await until(http, run, "complete")
        assert done["nodeStatus"]["n"]["attempts"] == 2
        retries = [event["payload"] for event in await events_of(http, run) if event["type"] == "NODE_RETRY"]
    assert [(told["attempt"], told["kind"], told["errorDetails"]["code"]) for told in retries] == [
        (1, "wait", "waiting")
    ]
