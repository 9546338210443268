"""Segments on the real server beside a gateway that answers as each test wants: what is told, and what must not be."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from innkeeper.activities.placement.node_host import NodeHost
from innkeeper.activities.placement.node_process import NodeProcesses
from innkeeper.activities.placement.node_threads import NodeThreads
from innkeeper.nodes.definition import Input
from innkeeper.nodes.errors import NodeError, NodeMustWait
from innkeeper.nodes.node import Chunk, NodeContext, SecretRef
from innkeeper.workflows.plan import Feed, PlannedInput, PlannedNode, PlannedOutput
from tests.activities.fake_gateway import FakeGateway, until
from tests.activities.toy_stack import Stack, Toys, batch

CANARY = "canary-0123456789-abcdef"
PLUGIN_FILE = __file__
Json = dict[str, Any]


EVERYWHERE = pytest.mark.parametrize(
    "toy_nodes", [None, PLUGIN_FILE], indirect=True, ids=["on the worker's loop", "in the thread of plugins"]
)


@pytest.fixture(autouse=True)
def toy_nodes(toys: Toys, request: pytest.FixtureRequest) -> None:
    toys.file_path = getattr(request, "param", None)

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


@EVERYWHERE
async def test_each_node_is_told_in_order_without_waiting(stack: Stack, gateway: FakeGateway) -> None:
    gateway.holds = lambda message: True
    async with stack.worker():
        table = await stack.run(inline("a", "echo"), inline("b", "echo", "a"), inline("c", "echo", "b"))
        await told(gateway, "a", "b", "c")
    order = [(message["t"], message["path"]) for message in gateway.messages if "path" in message]
    assert order == [(kind, path) for path in "abc" for kind in ("open", "complete")]
    assert all(message["epoch"] == [1, 0] for message in gateway.messages if "path" in message)
    assert gateway.sent("complete", "c")[0]["outputs"] == table["c"]["output"] == {"out": "a"}


@EVERYWHERE
async def test_a_failed_node_is_opened_and_its_end_comes_from_the_interpreter(
    stack: Stack, gateway: FakeGateway
) -> None:
    async with stack.worker():
        table = await stack.run(inline("a", "echo"), inline("f", "bad", "a"), inline("z", "echo", "f"))
    assert gateway.kinds("f")[0] == "open"
    assert not gateway.sent("complete", "f")
    assert table["f"]["error"]["message"] == "ValueError: no such thing"
    assert table["z"]["status"] == "skipped"


@EVERYWHERE
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


@EVERYWHERE
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


@EVERYWHERE
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


@EVERYWHERE
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


@EVERYWHERE
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


async def test_what_nodes_of_a_plugin_tell_one_after_the_other_travels_together(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    toys.file_path = PLUGIN_FILE
    toys.add("step", toys.definitions["toy:echo"].execute)  # type: ignore[arg-type]
    nodes = [inline(f"n{number}", "step", f"n{number - 1}" if number else "") for number in range(40)]
    async with stack.worker():
        await stack.run(*nodes)
        await told(gateway, "n39")
    frames = [frame for frame in gateway.connections[-1].frames if any(message["t"] == "complete" for message in frame)]
    assert len(frames) < 10


async def test_nodes_of_a_plugin_and_our_own_take_turns_in_one_segment(stack: Stack, toys: Toys) -> None:
    async def place(inputs: Json, context: NodeContext) -> Json:
        return {"out": [*inputs.get("in", ()), threading.current_thread() is threading.main_thread()]}

    for toys.file_path, name in ((None, "ours"), (PLUGIN_FILE, "theirs")):
        toys.add(name, place)
    types = ["theirs", "theirs", "ours", "theirs"]
    nodes = [inline(f"n{number}", type, f"n{number - 1}" if number else "") for number, type in enumerate(types)]
    async with stack.worker():
        table = await stack.run(*nodes)
    assert table["n3"]["output"]["out"] == [False, False, True, False]


@EVERYWHERE
async def test_an_inline_node_must_not_yield(stack: Stack, toys: Toys) -> None:
    async def yields(inputs: Json, context: NodeContext) -> AsyncIterator[Chunk]:
        yield Chunk("text_chunk", "x")

    toys.add("yields", yields)
    async with stack.worker():
        table = await stack.run(inline("a", "echo"), inline("y", "yields"), inline("z", "echo", "a"))
    assert "an inline node must not yield" in table["y"]["error"]["message"]
    assert table["z"]["status"] == "complete"


@EVERYWHERE
async def test_progress_of_a_node_in_a_segment_reaches_the_gateway(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    async def works(inputs: Json, context: NodeContext) -> Json:
        while not gateway.sent("progress", "b"):
            context.progress(1, 3)
            await asyncio.sleep(0.02)
        return {"out": await context.services.blobs.get(await context.services.blobs.put(b"kept")) == b"kept"}

    toys.add("works", works)
    async with stack.worker():
        table = await stack.run(inline("a", "echo"), inline("b", "works"))
    assert table["b"]["output"] == {"out": True}


# --- a node that blocks -------------------------------------------------------------------------------------------


async def spin(inputs: Json, context: NodeContext) -> Json:
    while inputs["in"]:
        pass
    return {}


async def test_a_node_that_blocks_is_named_and_aborted_and_takes_no_other_with_it(
    stack: Stack, gateway: FakeGateway, toys: Toys
) -> None:
    toys.file_path = PLUGIN_FILE
    toys.add("spin", spin)
    stack.host = NodeHost(NodeThreads(1.0, standstill_s=0.3), NodeProcesses())
    nodes = [inline("a", "echo"), inline("s", "spin", "a", max_attempts=1), inline("z", "echo", "a")]
    async with stack.worker():
        table = await stack.run(*nodes)
        await told(gateway, "a", "z")
    assert {path: entry["status"] for path, entry in table.items()} == {"a": "complete", "s": "error", "z": "complete"}
    assert table["s"]["error"]["code"] == "node_blocked"
    assert "in spin" in table["s"]["error"]["details"]["where"]
    assert toys.calls.keys() == {"a", "s", "z"}  # of a slow machine a segment may run twice, as of a dead worker
    kinds = gateway.kinds("s")
    assert kinds[:2] == ["open", "warning"]
    assert "node_blocks" in gateway.sent("warning", "s")[0]["code"]
    assert not gateway.sent("warning", "a") + gateway.sent("warning", "z")


async def test_a_segment_beside_a_node_that_blocks_goes_on_in_another_thread(stack: Stack, toys: Toys) -> None:
    async def waits(inputs: Json, context: NodeContext) -> Json:
        if context.attempt == 1:
            await asyncio.sleep(30)
        return {"out": threading.current_thread().name}

    toys.file_path = PLUGIN_FILE
    toys.add("spin", spin)
    toys.add("waits", waits)
    stack.host = NodeHost(NodeThreads(3.0, standstill_s=0.3), NodeProcesses())
    nodes = [inline("a", "echo"), inline("w", "waits"), inline("z", "echo", "a")]
    async with stack.worker():
        beside = asyncio.create_task(stack.run(*nodes))
        await until(lambda: "w" in toys.calls)
        blocked = asyncio.create_task(stack.run(inline("t", "echo"), inline("s", "spin", "t", max_attempts=1)))
        table = await beside
        assert not blocked.done()
        assert (await blocked)["s"]["error"]["code"] == "node_blocked"
    assert {path: entry["status"] for path, entry in table.items()} == dict.fromkeys("awz", "complete")
    assert toys.calls["w"] == [1, 2]
    assert toys.calls["a"] == [1]
