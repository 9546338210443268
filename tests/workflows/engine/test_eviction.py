"""A worker drops workflows from its memory: to make room, and when it stops. Nobody may notice it.

The SDK cancels every task of a workflow that it evicts. That is no interruption of the run.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle

from innkeeper.nodes.definition import NodeDefinition, Output
from innkeeper.nodes.node import Chunk, NodeContext, Outputs
from innkeeper.workflows.engine import event_sink
from innkeeper.workflows.engine.workflow_context import RunStart
from tests.workflows.engine.iteration_bench import IN, Bench, Json, Player, each, loop, stored
from tests.workflows.engine.test_control_runs import answer
from tests.workflows.toy_graphs import document, node
from tests.workflows.toys import CACHED, ToyWorker, until_called

STOPS_WITHIN_S = 10.0
LATE = {"timeoutSeconds": 3_600}


def ask(id: str = "ask", **config: Any) -> Json:
    return node(id, "core:Approval", configValues=config)


ASKS = stored(
    [node("in", "core:GroupInput"), ask(), ask("timed", **LATE), node("w", "toy:Work")],
    "in.item > ask.data", "in.item > timed.data", "ask.approved > w.item", "timed.approved > w.extra",
    inputs=IN, outputs={"out": "w.out"},
)  # fmt: skip
AROUND = stored(
    [node("in", "core:GroupInput"), node("g", "core:NodeGroup", configValues={"referencedWorkflowId": "asks"})],
    "in.item > g.item", inputs=IN, outputs={"out": "g.out"},
)  # fmt: skip
STREAMS = stored(
    [ask(), node("s", "toy:Stream")], "ask.approved > s.item",
    outputs={"out": "s.out"},
)  # fmt: skip
BOTH = ("ask", "timed")


@dataclass(frozen=True)
class Waiting:
    """A graph that waits, and the approvals that let it end. `paused`: before any node could begin."""

    nodes: Sequence[Json]
    approvals: Sequence[str] = ()
    paused: bool = False


SHAPES = {
    "approvals": Waiting([ask(), ask("timed", **LATE)], BOTH),
    "a time": Waiting([ask(), node("d", "core:Delay", {"seconds": 4})], ["ask"]),
    "group": Waiting(
        [node("g", "core:NodeGroup", {"item": 1}, configValues={"referencedWorkflowId": "asks"})], ["g/ask", "g/timed"]
    ),
    "group that streams": Waiting(
        [node("g", "core:NodeGroup", configValues={"referencedWorkflowId": "streams"})], ["g/ask"]
    ),
    "for each": Waiting([each("each", "asks", [1, 2])], [f"each/{i}/{name}" for i in (0, 1) for name in BOTH]),
    "loop": Waiting([loop("loop", "asks", {"item": 0}, conditionKey="out")], ["loop/0/ask", "loop/0/timed"]),
    "group in for each": Waiting(
        [each("each", "around", [1, 2])], [f"each/{i}/g/{name}" for i in (0, 1) for name in BOTH]
    ),
    "paused": Waiting([node("w", "toy:Work", {"item": "x"})], paused=True),
    "beside work": Waiting([node("w", "toy:Work", {"item": "x"}), ask()], ["ask"]),
}


class StreamBench(Bench):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.definitions["toy:Stream"] = NodeDefinition(
            "Stream", "toys", "Stream", "", self.definitions["toy:Work"].inputs,
            {"out": Output("STRING", is_stream=True)}, self._stream, namespace="toy",
        )  # fmt: skip

    async def _stream(self, inputs: Json, context: NodeContext) -> AsyncIterator[Chunk | Outputs]:
        yield Chunk("text_chunk", "a")


@pytest.fixture
def told() -> Iterator[set[tuple[str, str]]]:
    """What the interpreter emits: run and path, and type."""
    heard: set[tuple[str, str]] = set()

    class Listening:
        def fact(self, run: str, path: str, type: str, payload: Json) -> None:
            heard.add((f"{run} {path}", type))

    event_sink.install_event_sink(Listening())
    with contextlib.ExitStack() as stack:
        stack.callback(event_sink.install_event_sink, None)
        yield heard


Run = tuple[Waiting, WorkflowHandle[Any, Json]]


async def start_all(player: Player, copies: int) -> list[Run]:
    runs = []
    for shape in list(SHAPES.values()) * copies:
        paused = {"begun": RunStart(paused=True)} if shape.paused else {}
        handle = await player.start(document(list(shape.nodes)), asks=ASKS, around=AROUND, streams=STREAMS, **paused)
        runs.append((shape, handle))
    return runs


async def until_all_wait(told: set[tuple[str, str]], runs: list[Run]) -> None:
    """Until every approval that can be asked for at first was announced."""
    wanted = {f"{handle.id} {path}" for shape, handle in runs for path in shape.approvals}
    async with asyncio.timeout(60):
        while not wanted <= {path for path, kind in told if kind == "APPROVAL_REQUIRED"}:
            await asyncio.sleep(0.05)


async def finish(client: Client, runs: list[Run]) -> list[Json]:
    for shape, handle in runs:
        if shape.paused:
            await handle.signal("pause", args=[False])
        for path in shape.approvals:
            await answer(client.get_workflow_handle(owner_of(handle.id, path)), path)
    return [await handle.result() for _, handle in runs]


def owner_of(run: str, path: str) -> str:
    """The workflow that runs a node: a group and a repetition have one each, the items of a repetition none."""
    parts = path.split("/")[:-1]
    return "/".join([run, *(parts[:-1] if parts and parts[-1].isdigit() else parts)])


@pytest.mark.parametrize("cached", [1, CACHED])
async def test_a_worker_stops_at_once_and_its_runs_go_on_with_the_next(
    temporal: Client, tmp_path: Path, told: set[tuple[str, str]], cached: int
) -> None:
    bench = StreamBench()
    bench.seconds = {"x": 1}
    first = ToyWorker(temporal, bench, tmp_path, cached=cached)
    async with first.worker:
        runs = await start_all(Player(first, bench), 2)
        await until_all_wait(told, runs)
        await until_called(bench, "w")
        begun = time.monotonic()
    assert time.monotonic() - begun < STOPS_WITHIN_S
    assert {kind for _, kind in told} <= {"NODE_EXECUTING", "NODE_WAITING", "APPROVAL_REQUIRED", "NODE_COMPLETE"}
    async with ToyWorker(temporal, bench, tmp_path, queue=first.queue, cached=cached).worker, asyncio.timeout(60):
        results = await finish(temporal, runs)
    assert [result["status"] for result in results] == ["complete"] * len(runs)
    assert not {kind for _, kind in told} & {"NODE_INTERRUPTED", "NODE_ERROR", "NODE_SKIPPED"}


async def test_an_interrupted_run_outlives_an_eviction(
    temporal: Client, tmp_path: Path, told: set[tuple[str, str]]
) -> None:
    """Interrupted, evicted while its node still ends: it ends once, as interrupted, with the next worker."""
    bench = StreamBench()
    ending = asyncio.Event()

    async def stubborn(inputs: Json, context: NodeContext) -> Json:
        bench.calls.append("stubborn")
        try:
            await asyncio.sleep(60)
        finally:
            ending.set()
            await asyncio.sleep(2)
        return {}

    bench.add("stubborn", stubborn)
    worker = ToyWorker(temporal, bench, tmp_path, cached=1)
    async with worker.worker, asyncio.timeout(60):
        player = Player(worker, bench)
        handle = await player.start(document([node("s", "toy:stubborn")]))
        await until_called(bench, "stubborn")
        await handle.cancel()
        await ending.wait()
        assert (await player.play(document([node("w", "toy:Work", {"item": 1})])))["status"] == "complete"
        assert not [path for path, kind in told if kind == "NODE_INTERRUPTED"]
        with contextlib.suppress(Exception):
            await handle.cancel()  # a second request changes nothing
        result = await handle.result()
    assert result["status"] == "interrupted"
    assert {path: entry["status"] for path, entry in result["nodes"].items()} == {"s": "interrupted"}
