"""The control nodes as the editor sees them."""

from __future__ import annotations

import pytest

from innkeeper.nodes.definition import BypassBehavior, NodeDefinition
from innkeeper.nodes.library.control import approval, branch, delay, merge, switch, wait_for_event
from innkeeper.workflows.document.times import MAX_WAIT_S

ALL = (
    approval.definition,
    branch.definition,
    merge.definition,
    switch.definition,
    wait_for_event.definition,
    *delay.definitions,
)


@pytest.mark.parametrize("definition", ALL, ids=lambda definition: definition.type)
def test_the_interpreter_runs_it(definition: NodeDefinition) -> None:
    assert definition.placement == "workflow"
    assert definition.execute is None
    assert definition.description
    assert all(slot.display_name for slot in (*definition.inputs.values(), *definition.outputs.values()))


@pytest.mark.parametrize("definition", ALL, ids=lambda definition: definition.type)
def test_bypass_rules_name_slots_that_exist(definition: NodeDefinition) -> None:
    rules = definition.bypass_behavior
    if not isinstance(rules, BypassBehavior):
        assert definition.joins, "a join gives what arrives first, bypassed or not"
        return
    outputs = {*rules.pass_through, *rules.defaults, *rules.without} - {"*"}
    assert outputs <= definition.outputs.keys()
    assert set(rules.pass_through.values()) <= definition.inputs.keys()


def test_ways_of_a_branch_and_of_waits() -> None:
    assert [item.type for item in ALL if item.branches] == ["Approval", "Branch", "Switch", "WaitForEvent"]
    assert [item.type for item in ALL if item.joins] == ["Merge"]
    assert list(branch.definition.outputs) == ["true", "false"]
    assert list(approval.definition.outputs) == ["approved", "rejected", "timeout", "answer"]
    assert list(wait_for_event.definition.outputs) == ["data", "timeout"]
    assert merge.definition.inputs["values"].multi


@pytest.mark.parametrize(
    ("cases", "count"), [([], 0), (["a", "b"], 2), (None, 0), ("ab", 0), ([1] * 500, switch.MAX_CASES)]
)
def test_switch_has_an_output_for_each_case(cases: object, count: int) -> None:
    assert list(switch.outputs_of({"cases": cases})) == [*(f"case_{index}" for index in range(count)), "default"]


def test_switch_without_settings_has_its_default_way() -> None:
    assert list(switch.outputs_of({})) == ["default"]


def test_editors_get_handles_of_the_switch_and_labels_of_settings() -> None:
    shown = switch.definition.to_json()
    assert list(shown["outputs"]) == ["case_0", "case_1", "case_2", "case_3", "default"]
    assert shown["configSchema"]["cases"]["config"]["label"] == "Cases"
    assert "default" not in wait_for_event.definition.to_json()["configSchema"]["filter"]["config"]


def test_longest_delay_of_the_catalogue_is_the_one_that_waits_allow() -> None:
    assert delay.delay.inputs["seconds"].config["max"] == MAX_WAIT_S
