"""Which output may feed which input, and as what."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.nodes.definition import (
    DATA_FLOW_TYPES,
    BypassBehavior,
    Input,
    Mode,
    NodeDefinition,
    Output,
    compatible,
    conversion,
)

CATEGORIES = ("Code", "ComboOption", "Json", "Prompt", "BehaviorWildcard", "BehaviorConvertible")

# What an element of one type becomes as an element of another; pairs that are absent do not fit.
CONCRETE = ("STRING", "INTEGER", "FLOAT", "BOOLEAN", "OBJECT", "ARRAY", "BINARY")
ELEMENTS: dict[tuple[str, str], str] = {
    **{(kind, kind): "" for kind in CONCRETE},
    ("INTEGER", "FLOAT"): "float",
    ("INTEGER", "STRING"): "text",
    ("FLOAT", "STRING"): "text",
    ("BOOLEAN", "STRING"): "text",
}


@pytest.mark.parametrize("source", CONCRETE)
@pytest.mark.parametrize("target", CONCRETE)
def test_table_of_plain_types(source: str, target: str) -> None:
    assert conversion(Output(source), Input(target)) == ELEMENTS.get((source, target))


@pytest.mark.parametrize("free", ["WILDCARD", "CONVERTIBLE_ANY"])
@pytest.mark.parametrize("kind", DATA_FLOW_TYPES)
def test_wild_and_convertible_go_with_everything_unchanged(free: str, kind: str) -> None:
    assert conversion(Output(free), Input(kind)) == ""
    assert conversion(Output(kind), Input(free)) == ""


@pytest.mark.parametrize(
    ("output", "input", "expected"),
    [
        (Output("OBJECT", match_categories=("Json",)), Input("STRING", match_categories=("Json", "Prompt")), ""),
        (Output("OBJECT", match_categories=("Json",)), Input("STRING", match_categories=("Prompt",)), None),
        (Output("OBJECT", match_categories=("BehaviorWildcard",)), Input("BINARY"), ""),
        (Output("BINARY"), Input("OBJECT", match_categories=("BehaviorConvertible",)), ""),
        (Output("STRING"), Input("OBJECT", match_categories=("Code",)), ""),
        (Output("STRING"), Input("INTEGER", match_categories=("ComboOption",)), ""),
        (Output("OBJECT", match_categories=("Code",)), Input("STRING"), ""),
        (Output("OBJECT", match_categories=("Code",)), Input("ARRAY"), None),
        # A shared category does not keep a number from becoming text.
        (Output("INTEGER", match_categories=("Seed",)), Input("STRING", match_categories=("Seed",)), "text"),
        (Output("CODE"), Input("STRING"), ""),
        (Output("STRING"), Input("CODE"), ""),
    ],
)
def test_categories(output: Output, input: Input, expected: str | None) -> None:
    assert conversion(output, input) == expected


@pytest.mark.parametrize(
    ("output", "input", "expected"),
    [
        (Output("STRING", is_stream=True), Input("STRING", is_stream=True), ""),
        (Output("STRING", is_stream=True), Input("STRING"), "collect_text"),
        (Output("INTEGER", is_stream=True), Input("STRING"), "collect_text"),
        (Output("STRING", is_stream=True), Input("WILDCARD"), "collect_text"),
        (Output("STRING", is_stream=True), Input("CONVERTIBLE_ANY"), "collect_text"),
        (Output("STRING", is_stream=True), Input("ARRAY"), "collect_chunks"),
        (Output("OBJECT", is_stream=True), Input("ARRAY"), "collect_chunks"),
        (Output("STRING", is_stream=True), Input("INTEGER"), None),
        (Output("OBJECT", is_stream=True), Input("OBJECT"), None),
        (Output("OBJECT", is_stream=True), Input("STRING"), None),
        (Output("STRING"), Input("STRING", is_stream=True), "one_chunk"),
        (Output("OBJECT"), Input("STRING", is_stream=True), None),
        (Output("STREAM"), Input("STRING"), "collect_text"),
        (Output("STRING"), Input("STREAM"), "one_chunk"),
        (Output("STREAM"), Input("STREAM"), ""),
    ],
)
def test_streams(output: Output, input: Input, expected: str | None) -> None:
    assert conversion(output, input) == expected


def slot_fields() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "data_flow_type": st.sampled_from((*DATA_FLOW_TYPES, "STREAM", "CODE")),
            "is_stream": st.booleans(),
            "match_categories": st.lists(st.sampled_from(CATEGORIES), unique=True, max_size=3).map(tuple),
        }
    )


@given(slot_fields(), slot_fields())
def test_conversion_speaks_about_streams_exactly_where_the_flags_differ(
    source: dict[str, Any], target: dict[str, Any]
) -> None:
    output, input = Output(**source), Input(**target)
    found = conversion(output, input)
    assert compatible(output, input) == (found is not None)
    if output.is_stream == input.is_stream:
        assert found in ("", "text", "float", None)
    elif input.is_stream:
        assert found in ("one_chunk", None)
    else:
        assert found in ("collect_text", "collect_chunks", None)


@given(slot_fields())
def test_a_slot_fits_one_of_its_own_kind(fields: dict[str, Any]) -> None:
    assert conversion(Output(**fields), Input(**fields)) == ""


@given(slot_fields(), slot_fields())
def test_value_of_another_type_is_never_taken_for_a_number(source: dict[str, Any], target: dict[str, Any]) -> None:
    output, input = Output(**source), Input(**target)
    if conversion(output, input) == "float":
        assert (output.data_flow_type, input.data_flow_type) == ("INTEGER", "FLOAT")


@given(slot_fields(), slot_fields(), st.sampled_from(["Json", "Prompt", "Matrix"]))
def test_a_category_in_common_never_parts_two_slots(
    source: dict[str, Any], target: dict[str, Any], category: str
) -> None:
    def shared(fields: dict[str, Any]) -> dict[str, Any]:
        return {**fields, "match_categories": (*fields["match_categories"], category)}

    if compatible(Output(**source), Input(**target)):
        assert compatible(Output(**shared(source)), Input(**shared(target)))
    # Collecting a stream needs a type that a text or a list can be; elements of equal streams only need the category.
    if Output(**source).is_stream == Input(**target).is_stream:
        assert compatible(Output(**shared(source)), Input(**shared(target)))


def test_old_type_names_are_read_as_what_they_became() -> None:
    assert Input("STREAM") == Input("WILDCARD", is_stream=True)
    assert Output("CODE", match_categories=["Json"]) == Output("STRING", match_categories=("Json", "Code"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("required", "config", "expected"),
    [
        (True, {}, True),
        (False, {}, False),
        (lambda config: config.get("op") == "add", {"op": "add"}, True),
        (lambda config: config.get("op") == "add", {}, False),
        ({"when": {"op": "add"}}, {"op": "add", "other": 1}, True),
        ({"when": {"op": "add"}}, {"op": "sub"}, False),
        ({"when": {"op": "add"}}, {}, False),
        ({"when": {"op": "add", "n": 2}}, {"op": "add", "n": 1}, False),
    ],
)
def test_required_is_a_bool_a_function_or_a_condition(required: Any, config: dict[str, Any], expected: bool) -> None:
    assert Input("STRING", required=required).is_required(config) is expected


def test_mode_is_picked_by_its_config_value_only() -> None:
    add = Mode("add", "Add", {}, {})
    node = NodeDefinition("Math", "Math", "Math", "", modes={"add": add}, default_mode_id="add", mode_config_key="op")
    assert node.mode_for({"op": "add"}) is add
    assert node.mode_for({}) is None
    assert node.mode_for({"op": "unknown"}) is None
    assert node.mode_for({"op": ["add"]}) is None


def test_an_absent_or_unknown_mode_is_the_default_one_where_the_type_falls_back() -> None:
    modes = {key: Mode(key, key, {}, {}) for key in ("add", "sub")}
    node = NodeDefinition(
        "Math",
        "Math",
        "Math",
        "",
        modes=modes,
        default_mode_id="sub",
        mode_config_key="op",
        falls_back_to_default_mode=True,
    )
    assert node.mode_for({"op": "add"}) is modes["add"]
    for config in ({}, {"op": ""}, {"op": "unknown"}, {"op": ["add"]}):
        assert node.mode_for(config) is modes["sub"]


def test_json_of_a_definition_has_no_functions_and_no_server_paths() -> None:
    node = NodeDefinition(
        type="Toy",
        category="Toys",
        display_name="Toy",
        description="A toy.",
        inputs={
            "text": Input("STRING", required=lambda config: True, secret=True),
            "n": Input("INTEGER", required={"when": {"op": "add"}}, multi=True, config={"default": 7}),
        },
        outputs={"out": Output("STRING", is_stream=True, match_categories=("TextStream",))},
        bypass_behavior=BypassBehavior({"out": "text"}, {"x": 1}),
        namespace="toys",
        file_path="/srv/plugins/toys/nodes/toy.py",
    )
    assert node.to_json() == {
        "type": "Toy",
        "namespace": "toys",
        "fullType": "toys:Toy",
        "category": "Toys",
        "displayName": "Toy",
        "description": "A toy.",
        "inputs": {
            "text": {"dataFlowType": "STRING", "secret": True},
            "n": {
                "dataFlowType": "INTEGER",
                "required": {"when": {"op": "add"}},
                "multi": True,
                "config": {"default": 7},
            },
        },
        "outputs": {"out": {"dataFlowType": "STRING", "matchCategories": ["TextStream"], "isStream": True}},
        "placement": "activity",
        "version": "1",
        "bypassBehavior": {"passThrough": {"out": "text"}, "defaults": {"x": 1}},
    }
