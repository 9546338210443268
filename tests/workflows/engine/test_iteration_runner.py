"""core:ForEach and core:Loop against the real server; events are off here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from innkeeper.nodes.errors import InvalidWorkflow
from innkeeper.workflows.engine import activation, for_each, iteration_runner, node_table, scheduler
from tests.workflows.engine.iteration_bench import ANY, IN, WORK, Bench, Json, Player, each, loop, plan_of, stored
from tests.workflows.toy_graphs import document, node
from tests.workflows.toys import CACHES, toy_worker, until_called


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture(params=CACHES)
async def player(
    temporal: Client, bench: Bench, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Player]:
    async with toy_worker(temporal, bench, tmp_path, cached=request.param) as worker:
        yield Player(worker, bench)


def short_histories(monkeypatch: pytest.MonkeyPatch, events: int = 120) -> None:
    monkeypatch.setattr(activation, "DRAIN_EVENTS", events)


def problems(bench: Bench, *nodes: Json, **library: Any) -> list[tuple[str, str | None]]:
    with pytest.raises(InvalidWorkflow) as refused:
        plan_of(bench, document(list(nodes)), **library)
    return [(problem.code, problem.slot) for problem in refused.value.problems]


# --- items --------------------------------------------------------------------------------------------------------


async def test_results_keep_the_order_of_the_items_however_long_they_take(player: Player, bench: Bench) -> None:
    bench.behind = {0: 1, 1: 2, 2: 3}
    result = await player.play(document([each("each", "work", [0, 1, 2, 3])]))
    assert await player.output(result, "each", "results") == [{"out": index} for index in range(4)]
    assert await player.output(result, "each", "errors") == []
    assert bench.ended == [3, 2, 1, 0]
    assert result["counts"] == {"complete": 9}


@pytest.mark.parametrize("concurrency", [1, 8, 100])
async def test_no_more_items_at_once_than_wanted(player: Player, bench: Bench, concurrency: int) -> None:
    count = {1: 3, 8: 16, 100: 105}[concurrency]
    bench.gate.clear()
    opening = asyncio.create_task(open_when_crowded(bench, concurrency))
    result = await player.play(document([each("each", "work", list(range(count)), concurrency=concurrency)]))
    await opening
    assert result["status"] == "complete"
    assert bench.most == concurrency


async def open_when_crowded(bench: Bench, wanted: int) -> None:
    """Let items go on when so many are there, a moment later: one too many would have come by then."""
    async with asyncio.timeout(30):
        while bench.at_once < wanted:
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)
    bench.gate.set()


ODD = [None, [[1], [2, [3]]], {"a": {"$blob": "0" * 64}}, {"$secret": "x"}, "x" * 5_000, {}, "", False]


@pytest.mark.parametrize("via", ["literal", "wired"])
async def test_items_of_any_kind_arrive_as_they_are(player: Player, via: str) -> None:
    source = node("s", "toy:Work", {"item": ODD})
    outer = [each("each", "work", ODD)] if via == "literal" else [source, each()]
    ends = [] if via == "literal" else ["s.out > each.items"]
    result = await player.play(document(outer, *ends))
    assert await player.output(result, "each", "results") == [{"out": item} for item in ODD]


async def test_thousands_of_small_items_come_from_a_stored_list(player: Player, bench: Bench) -> None:
    inner = stored([node("in", "core:GroupInput")], inputs=IN, outputs={"out": "in.item"})
    items = [f"item {index}" for index in range(1_500)]
    result = await player.play(document([each("each", "inner", items, concurrency=100)]), inner=inner)
    assert await player.output(result, "each", "results") == [{"out": item} for item in items]
    assert result["counts"] == {"complete": 1_501}


async def test_no_items_give_no_results(player: Player) -> None:
    result = await player.play(document([each("each", "work", [])]))
    assert result["nodes"]["each"]["output"] == {"results": [], "errors": []}


@pytest.mark.parametrize(
    ("value", "found"),
    [({"a": 1}, "an object"), ("text", "a text"), (7, "a number"), ("x" * 9_000, "a text"), ({"a": "x" * 9_000}, "an")],
)
async def test_items_that_are_no_list_fail_the_node_with_the_reason(player: Player, value: Any, found: str) -> None:
    result = await player.play(document([node("s", "toy:Work", {"item": value}), each()], "s.out > each.items"))
    error = result["nodes"]["each"]["error"]
    assert (error["code"], result["status"]) == ("invalid_input", "error")
    assert f"'items' must be a list, found {found}" in error["message"]


async def test_too_many_items_are_refused(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(for_each, "MAX_ITEMS", 2)
    result = await player.play(document([each("each", "work", [1, 2, 3])]))
    assert result["nodes"]["each"]["error"]["code"] == "too_many_items"


async def test_items_get_their_number_shared_inputs_and_defaults(player: Player) -> None:
    slots = {key: {"key": key, "dataFlowType": ANY, "config": {"default": f"own {key}"}} for key in ("extra", "spare")}
    number = {"index": {"key": "index", "dataFlowType": "INTEGER"}, "word": {"key": "word", "dataFlowType": ANY}}
    inner = stored(
        [node("in", "core:GroupInput"), node("w", "toy:Work")],
        "in.word > w.item", "in.index > w.index", "in.extra > w.extra",
        inputs={**slots, **number}, outputs={"all": "w.all", "spare": "in.spare"},
    )  # fmt: skip
    outer = each("each", "inner", ["a", "b"], itemKey="word")
    source = node("s", "toy:Work", {"item": "shared"})
    result = await player.play(document([source, outer], "s.out > each.extra"), inner=inner)
    rows = await player.output(result, "each", "results")
    assert rows == [
        {"all": {"item": word, "index": index, "extra": "shared"}, "spare": "own spare"}
        for index, word in enumerate("ab")
    ]


async def test_result_key_gives_the_values_of_one_output(player: Player) -> None:
    inner = stored(
        [node("in", "core:GroupInput"), node("w", "toy:Work")],
        "in.item > w.item",
        inputs=IN,
        outputs={"out": "w.out", "all": "w.all"},
    )
    items = ["a", {"$blob": "b"}, "x" * 5_000]
    result = await player.play(document([each("each", "inner", items, resultKey="out")]), inner=inner)
    assert await player.output(result, "each", "results") == items


async def test_bypassed_for_each_runs_nothing(player: Player, bench: Bench) -> None:
    result = await player.play(document([{**each("each", "work", [1]), "bypassed": True}]))
    assert (result["nodes"]["each"]["status"], bench.calls) == ("bypassed", [])


# --- failures -----------------------------------------------------------------------------------------------------


async def test_first_failed_item_is_named_and_no_further_one_begins(player: Player, bench: Bench) -> None:
    bench.fails, bench.seconds = frozenset({1, 2}), {0: 0.3}
    result = await player.play(document([each("each", "work", list(range(50)), concurrency=3)]))
    error = result["nodes"]["each"]["error"]
    assert error["message"].startswith("item 1 failed: node 'each/1/w': no luck")
    assert error["details"]["nodes"][0]["nodeId"] == "each/1/w"
    assert result["nodes"]["each/0/w"]["status"] == "complete"  # what ran went on
    assert len(bench.calls) < 8


@pytest.mark.parametrize(
    ("on_error", "results", "failed"),
    [("skip", [{"out": 0}, {"out": 2}], []), ("collect", [{"out": 0}, None, {"out": 2}], [1])],
)
async def test_failed_items_may_be_left_out_or_collected(
    player: Player, bench: Bench, on_error: str, results: list[Any], failed: list[int]
) -> None:
    bench.fails = frozenset({1})
    result = await player.play(document([each("each", "work", [0, 1, 2], onError=on_error)]))
    assert result["status"] == "complete"
    assert await player.output(result, "each", "results") == results
    errors = await player.output(result, "each", "errors")
    assert [(error["index"], error["code"]) for error in errors] == [(index, "node_failed") for index in failed]
    assert result["nodes"]["each/1/w"]["error"]["message"] == "no luck"


async def test_failure_that_an_item_handles_is_none(player: Player, bench: Bench) -> None:
    bench.fails = frozenset({1})
    inner = stored(
        [node("in", "core:GroupInput"), node("w", "toy:Work", continueOnError=True)],
        "in.item > w.item",
        inputs=IN,
        outputs={"out": "w.out"},
    )
    result = await player.play(document([each("each", "inner", [0, 1])]), inner=inner)
    assert await player.output(result, "each", "results") == [{"out": 0}, {}]


async def test_bug_in_an_item_fails_the_node_and_never_hangs(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*args: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(node_table.NodeTable, "record_result", bug)
    result = await player.play(document([each("each", "work", [1, 2, 3])]))
    assert result["nodes"]["each"]["error"]["code"] == "internal_error"


async def test_bytes_are_refused_as_a_result(player: Player) -> None:
    inner = stored([node("in", "core:GroupInput"), node("b", "toy:Bytes")], inputs=IN, outputs={"out": "b.out"})
    result = await player.play(document([each("each", "inner", [1])]), inner=inner)
    assert result["nodes"]["each"]["error"]["code"] == "invalid_output"


async def test_very_many_shared_values_are_stored_apart(player: Player) -> None:
    slots = {f"s{index}": {"key": f"s{index}", "dataFlowType": ANY} for index in range(80)}
    inner = stored([node("in", "core:GroupInput")], inputs={**IN, **slots}, outputs={"out": "in.s79"})
    source = node("s", "toy:Work", {"item": "x" * 4_000})
    ends = [f"s.out > each.{key}" for key in slots]
    result = await player.play(document([source, each("each", "inner", [1, 2])], *ends), inner=inner)
    assert await player.output(result, "each", "results") == [{"out": "x" * 4_000}] * 2


# --- nesting ------------------------------------------------------------------------------------------------------


def around(inner: Json, end: str = "items") -> Any:
    """A workflow whose input `item` goes to a node that runs another one."""
    slot = "out" if inner["fullType"] == "core:NodeGroup" else "results"
    nodes = [node("in", "core:GroupInput"), inner]
    return stored(nodes, f"in.item > {inner['id']}.{end}", inputs=IN, outputs={"out": f"{inner['id']}.{slot}"})


async def test_repetitions_nest_in_each_other_and_in_groups(player: Player) -> None:
    library = {
        "rows": around(each("cells", "work")),
        "grouped": around(node("g", "core:NodeGroup", configValues={"referencedWorkflowId": "work"}), "item"),
    }
    nodes = [each("rows", "rows", [[1, 2], [3]]), each("groups", "grouped", [4, 5])]
    result = await player.play(document(nodes), **library)
    cells = [{"out": [{"out": 1}, {"out": 2}]}, {"out": [{"out": 3}]}]
    assert await player.output(result, "rows", "results") == cells
    assert await player.output(result, "groups", "results") == [{"out": 4}, {"out": 5}]
    assert {"rows/1/cells/0/w", "groups/1/g/w", "groups/1/g"} <= set(result["nodes"])


async def test_repetition_in_a_group_and_in_a_loop(player: Player) -> None:
    outer = node("g", "core:NodeGroup", {"item": [1, 2]}, configValues={"referencedWorkflowId": "rows"})
    rounds = stored(
        [node("in", "core:GroupInput"), each("e", "work")],
        "in.list > e.items",
        inputs={"list": {"key": "list", "dataFlowType": "ARRAY"}},
        outputs={"more": "e.errors", "got": "e.results"},
    )
    nodes = [outer, loop("loop", "rounds", {"list": [7]}, conditionKey="more")]
    result = await player.play(document(nodes), rows=around(each("cells", "work")), rounds=rounds)
    assert await player.output(result, "g", "out") == [{"out": 1}, {"out": 2}]
    assert await player.output(result, "loop", "state") == {"list": [7], "more": [], "got": [{"out": 7}]}
    assert "loop/0/e/0/w" in result["nodes"]


# --- long ones ----------------------------------------------------------------------------------------------------


async def test_new_histories_keep_results_errors_and_tables(
    player: Player, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    short_histories(monkeypatch)
    bench.fails = frozenset({7, 33})
    two = stored(
        [node("in", "core:GroupInput"), node("w", "toy:Work"), node("z", "toy:Work")],
        "in.item > w.item",
        "w.out > z.item",
        inputs=IN,
        outputs={"out": "z.out"},
    )
    items = list(range(40))
    handle = await player.start(document([each("each", "two", items, onError="collect", concurrency=4)]), two=two)
    result = await player.whole(await handle.result())
    rows = await player.output(result, "each", "results")
    assert rows == [None if item in bench.fails else {"out": item} for item in items]
    assert [error["index"] for error in await player.output(result, "each", "errors")] == [7, 33]
    assert len(bench.calls) == len(set(bench.calls)) == 78  # nothing ran twice
    assert result["counts"] == {"complete": 40 + 38 * 2 + 1, "error": 2, "skipped": 2}
    assert set(result["nodes"]) == {"each", *(f"each/{i}/{name}" for i in items for name in ("in", "w", "z"))}
    child = await player.worker.client.get_workflow_handle(f"{handle.id}/each").describe()
    assert (child.raw_description.workflow_execution_info.first_run_id) != child.run_id


async def test_waiting_items_do_not_hold_up_a_new_history(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    short_histories(monkeypatch, 30)
    inner = stored(
        [node("in", "core:GroupInput"), node("d", "core:Delay", {"seconds": 1.0})],
        "in.item > d.value",
        inputs=IN,
        outputs={"out": "d.value"},
    )
    result = await player.play(document([each("each", "inner", list(range(30)), concurrency=10)]), inner=inner)
    assert await player.output(result, "each", "results") == [{"out": item} for item in range(30)]


async def test_an_item_that_waits_does_not_hold_up_all_others(
    player: Player, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits from the start, and nothing else tells it that the history is full: all wait for a new one then."""
    short_histories(monkeypatch, 40)
    inner = stored(
        [node("in", "core:GroupInput"), node("d", "core:Delay"), node("w", "toy:Work")],
        "in.item > d.seconds", "d.value > w.item",
        inputs=IN, outputs={"out": "w.out"},
    )  # fmt: skip
    handle = await player.start(document([each("each", "inner", [3600, *[0.01] * 29], concurrency=2)]), inner=inner)
    async with asyncio.timeout(30):
        while len(bench.ended) < 29:
            await asyncio.sleep(0.05)
    await handle.cancel()
    assert (await handle.result())["status"] == "interrupted"


