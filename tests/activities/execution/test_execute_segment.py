"""Segments on the real server beside a gateway that answers as each test wants: what is told, and what must not be."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from innkeeper.nodes.definition import Input
from innkeeper.nodes.errors import NodeError, NodeMustWait
from innkeeper.nodes.node import NodeContext, SecretRef
from innkeeper.workflows.plan import Feed, PlannedInput, PlannedNode, PlannedOutput
from tests.activities.fake_gateway import FakeGateway, until
from tests.activities.toy_stack import Stack, Toys, batch

CANARY = "canary-0123456789-abcdef"
Json = dict[str, Any]


@pytest.fixture(autouse=True)
def toy_nodes(toys: Toys) -> None:
    async def echo(inputs: Json, context: NodeContext) -> Json:
        return {"out": inputs.get("in", context.node_id)}

    async def lot(inputs: Json, context: NodeContext) -> Json:
        return {"out": context.random.random()}

    async def bad(inputs: Json, context: NodeContext) -> Json:
        raise ValueError("no such thing")

    for execute in (echo, lot, bad):
        toys.add(execute.__name__, execute)


def inline(id: str, type: str, source: str = "", **fields: Any) -> PlannedNode:
    fed = {"inputs": {"in": PlannedInput((Feed(source, "out"),))}, "after": (source,)} if source else {}  # type: ignore[arg-type]
    return batch(id, type, **{"placement": "inline", **fed, **fields})


async def told(gateway: FakeGateway, *paths: str) -> None:
    await until(lambda: all(gateway.sent("complete", path) for path in paths))


async def test_each_node_is_told_in_order_without_waiting(stack: Stack, gateway: FakeGateway) -> None:
    gateway.holds = lambda message: True
    async with stack.worker():
        table = await stack.run(inline("a", "echo"), inline("b", "echo", "a"), inline("c", "echo", "b"))
        await told(gateway, "a", "b", "c")
    order = [(message["t"], message["path"]) for message in gateway.messages if "path" in message]
    assert order == [(kind, path) for path in "abc" for kind in ("open", "complete")]
    assert all(message["epoch"] == [1, 0] for message in gateway.messages if "path" in message)
    assert gateway.sent("complete", "c")[0]["outputs"] == table["c"]["output"] == {"out": "a"}


async def test_a_failed_node_is_opened_and_its_end_comes_from_the_interpreter(
    stack: Stack, gateway: FakeGateway
) -> None:
    async with stack.worker():
        table = await stack.run(inline("a", "echo"), inline("f", "bad", "a"), inline("z", "echo", "f"))
    assert gateway.kinds("f")[0] == "open"
    assert not gateway.sent("complete", "f")
    assert table["f"]["error"]["message"] == "ValueError: no such thing"
    assert table["z"]["status"] == "skipped"


async def test_what_is_drawn_by_lot_is_the_same_whenever_a_segment_is_repeated(stack: Stack, toys: Toys) -> None:
    drawn: list[float] = []

    async def dies_once(inputs: Json, context: NodeContext) -> Json:
        drawn.append(inputs["in"])
        if len(drawn) == 1:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()  # as if the worker went away
            await asyncio.sleep(0)
        return {"out": inputs["in"]}

    toys.add("dies_once", dies_once)
    async with stack.worker():
        table = await stack.run(inline("a", "lot"), inline("b", "dies_once", "a"))
    assert len(set(drawn)) == 1
    assert table["b"]["output"]["out"] == table["a"]["output"]["out"] == drawn[0]


async def test_a_secret_stays_a_reference_between_the_nodes_of_a_segment(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    seen: list[Any] = []

    async def makes(inputs: Json, context: NodeContext) -> Json:
        return {"out": CANARY}

    async def uses(inputs: Json, context: NodeContext) -> Json:
        assert isinstance(inputs["in"], SecretRef)
        seen.append(await context.services.secrets.reveal(inputs["in"]))
        raise ValueError(f"the key is {seen[0]}")

    toys.add("makes", makes)
    toys.add("uses", uses, inputs={"in": Input("STRING", secret=True)})
    sealed: Any = {"out": PlannedOutput(seal=("",))}
    async with stack.worker():
        handle = await stack.start(inline("a", "makes", outputs=sealed), inline("b", "uses", "a"))
        result = await handle.result()
        history = await handle.fetch_history()
        await told(gateway, "a")
    assert set(seen) == {CANARY}
    assert result["nodes"]["b"]["error"]["message"] == "ValueError: the key is ***"
    everything = b"".join(event.SerializeToString() for event in history.events) + repr(gateway.messages).encode()
    assert CANARY.encode() not in everything
    assert "$secret" in repr(result["nodes"]["a"]["output"])


async def test_large_values_travel_by_reference_between_the_nodes_of_a_segment(stack: Stack, toys: Toys) -> None:
    async def grows(inputs: Json, context: NodeContext) -> Json:
        return {"out": "x" * 20_000}

    async def measures(inputs: Json, context: NodeContext) -> Json:
        return {"out": len(inputs["in"])}

    toys.add("grows", grows)
    toys.add("measures", measures)
    async with stack.worker():
        table = await stack.run(inline("a", "grows"), inline("b", "measures", "a"))
    assert table["a"]["output"]["out"]["size"] == 20_002
    assert table["b"]["output"] == {"out": 20_000}


async def test_warnings_of_a_node_travel_with_its_outcome(stack: Stack, gateway: FakeGateway, toys: Toys) -> None:
    async def warns(inputs: Json, context: NodeContext) -> Json:
        for number in range(20):
            context.warn("odd", f"{number} {'x' * 500}")
        return {"out": 1}

    toys.add("warns", warns)
    nodes = [inline(f"n{number}", "warns") for number in range(20)]
    async with stack.worker():
        table = await stack.run(*nodes)
        await told(gateway, *table)
    for path, entry in table.items():
        assert len(entry["warnings"]) == 20
        assert entry["warnings"] == gateway.sent("complete", path)[0]["warnings"]


async def test_a_node_of_a_segment_that_fails_for_now_says_so_and_runs_by_itself(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    async def fails_once(inputs: Json, context: NodeContext) -> Json:
        if context.attempt == 1:
            raise NodeMustWait("no channel free", delay_s=5) if context.node_id == "w" else NodeError("not yet")
        return {"out": context.attempt}

    toys.add("fails_once", fails_once)
    async with stack.worker():
        table = await stack.run(inline("f", "fails_once"), inline("w", "fails_once"))
    assert [table[path]["output"]["out"] for path in "fw"] == [2, 2]
    for path, told in {"f": ("retry", "node_failed", "not yet"), "w": ("wait", "waiting", "no channel free")}.items():
        assert gateway.kinds(path) == ["open", "retry", "open", "complete"]
        (notice,) = gateway.sent("retry", path)
        assert (notice["kind"], notice["code"], notice["message"]) == told
