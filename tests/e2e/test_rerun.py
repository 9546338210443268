"""Reruns, previews and the result cache on the real stack: what was finished is never executed again."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack
from tests.e2e.test_streams import Json, graph, words

INTERFACE = {"in": {"key": "in", "dataFlowType": "STRING", "config": {"default": "x"}}}


@dataclass
class Bench:
    """A stack, and a file in which nodes count their executions."""

    stack: LocalStack
    folder: Path
    file: Path
    _seen: int = field(default=0)

    def counted(self, id: str, type: str = "Plain", **inputs: Any) -> Json:
        cache = {"cache": inputs.pop("cache")} if "cache" in inputs else {}
        name = type if ":" in type else f"rerun-nodes:{type}"
        return {"id": id, "fullType": name, "inputs": {"file": str(self.file), **inputs}, **cache}

    def chain(self, *nodes: Json, **more: Any) -> Json:
        ids = [item["id"] for item in nodes]
        return graph(list(nodes), *(f"{a}.text > {b}.text" for a, b in itertools.pairwise(ids)), **more)

    def group(self, id: str, *inside: Json) -> Json:
        """A node that runs a chain, which is stored for it."""
        last = inside[-1]["id"]
        slots = {"out": {"key": "out", "dataFlowType": "STRING"}}
        maps = {"out": {"sourceNodeId": last, "sourceSlotKey": "text"}}
        document = self.chain(*inside, interfaceOutputs=slots, outputInterfaceMappings=maps)
        workflow = "-".join(item["fullType"].partition(":")[2] for item in inside)
        library = self.folder / "shared/library/workflows"
        library.mkdir(parents=True, exist_ok=True)
        named = [{**item, "type": item["fullType"]} for item in document["nodes"]]
        (library / f"{workflow}.json").write_text(json.dumps({**document, "nodes": named, "id": workflow}))
        return {"id": id, "fullType": "core:NodeGroup", "configValues": {"referencedWorkflowId": workflow}}

    def executed(self) -> list[str]:
        """Which nodes ran since this was asked last."""
        lines = self.file.read_text().split() if self.file.exists() else []
        new, self._seen = lines[self._seen :], len(lines)
        return new

    async def submit(self, body: Json) -> Json:
        """The answer to a submission, after the run has ended, with the full status in it."""
        async with GatewayClient(self.stack.url) as client, asyncio.timeout(60):
            answer: Json = await client._transport.call("POST", "/api/prompt", json={**body, "wait": 25})
            return answer


@pytest.fixture
def bench(shared: tuple[LocalStack, Path], tmp_path: Path) -> Bench:
    return Bench(*shared, tmp_path / "executed")


def states(status: Json) -> dict[str, str]:
    def word(entry: Json) -> str:
        mark = next((mark for mark in ("stale", "reused", "cached") if entry.get(mark)), None)
        return mark or entry.get("reason") or entry["status"]

    return {path: word(entry) for path, entry in status["nodeStatus"].items()}


# --- reruns -------------------------------------------------------------------------------------------------------


async def test_after_a_fix_only_what_failed_and_what_is_behind_it_runs(bench: Bench) -> None:
    broken = bench.counted("c", text="broken", times=2)
    parts = [bench.counted("a", text="A"), bench.counted("b", times=2000), broken, bench.counted("d")]
    edges = ("a.text > b.text", "b.text > d.text", "c.text > e.text", "d.text > f.text")
    last = [bench.counted("e"), bench.counted("f")]
    first = await bench.submit(graph([*parts, *last], *edges))
    assert first["status"] == "error"
    assert sorted(bench.executed()) == ["a", "b", "c", "d", "f"]
    broken["inputs"]["text"] = "fine"
    second = await bench.submit({**graph([*parts, *last], *edges), "baseRun": first["promptId"]})
    assert second["status"] == "complete"
    assert sorted(bench.executed()) == ["c", "e"]
    assert second["baseRun"] == first["promptId"]
    assert (sorted(second["reused"]), sorted(second["runs"])) == (["a", "b", "d", "f"], ["c", "e"])
    assert states(second)["b"] == "reused"
    text = second["nodeStatus"]["b"]["output"]["text"]
    assert text["url"].startswith(f"/api/prompt/{second['promptId']}/")  # a large value of the old run, here too
    async with GatewayClient(bench.stack.url) as client:
        assert await client.fetch(text) == "A.." * 2000
        events = [event async for event in client.events(second["promptId"])]
    told = [event["payload"]["nodeId"] for event in events if event["payload"].get("reused")]
    assert sorted(told) == ["a", "b", "d", "f"]
    executing = next(event["seq"] for event in events if event["type"] == "NODE_EXECUTING")
    assert all(event["seq"] < executing for event in events if event["payload"].get("reused"))
    # A rerun of the rerun: nothing is left to do.
    third = await bench.submit({"baseRun": second["promptId"]})
    assert (third["status"], third["runs"], bench.executed()) == ("complete", [], [])
    assert third["nodeStatus"]["e"]["output"] == second["nodeStatus"]["e"]["output"]


async def test_from_a_node_on_with_other_inputs_and_only_to_a_target(bench: Bench) -> None:
    nodes = [{"id": "in", "fullType": "core:GroupInput"}, *(bench.counted(name) for name in "abcd")]
    wires = ("in.in > b.text", "a.text > c.text", "b.text > d.text")
    maps = {"out": {"sourceNodeId": "d", "sourceSlotKey": "text"}}
    slots = {"out": {"key": "out", "dataFlowType": "STRING"}}
    body = graph(nodes, *wires, interfaceInputs=INTERFACE, interfaceOutputs=slots, outputInterfaceMappings=maps)
    base = (await bench.submit(body))["promptId"]
    assert sorted(bench.executed()) == ["a", "b", "c", "d"]
    again = await bench.submit({"baseRun": base, "fromNode": "b"})
    assert (sorted(bench.executed()), again["outputs"]) == (["b", "d"], {"out": "x.."})
    other = await bench.submit({"baseRun": base, "inputs": {"in": "y"}})
    assert (sorted(bench.executed()), other["outputs"]) == (["b", "d"], {"out": "y.."})
    odd = await bench.submit({"baseRun": base, "inputs": {"nothing": 1}})
    assert [problem["code"] for problem in odd["warnings"]] == ["unknown_input"]
    part = await bench.submit({**body, "targets": ["c"]})
    assert sorted(bench.executed()) == ["a", "c"]
    assert states(part) == {
        "in": "not_targeted", "a": "complete", "c": "complete", "b": "not_targeted", "d": "not_targeted"
    }  # fmt: skip
    assert (part["status"], part["leftOut"]) == ("complete", ["in", "b", "d"])
    whole = await bench.submit({"baseRun": part["promptId"], "targets": "out"})
    assert (sorted(bench.executed()), whole["outputs"]) == (["b", "d"], {"out": "x.."})


async def test_running_and_interrupted_runs_are_bases_too(bench: Bench) -> None:
    slow = bench.counted("b", seconds=20)
    body = bench.chain(bench.counted("a", text="A"), slow, bench.counted("c"))
    async with GatewayClient(bench.stack.url) as client, asyncio.timeout(60):
        run = await client.submit(body)
        async for event in client.events(run):
            if event["type"] == "NODE_EXECUTING" and event["payload"]["nodeId"] == "b":
                break
        assert sorted(bench.executed()) == ["a", "b"]
        slow["inputs"]["seconds"] = 0
        second = await bench.submit({**body, "baseRun": run})
        assert (second["status"], bench.executed()) == ("complete", ["b", "c"])
        await client.cancel(run)
        await client.wait(run)
    third = await bench.submit({**body, "baseRun": run})
    assert (third["status"], bench.executed()) == ("complete", ["b", "c"])


async def test_streams_branches_and_groups_keep_their_ways(bench: Bench) -> None:
    group = bench.group("g", bench.counted("x"), bench.counted("y"))
    branch = {"id": "if", "fullType": "core:Branch", "inputs": {"condition": False}}
    nodes = [group, branch, bench.counted("yes"), bench.counted("no"), bench.counted("end", text="broken"),
             {"id": "s", "fullType": "stream-nodes:Words", "inputs": {"count": 5}},
             {"id": "r", "fullType": "stream-nodes:Take", "inputs": {}}]  # fmt: skip
    wires = ("g.out > if.value", "if.true > yes.text", "if.false > no.text", "s.out > r.stream")
    first = await bench.submit(graph(nodes, *wires))
    assert sorted(bench.executed()) == ["end", "g/x", "g/y", "no"]
    nodes[4]["inputs"]["text"] = "fine"
    late = bench.counted("late")
    second = await bench.submit({**graph([*nodes, late], *wires, "if.true > late.text"), "baseRun": first["promptId"]})
    assert (second["status"], bench.executed()) == ("complete", ["end"])
    assert states(second) == {
        "g": "reused", "g/x": "reused", "g/y": "reused", "if": "reused", "yes": "branch_not_taken", "no": "reused",
        "end": "complete", "s": "reused", "r": "reused", "late": "branch_not_taken",
    }  # fmt: skip
    assert second["nodeStatus"]["r"]["output"]["text"] == words(5)
    # Whoever reads a stream again needs its chunks again; a group is run whole.
    third = await bench.submit({"baseRun": second["promptId"], "fromNode": ["r", "g/y"]})
    assert sorted(bench.executed()) == ["g/x", "g/y", "no"]
    assert third["nodeStatus"]["r"]["output"]["text"] == words(5)
    assert (states(third)["s"], states(third)["end"]) == ("complete", "reused")


# --- previews -----------------------------------------------------------------------------------------------------


async def test_preview_executes_no_node_with_side_effects(bench: Bench) -> None:
    nodes = [bench.counted("a", text="A"), bench.counted("paid", "Paid"), bench.counted("b"), bench.counted("c"),
             bench.group("g", bench.counted("x"), bench.counted("y", "Paid"))]  # fmt: skip
    ask = {"id": "ask", "fullType": "core:Approval", "inputs": {}}
    wires = ("a.text > paid.text", "paid.text > b.text", "a.text > ask.data")
    base = (await bench.submit(graph(nodes, *wires)))["promptId"]
    assert sorted(bench.executed()) == ["a", "b", "c", "g/x", "g/y", "paid"]
    nodes[0]["inputs"]["text"] = "B"
    changed = {**graph([*nodes, ask], *wires), "baseRun": base, "preview": True, "changed": ["a", "g"]}
    seen = await bench.submit(changed)
    assert sorted(bench.executed()) == ["a", "b"]
    assert (seen["status"], seen["isPreview"], sorted(seen["stale"])) == ("complete", True, ["g", "paid"])
    assert states(seen) == {
        "a": "complete", "paid": "stale", "b": "complete", "c": "reused", "ask": "preview", "g": "stale",
        "g/x": "reused", "g/y": "reused",
    }  # fmt: skip
    assert seen["nodeStatus"]["paid"]["output"] == {"text": "A.."}
    async with GatewayClient(bench.stack.url) as client:
        listed = [run["promptId"] for run in await client.history()]
        every = (await client._transport.call("GET", "/api/history", params={"previews": "true"}))["history"]
    assert seen["promptId"] not in listed
    assert seen["promptId"] in [run["promptId"] for run in every]
    # As a base it offers what it computed, never what it only showed.
    real = await bench.submit({**graph(nodes, *wires), "baseRun": seen["promptId"]})
    assert (real["status"], sorted(bench.executed())) == ("complete", ["b", "g/x", "g/y", "paid"])


# --- the result cache ---------------------------------------------------------------------------------------------


async def test_result_of_a_deterministic_node_serves_the_next_run(bench: Bench) -> None:
    nodes = [bench.counted("a", "Sure", text="A"), bench.counted("b", "Sure", times=3000), bench.counted("c", "Sure")]
    await bench.submit(bench.chain(*nodes))
    assert bench.executed() == ["a", "b", "c"]
    # Other ids, the same question: even of the large value only the reference is compared.
    again = await bench.submit(bench.chain(*({**item, "id": f"x{item['id']}"} for item in nodes)))
    assert bench.executed() == []
    assert states(again) == {"xa": "cached", "xb": "cached", "xc": "cached"}
    async with GatewayClient(bench.stack.url) as client:
        events = [event async for event in client.events(again["promptId"])]
    assert [event["type"] for event in events if event["payload"].get("nodeId") == "xa"] == [
        "NODE_EXECUTING",
        "NODE_COMPLETE",
    ]
    await bench.submit({**bench.chain(*nodes), "noCache": True})
    assert bench.executed() == ["a", "b", "c"]
    await bench.submit(bench.chain(nodes[0], {**nodes[1], "cache": False}, nodes[2]))
    assert bench.executed() == ["b"]
    plain = [bench.counted("p", text="P", cache=True), bench.counted("q", text="Q")]
    await bench.submit(graph(plain))
    await bench.submit(graph(plain))
    assert sorted(bench.executed()) == ["p", "q", "q"]


async def test_template_that_picks_at_random_is_never_remembered(bench: Bench) -> None:
    template = "{% for _ in range(9) %}{{ range(10000) | random }} {% endfor %}"
    node = {"id": "t", "fullType": "core:Template", "inputs": {"template": template}}
    runs = [await bench.submit(graph([node])) for _ in range(2)]
    assert [states(run) for run in runs] == [{"t": "complete"}, {"t": "complete"}]
    assert len({run["nodeStatus"]["t"]["output"]["text"] for run in runs}) == 2


# --- crashes ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_rerun_survives_the_death_of_worker_and_gateway(bench: Bench) -> None:
    body = bench.chain(bench.counted("a"), bench.counted("b"), bench.counted("c", seconds=0.7))
    base = (await bench.submit(body))["promptId"]
    assert bench.executed() == ["a", "b", "c"]
    async with GatewayClient(bench.stack.url) as client, asyncio.timeout(60):
        answer = await client._transport.call("POST", "/api/prompt", json={"baseRun": base, "fromNode": "c"})
        seen = []
        async for event in client.events(answer["promptId"]):
            seen.append((event["type"], event["payload"].get("nodeId")))
            if seen.count(("NODE_EXECUTING", "c")) == 1 and event["type"] == "NODE_EXECUTING":
                pids = bench.stack.pids()
                for name in ("worker", "gateway"):
                    os.kill(next(pid for child, pid in pids.items() if child.startswith(name)), signal.SIGKILL)
        status = await client.status(answer["promptId"])
    assert status["status"] == "complete"
    assert set(bench.executed()) == {"c"}
    assert states(status) == {"a": "reused", "b": "reused", "c": "complete"}
    assert [seen.count(("NODE_COMPLETE", name)) for name in "abc"] == [1, 1, 1]
