"""Segments against the real server; each history is replayed afterwards. Events are off here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle

from innkeeper.activities.execution.segment_progress import SegmentProgress
from innkeeper.nodes.definition import Output
from innkeeper.nodes.errors import NodeError
from innkeeper.nodes.node import NodeContext
from innkeeper.workflows.engine import activation, segment_queue, segments
from innkeeper.workflows.plan import Feed, PlannedInput, PlannedNode
from tests.workflows.replaying import replay
from tests.workflows.toys import Toys, ToyWorker, node, toy_worker, until_called

Json = dict[str, Any]


@pytest.fixture
def toys() -> Toys:
    return Toys()


@pytest.fixture
async def worker(temporal: Client, toys: Toys, tmp_path: Path) -> AsyncIterator[ToyWorker]:
    async with toy_worker(temporal, toys, tmp_path) as started:
        yield started


def inline(id: str, type: str = "echo", /, *sources: str, **fields: Any) -> PlannedNode:
    return node(id, type, *sources, placement="inline", **fields)


def chain(count: int, type: str = "echo", /) -> list[PlannedNode]:
    return [inline("n0", type), *(inline(f"n{i}", type, f"n{i - 1}") for i in range(1, count))]


async def ended(handle: WorkflowHandle[Any, Json]) -> tuple[Json, Callable[[str], int]]:
    """The result, and how many markers and activities that run nodes the history has; a replay must meet it."""
    result = await handle.result()
    history = await handle.fetch_history()
    await replay(history)
    kinds = [
        event.activity_task_scheduled_event_attributes.activity_type.name
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
        else "marker"
        for event in history.events
        if event.event_type in (EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, EventType.EVENT_TYPE_MARKER_RECORDED)
    ]
    return result, lambda wanted: sum(1 for kind in kinds if kind.startswith(wanted))


def statuses(result: Json) -> dict[str, str]:
    return {path: entry["status"] for path, entry in result["nodes"].items()}


MARKER, ACTIVITY = "marker", "execute_"


# --- results ------------------------------------------------------------------------------------------------------


async def test_fifty_nodes_in_a_row_cost_one_marker_and_no_activity(worker: ToyWorker, toys: Toys) -> None:
    toys.add("plus", plus)
    result, count = await ended(await worker.start(*chain(50, "plus")))
    assert result["nodes"]["n49"]["output"] == {"out": 50}
    assert result["counts"] == {"complete": 50}
    assert (count(MARKER), count(ACTIVITY)) == (1, 0)


async def plus(inputs: Json, context: NodeContext) -> Json:
    return {"out": 1 + sum(inputs.get("in", []))}


async def test_each_node_has_an_outcome_of_its_own(worker: ToyWorker, toys: Toys) -> None:
    nodes = [inline("a"), inline("bad", "fail", "a"), inline("c", "echo", "bad"), inline("d", "echo", "a")]
    result, count = await ended(await worker.start(*nodes))
    assert statuses(result) == {"a": "complete", "bad": "error", "c": "skipped", "d": "complete"}
    bad = result["nodes"]["bad"]
    assert bad["error"] == {"message": "no luck", "code": "node_failed", "retryable": False}
    assert (bad["attempts"], result["nodes"]["c"]["cause"]) == (1, "bad")
    assert result["nodes"]["a"]["startedAt"] <= result["nodes"]["a"]["endedAt"] <= result["nodes"]["d"]["endedAt"]
    assert (toys.calls, count(MARKER)) == (["a", "bad", "d"], 1)


async def test_a_failure_that_may_pass_leaves_the_segment(worker: ToyWorker, toys: Toys) -> None:
    async def moody(inputs: Json, context: NodeContext) -> Json:
        toys.calls.append(f"{context.node_id} {context.attempt}")
        if context.attempt < 3:
            raise NodeError("not yet", retryable=True)
        return {"out": "done"}

    toys.add("moody", moody)
    nodes = [inline("a"), inline("m", "moody", "a", initial_s=0.05), inline("b", "echo", "m"), inline("c", "echo", "a")]
    result, count = await ended(await worker.start(*nodes))
    assert result["counts"] == {"complete": 4}
    assert result["nodes"]["b"]["output"] == {"out": "b"}
    assert result["nodes"]["m"]["attempts"] == 3
    assert toys.calls == ["a", "m 1", "c", "m 2", "m 3", "b"]
    assert count(ACTIVITY) == 1


async def test_no_more_failures_than_allowed(worker: ToyWorker, toys: Toys) -> None:
    async def never(inputs: Json, context: NodeContext) -> Json:
        toys.calls.append(f"attempt {context.attempt}")
        raise NodeError("no", retryable=True)

    toys.add("never", never)
    for allowed in (1, 2, 3):
        toys.calls.clear()
        result, _ = await ended(await worker.start(inline("n", "never", max_attempts=allowed, initial_s=0.05)))
        assert result["nodes"]["n"]["error"]["message"] == "no"
        assert toys.calls == [f"attempt {number + 1}" for number in range(allowed)]


async def test_a_required_value_that_nobody_gave_fails_its_node(worker: ToyWorker, toys: Toys) -> None:
    needs = {"must": PlannedInput((Feed("a", "nothing"),), required=True)}  # type: ignore[arg-type]
    result, _ = await ended(await worker.start(inline("a"), inline("b", "echo", "a", inputs=needs)))
    assert result["nodes"]["b"]["error"]["code"] == "missing_input"
    assert "'must'" in result["nodes"]["b"]["error"]["message"]
    assert toys.calls == ["a"]


async def test_an_unknown_node_type_fails_its_node_only(worker: ToyWorker) -> None:
    result, _ = await ended(await worker.start(inline("a"), inline("b", "gone", "a"), inline("c", "echo", "a")))
    assert statuses(result) == {"a": "complete", "b": "error", "c": "complete"}
    assert result["nodes"]["b"]["error"]["code"] == "unknown_node_type"


async def test_nodes_of_an_older_plan_run_one_by_one(worker: ToyWorker) -> None:
    result, count = await ended(await worker.start(*chain(3), plan_version=1))
    assert result["counts"] == {"complete": 3}
    assert (count(MARKER), count(ACTIVITY)) == (0, 3)


# --- beside others ------------------------------------------------------------------------------------------------


async def test_a_branch_beside_a_segment_is_not_held_up_by_it(worker: ToyWorker, toys: Toys) -> None:
    gate = asyncio.Event()

    async def slow(inputs: Json, context: NodeContext) -> Json:
        async with asyncio.timeout(20):
            await gate.wait()
        return {"out": 1}

    async def opens(inputs: Json, context: NodeContext) -> Json:
        gate.set()
        return {"out": 1}

    toys.add("slow", slow)
    toys.add("opens", opens)
    # The segment ends only when the other branch has gone on twice.
    nodes = [inline("s", "slow"), node("x"), node("y", "echo", "x"), node("z", "opens", "y"), inline("t", "echo", "s")]
    result, _ = await ended(await worker.start(*nodes))
    assert result["counts"] == {"complete": 5}


async def test_a_segment_stops_at_its_time_and_the_rest_runs_in_others(
    worker: ToyWorker, toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def takes_time(inputs: Json, context: NodeContext) -> Json:
        toys.calls.append(context.node_id)
        await asyncio.sleep(0.06)
        return {"out": 1}

    toys.add("takes_time", takes_time)
    result, count = await ended(await worker.start(*chain(12, "takes_time")))
    assert result["counts"] == {"complete": 12}
    assert toys.calls == [f"n{i}" for i in range(12)]  # each once
    assert (count(MARKER), count(ACTIVITY)) == (1, 1)


async def test_a_segment_stops_when_its_outputs_are_many(worker: ToyWorker, toys: Toys) -> None:
    async def wordy(inputs: Json, context: NodeContext) -> Json:
        return {f"out{number}": "x" * 4_000 for number in range(10)}

    toys.add("wordy", wordy, {f"out{number}": Output("STRING") for number in range(10)})
    result, count = await ended(await worker.start(*chain(30, "wordy")))
    assert result["counts"] == {"complete": 30}
    assert count(MARKER) + count(ACTIVITY) >= 4


async def test_a_node_that_gives_too_much_for_a_segment_runs_by_itself(worker: ToyWorker, toys: Toys) -> None:
    async def wordy(inputs: Json, context: NodeContext) -> Json:
        return {f"out{number}": "x" * 4_000 for number in range(100)}

    toys.add("wordy", wordy, {f"out{number}": Output("STRING") for number in range(100)})
    result, count = await ended(await worker.start(inline("a"), inline("w", "wordy", "a"), inline("z", "echo", "w")))
    assert result["counts"] == {"complete": 3}
    assert count(ACTIVITY) == 1


async def test_heavy_inputs_are_not_loaded_in_a_segment(worker: ToyWorker, toys: Toys) -> None:
    async def heavy(inputs: Json, context: NodeContext) -> Json:
        return {"out": "x" * (segments.MAX_BYTES + 10)}

    async def length(inputs: Json, context: NodeContext) -> Json:
        return {"out": len(inputs["in"][0])}

    toys.add("heavy", heavy)
    toys.add("length", length)
    result, count = await ended(await worker.start(node("h", "heavy"), inline("l", "length", "h")))
    assert result["nodes"]["l"]["output"] == {"out": segments.MAX_BYTES + 10}
    assert count(MARKER) == 0


async def test_many_ready_nodes_are_spread_over_segments(worker: ToyWorker) -> None:
    nodes = [node("root"), *(inline(f"n{i}", "echo", "root") for i in range(230)), node("slow", "echo", "root")]
    handle = await worker.start(*nodes)
    result, count = await ended(handle)
    assert result["counts"] == {"complete": 232}
    assert count(ACTIVITY) == 2 + 5


# --- control ------------------------------------------------------------------------------------------------------


async def test_an_interruption_keeps_what_was_done_and_ends_the_rest(worker: ToyWorker, toys: Toys) -> None:
    beside = node("beside", "sleep")
    handle = await worker.start(beside, inline("a"), inline("long", "sleep", "a"), inline("z", "echo", "long"))
    await until_called(toys, "long")
    await handle.cancel()
    result, _ = await ended(handle)
    assert result["status"] == "interrupted"
    assert statuses(result) == {"beside": "interrupted", "a": "complete", "long": "interrupted", "z": "interrupted"}


async def test_an_interruption_during_a_segment_alone_ends_with_it(worker: ToyWorker, toys: Toys) -> None:
    async def brief(inputs: Json, context: NodeContext) -> Json:
        toys.calls.append(context.node_id)
        await asyncio.sleep(0.4)
        return {"out": 1}

    toys.add("brief", brief)
    handle = await worker.start(*chain(30, "brief"))
    await until_called(toys, "n0")
    await handle.cancel()
    result, _ = await ended(handle)
    assert result["status"] == "interrupted"
    done = result["counts"]["complete"]
    assert statuses(result) == {f"n{i}": "complete" if i < done else "interrupted" for i in range(30)}
    assert 1 <= done < 20


async def test_a_paused_run_begins_no_segment(worker: ToyWorker, toys: Toys) -> None:
    async def brief(inputs: Json, context: NodeContext) -> Json:
        toys.calls.append(context.node_id)
        await asyncio.sleep(0.4)
        return {"out": 1}

    toys.add("brief", brief)
    handle = await worker.start(*chain(16, "brief"))
    await until_called(toys, "n0")
    await handle.signal("pause", True)
    await until_quiet(toys)
    assert len(toys.calls) < 16
    await handle.signal("pause", False)
    result, _ = await ended(handle)
    assert result["counts"] == {"complete": 16}
    assert toys.calls == [f"n{i}" for i in range(16)]


async def until_quiet(toys: Toys) -> None:
    """Wait until no node has begun for a while, twice as long as one takes: what runs goes on for a moment."""
    seen = -1
    while seen != len(toys.calls):
        seen = len(toys.calls)
        await asyncio.sleep(0.8)


async def test_a_segment_that_fails_as_a_whole_leaves_its_nodes_to_run_by_themselves(
    worker: ToyWorker, toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Any, node: Any) -> Any:
        raise RuntimeError("a bug")

    told: list[tuple[str, str, Any]] = []
    monkeypatch.setattr(
        "innkeeper.workflows.engine.workflow_context.emit",
        lambda run, path, type, payload: told.append((path, type, payload["attempt"])),
    )
    monkeypatch.setattr(SegmentProgress, "values", broken)
    result, count = await ended(await worker.start(*chain(3)))
    assert result["counts"] == {"complete": 3}
    assert count(ACTIVITY) == 3
    assert ("n0", "NODE_RETRY", 1) in told


async def test_a_bug_of_the_interpreter_beside_a_segment_fails_the_run(
    worker: ToyWorker, toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(segment_queue.SegmentQueue, "_record", broken)
    handle = await worker.start(*chain(3))
    with pytest.raises(Exception, match="Workflow execution failed"):
        await asyncio.wait_for(handle.result(), 20)


async def test_a_new_history_begins_between_segments(
    worker: ToyWorker, toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activation, "DRAIN_EVENTS", 40)
    monkeypatch.setattr(segments, "MAX_IN_A_ROW", 3)
    nodes = [inline("n0")]
    for i in range(1, 30):
        nodes.append(node(f"n{i}", "echo", f"n{i - 1}", placement="inline" if i % 2 else "activity"))
    handle = await worker.start(*nodes)
    result = await handle.result()
    assert result["counts"] == {"complete": 30}
    assert toys.calls == [f"n{i}" for i in range(30)]  # each once, across the histories
    assert (await handle.describe()).run_id != handle.first_execution_run_id


async def test_what_a_segment_did_is_told_again_in_a_replay(
    worker: ToyWorker, toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker that ran it may have died before the gateway heard of it."""
    told: list[tuple[str, str]] = []
    handle = await worker.start(inline("a"), node("b", "echo", "a"))
    await handle.result()
    monkeypatch.setattr(
        "innkeeper.workflows.engine.workflow_context.emit", lambda run, path, type, payload: told.append((path, type))
    )
    await replay(await handle.fetch_history())
    assert told == [("a", "NODE_COMPLETE")]


async def test_a_run_cancelled_before_it_began_runs_no_segment(temporal: Client, toys: Toys, tmp_path: Path) -> None:
    worker = ToyWorker(temporal, toys, tmp_path)
    handle = await worker.start(*chain(3))
    await handle.cancel()
    async with worker.worker:
        result, _ = await ended(handle)
    assert statuses(result) == {f"n{i}": "interrupted" for i in range(3)}
    assert toys.calls == []
