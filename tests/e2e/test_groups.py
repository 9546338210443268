"""Groups through the real stack: streams across their borders, failure and interruption inside them, node paths."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack
from tests.crash.viewer import Viewer
from tests.e2e.test_secrets import TYPED, found_in, layers, provider
from tests.e2e.test_streams import Json, graph, node, outcome, words

STREAM = {"dataFlowType": "STRING", "isStream": True}
TEXT = {"dataFlowType": "STRING"}
OBJECT = {"dataFlowType": "OBJECT"}


class Library:
    """Workflows that a stack has stored; each test stores those it uses."""

    def __init__(self, stack: LocalStack, folder: Any) -> None:
        self.stack = stack
        self._folder = folder / "shared/library/workflows"
        self._folder.mkdir(parents=True, exist_ok=True)

    def store(self, id: str, document: Json, inputs: Json | None = None, outputs: Json | None = None) -> None:
        nodes = [{**item, "type": item["fullType"]} for item in document["nodes"]]
        nodes = [{key: value for key, value in item.items() if key != "fullType"} for item in nodes]
        sides = {
            "interfaceInputs": {key: {"key": key, **slot} for key, slot in (inputs or {}).items()},
            "interfaceOutputs": {key: {"key": key, **slot} for key, slot in (outputs or {}).items()},
        }
        text = json.dumps({**document, "nodes": nodes, **sides, "id": id, "name": id})
        (self._folder / f"{id}.json").write_text(text)

    async def temporal(self) -> Client:
        return await Client.connect(self.stack.temporal_address, namespace="innkeeper")

    async def run(self, document: Json, timeout_s: float = 60) -> tuple[Viewer, Json]:
        viewer = Viewer()
        async with GatewayClient(self.stack.url) as client, asyncio.timeout(timeout_s):
            id = await client.submit(document)
            async for event in client.events(id):
                viewer.apply(event)
            return viewer, await client.status(id)


@pytest.fixture
def library(shared: tuple[LocalStack, Path]) -> Library:
    return Library(*shared)


def group(id: str, workflow: str, **inputs: Any) -> Json:
    return {**node(id, "core:NodeGroup", **inputs), "configValues": {"referencedWorkflowId": workflow}}


GATE, SINK = node("in", "core:GroupInput"), node("go", "core:GroupOutput")


def store_relay(library: Library) -> None:
    """`relay`: a stream in, the same stream out, through a node. `deep_relay`: the same two levels further down."""
    inner = graph([GATE, node("r", "Take"), SINK], "in.s > r.stream", "r.out > go.s", "r.text > go.text")
    library.store("relay", inner, {"s": STREAM}, {"s": STREAM, "text": TEXT})
    for name, below in (("relay2", "relay"), ("relay3", "relay2")):
        outer = graph([GATE, group("g", below), SINK], "in.s > g.s", "g.s > go.s", "g.text > go.text")
        library.store(name, outer, {"s": STREAM}, {"s": STREAM, "text": TEXT})


def store_words(library: Library) -> None:
    inner = graph(
        [GATE, node("w", "Words"), SINK],
        "in.count > w.count", "in.delay > w.delay", "in.fail_at > w.fail_at", "in.failures > w.failures",
        "w.out > go.s", "w.count > go.n",
    )  # fmt: skip
    inputs = {
        "count": {"dataFlowType": "INTEGER", "config": {"default": 5}},
        "delay": {"dataFlowType": "FLOAT", "config": {"default": 0.0}},
        "fail_at": {"dataFlowType": "INTEGER", "config": {"default": -1}},
        "failures": {"dataFlowType": "INTEGER", "config": {"default": 0}},
    }
    library.store("words", inner, inputs, {"s": STREAM, "n": {"dataFlowType": "INTEGER"}})
    for name, below in (("words2", "words"), ("words3", "words2")):
        outer = graph(
            [GATE, group("g", below), SINK], *(f"in.{key} > g.{key}" for key in inputs), "g.s > go.s", "g.n > go.n"
        )
        library.store(name, outer, inputs, {"s": STREAM, "n": {"dataFlowType": "INTEGER"}})


def store_pass(library: Library) -> None:
    library.store("pass", graph([GATE, SINK], "in.s > go.s"), {"s": STREAM}, {"s": STREAM})
    chain = graph([GATE, group("a", "pass"), group("b", "pass"), SINK], "in.s > a.s", "a.s > b.s", "b.s > go.s")
    library.store("pass2", chain, {"s": STREAM}, {"s": STREAM})
    library.store("whole", graph([GATE, SINK], "in.s > go.text"), {"s": STREAM}, {"text": TEXT})
    collect = graph([GATE, node("j", "core:TextMerge", separator=""), SINK], "in.s > j.text_inputs__0",
                    "in.more > j.text_inputs__1", "j.merged_text > go.text")  # fmt: skip
    library.store("collect", collect, {"s": STREAM, "more": TEXT}, {"text": TEXT})


async def test_streams_cross_three_levels_both_ways_live(library: Library) -> None:
    store_relay(library)
    store_words(library)
    document = graph(
        [group("w", "words3", count=40, delay=0.02), group("r", "relay3"), node("t", "Take"), node("u", "Take")],
        "w.s > r.s", "r.s > t.stream", "r.s > u.stream", "w.n > t.count",
    )  # fmt: skip
    viewer, status = await library.run(document)
    assert status["status"] == "complete", status
    assert status["nodeStatus"]["u"]["output"]["text"] == words(40)
    assert status["nodeStatus"]["t"]["output"]["text"] == words(40)
    assert status["nodeStatus"]["r"]["output"]["text"] == words(40)
    assert viewer.text("w/g/g/w") == viewer.text("r/g/g/r") == viewer.text("u") == words(40)
    assert viewer.first_chunk["u"] < viewer.ended["w/g/g/w"]
    assert set(viewer.terminal.values()) == {1}


async def test_streams_pass_through_groups_without_nodes(library: Library) -> None:
    store_pass(library)
    store_words(library)
    document = graph(
        [group("w", "words", count=2000), group("p", "pass2"), group("q", "pass"), node("t", "Take"),
         group("whole", "whole"), group("c", "collect", more="!"), node("j", "core:TextMerge")],
        "w.s > p.s", "p.s > q.s", "q.s > t.stream", "p.s > whole.s", "q.s > c.s", "p.s > j.text_inputs__0",
        interfaceOutputs={"live": {"key": "live", **STREAM}},
        outputInterfaceMappings={"live": {"sourceNodeId": "q", "sourceSlotKey": "s"}},
    )  # fmt: skip
    viewer, status = await library.run(document)
    assert status["status"] == "complete", status
    assert viewer.text("t") == words(2000)
    assert viewer.types.count("WORKFLOW_INTERFACE_YIELD") == 2001
    assert status["outputs"]["live"]["chunks"] == 2000
    async with httpx.AsyncClient(base_url=library.stack.url) as http:
        for path, slot, expected in (
            ("whole", "text", words(2000)),
            ("c", "text", words(2000) + "!"),
            ("c/j", "merged_text", words(2000) + "!"),
            ("j", "merged_text", words(2000)),
        ):
            answer = await http.get(f"/api/prompt/{status['promptId']}/outputs/{path}/{slot}")
            assert answer.json() == expected, path
            url = status["nodeStatus"][path]["output"][slot]["url"]
            assert (await http.get(url)).json() == expected


async def test_a_producer_inside_that_starts_over_starts_its_readers_outside_over(library: Library) -> None:
    store_words(library)
    store_relay(library)
    document = graph(
        [group("w", "words2", count=30, delay=0.005, fail_at=20, failures=1), group("r", "relay"), node("t", "Take")],
        "w.s > r.s", "r.s > t.stream",
        interfaceOutputs={"live": {"key": "live", **STREAM}},
        outputInterfaceMappings={"live": {"sourceNodeId": "w", "sourceSlotKey": "s"}},
    )  # fmt: skip
    viewer, status = await library.run(document)
    assert status["status"] == "complete", status
    assert [viewer.text(path) for path in ("w/g/w", "r/r", "t")] == [words(30)] * 3
    assert "WORKFLOW_INTERFACE_RESET" in viewer.types
    assert status["nodeStatus"]["t"]["output"]["text"] == words(30)


async def test_what_fails_inside_fails_the_group_and_ends_who_reads_its_streams(library: Library) -> None:
    store_words(library)
    document = graph(
        [group("w", "words2", count=5, delay=0.01, fail_at=2, failures=99), node("t", "Take"),
         node("j", "core:TextMerge"), node("k", "core:TextMerge"), node("free", "Words")],
        "w.s > t.stream", "t.text > j.text_inputs__0", "w.n > k.text_inputs__0",
    )  # fmt: skip
    viewer, status = await library.run(document)
    assert status["status"] == "error"
    assert outcome(status) == {
        "w": "error", "w/in": "complete", "w/g": "error", "w/g/in": "complete", "w/g/w": "error",
        "w/go": "skipped", "w/g/go": "skipped",
        "t": "error", "j": "skipped", "k": "skipped", "free": "complete",
    }  # fmt: skip
    assert "w/g/w" in status["nodeStatus"]["w"]["error"]["message"]
    assert "stumbled at 2" in status["nodeStatus"]["w"]["error"]["message"]
    assert status["nodeStatus"]["t"]["error"]["code"] == "stream_failed"
    assert set(viewer.terminal.values()) == {1}


async def test_a_group_that_may_fail_does_not_fail_the_run(library: Library) -> None:
    store_words(library)
    failing = {**group("w", "words", count=5, fail_at=2, failures=99), "continueOnError": True}
    document = graph([failing, node("j", "core:TextMerge")], "w.n > j.text_inputs__0")
    _, status = await library.run(document)
    assert (status["status"], outcome(status)["w"], outcome(status)["j"]) == ("complete", "error", "complete")


async def test_an_interruption_reaches_three_groups_deep_at_once(library: Library) -> None:
    store_words(library)
    store_relay(library)
    document = graph(
        [group("w", "words3", count=10_000, delay=0.02), group("r", "relay3"), node("t", "Take")],
        "w.s > r.s", "r.s > t.stream",
    )  # fmt: skip
    viewer = Viewer()
    async with GatewayClient(library.stack.url) as client, asyncio.timeout(60):
        id = await client.submit(document)
        asked = 0.0
        async for event in client.events(id):
            viewer.apply(event)
            if len(viewer.chunks.get("t", ())) == 3 and not asked:
                asked = time.monotonic()
                await client.cancel(id)
            if event["type"] == "NODE_INTERRUPTED" and event["payload"]["nodeId"] == "w/g/g/w":
                stopped = time.monotonic() - asked
        status = await client.status(id)
    assert status["status"] == "interrupted"
    running = {"w", "w/g", "w/g/g", "w/g/g/w", "r", "r/g", "r/g/g", "r/g/g/r", "t"}
    assert running <= {path for path, end in outcome(status).items() if end == "interrupted"}
    assert set(outcome(status).values()) == {"interrupted", "complete"}
    assert set(viewer.terminal.values()) == {1}
    assert stopped < 30  # left alone they would go on for minutes


@pytest.mark.parametrize("how", ["cancel", "terminate"])
async def test_a_group_that_is_ended_in_temporal_fails_with_that_reason(library: Library, how: str) -> None:
    store_words(library)
    document = graph(
        [group("w", "words2", count=10_000, delay=0.02), node("t", "Take"), node("free", "Words")], "w.s > t.stream"
    )
    temporal = await library.temporal()
    viewer = Viewer()
    async with GatewayClient(library.stack.url) as client, asyncio.timeout(60):
        id = await client.submit(document)
        done = False
        async for event in client.events(id):
            viewer.apply(event)
            if len(viewer.chunks.get("t", ())) == 3 and not done:
                done = True
                child = temporal.get_workflow_handle(f"{id}/w")
                await (child.cancel() if how == "cancel" else child.terminate("by hand"))
        status = await client.status(id)
    assert status["status"] == "error", status
    ends = outcome(status)
    assert {path: ends[path] for path in ("w", "w/g/w", "t", "free")} == {
        "w": "error", "w/g/w": "interrupted", "t": "error", "free": "complete",
    }  # fmt: skip
    assert status["nodeStatus"]["w"]["error"]["code"] == ("interrupted" if how == "cancel" else "terminated")
    assert set(viewer.terminal.values()) == {1}


async def test_a_group_of_many_nodes_keeps_its_table_and_does_not_change_under_a_run(library: Library) -> None:
    many = graph([GATE, *(node(f"n{index}", "core:TextMerge", text_inputs=["x"]) for index in range(205)), SINK,
                  node("j", "core:TextMerge"), node("w", "Words", delay=0.05)],
                 "in.a > j.text_inputs__0", "w.count > j.text_inputs__1", "j.merged_text > go.text")  # fmt: skip
    library.store("many", many, {"a": {**TEXT, "config": {"default": "x" * 5000}}}, {"text": TEXT})
    library.store("outer", graph([group("m", "many"), SINK], "m.text > go.text"), {}, {"text": TEXT})
    async with GatewayClient(library.stack.url) as client, asyncio.timeout(60):
        id = await client.submit(graph([group("g", "outer")]))
        library.store("many", graph([SINK]), {}, {"text": TEXT})
        library.store("outer", graph([SINK]), {}, {"text": TEXT})
        status = await client.wait(id)
    ends = outcome(status)
    assert status["status"] == "complete"
    assert sum(path.startswith("g/m/n") for path in ends) == 205
    assert set(ends.values()) == {"complete"}
    async with httpx.AsyncClient(base_url=library.stack.url) as http:
        url = status["nodeStatus"]["g/m/j"]["output"]["merged_text"]["url"]
        assert (await http.get(url)).json() == "x" * 5000 + "\n5"
    entry = status["nodeStatus"]["g/m"]
    assert entry["startedAt"] <= status["nodeStatus"]["g/m/w"]["startedAt"]
    assert status["nodeStatus"]["g/m/w"]["endedAt"] <= entry["endedAt"]


async def test_the_gateway_checks_what_is_inside_a_group(library: Library) -> None:
    library.store("broken", graph([node("x", "core:Nothing"), group("again", "broken2")]))
    library.store("broken2", graph([group("again", "broken")]))
    async with httpx.AsyncClient(base_url=library.stack.url) as http:
        document = graph([group("g", "broken"), group("h", "broken"), group("lost", "nowhere")])
        found = (await http.post("/api/validate", json=document)).json()
        assert found["valid"] is False
        assert sorted((item["node"], item["code"]) for item in found["problems"]) == [
            ("g/again/again", "group_recursion"), ("g/x", "unknown_node_type"), ("lost", "group_not_found"),
        ]  # fmt: skip
        answer = await http.post("/api/prompt", json={"workflowId": "broken"})
        assert answer.status_code == 422


async def test_a_workflow_drawn_with_hollow_slots_runs(library: Library) -> None:
    gate = [GATE, node("j", "core:TextMerge", separator="-"), SINK]
    library.store("hollow", graph(gate, "in.output_0 > j.text_inputs__0", "j.merged_text > go.input_0"))
    outer = graph([GATE, group("g", "hollow"), SINK], "in.output_0 > g.text_inputs", "g.merged_text > go.input_0")
    _, status = await library.run({**outer, "inputs": {"text_inputs": "hello"}})
    assert status["outputs"] == {"merged_text": "hello"}


async def test_a_run_that_is_terminated_takes_its_groups_with_it(library: Library) -> None:
    store_words(library)
    temporal = await library.temporal()
    viewer = Viewer()
    terminated = False
    async with GatewayClient(library.stack.url) as client, asyncio.timeout(60):
        id = await client.submit(graph([group("w", "words2", count=10_000, delay=0.02)]))
        async for event in client.events(id):
            viewer.apply(event)
            if not terminated and len(viewer.chunks.get("w/g/w", ())) >= 3:
                terminated = True
                await temporal.get_workflow_handle(id).terminate("by hand")
        status = await client.status(id)
        child = await temporal.get_workflow_handle(f"{id}/w/g").result()
    assert (status["status"], status["errorInfo"]["code"]) == ("error", "terminated")
    assert {path: outcome(status)[path] for path in ("w", "w/g", "w/g/w")} == dict.fromkeys(
        ("w", "w/g", "w/g/w"), "interrupted"
    )
    assert child["status"] == "interrupted"
    assert set(viewer.terminal.values()) == {1}


async def test_a_key_that_goes_from_group_to_group_is_seen_nowhere(library: Library) -> None:
    keys = graph([GATE, node("k", "core:APISettings"), SINK], "in.key > k.api_key", "in.url > k.base_url",
                 "k.api_settings > go.settings")  # fmt: skip
    library.store("keys", keys, {"key": TEXT, "url": TEXT}, {"settings": OBJECT})
    ask = graph([GATE, node("a", "core:OpenAI", prompt="x")], "in.settings > a.api_settings")
    library.store("ask", ask, {"settings": OBJECT})
    library.store("ask2", graph([GATE, group("g", "ask")], "in.settings > g.settings"), {"settings": OBJECT})
    shown: list[str] = []
    temporal = await library.temporal()
    async with provider() as model, GatewayClient(library.stack.url) as client, asyncio.timeout(60):
        document = graph([group("k", "keys", key=TYPED, url=model.url), group("a", "ask2")], "k.settings > a.settings")
        id = await client.submit(document)
        shown += [json.dumps(event) async for event in client.events(id)]
        shown.append(json.dumps(await client.status(id)))
        for workflow in (id, f"{id}/k", f"{id}/a", f"{id}/a/g"):
            history = await temporal.get_workflow_handle(workflow).fetch_history()
            events = (event.SerializeToString() for event in history.events)
            shown += [text.decode("latin-1") for event in events for text in layers(event)]
    assert set(model.keys) == {TYPED}
    assert not [text for text in shown if found_in(text.encode("latin-1", "replace"))]


async def test_several_streams_into_one_slot_of_a_group(library: Library) -> None:
    """Collected one after the other; a value and a stream may both be joined where each has a slot of its own."""
    store_pass(library)
    inner = graph([GATE, node("j", "core:TextMerge", separator="|"), SINK], "in.s > j.text_inputs__0",
                  "j.merged_text > go.text")  # fmt: skip
    library.store("many_streams", inner, {"s": {**STREAM, "multi": True}}, {"text": TEXT})
    document = graph([node("a", "Words", count=2), node("b", "Words", count=3), group("g", "many_streams"),
                      group("p", "pass", s="typed"), node("t", "Take")],
                     "a.out > g.s__0", "b.out > g.s__1", "p.s > t.stream")  # fmt: skip
    _, status = await library.run(document)
    assert status["status"] == "complete", status
    assert status["nodeStatus"]["g"]["output"]["text"] == words(2) + words(3)
    assert status["nodeStatus"]["t"]["output"]["text"] == "typed"


async def test_nodes_inside_have_their_own_retries_and_limits(library: Library) -> None:
    slow = {**node("w", "Words", count=1000, delay=0.05), "timeoutSeconds": 0.4, "retry": {"maximumAttempts": 1}}
    library.store("slow", graph([slow]))
    library.store("stubborn", graph([node("w", "Words", count=3, fail_at=1, failures=2)]))
    document = graph([{**group("s", "slow"), "continueOnError": True}, group("r", "stubborn")])
    _, status = await library.run(document)
    assert status["status"] == "complete", status
    assert status["nodeStatus"]["s/w"]["error"]["code"] == "timeout"
    assert "0.4 s" in status["nodeStatus"]["s/w"]["error"]["message"]
    assert "s/w" in status["nodeStatus"]["s"]["error"]["message"]
    assert status["nodeStatus"]["r/w"]["attempts"] == 3
