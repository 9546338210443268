"""Answers that break off in the middle, of every kind of providers and under every policy: what is asked for again, and
whether viewers see what the node gives."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack
from innkeeper.nodes.services.llm.estimates import CHARS_PER_TOKEN
from tests.crash.chaos.viewers import StreamViewer, Way, watch
from tests.crash.continuing_model import KINDS, PROMPT_TOKENS, ContinuingModel, continuing_model, pieces_of

pytestmark = [pytest.mark.crash, pytest.mark.timeout(180)]
Json = dict[str, Any]
Hurt = Callable[[LocalStack], Awaitable[None]]
POLICIES = ("restart", "continue", "accept")
CASES = tuple((policy, kind) for policy in POLICIES for kind in KINDS)
HALF = 12
MOST_TOKENS = 2048
"""Of an answer of a node that does not say how long it may be."""
FOLLOWED = "continue-prefix"
"""The node whose stream another node reads."""


def write_channels(stack: LocalStack, model: ContinuingModel) -> None:
    """A channel for each case, so that the failures of one close no circuit of another."""
    names = {f"{policy}-{kind}": kind for policy, kind in CASES}
    channels = [
        {"id": name, "baseUrl": f"{model.url}/{kind}/v1", "supportedModels": [name], "prefix": kind}
        for name, kind in names.items()
    ]
    models = [{"modelId": name, "capabilities": ["chat"]} for name in names]
    (stack.options.data_dir / "channels.yaml").write_text(json.dumps({"channels": channels, "models": models}))


def graph(cases: Sequence[tuple[str, str]] = CASES) -> Json:
    nodes, names = [], [f"{policy}-{kind}" for policy, kind in cases]
    for name, (policy, _) in zip(names, cases, strict=True):
        asked = {"messages": [{"role": "user", "content": name}], "activated_model_id": name, "stream": True}
        config = {"on_crash": policy}
        nodes.append({"id": name, "fullType": "core:GenericLlmRequest", "inputs": asked, "configValues": config})
    nodes.append({"id": "relay", "fullType": "core:StreamSuffixRelay", "inputs": {"suffix": ""}})
    edges = [
        {
            **{"id": "e", "sourceNodeId": FOLLOWED, "sourceHandle": "stream_output"},
            **{"targetNodeId": "relay", "targetHandle": "inputStream"},
        }
    ]
    outputs = {name: {"sourceNodeId": name, "sourceSlotKey": "responseText"} for name in names}
    return {"nodes": nodes, "edges": edges, "outputInterfaceMappings": outputs}


def with_addresses(document: Json, model: ContinuingModel) -> Json:
    """The same with nodes that name their server themselves: nobody says how that goes on."""
    settings = {"base_url": f"{model.url}/none/v1", "api_key": ""}
    asked = {"api_settings": settings, "model": "m", "stream": True}
    direct = [
        {
            **{"id": f"direct-{policy}", "fullType": "core:OpenAI", "inputs": {**asked, "prompt": f"direct-{policy}"}},
            "configValues": {"on_crash": policy},
        }
        for policy in POLICIES
    ]
    outputs = {
        f"{node['id']}.{slot}": {"sourceNodeId": node["id"], "sourceSlotKey": slot}
        for node in direct
        for slot in ("response", "finish_reason")
    }
    mappings = {**document["outputInterfaceMappings"], **outputs}
    return {**document, "nodes": [*document["nodes"], *direct], "outputInterfaceMappings": mappings}


async def reaches(client: GatewayClient, run: str, names: Sequence[str], chunks: int) -> None:
    """Wait until so many pieces of each answer are in the log."""
    viewer = StreamViewer()
    async with aclosing(client.events(run)) as events:
        async for event in events:
            viewer.apply(event)
            texts = ([c for c in viewer.chunks.get(name, ()) if c["type"] == "text_chunk"] for name in names)
            if all(len(text) >= chunks for text in texts):
                return


def kill(*names: str) -> Hurt:
    async def hurt(stack: LocalStack) -> None:
        pids = stack.pids()
        for name in names:
            os.kill(pids[name], signal.SIGKILL)

    return hurt


async def watched(
    stack: LocalStack, document: Json, hurts: Sequence[tuple[Sequence[str], int, Hurt]]
) -> tuple[Json, list[StreamViewer]]:
    """Run it under the eyes of viewers who leave and come back; do harm when so many chunks of these nodes came."""
    viewers = [StreamViewer() for _ in range(3)]
    ways: tuple[Way, ...] = ("websocket", "sse", "websocket")
    async with GatewayClient(stack.url) as client, asyncio.timeout(120), asyncio.TaskGroup() as tasks:
        run = await client.submit(document)
        for viewer, way in zip(viewers[:2], ways, strict=False):
            tasks.create_task(watch(client, run, viewer, random.Random(way), way))
        for names, chunks, hurt in hurts:
            await reaches(client, run, names, chunks)
            await hurt(stack)
        result = await client.wait(run)
        await watch(client, run, viewers[2], random.Random(2))
    return result, viewers


def whole(name: str, take: int = 1) -> str:
    return "".join(pieces_of(name, take))


def check(model: ContinuingModel, result: Json, viewers: Sequence[StreamViewer], name: str, *, lives: int) -> None:
    """`lives`: requests of a node that asks anew each time."""
    policy, _, kind = name.partition("-")
    pieces = len(pieces_of(name, 1))
    text, requests, said = whole(name), lives, pieces
    if policy == "accept":
        text, requests, said = "".join(pieces_of(name, 1)[:HALF]), 1, HALF
    elif policy == "restart" or kind == "none":
        text, said = whole(name, lives), model.pieces[name]
    assert result["outputs"][name] == text, name
    assert [viewer.text(name) for viewer in viewers] == [text] * len(viewers), name
    assert (model.requests[name], model.pieces[name]) == (requests, said), name
    end = viewers[0].chunks[name][-1]["content"]
    assert end["accumulated_text"] == text
    assert end["finish_reason"] == ("interrupted" if policy == "accept" else "stop")
    assert viewers[0].terminal[name] == 1
    warnings = [warning["code"] for warning in result["nodeStatus"][name].get("warnings", ())]
    assert ("salvage_restarted" in warnings) == (policy == "continue" and kind == "none"), name


def check_all(model: ContinuingModel, result: Json, viewers: Sequence[StreamViewer], *, lives: int = 2) -> None:
    assert result["status"] == "complete"
    for policy, kind in CASES:
        check(model, result, viewers, f"{policy}-{kind}", lives=lives)
    assert len({viewer.digest.digest() for viewer in viewers}) == 1
    assert model.echoes == {FOLLOWED: lives - 1}
    # Who reads a stream that goes on has not begun anew.
    assert viewers[0].text("relay") == whole(FOLLOWED)


async def check_accounts(stack: LocalStack, model: ContinuingModel, run: str, *, lost: bool = False) -> None:
    """Every request is in the accounts, with the tokens that its provider told, else with those of what had come.

    `lost`: nobody was left to tell of the requests of nodes that ask anew: what they might take counts as taken.
    """
    async with GatewayClient(stack.url) as client, asyncio.timeout(40):  # leases run out first
        while (page := await client.usage({"groupBy": "node", "run": run}))["total"]["openCalls"]:
            await asyncio.sleep(0.2)
    found = {group["key"]: group for group in page["groups"]}
    assert {name: group["calls"] for name, group in found.items()} == model.requests
    assert page["total"]["calls"] == model.requests.total()
    for name, group in found.items():
        legs = model.cut[name]
        assert (group["failedCalls"], group["estimatedCalls"]) == (len(legs), len(legs)), name
        least = model.told[name] + sum(len(leg) for leg in legs) // CHARS_PER_TOKEN
        most = MOST_TOKENS if lost and name.startswith("restart") else 1
        assert least <= group["outputTokens"] <= least + most * len(legs), name
        is_told = len(legs) < model.requests[name]
        estimated = group["inputTokens"] - PROMPT_TOKENS * is_told
        assert 4 * len(legs) <= estimated < 100 * max(len(legs), 1), name


def resets(viewer: StreamViewer) -> int:
    return viewer.types.count("NODE_STREAM_RESET")


RESTARTED = len(KINDS) + 1
"""Nodes that ask anew each time: those that shall, and the one that cannot go on."""


async def test_a_connection_that_its_provider_breaks_off(stack: LocalStack) -> None:
    async with continuing_model((HALF,), breaks=True) as model:
        write_channels(stack, model)
        result, viewers = await watched(stack, with_addresses(graph(), model), [])
    check_all(model, result, viewers)
    await check_accounts(stack, model, result["promptId"])
    assert resets(viewers[0]) == RESTARTED + 2
    for policy in POLICIES:
        name, half = f"direct-{policy}", "".join(pieces_of(f"direct-{policy}", 1)[:HALF])
        text, reason = (half, "interrupted") if policy == "accept" else (whole(name, 2), "stop")
        assert viewers[0].text(name) == result["outputs"][f"{name}.response"] == text
        assert result["outputs"][f"{name}.finish_reason"] == reason


@pytest.mark.slow
@pytest.mark.parametrize("victims", [("worker-1",), ("gateway", "worker-1"), ("temporal", "gateway", "worker-1")])
async def test_processes_killed_in_mid_stream(stack: LocalStack, victims: tuple[str, ...]) -> None:
    names = [f"{policy}-{kind}" for policy, kind in CASES]
    async with continuing_model((HALF,)) as model:
        write_channels(stack, model)
        result, viewers = await watched(stack, graph(), [(names, HALF, kill(*victims))])
    check_all(model, result, viewers)
    await check_accounts(stack, model, result["promptId"], lost=True)
    # The relay goes on where the log says: it has no reset, too.
    assert resets(viewers[0]) == RESTARTED


@pytest.mark.slow
async def test_a_worker_killed_twice_in_one_answer(stack: LocalStack) -> None:
    names = [f"{policy}-{kind}" for policy, kind in CASES]
    later = [name for name in names if not name.startswith("accept")]
    async with continuing_model((HALF, 2 * HALF)) as model:
        write_channels(stack, model)
        hurts = [(names, HALF, kill("worker-1")), (later, 2 * HALF - 1, kill("worker-1"))]
        result, viewers = await watched(stack, graph(), hurts)
    check_all(model, result, viewers, lives=3)
    await check_accounts(stack, model, result["promptId"], lost=True)
    assert resets(viewers[0]) == 2 * RESTARTED


@pytest.mark.slow
async def test_a_gateway_killed_in_mid_stream_costs_no_request(stack: LocalStack) -> None:
    """The worker lives, and with it the connection to the provider."""
    async with continuing_model((HALF,)) as model:
        write_channels(stack, model)
        names = [f"{policy}-{kind}" for policy, kind in CASES]

        async def hurt(stack: LocalStack) -> None:
            await kill("gateway")(stack)
            model.go_on()

        result, viewers = await watched(stack, graph(), [(names, HALF, hurt)])
    assert result["status"] == "complete"
    for name in names:
        assert result["outputs"][name] == whole(name)
        assert [viewer.text(name) for viewer in viewers] == [whole(name)] * len(viewers)
        assert model.requests[name] == 1
    await check_accounts(stack, model, result["promptId"])
