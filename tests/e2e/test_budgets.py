"""Budgets on a real stack: fifty nodes at once, the death of everything while they wait, and both answers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from tests.crash.test_whole_stack import _kill_whole
from tests.e2e.limited_provider import LimitedProvider, provider

pytestmark = pytest.mark.timeout(240)
Json = dict[str, Any]
NODES = 50
TOOK = 15
"""Tokens of an answer of this provider, whatever was estimated."""
LIMIT = 200


def options(folder: Path, url: str) -> StackOptions:
    folder.mkdir(exist_ok=True)
    (folder / "channels.yaml").write_text(f"channels:\n- {{id: c, baseUrl: '{url}', supportedModels: [m]}}\n")
    (folder / "prices.yaml").write_text("prices: [{model: m, input: 1000, output: 2000}]\n")
    return StackOptions(folder, workers=2, env={"INNKEEPER_ALLOW_LOOPBACK": "1", "TEST_API_KEY": "k"})


def questions(budget: Json) -> Json:
    """Fifty nodes, of which each thinks that it takes 9 tokens: it takes more."""
    ask = {"messages": [{"role": "user", "content": "x"}], "activated_model_id": "m", "parameters": {"max_tokens": 4}}
    nodes = [{"id": f"n{node}", "fullType": "core:GenericLlmRequest", "inputs": ask} for node in range(NODES)]
    return {"nodes": nodes, "budget": budget}


async def parked(client: GatewayClient, run: str) -> Json:
    """The status of a run once it waits for nothing but an answer."""
    while True:
        status = await client.status(run)
        usage = status.get("usage") or {}
        if (
            status["status"] == "waiting"
            and not usage.get("openCalls")
            and usage["calls"] + status["openApprovals"] == NODES
        ):
            return status
        await asyncio.sleep(0.2)


@pytest.mark.slow
async def test_fifty_nodes_stop_at_the_budget_and_go_on_when_it_is_raised_after_everything_died(tmp_path: Path) -> None:
    async with provider(LimitedProvider(answer_s=0.3)) as found:
        start = options(tmp_path / "data", found.url)
        async with LocalStack(start) as stack, GatewayClient(stack.url) as client, asyncio.timeout(90):
            run = await client.submit(questions({"tokens": LIMIT}))
            before = await parked(client, run)
            _kill_whole(stack)
        spent, asked = before["usage"]["totalTokens"], len(found.sent)
        print("spent", spent, "requests", asked, "at once", found.most, "of", LIMIT)
        assert spent == asked * TOOK
        assert LIMIT - TOOK < spent <= LIMIT + found.most * TOOK
        async with LocalStack(start) as stack, GatewayClient(stack.url) as client, asyncio.timeout(120):
            after = await parked(client, run)
            assert after["usage"] == before["usage"]
            first, *_ = approvals = await client.approvals.find(run)
            assert {(item["kind"], item["scope"]) for item in approvals} == {("budget", "run")}
            await client.approvals.answer(run, first["approvalId"], True, values={"tokens": 10_000})
            done = await client.wait(run)
    assert done["status"] == "complete"
    assert len(found.sent) == NODES
    assert (done["usage"]["calls"], done["usage"]["totalTokens"]) == (NODES, NODES * TOOK)
    assert done["usage"]["cost"] == round(NODES * (10 * 0.001 + 5 * 0.002), 6)
    assert done["usage"]["budget"] == {"scope": "run", "tokens": 10_000}


@pytest.mark.slow
async def test_a_run_that_nobody_gives_more_ends_with_the_reason(tmp_path: Path) -> None:
    async with provider(LimitedProvider(answer_s=0.1)) as found:
        start = options(tmp_path / "data", found.url)
        async with LocalStack(start) as stack, GatewayClient(stack.url) as client, asyncio.timeout(120):
            run = await client.submit(questions({"money": 0.2}))
            status = await parked(client, run)
            spent, asked = status["usage"]["cost"], len(found.sent)
            assert spent <= 0.2 + found.most * 0.02
            first, *_ = await client.approvals.find(run)
            await client.approvals.answer(run, first["approvalId"], False)
            done = await client.wait(run)
    assert done["status"] == "error"
    errors = [state["error"]["code"] for state in done["nodeStatus"].values() if state["status"] == "error"]
    assert errors == ["budget_reached"] * (NODES - asked)
    assert len(found.sent) == asked
    assert done["usage"]["cost"] == spent


@pytest.mark.slow
async def test_what_was_reserved_when_everything_died_is_given_up(tmp_path: Path) -> None:
    """All dies in the second in which the first requests are made: none of them holds the budget for ever."""
    async with provider(LimitedProvider(answer_s=60)) as found:
        start = options(tmp_path / "data", found.url)
        async with LocalStack(start) as stack, GatewayClient(stack.url) as client, asyncio.timeout(60):
            run = await client.submit(questions({"tokens": LIMIT}))
            while found.under_way < 5:
                await asyncio.sleep(0.01)
            _kill_whole(stack)
        cut, found.answer_s = len(found.sent), 0.1
        async with LocalStack(start) as stack, GatewayClient(stack.url) as client, asyncio.timeout(90):
            while True:
                status = await client.status(run)
                usage = status.get("usage") or {}
                if status["status"] == "waiting" and not usage.get("openCalls"):
                    break
                await asyncio.sleep(0.2)
    print("cut", cut, "requests", len(found.sent), "calls", usage["calls"], "spent", usage["totalTokens"], "of", LIMIT)
    assert usage["failedCalls"] >= cut
    assert usage["calls"] >= len(found.sent)
    assert LIMIT - TOOK < usage["totalTokens"] <= LIMIT + found.most * TOOK
