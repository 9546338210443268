"""Which inline nodes run together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from innkeeper.workflows.engine.scheduler import begin
from innkeeper.workflows.engine.segments import (
    MAX_BYTES,
    MAX_NODES,
    choose,
    given_from_outside,
    may_be_fused,
    weight_of,
)
from innkeeper.workflows.plan import BypassSource, Feed, PlannedInput, PlannedNode, RunPlan
from tests.workflows.toys import node


def inline(id: str, *sources: str, **fields: Any) -> PlannedNode:
    return node(id, "echo", *sources, placement="inline", **fields)


def chosen(*nodes: PlannedNode, ready: tuple[str, ...] = (), weigh: Any = lambda node: 0) -> list[str]:
    plan = RunPlan(nodes)
    progress, first = begin(plan)
    names = [name for name in first if name in ready or not ready]
    segment = choose(plan, progress.waiting, names, may_join=may_be_fused, weight=weigh)
    return [str(found.id) for found in segment]


def test_a_chain_is_one_segment_in_plan_order() -> None:
    assert chosen(inline("a"), inline("b", "a"), inline("c", "b")) == ["a", "b", "c"]


def test_branches_that_meet_again_are_one_segment() -> None:
    assert chosen(inline("a"), inline("l", "a"), inline("r", "a"), inline("j", "l", "r")) == ["a", "l", "r", "j"]


def test_a_node_that_waits_for_others_too_is_left_out() -> None:
    assert chosen(inline("a"), node("slow"), inline("j", "a", "slow"), inline("z", "a"), ready=("a",)) == ["a", "z"]


def test_an_activity_ends_the_way() -> None:
    assert chosen(inline("a"), node("x", "echo", "a"), inline("b", "x")) == ["a"]


def test_unconnected_nodes_share_a_segment() -> None:
    assert chosen(inline("a"), inline("b"), inline("c", "b")) == ["a", "b", "c"]


def test_no_more_nodes_than_allowed() -> None:
    chain = [inline("n0"), *(inline(f"n{i}", f"n{i - 1}") for i in range(1, MAX_NODES + 5))]
    assert chosen(*chain) == [f"n{i}" for i in range(MAX_NODES)]
    assert len(chosen(*(inline(f"n{i}") for i in range(500)))) == MAX_NODES


def test_no_more_bytes_than_allowed_but_always_one_node() -> None:
    nodes = (inline("a"), inline("b"), inline("c"))
    assert chosen(*nodes, weigh=lambda node: MAX_BYTES // 2) == ["a", "b"]
    assert chosen(*nodes, weigh=lambda node: MAX_BYTES * 2) == ["a"]


def test_what_hangs_on_a_failure_is_for_the_interpreter_to_say() -> None:
    assert chosen(inline("a", continue_on_error=True), inline("b", "a")) == ["a"]
    assert chosen(inline("a", catches=True), inline("b", "a")) == ["a"]
    assert chosen(inline("a"), inline("b", "a", gates={"a": ("out",)})) == ["a"]


def test_only_plain_inline_nodes_are_fused() -> None:
    stream = {"in": PlannedInput((Feed("p", "live", "stream"),))}  # type: ignore[arg-type]
    one_chunk = {"in": PlannedInput((Feed("p", "out", "one_chunk"),))}  # type: ignore[arg-type]
    assert may_be_fused(inline("a"))
    for refused in (
        node("a"),
        inline("a", bypass={"out": BypassSource()}),
        inline("a", cached=True),
        inline("a", joins=True),
        inline("a", inputs=stream),
        inline("a", inputs=one_chunk),
    ):
        assert not may_be_fused(refused)


def test_weight_counts_literals_settings_and_what_is_to_be_loaded() -> None:
    blob = {"$blob": "0" * 64, "size": 7_000, "mime": "application/json", "preview": ""}
    planned = {
        "text": PlannedInput(value="x" * 100, has_value=True),
        "fed": PlannedInput((Feed("s", "big"),)),  # type: ignore[arg-type]
        "many": PlannedInput((Feed("s", "big"), Feed("s", "small")), multi=True),  # type: ignore[arg-type]
    }
    found = weight_of(inline("a", inputs=planned), {"s": {"big": blob, "small": "abc"}})  # type: ignore[dict-item]
    assert found == 100 + 7_000 + 7_000 + 3
    assert weight_of(replace(inline("a"), config={"code": "y" * 50}), {}) > 50


def test_a_segment_is_given_only_what_it_reads_of_others() -> None:
    outputs: Any = {"s": {"out": 1, "unread": 2}, "t": {"out": 3}}
    nodes = (inline("a", "s"), inline("b", "a"))
    assert given_from_outside(nodes, outputs) == {"s": {"out": 1}}
