"""What a node gave is held against what its type declares."""

from __future__ import annotations

from typing import Any

import pytest

from innkeeper.nodes.definition import Mode, NodeDefinition, Output
from innkeeper.nodes.errors import InvalidNode
from innkeeper.nodes.output_checks import check_outputs, declared_outputs

SLOTS = {
    "text": Output("STRING", required=True),
    "note": Output("STRING"),
    "live": Output("STRING", is_stream=True),
}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"txt": "a"}, "output 'txt', which it does not declare; did you mean 'text'?; outputs are 'text', 'note'"),
        ({"txt": "a"}, "gave no output 'text'; it gave 'txt'"),
        ({"Text": "a", "note": ""}, "did you mean 'text'?"),
        ({}, "gave no output 'text'; it gave nothing"),
        ({"text": "a", "zzz": 1}, "'zzz', which it does not declare; outputs are"),
        ("a", "the node gave str; expected a mapping"),
    ],
)
def test_wrong_keys_are_named(given: Any, said: str) -> None:
    with pytest.raises(InvalidNode) as caught:
        check_outputs(given, SLOTS)
    assert said in caught.value.message
    assert (caught.value.code, caught.value.retryable) == ("invalid_output", False)


def test_an_optional_output_that_is_missing_is_a_warning() -> None:
    assert check_outputs({"text": "a"}, SLOTS) == [
        {"code": "missing_output", "message": "the node gave nothing for output 'note'"}
    ]


def test_a_node_that_branches_gives_what_it_chose_and_one_with_dynamic_slots_what_it_wants() -> None:
    assert check_outputs({}, SLOTS, may_omit=True) == []
    assert check_outputs({"anything": 1}, None) == []


@pytest.mark.parametrize(
    ("kind", "fitting", "wrong"),
    [
        ("STRING", ["", None], [1, [], b""]),
        ("INTEGER", [3, None], [True, 3.5, "3"]),
        ("FLOAT", [3, 3.5], [False, "3"]),
        ("BOOLEAN", [True], [1, "true"]),
        ("OBJECT", [{}], [[], "{}"]),
        ("ARRAY", [[], ()], ["ab", {}]),
        ("BINARY", [b"", "text"], []),
        ("WILDCARD", [1, "a", []], []),
    ],
)
def test_a_value_of_another_kind_is_a_warning_without_it(kind: str, fitting: list[Any], wrong: list[Any]) -> None:
    slots = {"out": Output(kind)}
    assert [check_outputs({"out": value}, slots) for value in fitting] == [[]] * len(fitting)
    for value in wrong:
        (warning,) = check_outputs({"out": value}, slots)
        assert warning["code"] == "unexpected_type"
        assert warning["message"].startswith(f"output 'out' is declared {kind}; the node gave ")


def test_what_is_declared_follows_mode_and_settings() -> None:
    loud = Mode("loud", "Loud", {}, {"shout": Output("STRING")})
    node = NodeDefinition("T", "c", "T", "", outputs=SLOTS, modes={"loud": loud})
    assert declared_outputs(node, None, {}) == SLOTS
    assert declared_outputs(node, "loud", {}) == loud.outputs
    by_settings = NodeDefinition("T", "c", "T", "", outputs_of=lambda config: {config["name"]: Output("STRING")})
    assert list(declared_outputs(by_settings, None, {"name": "x"}) or ()) == ["x"]
    assert declared_outputs(NodeDefinition("T", "c", "T", "", dynamic_slots=True), None, {}) is None
