"""STREAM edges in a plan: who follows whom, what waits for whose end, and streams behind bypassed nodes."""

from __future__ import annotations

from innkeeper.workflows.engine.node_values import inputs_for, stream_inputs
from innkeeper.workflows.engine.scheduler import begin, settle, started
from innkeeper.workflows.plan import Feed, PlannedNode, RunPlan
from tests.workflows.toy_graphs import compiled, node

EMIT, RELAY = "Emit", "Relay"


def planned(plan: RunPlan, id: str) -> PlannedNode:
    return plan.by_id[id]  # type: ignore[index]


def test_a_consumer_runs_beside_its_producer_and_not_after_it() -> None:
    plan = compiled([node("s", EMIT), node("r", RELAY)], "s.out > r.stream").plan
    assert planned(plan, "r").beside == ("s",)
    assert planned(plan, "r").after == ()
    assert stream_inputs(plan, planned(plan, "r")) == {"stream": ["s"]}
    assert plan.kept_streams == ("s",)
    assert inputs_for(planned(plan, "r"), {}) == {}


def test_a_batch_value_becomes_a_stream_of_one_chunk() -> None:
    plan = compiled([node("s", EMIT), node("r", RELAY)], "s.text > r.stream").plan
    assert planned(plan, "r").after == ("s",)
    assert planned(plan, "r").beside == ()
    assert stream_inputs(plan, planned(plan, "r")) == {"stream": [None]}
    assert inputs_for(planned(plan, "r"), {"s": {"text": "x"}}) == {"stream": "x"}  # type: ignore[dict-item]


def test_a_consumer_behind_bypassed_relays_follows_the_producer() -> None:
    nodes = [node("s", EMIT), node("x", RELAY, bypassed=True), node("y", RELAY, bypassed=True), node("r", RELAY)]
    plan = compiled(nodes, "s.out > x.stream", "x.stream > y.stream", "y.stream > r.stream").plan
    assert planned(plan, "r").beside == ("s",)
    assert planned(plan, "r").after == ()
    assert planned(plan, "x").after == ("s",)


def test_a_bypassed_relay_without_input_gives_no_chunk() -> None:
    plan = compiled([node("x", RELAY, bypassed=True), node("r", RELAY)], "x.stream > r.stream").plan
    assert stream_inputs(plan, planned(plan, "r")) == {"stream": [""]}
    assert planned(plan, "r").beside == ()


def test_a_batch_slot_behind_a_bypassed_relay_collects_from_the_producer() -> None:
    nodes = [node("s", EMIT), node("x", RELAY, bypassed=True), node("e", "Echo")]
    plan = compiled(nodes, "s.out > x.stream", "x.stream > e.a").plan
    assert planned(plan, "e").inputs["a"].feeds == (Feed("s", "out", "collect_text"),)  # type: ignore[arg-type, index]
    assert "s" in planned(plan, "e").after


def test_a_plan_with_streams_survives_the_wire() -> None:
    plan = compiled([node("s", EMIT), node("r", RELAY)], "s.out > r.stream").plan
    assert RunPlan.decode(plan.encode()) == plan


# --- the scheduler --------------------------------------------------------------------------------------------------


def chain() -> RunPlan:
    nodes = [node("s", EMIT), node("r", RELAY), node("q", RELAY), node("e", "Echo")]
    return compiled(nodes, "s.out > r.stream", "r.stream > q.stream", "q.stream > e.a").plan


def test_consumers_are_ready_as_soon_as_their_producers_have_begun() -> None:
    plan = chain()
    progress, ready = begin(plan)
    assert ready == ("s",)
    assert started(plan, progress, "s") == ("r",)  # type: ignore[arg-type]
    assert started(plan, progress, "r") == ("q",)  # type: ignore[arg-type]
    assert started(plan, progress, "q") == ()  # type: ignore[arg-type]
    assert settle(plan, progress, "s", "complete").ready == ()  # type: ignore[arg-type]
    assert settle(plan, progress, "r", "complete").ready == ()  # type: ignore[arg-type]
    assert settle(plan, progress, "q", "complete").ready == ("e",)  # type: ignore[arg-type]


def test_a_running_consumer_is_not_skipped_by_its_producers_error() -> None:
    plan = chain()
    progress, _ = begin(plan)
    for name in ("s", "r", "q"):
        started(plan, progress, name)  # type: ignore[arg-type]
    assert settle(plan, progress, "s", "error").skipped == ()  # type: ignore[arg-type]
    assert settle(plan, progress, "r", "error").skipped == ()  # type: ignore[arg-type]
    assert settle(plan, progress, "q", "error").skipped == ("e",)  # type: ignore[arg-type]


def test_a_consumer_that_has_not_begun_is_skipped() -> None:
    plan = chain()
    progress, _ = begin(plan)
    started(plan, progress, "s")  # type: ignore[arg-type]
    assert settle(plan, progress, "s", "error").skipped == ("r", "q", "e")  # type: ignore[arg-type]
