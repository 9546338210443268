"""core:ContextBuilder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from innkeeper.nodes.errors import NodeError, NodeInputError
from innkeeper.nodes.library.processors.context_builder import definition
from innkeeper.nodes.testing import DirectScripts, memory_services, run_node

PRESET = {
    "prompts": [{"identifier": "main", "content": "{{roll:1d1000000}}", "system_prompt": True}],
    "prompt_order": [{"character_id": 100001, "order": [{"identifier": "main", "enabled": True}]}],
}


def messages(inputs: dict[str, Any]) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = run_node(definition, inputs)["finalMessages"]
    return result


def test_nothing_gives_no_messages() -> None:
    assert run_node(definition, {}) == {
        "finalMessages": [],
        "report": {"mode": "plain", "messages": [], "warnings": []},
        "chatState": {},
    }


def test_card_history_and_user_prompt() -> None:
    inputs = {
        "characterData": {"name": "Owl", "system_prompt": "You are Owl."},
        "historyMessages": json.dumps([{"role": "user", "content": "hi"}]),
        "presetData": {"user_prompt": "Go on."},
    }
    assert [message["content"] for message in messages(inputs)] == ["You are Owl.", "hi", "Go on."]


def test_a_second_attempt_gives_the_same_and_a_seed_something_else() -> None:
    assert messages({"presetData": PRESET}) == messages({"presetData": PRESET})
    assert messages({"presetData": PRESET, "seed": 5}) == messages({"presetData": PRESET, "seed": "5"})
    assert messages({"presetData": PRESET, "seed": 5}) != messages({"presetData": PRESET, "seed": 0})


def test_too_small_a_context_fails_the_node_for_good() -> None:
    with pytest.raises(NodeError, match="raise the context size") as caught:
        run_node(definition, {"presetData": PRESET, "maxContext": 301})
    assert caught.value.code == "context_too_small"
    assert not caught.value.retryable


def test_warnings_of_the_report_are_warnings_of_the_node() -> None:
    warnings: list[dict[str, str]] = []
    inputs = {"presetData": PRESET, "settings": {"pinExample": True}}
    told = run_node(definition, inputs, warnings=warnings)["report"]["warnings"]
    assert [warning["message"] for warning in warnings] == told
    assert "'pinExample'" in warnings[0]["message"]
    assert warnings[0]["code"] == "unknown_setting"


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        ({"historyMessages": "[oops"}, "history_not_used"),
        (
            {
                "characterData": {"system_prompt": "S"},
                "persona": {},
                "settings": {"mode": "plain"},
                "regexScripts": [{}],
            },
            "inputs_not_used",
        ),
        ({"presetData": PRESET, "settings": {"worldInfo": {"odd": 1}}}, "unknown_setting"),
        ({"presetData": {**PRESET, "names_behavior": 9}}, "odd_preset"),
        ({"presetData": PRESET, "characterData": {"name": "Mira", "tags": "", "description": ["x"]}}, "odd_card"),
        ({"presetData": PRESET, "worldBookData": {"entries": {"0": 5}}}, "odd_world_book"),
        ({"presetData": PRESET, "settings": {"greeting": 4}}, "no_such_greeting"),
        ({"presetData": PRESET, "regexScripts": [{"pattern": "a"}]}, "rules_not_used"),
    ],
)
def test_each_kind_of_warning_has_a_code_of_its_own(inputs: dict[str, Any], code: str) -> None:
    warnings: list[dict[str, str]] = []
    run_node(definition, inputs, warnings=warnings)
    assert [warning["code"] for warning in warnings] == [code]


class Noted(DirectScripts):
    timeout_s = 0.0

    async def call(
        self, function: str, arguments: Mapping[str, Any], *, data: bytes = b"", timeout_s: float = 10.0
    ) -> Any:
        self.timeout_s = timeout_s
        return await super().call(function, arguments, data=data, timeout_s=timeout_s)


@pytest.mark.parametrize(("settings", "expected"), [({}, 30), ({"timeoutSeconds": 2}, 2)])
def test_time_limit_is_a_setting(settings: dict[str, Any], expected: float) -> None:
    scripts = Noted()
    run_node(definition, {"settings": settings}, services=replace(memory_services(), scripts=scripts))
    assert scripts.timeout_s == expected


@pytest.mark.parametrize("limit", [0, -1, 1000, "x", True])
def test_odd_time_limits_are_refused(limit: Any) -> None:
    with pytest.raises(NodeInputError, match="timeoutSeconds"):
        run_node(definition, {"settings": {"timeoutSeconds": limit}})


def test_slots_are_those_of_the_reference() -> None:
    assert list(definition.inputs)[:4] == ["presetData", "worldBookData", "characterData", "historyMessages"]
    assert not any(slot.is_required({}) for slot in definition.inputs.values())
    assert list(definition.outputs) == ["finalMessages", "report", "chatState"]