async def test_an_event_that_comes_first_in_a_new_history_reaches_every_item(
    player: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The items that wait are loaded from the store then: the event must not pass them by meanwhile."""
    told, resolve = asyncio.Event(), player.worker.values.resolve

    async def held(value: Any) -> Any:
        if "$blob" in str(value):
            await told.wait()
        return await resolve(value)

    short_histories(monkeypatch, 20)
    inner = stored(
        [
            node("in", "core:GroupInput"),
            node("w", "toy:Work"),
            node("e", "core:WaitForEvent", configValues={"name": "go"}),
        ],
        "in.item > w.item", "in.index > e.",
        inputs=IN, outputs={"out": "e.data"},
    )  # fmt: skip
    handle = await player.start(document([each("each", "inner", [{}] * 12, concurrency=12)]), inner=inner)
    monkeypatch.setattr(player.worker.values, "resolve", held)
    child = player.worker.client.get_workflow_handle(f"{handle.id}/each")
    async with asyncio.timeout(30):
        while not [
            item
            async for item in player.worker.client.list_workflows(
                f"WorkflowId = '{child.id}' AND ExecutionStatus = 'ContinuedAsNew'"
            )
        ]:
            await asyncio.sleep(0.05)
    await handle.signal("event", args=["go", {"n": 1}])
    await asyncio.sleep(0.5)
    told.set()
    monkeypatch.setattr(player.worker.values, "resolve", resolve)
    async with asyncio.timeout(30):
        result = await player.whole(await handle.result())
    assert await player.output(result, "each", "results") == [{"out": {"n": 1}}] * 12


async def test_many_items_that_need_no_worker_let_the_worker_breathe(
    player: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activation, "MAX_NODES_BEGUN", 50)
    monkeypatch.setattr(iteration_runner, "SPILL_BYTES", 5_000)
    inner = stored([node("in", "core:GroupInput")], inputs=IN, outputs={"out": "in.item", "more": "in.more"})
    handle = await player.start(document([each("each", "inner", list(range(200)))]), inner=inner)
    result = await player.whole(await handle.result())
    assert await player.output(result, "each", "results") == [{"out": item} for item in range(200)]
    history = await player.worker.client.get_workflow_handle(f"{handle.id}/each").fetch_history()
    assert sum(event.HasField("timer_started_event_attributes") for event in history.events) >= 3


async def test_graphs_side_by_side_share_the_room_for_activities(
    player: Player, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "MAX_IN_FLIGHT", 5)
    bench.seconds = {"*": 0.02}
    ends = [f"in.item > w{index}.item" for index in range(3)]
    works = [node(f"w{index}", "toy:Work") for index in range(3)]
    inner = stored([node("in", "core:GroupInput"), *works], *ends, inputs=IN, outputs={"out": "w2.out"})
    result = await player.play(document([each("each", "inner", list(range(12)), concurrency=12)]), inner=inner)
    assert len(await player.output(result, "each", "results")) == 12
    assert bench.most <= 5


# --- stopping -----------------------------------------------------------------------------------------------------


async def test_interruption_ends_the_items_under_way_at_once(player: Player, bench: Bench) -> None:
    bench.seconds = {"*": 90}
    handle = await player.start(document([each("each", "work", list(range(20)), concurrency=4)]))
    await until_called(bench, "each/3/w")
    await handle.cancel()
    async with asyncio.timeout(30):
        result = await player.whole(await handle.result())
    assert result["status"] == "interrupted"
    assert {result["nodes"][f"each/{index}/w"]["status"] for index in range(4)} == {"interrupted"}
    assert len(bench.calls) == 4


@pytest.mark.parametrize("kind", ["each", "loop"])
async def test_interruption_is_heard_while_a_history_is_being_closed(
    player: Player, bench: Bench, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    short_histories(monkeypatch, 30)
    store, storing, go = player.worker.values.store, asyncio.Event(), asyncio.Event()

    async def slow_store(*args: Any) -> Any:
        storing.set()
        await go.wait()
        return await store(*args)

    outer = each("n", "work", list(range(50)), concurrency=2)
    handle = await player.start(
        document([outer if kind == "each" else loop("n", "work", {"item": 1}, conditionKey="out")])
    )
    monkeypatch.setattr(player.worker.values, "store", slow_store)
    async with asyncio.timeout(30):
        await storing.wait()
        await handle.cancel()
        child = player.worker.client.get_workflow_handle(f"{handle.id}/n")
        while (await child.query("status"))["status"] != "interrupting":
            await asyncio.sleep(0.02)
        go.set()
        result = await handle.result()
    assert (result["status"], len(bench.calls) < 50) == ("interrupted", True)
    info = (await child.describe()).raw_description.workflow_execution_info
    assert info.first_run_id == info.execution.run_id  # no further history was begun


@pytest.mark.parametrize("kind", ["each", "loop"])
async def test_pause_holds_the_next_item_until_resumed(player: Player, bench: Bench, kind: str) -> None:
    bench.gate.clear()
    outer = each("n", "work", [0, 1, 2], concurrency=1) if kind == "each" else loop("n", "count", {"item": 3})
    outer["configValues"].update({} if kind == "each" else {"conditionKey": "more", "maxIterations": 3})
    outer["configValues"].update({} if kind == "each" else {"onLimit": "stop"})
    inner = stored(
        [node("in", "core:GroupInput"), node("w", "toy:Work")], "in.item > w.item", inputs=IN, outputs={"more": "w.out"}
    )
    handle = await player.start(document([outer]), count=inner)
    await until_called(bench, "n/0/w")
    await handle.signal("pause", True)
    child = player.worker.client.get_workflow_handle(f"{handle.id}/n")
    async with asyncio.timeout(30):
        while (await child.query("status"))["status"] != "paused":
            await asyncio.sleep(0.02)
        bench.gate.set()
        while (await child.query("status"))["counts"].get("complete", 0) < 2:  # its core:GroupInput is the first
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.2)
    assert bench.calls == ["n/0/w"]
    await handle.signal("pause", False)
    async with asyncio.timeout(30):
        assert (await handle.result())["status"] == "complete"
    assert len(bench.calls) == 3


# --- loops --------------------------------------------------------------------------------------------------------


def countdown() -> Any:
    """`n` goes down by one; `more` is `n` itself, so that 0 ends it."""
    return stored(
        [node("in", "core:GroupInput"), node("m", "toy:Minus"), node("w", "toy:Work")],
        "in.n > m.item", "m.out > w.item",
        inputs={"n": {"key": "n", "dataFlowType": "INTEGER"}},
        outputs={"n": "w.out", "more": "w.out"},
    )  # fmt: skip


async def test_loop_hands_its_state_on_until_the_condition_fails(
    player: Player, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    short_histories(monkeypatch, 30)  # over several histories as well
    outer = loop("loop", "down", {"n": 6, "kept": "as it was"}, conditionKey="more")
    result = await player.play(document([outer]), down=countdown())
    assert await player.output(result, "loop", "iterations") == 6
    assert await player.output(result, "loop", "state") == {"n": 0, "more": 0, "kept": "as it was"}
    assert len(bench.calls) == 6
    assert result["counts"] == {"complete": 19}


@pytest.mark.parametrize("word", ["", "false", "No", " off ", "0", 0, None, [], {}, False])
async def test_falsy_words_end_a_loop(player: Player, word: Any) -> None:
    result = await player.play(document([loop("loop", "work", {"item": word}, conditionKey="out")]))
    assert await player.output(result, "loop", "iterations") == 1


@pytest.mark.parametrize(("on_limit", "status"), [("fail", "error"), ("stop", "complete")])
async def test_loop_without_end_meets_its_limit(player: Player, on_limit: str, status: str) -> None:
    outer = loop("loop", "work", {"item": "go on"}, conditionKey="out", maxIterations=3, onLimit=on_limit)
    result = await player.play(document([outer]))
    assert result["status"] == status
    if on_limit == "stop":
        assert await player.output(result, "loop", "iterations") == 3
    else:
        assert result["nodes"]["loop"]["error"]["code"] == "loop_limit"


async def test_loop_without_activities_lets_the_worker_breathe(player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activation, "MAX_NODES_BEGUN", 20)
    inner = stored([node("in", "core:GroupInput")], inputs=IN, outputs={"more": "in.item"})
    outer = loop("loop", "inner", {"item": 1}, conditionKey="more", maxIterations=100, onLimit="stop")
    result = await player.play(document([outer]), inner=inner)
    assert await player.output(result, "loop", "iterations") == 100


async def test_large_state_and_large_condition_pass_through(player: Player) -> None:
    large = {"text": "x" * 9_000, "$blob": "mine"}
    outer = loop("loop", "work", {"item": large}, conditionKey="out", maxIterations=2, onLimit="stop")
    result = await player.play(document([outer]))
    assert await player.output(result, "loop", "state") == {"item": large, "out": large}
    assert await player.output(result, "loop", "iterations") == 2


@pytest.mark.parametrize(("state", "found"), [([1], "a list"), ("x" * 9_000, "a text"), (list(range(9_000)), "a list")])
async def test_state_that_is_no_object_fails_the_node(player: Player, state: Any, found: str) -> None:
    outer = loop("loop", "work", conditionKey="out")
    result = await player.play(document([node("s", "toy:Work", {"item": state}), outer], "s.out > loop.state"))
    assert f"'state' must be an object, found {found}" in result["nodes"]["loop"]["error"]["message"]


async def test_failed_round_fails_the_loop(player: Player, bench: Bench) -> None:
    bench.fails = frozenset({"x"})
    result = await player.play(document([loop("loop", "work", {"item": "x"}, conditionKey="out")]))
    error = result["nodes"]["loop"]["error"]
    assert error["message"] == "round 0 failed: node 'loop/0/w': no luck"
    assert result["nodes"]["loop/0/w"]["status"] == "error"


# --- problems at submit -------------------------------------------------------------------------------------------


def test_wrong_settings_are_problems_at_submit(bench: Bench) -> None:
    found = [
        problems(bench, each("e", "work", [], itemKey="thing")),
        problems(bench, each("e", "work", [], itemKey=["item"])),
        problems(bench, each("e", "work", [], resultKey="thing")),
        problems(bench, each("e", "work", [], concurrency=101)),
        problems(bench, each("e", "work", [], onError="shrug")),
        problems(bench, loop("l", "work", {}, conditionKey="thing")),
        problems(bench, loop("l", "work", {}, conditionKey=None)),
        problems(bench, loop("l", "work", {}, conditionKey="out", maxIterations=0)),
        problems(bench, loop("l", "work", {}, conditionKey="out", maxIterations=2.5)),
        problems(bench, each("e", "nowhere", [])),
        problems(bench, each("e", "work", "a, b")),
        problems(bench, each("e", "work", {"a": 1})),
        problems(bench, loop("l", "work", [1], conditionKey="out")),
    ]
    assert found == [
        [("unknown_slot", "itemKey")],
        [("invalid_config", "itemKey")],
        [("unknown_slot", "resultKey")],
        [("invalid_config", "concurrency")],
        [("invalid_config", "onError")],
        [("unknown_slot", "conditionKey")],
        [("missing_input", "conditionKey")],
        [("invalid_config", "maxIterations")],
        [("invalid_config", "maxIterations")],
        [("group_not_found", "referencedWorkflowId")],
        [("invalid_input", "items")],
        [("invalid_input", "items")],
        [("invalid_input", "state")],
    ]


def test_problem_names_what_exists(bench: Bench) -> None:
    with pytest.raises(InvalidWorkflow) as refused:
        plan_of(bench, document([each("e", "work", [], itemKey="thing")]))
    message = "node 'e': setting 'itemKey' is 'thing', which is no input of the workflow 'work'; inputs are 'item'"
    assert refused.value.problems[0].message == message
    assert WORK.interface_inputs
