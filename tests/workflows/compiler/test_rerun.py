"""What a new run takes over from an old one: graph shapes, changes, and what must run then."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from innkeeper.nodes.errors import InvalidWorkflow
from innkeeper.workflows.compiler.fingerprint import fingerprints
from innkeeper.workflows.compiler.rerun import NOT_TARGETED, Base, NodeDisposition, RerunRequest, ReusePlan, plan_reuse
from innkeeper.workflows.engine.state import RunState
from innkeeper.workflows.plan import Feed, NodeId, PlannedInput, PlannedNode, PlannedOutput, RunPlan, SlotKey
from tests.workflows.toy_graphs import TEXT, compiled, node, toy

Json = dict[str, Any]
DIAMOND = ("a.text > b.a", "a.text > c.a", "b.text > d.a", "c.text > d.b")


def done(plan: RunPlan, **entries: Json) -> dict[str, Json]:
    """The table of a run of which every node completed; entries replace these (`{}`: the node has not begun)."""
    table = {
        str(item.id): {"status": "complete", "output": dict.fromkeys(item.outputs, f"{item.id}!"), "attempts": 1}
        for item in plan.nodes
    }
    return {path: entry for path, entry in {**table, **entries}.items() if entry}


def diamond(**changes: Json) -> RunPlan:
    items = [{**node(name, "Echo"), **changes.get(name, {})} for name in "abcd"]
    return compiled(items, *DIAMOND).plan


def taken(plan: RunPlan, base: RunPlan, entries: Mapping[str, Json] | None = None, **request: Any) -> ReusePlan:
    is_unsafe = request.pop("is_unsafe", lambda item: False)
    return plan_reuse(plan, Base(base, done(base) if entries is None else entries), RerunRequest(**request), is_unsafe)


def dispositions(found: ReusePlan) -> dict[str, str]:
    return {str(item): way.value for item, way in found.dispositions.items()}


def seed_of(found: ReusePlan, id: str) -> Json:
    return found.seeds[NodeId(id)]


def reused(found: ReusePlan) -> str:
    return "".join(found.of(NodeDisposition.REUSED))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "abcd"),
        ({"b": {"inputs": {"b": "changed"}}}, "ac"),
        ({"a": {"inputs": {"b": "changed"}}}, ""),
        ({"d": {"inputs": {"n": 8}}}, "abc"),
        ({"b": {"retry": {"maximumAttempts": 9}, "timeoutSeconds": 3, "displayName": "B", "queue": "q"}}, "abcd"),
        ({"c": {"continueOnError": True, "cache": True}}, "abcd"),
        ({"b": {"bypassed": True}}, "ac"),
    ],
)
def test_only_what_is_behind_a_change_runs(change: dict[str, Json], expected: str) -> None:
    assert reused(taken(diamond(**change), diamond())) == expected


def test_changed_config_runs_again() -> None:
    def plan(level: int) -> RunPlan:
        items = [node("a", "Setting", configValues={"path": "p", "level": level}), node("b", "Echo")]
        return compiled(items, "a.text > b.a").plan

    assert reused(taken(plan(1), plan(1))) == "ab"
    assert reused(taken(plan(2), plan(1))) == ""


def test_new_version_of_a_node_type_runs_again() -> None:
    def plan(version: str) -> RunPlan:
        newest = toy("New", {}, {"text": TEXT}, version=version)
        return compiled([node("a", "Echo"), node("b", "New"), node("c", "Echo")], "b.text > c.a", types=(newest,)).plan

    assert reused(taken(plan("2"), plan("1"))) == "a"


def test_renamed_node_is_known_again_and_a_copy_is_a_node_of_its_own() -> None:
    base = compiled([node("a", "Echo", {"a": "x"}), node("b", "Echo")], "a.text > b.a").plan
    renamed = compiled([node("z", "Echo", {"a": "x"}), node("b", "Echo")], "z.text > b.a").plan
    found = taken(renamed, base)
    assert reused(found) == "zb"
    assert found.origins == {"z": "a", "b": "b"}
    copied = compiled([node("z", "Echo", {"a": "x"}), node("a", "Echo", {"a": "x"}), node("b", "Echo")],
                      "a.text > b.a").plan  # fmt: skip
    assert dispositions(taken(copied, base)) == {"z": "runs", "a": "reused", "b": "reused"}


def test_failed_node_and_all_behind_it_run() -> None:
    plan = diamond()
    for status in ("error", "interrupted", "running"):
        entries = done(plan, b={"status": status}, d={"status": "skipped", "reason": "upstream_error", "cause": "b"})
        assert reused(taken(plan, plan, entries)) == "ac"
    allowed = replace(plan, nodes=tuple(replace(item, continue_on_error=item.id == "b") for item in plan.nodes))
    assert reused(taken(allowed, allowed, done(plan, b={"status": "error", "output": {}}))) == "ac"


def test_value_that_is_gone_makes_its_node_run() -> None:
    plan = diamond()
    assert reused(taken(plan, plan, done(plan, a={"status": "complete"}))) == ""
    assert reused(taken(plan, plan, done(plan, d={"status": "complete"}))) == "abc"


def test_from_node_runs_it_and_what_is_behind_it() -> None:
    plan = diamond()
    assert reused(taken(plan, plan, from_nodes=("b",))) == "ac"
    assert reused(taken(plan, plan, from_nodes=("b", "a"))) == ""
    assert reused(taken(plan, plan, from_nodes=("c/inner/x",))) == "ab"


def test_unknown_nodes_are_named_with_those_that_exist() -> None:
    plan = diamond()
    with pytest.raises(InvalidWorkflow) as caught:
        taken(plan, plan, from_nodes=("x",))
    assert caught.value.problems[0].message == (
        "'fromNode' names 'x', which the workflow does not have; it has 'a', 'b', 'c', 'd'"
    )
    with pytest.raises(InvalidWorkflow, match="'targets' names 'y'"):
        taken(plan, plan, targets=("y", "a"))


def test_targets_leave_the_rest_out_but_keep_what_is_there() -> None:
    plan = diamond()
    found = taken(plan, plan, {}, targets=("b",))
    assert dispositions(found) == {"a": "runs", "b": "runs", "c": "left_out", "d": "left_out"}
    assert seed_of(found, "c") == {"status": "skipped", "reason": NOT_TARGETED}
    assert reused(taken(plan, plan, targets=("b",))) == "abcd"
    some = taken(plan, plan, done(plan, b={}, d={}), targets=("b",))
    assert dispositions(some) == {"a": "reused", "b": "runs", "c": "reused", "d": "left_out"}


def test_target_may_be_an_output_of_the_workflow() -> None:
    plan = compiled(
        [node(name, "Echo") for name in "ab"],
        interfaceOutputs={"out": {"dataFlowType": "STRING"}},
        outputInterfaceMappings={"out": {"sourceNodeId": "b", "sourceSlotKey": "text"}},
    ).plan
    assert dispositions(plan_reuse(plan, None, RerunRequest(targets=("out",)))) == {"a": "left_out", "b": "runs"}


# --- inputs of the workflow ---------------------------------------------------------------------------------------


def with_inputs(**values: Any) -> RunPlan:
    return compiled(
        [node("in", "core:GroupInput"), node("a", "Echo"), node("b", "Echo")],
        "in.x > a.a",
        "in.y > b.a",
        interfaceInputs={key: {"dataFlowType": "STRING", "config": {"default": values[key]}} for key in values},
    ).plan


def test_only_what_takes_a_changed_input_runs() -> None:
    base = with_inputs(x="1", y="2")
    assert dispositions(taken(with_inputs(x="1", y="3"), base)) == {"in": "runs", "a": "reused", "b": "runs"}
    assert dispositions(taken(base, base)) == dict.fromkeys(("in", "a", "b"), "reused")
    assert reused(taken(base, base, from_nodes=("in",))) == ""


# --- streams ------------------------------------------------------------------------------------------------------


def streaming() -> RunPlan:
    items = [node("s", "Emit"), node("r", "Relay"), node("q", "Relay"), node("t", "Echo"), node("u", "Echo")]
    return compiled(items, "s.out > r.stream", "r.stream > q.stream", "s.text > t.a", "u.text > t.b").plan


def test_producer_of_a_stream_that_is_read_again_runs_again() -> None:
    plan = streaming()
    assert set(reused(taken(plan, plan))) == set("srqtu")
    # q reads r, which reads s: both give their chunks again, so what takes a value of s runs too.
    assert reused(taken(plan, plan, from_nodes=("q",))) == "u"
    assert set(reused(taken(plan, plan, from_nodes=("u",)))) == set("srq")


def test_chunk_lists_are_only_taken_over_when_they_are_there() -> None:
    plan = compiled([node("s", "Emit"), node("l", "List")], "s.out > l.items").plan
    stream = {"text": "ab", "chunks": 2}
    without = done(plan, s={"status": "complete", "output": {"out": stream, "raw": stream, "text": ""}})
    assert reused(taken(plan, plan, without)) == ""
    whole = {**stream, "items": []}
    entries = done(plan, s={"status": "complete", "output": {"out": whole, "raw": whole, "text": ""}})
    assert reused(taken(plan, plan, entries)) == "sl"


# --- groups -------------------------------------------------------------------------------------------------------


def test_group_is_taken_over_whole_as_long_as_its_content_is_the_same() -> None:
    def plan(content: str) -> RunPlan:
        item = PlannedNode(NodeId("g"), "core:NodeGroup", placement="workflow", group=content, outputs=OUT)
        return RunPlan((item, after("x", "g")))

    assert reused(taken(plan("h1"), plan("h1"))) == "gx"
    assert reused(taken(plan("h2"), plan("h1"))) == ""
    assert reused(taken(plan("h1"), plan("h1"), from_nodes=("g/inner",))) == ""


OUT = {SlotKey("out"): PlannedOutput()}


def after(id: str, *sources: str, **more: Any) -> PlannedNode:
    feeds = tuple(Feed(NodeId(source), SlotKey("out")) for source in sources)
    inputs = {SlotKey("in"): PlannedInput(feeds, multi=True)} if feeds else {}
    values = {"type": "toy:echo", "inputs": inputs, "outputs": OUT, "after": tuple(map(NodeId, sources)), **more}
    return PlannedNode(NodeId(id), **values)


# --- branches -----------------------------------------------------------------------------------------------------


def branching(*more: PlannedNode) -> RunPlan:
    both = {SlotKey("true"): PlannedOutput(), SlotKey("false"): PlannedOutput()}
    branch = PlannedNode(NodeId("b"), "core:Branch", placement="workflow", outputs=both)
    yes = after("yes", "b", gates={NodeId("b"): (SlotKey("true"),)})
    no = after("no", "b", gates={NodeId("b"): (SlotKey("false"),)})
    gates = {NodeId("yes"): (SlotKey("out"),), NodeId("no"): (SlotKey("out"),)}
    merge = after("m", "yes", "no", joins=True, gates=gates)
    return RunPlan((branch, yes, no, merge, *more))


BRANCHED: Json = {
    "b": {"status": "complete", "output": {"true": 1}, "dead": ["false"], "warnings": [{"code": "odd"}]},
    "yes": {"status": "complete", "output": {"out": 1}},
    "no": {"status": "skipped", "reason": "branch_not_taken", "cause": "b"},
    "m": {"status": "complete", "output": {"out": 1}},
}


def test_branch_keeps_its_choice_and_what_was_skipped_stays_skipped() -> None:
    plan = branching()
    found = taken(plan, plan, BRANCHED)
    assert dispositions(found) == {"b": "reused", "yes": "reused", "no": "skipped", "m": "reused"}
    assert seed_of(found, "no") == {"status": "skipped", "reason": "branch_not_taken", "cause": "b"}
    assert seed_of(found, "b")["dead"] == ["false"]
    assert seed_of(found, "b")["warnings"] == [{"code": "odd"}]


def test_new_node_on_the_side_not_taken_is_skipped_for_the_old_reason() -> None:
    new = after("new", "b", gates={NodeId("b"): (SlotKey("false"),)}, config={"n": 1})
    behind = after("behind", "new")
    entries = {**BRANCHED, "no": {**BRANCHED["no"], "reason": "timed_out"}}
    found = taken(branching(new, behind), branching(), entries)
    assert (found.dispositions[NodeId("new")], found.dispositions[NodeId("behind")]) == (
        NodeDisposition.SKIPPED,
        NodeDisposition.SKIPPED,
    )
    assert seed_of(found, "new")["reason"] == "timed_out"


def test_run_that_begins_with_seeds_goes_on_where_the_scheduler_would_be() -> None:
    plan = branching(after("tail", "m", config={"new": True}))
    found = taken(plan, branching(), BRANCHED)
    progress, ready = RunState(dict(found.seeds)).progress(plan)
    assert ready == ("tail",)
    assert progress.waiting == {"tail": 0}


# --- previews -----------------------------------------------------------------------------------------------------


def chat(prompt: str = "p") -> RunPlan:
    items = [node("k", "Key", {"api_key": "x"}), node("p", "Echo", {"a": prompt}), node("llm", "Call"),
             node("after", "Echo"), node("free", "Echo", {"a": "f"}), node("beside", "Echo")]  # fmt: skip
    return compiled(items, "k.settings > llm.settings", "p.text > llm.prompt", "llm.text > after.a",
                    "free.text > beside.a").plan  # fmt: skip


def is_call(item: PlannedNode) -> bool:
    return item.type == "toy:Call"


def test_preview_runs_what_is_affected_and_gives_the_last_answer_of_what_it_may_not_run() -> None:
    found = taken(chat("new"), chat(), preview=True, from_nodes=("p",), is_unsafe=is_call)
    assert dispositions(found) == {
        "k": "reused", "p": "runs", "llm": "stale", "after": "runs", "free": "reused", "beside": "reused"
    }  # fmt: skip
    assert seed_of(found, "llm")["stale"] is True
    assert seed_of(found, "llm")["output"] == {"text": "llm!"}


def test_preview_skips_what_it_may_not_run_and_what_needs_that() -> None:
    plan = chat()
    found = taken(plan, plan, done(plan, llm={"status": "error"}, free={}, beside={}), preview=True,
                  from_nodes=("p",), is_unsafe=is_call)  # fmt: skip
    assert dispositions(found) == {
        "k": "reused", "p": "runs", "llm": "left_out", "after": "left_out", "free": "left_out", "beside": "left_out"
    }  # fmt: skip
    assert {entry.get("reason") for item, entry in found.seeds.items() if item != "k"} == {"preview"}


def test_preview_does_not_start_an_unsafe_producer_for_those_who_read_it() -> None:
    plan = streaming()
    found = taken(plan, plan, preview=True, from_nodes=("r",), is_unsafe=lambda item: item.id == "s")
    assert dispositions(found) == {"s": "reused", "u": "reused", "r": "stale", "t": "reused", "q": "stale"}


def test_what_a_preview_did_not_compute_anew_is_no_result_for_a_run() -> None:
    plan = chat()
    entries = done(plan, llm={"status": "complete", "output": {"text": "old"}, "reused": True, "stale": True})
    assert set(taken(plan, plan, entries).of(NodeDisposition.RUNS)) == {"llm", "after"}


# --- any graph ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(150))
def test_any_graph_nothing_behind_a_change_is_taken_over_and_nothing_else_runs(seed: int) -> None:
    dice = random.Random(seed)
    base = _graph(dice)
    changed = dice.choice(base.nodes).id
    plan = replace(base, nodes=tuple(replace(one, config={"c": 1}) if one.id == changed else one for one in base.nodes))
    entries = done(base)
    for one in dice.sample(sorted(entries), min(len(entries), dice.randint(0, 2))):
        entries[one] = {"status": "error"}
    found = taken(plan, base, entries)
    runs, kept = set(found.of(NodeDisposition.RUNS)), set(found.of(NodeDisposition.REUSED))
    assert runs | kept == set(plan.by_id)
    assert not runs & kept
    assert set(found.seeds) == kept
    must = {changed} | {one for one in entries if entries[one]["status"] == "error"}
    assert runs == _closure(plan, must)
    _, ready = RunState(dict(found.seeds)).progress(plan)
    assert set(ready) == {one for one in runs if not runs & {*plan.by_id[NodeId(one)].after}
                          and not runs & {*plan.by_id[NodeId(one)].beside}}  # fmt: skip


def _graph(dice: random.Random) -> RunPlan:
    items: list[PlannedNode] = []
    for number in range(dice.randint(1, 12)):
        sources = dice.sample([str(item.id) for item in items], dice.randint(0, min(3, number)))
        item = after(f"n{number}", *sources, config={"n": number})
        if sources and dice.random() < 0.3:  # the last one is read as a stream
            *whole, read = sources
            item = after(f"n{number}", *whole, config={"n": number}, beside=(NodeId(read),))
            feed = Feed(NodeId(read), SlotKey("out"), "stream")
            item = replace(item, inputs={**item.inputs, SlotKey("live"): PlannedInput((feed,))})
        items.append(item)
    return RunPlan(tuple(items))


def _closure(plan: RunPlan, nodes: set[Any]) -> set[str]:
    """What must run: behind what runs, and whoever is read as a stream by what runs."""
    found = set(nodes)
    while True:
        more = {one.id for one in plan.nodes if found & {*one.after, *one.beside}}
        more |= {source for one in plan.nodes if one.id in found for source in one.beside}
        if more <= found:
            return {str(one) for one in found}
        found |= more


def test_fingerprint_does_not_depend_on_the_order_of_keys() -> None:
    plan = RunPlan((after("a", config={"x": 1, "y": 2}),))
    other = RunPlan((after("b", config={"y": 2, "x": 1}),))
    assert list(fingerprints(plan).values()) == list(fingerprints(other).values())
