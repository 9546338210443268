"""Control nodes on the real server: what decides, what waits, and what people and events say to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from innkeeper.nodes.errors import NodeError
from innkeeper.nodes.library.io import group_input, group_output, node_group
from innkeeper.nodes.node import NodeContext
from innkeeper.workflows.compiler.compile import compile_document
from innkeeper.workflows.document.model import WorkflowDocument
from innkeeper.workflows.engine import activation, event_sink
from innkeeper.workflows.plan import RunPlan
from tests.workflows.engine.control_toys import TYPES
from tests.workflows.toy_graphs import document, node
from tests.workflows.toys import CACHES, Toys, ToyWorker, toy_worker, until_called

CORE = {
    item.full_type: item
    for item in (
        *TYPES,
        *(
            definition.with_origin("core", None)
            for definition in (group_input.definition, group_output.definition, node_group.definition)
        ),
    )
}
REFERENCE = "referencedWorkflowId"
FORM = [{"key": "text", "dataFlowType": "STRING"}]
Json = dict[str, Any]
Handle = WorkflowHandle[Any, Json]


class Catalogue:
    """The control nodes and the toys."""

    def __init__(self, toys: Toys) -> None:
        self._toys = toys

    def get_node(self, full_type: str) -> Any:
        return self._toys.get_node(full_type) or CORE.get(full_type)

    def get_definitions(self) -> list[Any]:
        return [*self._toys.definitions.values(), *CORE.values()]


class Bench:
    def __init__(self, worker: ToyWorker, toys: Toys, client: Client) -> None:
        self.worker = worker
        self.toys = toys
        self.client = client
        self.library: dict[str, WorkflowDocument] = {}

    def compile(self, nodes: list[Json], *edges: str, **more: Any) -> RunPlan:
        found = compile_document(
            document(nodes, *edges, **more), Catalogue(self.toys), self.library.get, secret_id=lambda text: text
        )
        return found.plan

    async def start(self, nodes: list[Json], *edges: str, **more: Any) -> Handle:
        plan = self.compile(nodes, *edges, **more)
        return await self.worker.start(*plan.nodes, groups=plan.groups, interface_outputs=plan.interface_outputs)

    async def run(self, nodes: list[Json], *edges: str) -> Json:
        return await (await self.start(nodes, *edges)).result()


@pytest.fixture
def toys() -> Toys:
    return Toys()


@pytest.fixture(params=CACHES)
async def bench(temporal: Client, toys: Toys, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with toy_worker(temporal, toys, tmp_path, cached=request.param) as worker:
        yield Bench(worker, toys, temporal)


@pytest.fixture
def told() -> Iterator[list[tuple[str, str, Json]]]:
    """What the interpreter says: path, type, payload."""
    heard: list[tuple[str, str, Json]] = []

    class Listening:
        def fact(self, run: str, path: str, type: str, payload: Json) -> None:
            heard.append((path, type, payload))

    event_sink.install_event_sink(Listening())
    with contextlib.ExitStack() as stack:
        stack.callback(event_sink.install_event_sink, None)
        yield heard


@contextlib.contextmanager
def history_lengths() -> Iterator[list[tuple[str, int]]]:
    """What is told of a node, each with the events that the history has by then."""
    found: list[tuple[str, int]] = []

    class Measuring:
        def fact(self, run: str, path: str, type: str, payload: Json) -> None:
            if not workflow.unsafe.is_replaying():
                found.append((type, workflow.info().get_current_history_length()))

    event_sink.install_event_sink(Measuring())
    try:
        yield found
    finally:
        event_sink.install_event_sink(None)


def wait(id: str, kind: str, inputs: Json | None = None, **config: Any) -> Json:
    return node(id, f"core:{kind}", inputs, configValues=config)


def echo(id: str, **more: Any) -> Json:
    return node(id, "echo", **more)


async def until_waiting(handle: Handle, count: int = 1) -> Json:
    """The node table, as soon as so many nodes wait."""
    async with asyncio.timeout(30):
        while True:
            page: Json = await handle.query("status")
            if page["counts"].get("waiting", 0) >= count:
                return dict(page["nodes"])
            await asyncio.sleep(0.03)


async def answer(handle: Handle, approval: str, approved: bool = True, **more: Any) -> Json:
    said: Json = {"approved": approved, **more}
    kept: Json = await handle.execute_update("answer", args=[approval, said], result_type=dict)
    return kept


async def refusal(handle: Handle, approval: str, said: Any) -> str | None:
    with pytest.raises(WorkflowUpdateFailedError) as raised:
        await handle.execute_update("answer", args=[approval, said])
    assert isinstance(raised.value.cause, ApplicationError)
    return raised.value.cause.type


def ends(result: Json) -> dict[str, str]:
    return {path: entry["status"] for path, entry in result["nodes"].items()}


def output(result: Json, path: str) -> Any:
    return result["nodes"][path].get("output")


# --- what decides ---------------------------------------------------------------------------------------------------


async def test_a_diamond_over_a_branch(bench: Bench) -> None:
    result = await bench.run(
        [node("b", "core:Branch", {"condition": True, "value": 5}), echo("t"), echo("f"), node("m", "core:Merge")],
        "b.true > t.value", "b.false > f.value", "t.out > m.values", "f.out > m.values",
    )  # fmt: skip
    assert result["status"] == "complete"
    assert ends(result) == {"b": "complete", "t": "complete", "f": "skipped", "m": "complete"}
    assert output(result, "m") == {"value": 5}
    assert result["nodes"]["f"]["reason"] == "branch_not_taken"
    assert bench.toys.calls == ["t"]


async def test_large_values_decide_and_go_on_by_reference(bench: Bench) -> None:
    async def big(inputs: Json, context: NodeContext) -> Json:
        return {"out": "please help " * 1_000}

    bench.toys.add("big", big)
    cases = ["x", {"operator": "contains", "value": "help"}]
    result = await bench.run(
        [node("a", "big"), node("b", "core:Branch"), node("s", "core:Switch", configValues={"cases": cases})],
        "a.out > b.condition", "a.out > b.value", "b.true > s.value",
    )  # fmt: skip
    reference = output(result, "a")["out"]
    assert "$blob" in reference
    assert output(result, "s") == {"case_1": reference}


async def test_a_failure_that_is_handled_does_not_fail_the_run(bench: Bench) -> None:
    result = await bench.run(
        [node("x", "fail"), echo("next"), echo("help"), node("m", "core:Merge")],
        "x.out > next.value", "x.$error > help.value", "next.out > m.values", "help.out > m.values",
    )  # fmt: skip
    assert result["status"] == "complete"
    assert ends(result) == {"x": "error", "next": "skipped", "help": "complete", "m": "complete"}
    error = output(result, "m")["value"]
    assert (error["message"], error["code"], error["nodeId"]) == ("no luck", "node_failed", "x")


async def test_a_wait_that_cannot_begin_fails_its_node_alone(bench: Bench) -> None:
    result = await bench.run(
        [echo("a"), wait("d", "Delay"), wait("u", "WaitUntil"), wait("e", "WaitForEvent", name="x"), echo("help")],
        "a.out > d.seconds", "a.out > u.time", "a.out > e.filter", "u.$error > help.value",
    )  # fmt: skip
    assert result["status"] == "error"
    codes = {name: result["nodes"][name]["error"]["code"] for name in ("d", "u", "e")}
    assert codes == dict.fromkeys("due", "invalid_input")
    assert ends(result)["help"] == "complete"
    assert "'time' must be a moment" in output(result, "help")["out"]["message"]


# --- timers ---------------------------------------------------------------------------------------------------------


async def test_timers_end_when_they_should(bench: Bench, told: list[tuple[str, str, Json]]) -> None:
    begun = time.monotonic()
    soon = (datetime.now(UTC) + timedelta(seconds=0.6)).isoformat()
    result = await bench.run(
        [
            wait("zero", "Delay", {"seconds": 0, "value": "z"}),
            wait("short", "Delay", {"seconds": 0.4, "value": [1]}),
            wait("past", "WaitUntil", {"time": "2001-01-01", "value": 1}),
            wait("soon", "WaitUntil", {"time": soon}),
            echo("after"),
        ],
        "short.value > after.value",
    )
    assert time.monotonic() - begun >= 0.55
    assert result["counts"] == {"complete": 5}
    assert output(result, "zero") == {"value": "z"}
    assert output(result, "after") == {"out": [1]}
    assert sorted(path for path, kind, _ in told if kind == "NODE_WAITING") == ["past", "short", "soon", "zero"]


async def test_a_moment_that_passed_while_nobody_worked_ends_at_once(
    temporal: Client, toys: Toys, tmp_path: Path
) -> None:
    async with toy_worker(temporal, toys, tmp_path) as worker:
        bench = Bench(worker, toys, temporal)
        handle = await bench.start([wait("d", "Delay", {"seconds": 0.5, "value": 1}), wait("a", "Approval")])
        await until_waiting(handle, 2)
    await asyncio.sleep(0.6)
    async with ToyWorker(temporal, toys, tmp_path, queue=worker.queue).worker:
        await answer(handle, "a")
        result = await handle.result()
    assert result["counts"] == {"complete": 2}


# --- approvals ------------------------------------------------------------------------------------------------------


async def test_approvals_are_answered_each_once(bench: Bench, told: list[tuple[str, str, Json]]) -> None:
    names = [f"a{index}" for index in range(4)]
    handle = await bench.start(
        [*(wait(name, "Approval", {"data": name}, form=FORM) for name in names), echo("yes"), echo("no"), echo("late")],
        "a0.approved > yes.value", "a1.rejected > no.value", "a0.timeout > late.value",
    )  # fmt: skip
    table = await until_waiting(handle, 4)
    assert table["a0"]["wait"]["form"] == FORM
    assert await refusal(handle, "a0", {"approved": "yes"}) == "invalid_answer"
    assert await refusal(handle, "a0", ["approved"]) == "invalid_answer"
    assert await refusal(handle, "a0", {"approved": True, "values": {"text": 5}}) == "invalid_answer"
    assert await refusal(handle, "yes", {"approved": True}) == "approval_not_found"
    assert await answer(handle, "a0", comment="good", by="me") == {
        "approved": True, "values": {}, "comment": "good", "by": "me",
    }  # fmt: skip
    assert await refusal(handle, "a0", {"approved": False}) == "approval_answered"
    await asyncio.gather(*(answer(handle, name, approved=False) for name in names[1:]))
    result = await handle.result()
    assert result["status"] == "complete"
    assert ends(result) == {**dict.fromkeys([*names, "yes", "no"], "complete"), "late": "skipped"}
    assert result["nodes"]["late"]["reason"] == "not_chosen"
    assert output(result, "yes") == {"out": "a0"}
    assert output(result, "a1") == {"rejected": "a1", "answer": {"approved": False, "values": {}}}
    kinds = [(path, kind) for path, kind, _ in told if kind.startswith("APPROVAL")]
    assert sorted(kinds) == [(name, f"APPROVAL_{what}") for name in names for what in ("ANSWERED", "REQUIRED")]


async def test_edited_values_come_out(bench: Bench) -> None:
    async def big(inputs: Json, context: NodeContext) -> Json:
        return {"out": {"text": "old", "rest": "r" * 10_000}}

    bench.toys.add("big", big)
    form = [*FORM, {"key": "data", "dataFlowType": "WILDCARD"}]
    handle = await bench.start(
        [
            wait("object", "Approval", {"data": {"text": "old", "kept": 1}}, form=form),
            wait("whole", "Approval", {"data": "old"}, form=form),
            wait("beside", "Approval", {"data": "old"}, form=form),
            wait("marked", "Approval", {"data": {}}, form=form),
            node("b", "big"), wait("stored", "Approval", form=form), echo("look"), echo("mark"),
        ],
        "b.out > stored.data", "stored.approved > look.value", "marked.approved > mark.value",
    )  # fmt: skip
    await until_waiting(handle, 5)
    mark = {"$blob": "0" * 64}
    for name in ("object", "beside", "stored"):
        await answer(handle, name, values={"text": "new"})
    await answer(handle, "whole", values={"data": "new"})
    await answer(handle, "marked", values={"data": mark})
    result = await handle.result()
    assert result["status"] == "complete", result
    assert output(result, "object")["approved"] == {"text": "new", "kept": 1}
    assert output(result, "whole")["approved"] == "new"
    assert output(result, "beside")["approved"] == {"data": "old", "text": "new"}
    assert await bench.worker.values.resolve(output(result, "look")["out"]) == {"text": "new", "rest": "r" * 10_000}
    # What somebody typed is never taken for one of our own references.
    assert await bench.worker.values.resolve(output(result, "mark")["out"]) == {"data": mark}


async def test_nobody_answers_in_time(bench: Bench) -> None:
    result = await bench.run(
        [wait("a", "Approval", {"data": 1}, timeoutSeconds=0.3), echo("yes"), echo("late"), echo("no"),
         wait("e", "WaitForEvent", name="x", timeoutSeconds=0.3)],
        "a.approved > yes.value", "a.timeout > late.value", "e.data > no.value",
    )  # fmt: skip
    assert ends(result) == {"a": "complete", "e": "complete", "yes": "skipped", "late": "complete", "no": "skipped"}
    assert result["nodes"]["yes"]["reason"] == "timed_out"
    assert (output(result, "late"), output(result, "e")) == ({"out": 1}, {"timeout": True})


async def test_waits_inside_a_group(bench: Bench) -> None:
    bench.library["inner"] = document(
        [wait("ask", "Approval"), wait("on", "WaitForEvent", name="go"), node("out", "core:GroupOutput")],
        "ask.approved > out.line", "on.data > out.event",
        id="inner",
        interfaceOutputs={key: {"key": key, "dataFlowType": "WILDCARD"} for key in ("line", "event")},
        outputInterfaceMappings={
            "line": {"sourceNodeId": "ask", "sourceSlotKey": "approved"},
            "event": {"sourceNodeId": "on", "sourceSlotKey": "data"},
        },
    )  # fmt: skip
    handle = await bench.start([node("g", "core:NodeGroup", configValues={"referencedWorkflowId": "inner"})])
    child = bench.client.get_workflow_handle(f"{handle.id}/g", result_type=dict)
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(Exception):
                await until_waiting(child, 2)
                break
            await asyncio.sleep(0.05)
    assert await refusal(handle, "g/ask", {"approved": True}) == "approval_not_found"
    await handle.signal("event", args=["go", {"n": 1}])
    await answer(child, "g/ask", values=None)
    result = await handle.result()
    assert result["status"] == "complete"
    assert output(result, "g") == {"line": None, "event": {"n": 1}}
    assert ends(result)["g/ask"] == "complete"


async def test_waits_that_lost_against_another_end_at_once(bench: Bench, told: list[tuple[str, str, Json]]) -> None:
    """Begun or not, with a time limit or without, and with a node between them and the join."""
    nodes = [
        wait("fast", "Delay", {"seconds": 0.5, "value": 1}),
        wait("ask", "Approval"),
        wait("slow", "Delay", {"seconds": 3_600}),
        wait("on", "WaitForEvent", name="never", timeoutSeconds=3_600),
        wait("behind", "Approval"),
        echo("between"),
        node("m", "core:Merge"),
        echo("z"),
    ]
    handle = await bench.start(
        nodes,
        "fast.value > m.values", "ask.approved > between.value", "between.out > m.values", "slow.value > m.values",
        "on.data > behind.data", "behind.approved > m.values", "m.value > z.value",
    )  # fmt: skip
    async with asyncio.timeout(20):
        result = await handle.result()
    lost = ("ask", "slow", "on", "behind", "between")
    assert ends(result) == {**dict.fromkeys(("fast", "m", "z"), "complete"), **dict.fromkeys(lost, "skipped")}
    assert {result["nodes"][name]["reason"] for name in lost} == {"not_needed"}
    assert {path for path, kind, _ in told if kind == "NODE_SKIPPED"} == set(lost)
    assert output(result, "z") == {"out": 1}


async def test_nobody_is_asked_any_more_for_what_is_not_needed(bench: Bench) -> None:
    nodes = [wait("a", "Approval"), wait("b", "Approval"), node("m", "core:Merge"), wait("last", "Approval")]
    handle = await bench.start(nodes, "a.approved > m.values", "b.approved > m.values")
    await until_waiting(handle, 3)
    await answer(handle, "a")
    async with asyncio.timeout(20):
        while (await handle.query("status"))["nodes"]["b"]["status"] != "skipped":
            await asyncio.sleep(0.02)
    assert await refusal(handle, "b", {"approved": True}) == "approval_not_found"
    await answer(handle, "last")
    assert (await handle.result())["counts"] == {"complete": 3, "skipped": 1}


@pytest.mark.parametrize("size", [1, 9_000], ids=["inline", "stored"])
async def test_an_approval_with_required_fields_is_approved_as_it_is(bench: Bench, size: int) -> None:
    async def gives(inputs: Json, context: NodeContext) -> Json:
        return {"out": {"text": "x" * size} if context.node_id == "a" else inputs["value"]}

    bench.toys.add("echo", gives)
    form = [
        {"key": "text", "dataFlowType": "STRING", "required": True},
        {"key": "tone", "dataFlowType": "STRING", "required": True, "config": {"default": "calm"}},
        {"key": "missing", "dataFlowType": "STRING", "required": True},
    ]
    handle = await bench.start(
        [echo("a"), wait("w", "Approval", form=form), echo("z")],
        "a.out > w.data", "w.approved > z.value",
    )  # fmt: skip
    await until_waiting(handle)
    assert await refusal(handle, "w", {"approved": True}) == "invalid_answer"
    await answer(handle, "w", values={"missing": "here"})
    approved = await bench.worker.values.resolve(output(await handle.result(), "z")["out"])
    assert approved == {"text": "x" * size, "tone": "calm", "missing": "here"}


async def test_the_longest_ids_run_as_activity_segment_and_group(bench: Bench) -> None:
    long = "雪" * 265
    bench.library["inner"] = document([echo("e")], id="inner")
    nodes = [echo(f"{long}a"), echo(f"{long}b"), node(f"{long}g", "core:NodeGroup", configValues={REFERENCE: "inner"})]
    plan = bench.compile(nodes)
    nodes_ = [replace(item, placement="inline") if item.id.endswith("b") else item for item in plan.nodes]
    async with asyncio.timeout(30):
        result = await (await bench.worker.start(*nodes_, groups=plan.groups)).result()
    assert result["counts"] == {"complete": 4}


async def test_signals_reach_many_groups_in_one_workflow_task(bench: Bench) -> None:
    bench.library["inner"] = document([wait("on", "WaitForEvent", name="go")], id="inner")
    groups = [node(f"g{index}", "core:NodeGroup", configValues={"referencedWorkflowId": "inner"}) for index in range(9)]
    handle = await bench.start(groups)
    for index in range(9):
        child = bench.client.get_workflow_handle(f"{handle.id}/g{index}", result_type=dict)
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(RPCError):
                    await until_waiting(child)
                    break
                await asyncio.sleep(0.05)
    await handle.signal("event", args=["go", {"n": 1}])
    result = await handle.result()
    assert result["counts"] == {"complete": 18}
    sent = [
        event.signal_external_workflow_execution_initiated_event_attributes.workflow_task_completed_event_id
        for event in (await handle.fetch_history()).events
        if event.HasField("signal_external_workflow_execution_initiated_event_attributes")
    ]
    assert len(sent) == 9
    assert len(set(sent)) == 1


async def test_a_groups_failure_can_be_handled(bench: Bench) -> None:
    nodes = [node("x", "fail"), node("y", "fail"), echo("h")]
    bench.library["inner"] = document(nodes, "x.$error > h.value", id="inner")
    result = await bench.run(
        [node("g", "core:NodeGroup", configValues={"referencedWorkflowId": "inner"}), echo("help")],
        "g.$error > help.value",
    )
    assert result["status"] == "complete"
    assert ends(result) == {"g": "error", "g/x": "error", "g/y": "error", "g/h": "complete", "help": "complete"}
    # What was handled inside is not why the group failed.
    assert output(result, "help")["out"]["message"].startswith("node 'g/y': ")


# --- events ---------------------------------------------------------------------------------------------------------


async def test_events_reach_who_waits_for_them(bench: Bench) -> None:
    paid = {"operator": "greater", "value": 10}
    handle = await bench.start(
        [
            wait("any", "WaitForEvent", name="paid"),
            wait("one", "WaitForEvent", name="paid", filter={"id": 7, "sum": paid}),
            wait("other", "WaitForEvent", name="sent"),
            wait("next", "WaitForEvent", name="sent"),
        ],
        "other.data > next.filter",
    )
    await until_waiting(handle, 3)
    for data in ({"id": 7, "sum": 3}, "odd", {"id": 7, "sum": "12"}, {"id": 7, "sum": 99}):
        await handle.signal("event", args=["paid", data])
    await handle.signal("event", args=["sent", {"n": 1}])
    # Posted before the wait begins an event is gone: only the one after that counts.
    table = await until_waiting(handle, 1)
    while table["next"].get("status") != "waiting":
        table = await until_waiting(handle, 1)
    await handle.signal("event", args=["sent", {"n": 1, "more": True}])
    result = await handle.result()
    given = {name: output(result, name)["data"] for name in ("any", "one", "other", "next")}
    assert given == {
        "any": {"id": 7, "sum": 3},
        "one": {"id": 7, "sum": "12"},
        "other": {"n": 1},
        "next": {"n": 1, "more": True},
    }


# --- waits are state ------------------------------------------------------------------------------------------------


async def test_waits_outlive_their_history(
    bench: Bench, told: list[tuple[str, str, Json]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activation, "DRAIN_EVENTS", 30)
    chain = [echo(f"c{index}") for index in range(12)]
    handle = await bench.start(
        [
            wait("early", "Approval", form=FORM), wait("ask", "Approval", {"data": {"text": "old"}}, form=FORM),
            wait("on", "WaitForEvent", name="go"), wait("d", "Delay", {"seconds": 1.5}),
            wait("long", "Delay", {"seconds": 1e6}), *chain,
        ],
        *(f"c{index}.out > c{index + 1}.value" for index in range(11)),
    )  # fmt: skip
    before = await until_waiting(handle, 4)
    await answer(handle, "early")
    await until_called(bench.toys, "c11")
    assert (await handle.describe()).run_id != handle.first_execution_run_id
    after = await until_waiting(handle, 3)
    for name in ("ask", "on", "long"):
        assert after[name]["wait"] == before[name]["wait"]
        assert after[name]["startedAt"] == before[name]["startedAt"]
    assert await refusal(handle, "early", {"approved": True}) == "approval_answered"
    assert await refusal(handle, "ask", {"approved": True, "values": {"text": 1}}) == "invalid_answer"
    await answer(handle, "ask", values={"text": "new"})
    await handle.signal("event", args=["go", 1])
    async with asyncio.timeout(30):
        while (await handle.query("status"))["counts"] != {"complete": 16, "waiting": 1}:
            await asyncio.sleep(0.03)
    await handle.cancel()
    result = await handle.result()
    assert result["counts"] == {"complete": 16, "interrupted": 1}
    assert output(result, "ask")["approved"] == {"text": "new"}
    lasted = [datetime.fromisoformat(result["nodes"]["d"][key]) for key in ("startedAt", "endedAt")]
    assert (lasted[1] - lasted[0]).total_seconds() >= 1.4
    kinds = ("NODE_WAITING", "APPROVAL_REQUIRED", "APPROVAL_ANSWERED")
    # A workflow task that the server refuses, since something has come meanwhile, is done anew and tells all of it
    # again: the log drops what it has. It must be the same.
    said = {(path, kind, json.dumps(payload)) for path, kind, payload in told if kind in kinds}
    assert len(said) == 7


async def test_an_event_that_is_sent_again_is_received_once_also_in_a_new_history(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activation, "DRAIN_EVENTS", 30)
    handle = await bench.start(
        [
            wait("first", "WaitForEvent", name="go"),
            *(echo(f"c{index}") for index in range(12)),
            wait("last", "WaitForEvent", name="go"),
        ],
        "first.data > c0.value",
        *(f"c{index}.out > c{index + 1}.value" for index in range(11)),
        "c11.out > last.filter",
    )
    await until_waiting(handle, 1)
    await handle.signal("event", args=["go", {"n": 1}, "one"])
    async with asyncio.timeout(30):
        while (await handle.query("status"))["nodes"].get("last", {}).get("status") != "waiting":
            await asyncio.sleep(0.03)
    assert (await handle.describe()).run_id != handle.first_execution_run_id
    await handle.signal("event", args=["go", {"n": 1}, "one"])
    await handle.signal("event", args=["go", {"n": 1, "more": 2}, "two"])
    result = await handle.result()
    assert output(result, "last")["data"] == {"n": 1, "more": 2}


class Gate:
    """Holds back whatever the worker stores, so that a history stays between its end and the next one."""

    def __init__(self, worker: ToyWorker, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.open = asyncio.Event(), asyncio.Event()
        store = worker.values.store

        async def held(data: bytes, mime: str, preview: str) -> Json:
            self.reached.set()
            await self.open.wait()
            return await store(data, mime, preview)

        monkeypatch.setattr(worker.values, "store", held)


async def draining(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> tuple[Handle, Gate]:
    """A run with one approval whose history is just being ended."""
    monkeypatch.setattr(activation, "DRAIN_EVENTS", 15)
    handle = await bench.start(
        [wait("ask", "Approval", {"data": 1}), *(echo(f"c{index}") for index in range(5))],
        *(f"c{index}.out > c{index + 1}.value" for index in range(4)),
    )
    gate = Gate(bench.worker, monkeypatch)
    async with asyncio.timeout(30):
        await gate.reached.wait()
    return handle, gate


async def test_an_answer_between_two_histories_counts(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    handle, gate = await draining(bench, monkeypatch)
    await answer(handle, "ask", comment="just in time")
    gate.open.set()
    result = await handle.result()
    assert result["counts"] == {"complete": 6}
    assert output(result, "ask")["answer"]["comment"] == "just in time"


async def test_an_interruption_between_two_histories_counts(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    handle, gate = await draining(bench, monkeypatch)
    await handle.cancel()
    await asyncio.sleep(0.2)
    gate.open.set()
    async with asyncio.timeout(30):
        result = await handle.result()
    assert result["status"] == "interrupted"
    assert ends(result)["ask"] == "interrupted"


async def test_an_answer_that_comes_first_in_a_new_history_counts(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, resolve = asyncio.Event(), bench.worker.values.resolve

    async def held(value: Any) -> Any:
        if "$blob" in str(value):
            await told.wait()
        return await resolve(value)

    monkeypatch.setattr(activation, "DRAIN_EVENTS", 15)
    handle = await bench.start(
        [wait("ask", "Approval", {"data": 1}), *(echo(f"c{index}") for index in range(5))],
        *(f"c{index}.out > c{index + 1}.value" for index in range(4)),
    )
    monkeypatch.setattr(bench.worker.values, "resolve", held)
    async with asyncio.timeout(30):
        while (await handle.describe()).run_id == handle.first_execution_run_id:
            await asyncio.sleep(0.02)
    saying = asyncio.create_task(answer(handle, "ask"))
    await asyncio.sleep(0.3)
    assert not saying.done()
    told.set()
    assert (await saying)["approved"]
    assert (await handle.result())["counts"] == {"complete": 6}


async def test_many_waits_keep_nothing_else_from_running(bench: Bench) -> None:
    handle = await bench.start([*(wait(f"a{index}", "Approval") for index in range(600)), *map(echo, "xyz")])
    for name in "xyz":
        await until_called(bench.toys, name)
    await until_waiting(handle, 600)
    await answer(handle, "a599")
    await handle.cancel()
    result = await handle.result()
    assert result["counts"] == {"complete": 4, "interrupted": 599}


async def test_an_interruption_ends_all_waits(bench: Bench) -> None:
    handle = await bench.start(
        [wait("a", "Approval"), wait("d", "Delay", {"seconds": 1e6}), wait("e", "WaitForEvent", name="x"), echo("z")],
        "a.approved > z.value",
    )
    await until_waiting(handle, 3)
    await handle.cancel()
    result = await handle.result()
    assert result["status"] == "interrupted"
    assert ends(result) == dict.fromkeys("adez", "interrupted")
    assert all("wait" not in entry for entry in result["nodes"].values())


async def test_a_retried_failure_is_handled_only_at_its_end(bench: Bench) -> None:
    async def flaky(inputs: Json, context: NodeContext) -> Json:
        bench.toys.calls.append(context.node_id)
        raise NodeError("not yet", retryable=True)

    bench.toys.add("flaky", flaky)
    retry = {"maximumAttempts": 2, "initialSeconds": 0.05}
    result = await bench.run([node("x", "flaky", retry=retry), echo("h")], "x.$error > h.value")
    assert bench.toys.calls == ["x", "x", "h"]
    assert result["status"] == "complete"


async def test_what_is_said_in_the_task_in_which_a_wait_begins_counts(
    temporal: Client, toys: Toys, tmp_path: Path
) -> None:
    # As when a worker dies with a task that it has told of already: the next one finds question and answer together.
    worker = ToyWorker(temporal, toys, tmp_path)
    bench = Bench(worker, toys, temporal)
    handle = await bench.start([wait("ask", "Approval"), wait("on", "WaitForEvent", name="go")])
    await handle.signal("event", args=["go", 1])
    saying = asyncio.create_task(answer(handle, "ask"))
    await asyncio.sleep(0.3)
    async with worker.worker, asyncio.timeout(30):
        assert (await saying)["approved"]
        assert (await handle.result())["counts"] == {"complete": 2}


async def test_answer_is_told_only_when_the_server_has_kept_it(bench: Bench) -> None:
    """A worker that dies before takes it along: what viewers had seen of it would not be what counts."""
    with history_lengths() as told:
        handle = await bench.start([wait("ask", "Approval", {"data": "x"}), echo("e")], "ask.approved > e.value")
        await until_waiting(handle)
        await answer(handle, "ask")
        await handle.result()
    accepted = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED
    (kept,) = [event.event_id for event in (await handle.fetch_history()).events if event.event_type == accepted]
    ends = [(type, length) for type, length in told if type in ("APPROVAL_ANSWERED", "NODE_COMPLETE")]
    assert {type for type, _ in ends} == {"APPROVAL_ANSWERED", "NODE_COMPLETE"}
    assert min(length for _, length in ends) > kept
