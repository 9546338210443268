"""Real processes, killed with SIGKILL at chosen moments: every run ends as if nothing had happened.

What is asserted: the same outputs, logged nodes never run again (a side-effect file counts), one terminal event per
node, `seq` without a gap, and no viewer sees a chunk twice or out of order.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack
from tests.crash.slow_model import TEXT, SlowModel, slow_model
from tests.crash.viewer import TERMINAL, Viewer
from tests.graphs import edge

pytestmark = [pytest.mark.crash, pytest.mark.timeout(180)]
PLUGINS = Path(__file__).parents[1] / "plugins"

Event = dict[str, Any]
When = Callable[[Event, Viewer], bool]
Kill = Callable[[], Awaitable[None]]


@dataclass
class Bench:
    """A running stack, a model, and a file that side effects are counted in."""

    stack: LocalStack
    model: SlowModel
    trace: Path
    names: tuple[str, ...] = ("temporal", "gateway", "worker-1")
    killed: list[str] = field(default_factory=list)

    def kill(self, *names: str) -> None:
        pids = self.stack.pids()
        for name in names:
            os.kill(pids[name], signal.SIGKILL)
            self.killed.append(name)

    def runs_of(self, run: str) -> Counter[str]:
        """How often each node of a run was begun, by what it left outside."""
        lines = self.trace.read_text().splitlines() if self.trace.exists() else []
        return Counter(line.split()[1] for line in lines if line.startswith(run))

    def graph(self, seconds: float = 0.6) -> Event:
        """first -> slow -> join, first -> talk (streams) -> join."""
        file = str(self.trace)
        settings = {"base_url": self.model.url, "api_key": ""}
        talk = {"api_settings": settings, "prompt": "Tell", "stream": True}
        nodes = [
            _node("first", "crash-nodes:Count", {"file": file, "text": "a"}),
            _node("slow", "crash-nodes:Count", {"file": file, "seconds": seconds}),
            _node("talk", "core:OpenAI", talk),
            _node("last", "crash-nodes:Count", {"file": file}),
            _node("join", "core:TextMerge", {"separator": "|"}),
        ]
        edges = [
            edge("first.text", "slow.text"),
            edge("first.text", "talk.system_prompt"),
            edge("slow.text", "last.text"),
            edge("talk.response", "join.text_inputs__0"),
            edge("last.text", "join.text_inputs__1"),
        ]
        mappings = {"all": {"sourceNodeId": "join", "sourceSlotKey": "merged_text"}}
        return {"nodes": nodes, "edges": edges, "outputInterfaceMappings": mappings}


EXPECTED = f"{TEXT}|a[first][slow][last]"


def _node(id: str, type: str, inputs: Event) -> Event:
    return {"id": id, "fullType": type, "inputs": inputs}


@pytest.fixture
async def bench(stack: LocalStack, tmp_path: Path) -> AsyncIterator[Bench]:
    async with slow_model() as model:
        yield Bench(stack, model, tmp_path / "trace.txt")


async def _watched_run(bench: Bench, when: When, kill: tuple[str, ...]) -> tuple[str, Viewer, Viewer]:
    """Run the graph, kill at the moment, watch to the end. Gives the run, its viewer, and a late viewer's view."""
    viewer, done = Viewer(), False
    async with GatewayClient(bench.stack.url) as client:
        run = await client.submit(bench.graph())
        async with asyncio.timeout(90):
            async for event in client.events(run):
                viewer.apply(event)
                if not done and when(event, viewer):
                    done = True
                    bench.kill(*kill)
        assert done, "the moment to kill never came"
        late = Viewer()
        async for event in client.events(run):
            late.apply(event)
        status = await client.status(run)
    assert status["outputs"] == {"all": EXPECTED}
    assert status["status"] == "complete"
    return run, viewer, late


def check(bench: Bench, run: str, viewer: Viewer, late: Viewer, logged_before: set[str]) -> None:
    assert viewer.types == late.types
    assert viewer.text("talk") == late.text("talk") == TEXT
    nodes = ("first", "slow", "talk", "last", "join")
    assert {node: viewer.terminal[node] for node in nodes} == dict.fromkeys(nodes, 1)
    begun = bench.runs_of(run)
    for node in logged_before & {"first", "slow", "last"}:
        assert begun[node] == 1, f"{node} was logged, then ran again"


def _is(kind: str, node: str) -> When:
    return lambda event, _: event["type"] == kind and event["payload"].get("nodeId") == node


def in_stream(event: Event, viewer: Viewer) -> bool:
    return event["type"] == "NODE_YIELD" and len(viewer.chunks.get("talk", ())) == 8


MOMENTS: dict[str, When] = {
    "before_a_node": _is("EXECUTION_STATUS_UPDATE", ""),
    "in_a_node": _is("NODE_EXECUTING", "slow"),
    "after_a_node": _is("NODE_COMPLETE", "slow"),
    "in_a_stream": in_stream,
}
MOMENTS["before_a_node"] = lambda event, _: event["type"] == "EXECUTION_STATUS_UPDATE"
CASES = [
    *((moment, ("worker-1",)) for moment in MOMENTS),
    ("in_a_stream", ("gateway",)),
    ("in_a_node", ("temporal",)),
    ("in_a_stream", ("temporal",)),
    ("in_a_stream", ("temporal", "gateway", "worker-1")),
    ("after_a_node", ("gateway", "worker-1")),
]


LONG_FORM = (
    ("in_a_node", ("worker-1",)),
    ("in_a_node", ("temporal",)),
    ("after_a_node", ("gateway", "worker-1")),
    ("in_a_stream", ("temporal", "gateway", "worker-1")),
)
"""Of these each victim and each moment is tried by others, too; test_whole_stack.py has all die in a stream."""


@pytest.mark.parametrize(
    ("moment", "victims"),
    [pytest.param(*case, marks=[pytest.mark.slow] if case in LONG_FORM else []) for case in CASES],
    ids=[f"{'+'.join(who)}-{when}" for when, who in CASES],
)
async def test_run_ends_as_if_nothing_had_happened(bench: Bench, moment: str, victims: tuple[str, ...]) -> None:
    logged: set[str] = set()

    def when(event: Event, viewer: Viewer) -> bool:
        if MOMENTS[moment](event, viewer):
            return True
        if event["type"] in TERMINAL:
            logged.add(event["payload"]["nodeId"])
        return False

    before = bench.model.requests
    run, viewer, late = await _watched_run(bench, when, victims)
    if moment == "after_a_node":
        logged.add("slow")
    check(bench, run, viewer, late, logged)
    if "worker-1" not in victims:
        assert bench.model.requests == before + 1, "a model was paid twice although its worker lived"
