from __future__ import annotations

from typing import Any

import pytest

from innkeeper.nodes.errors import InvalidWorkflow
from innkeeper.workflows.document.model import (
    DocumentNode,
    Edge,
    InterfaceMapping,
    Limits,
    load_json,
    parse_document,
    with_inputs,
)

STORED: dict[str, Any] = {
    "id": "greeter-1",
    "name": "Greeter",
    "viewport": {"x": 0, "y": 0, "zoom": 1},
    "interfaceInputs": {"who": {"key": "who", "dataFlowType": "STRING", "config": {"default": "Ada"}}},
    "interfaceOutputs": {
        "line": {"key": "line", "dataFlowType": "STRING", "displayName": "Line"},
        "other": {"key": "other", "dataFlowType": "STRING"},
        "loose": {"key": "loose", "dataFlowType": "STRING"},
    },
    "nodes": [
        {"id": "in", "type": "core:GroupInput", "position": {"x": 0, "y": 0}},
        {"id": "box", "type": "core:frame", "width": 300},
        {
            "id": "join", "type": "core:TextMerge", "displayName": "Greeting", "inputValues": {"separator": ", "},
            "configValues": {"x": 1}, "inputConnectionOrders": {"text_inputs": ["e1"]}, "parentNode": "box",
            "bypassed": True, "retry": {"maximumAttempts": 2}, "timeoutSeconds": 9, "totalTimeoutSeconds": 20,
            "queue": "gpu",            "continueOnError": True,
        },
        {"id": "out", "type": "core:GroupOutput"},
        {"id": "out2", "type": "core:GroupOutput"},
    ],
    "edges": [
        {"id": "e1", "source": "in", "sourceHandle": "who", "target": "join", "targetHandle": "text_inputs__0"},
        {"source": "join", "sourceHandle": "merged_text", "target": "out", "targetHandle": "line", "label": None},
        {"id": "e1", "source": "in", "sourceHandle": "who", "target": "out2", "targetHandle": "other"},
        {"id": "e4", "source": "in", "sourceHandle": None, "target": "box", "targetHandle": None},
    ],
}  # fmt: skip


def test_stored_format_gives_nodes_edges_and_interface() -> None:
    document = parse_document(STORED)
    assert [node.id for node in document.nodes] == ["in", "join", "out", "out2"]
    assert document.nodes[1] == DocumentNode(
        "join", "core:TextMerge", {"separator": ", "}, {"x": 1}, {"text_inputs": ("e1",)}, "Greeting",
        bypassed=True, retry={"maximumAttempts": 2}, timeout_seconds=9, total_timeout_seconds=20, queue="gpu",
        continue_on_error=True,
    )  # fmt: skip
    assert document.edges[0] == Edge("e1", "in", "who", "join", "text_inputs__0")
    assert (document.id, document.name) == ("greeter-1", "Greeter")
    assert document.interface_inputs["who"].value == "Ada"


def test_stored_format_finds_outputs_in_the_edges_into_every_group_output() -> None:
    assert parse_document(STORED).output_interface_mappings == {
        "line": InterfaceMapping("join", "merged_text"),
        "other": InterfaceMapping("in", "who"),
    }


def test_missing_and_repeated_edge_ids_are_replaced() -> None:
    assert [edge.id for edge in parse_document(STORED).edges] == ["e1", "edge-1", "edge-2"]


def test_execution_payload_keeps_its_own_output_mappings() -> None:
    payload = {
        "workflowId": "w",
        "metadata": {"workflowName": "Named"},
        "nodes": [{"id": "a", "fullType": "x:A", "inputs": {"v": None}}, {"id": "out", "fullType": "core:GroupOutput"}],
        "edges": [{"sourceNodeId": "a", "sourceHandle": "o", "targetNodeId": "out", "targetHandle": "line"}],
        "interfaceOutputs": {"line": {"dataFlowType": "STRING"}},
        "outputInterfaceMappings": {"line": {"sourceNodeId": "a", "sourceSlotKey": "p"}},
    }
    document = parse_document(payload)
    assert document.nodes[0] == DocumentNode("a", "x:A", {"v": None})
    assert document.output_interface_mappings == {"line": InterfaceMapping("a", "p")}
    assert (document.id, document.name) == ("w", "Named")


def test_wrong_shapes_are_all_reported_with_their_places() -> None:
    raw = {
        "nodes": [{"type": "x:A"}, {"id": 5, "type": "x:A"}, "text", {"id": "n", "type": "x:A", "inputs": [1]},
                  {"id": "m", "type": "x:A", "bypassed": "yes", "inputConnectionOrders": {"s": [1]}}],
        "edges": [{"source": "a", "target": "b", "id": "e"}, {"id": "bad", "source": "a", "targetHandle": 3}],
        "interfaceInputs": {"k": {"required": True}},
    }  # fmt: skip
    with pytest.raises(InvalidWorkflow) as caught:
        parse_document(raw)
    assert {problem.code for problem in caught.value.problems} == {"invalid_document"}
    assert [problem.message for problem in caught.value.problems] == [
        "nodes[0] has no 'id'",
        "'id' of nodes[1] must be text, found a number",
        "nodes[2] must be an object, found text",
        "'inputs' of nodes[3] must be an object, found a list",
        "'s' of 'inputConnectionOrders' of nodes[4] must be a list of texts, found a list",
        "'bypassed' of nodes[4] must be true or false, found text",
        "edges[1] has no 'target'",
        "'targetHandle' of edges[1] must be text, found a number",
        "interfaceInputs['k'] has no 'dataFlowType'",
    ]
    assert [(problem.node, problem.edge) for problem in caught.value.problems][3:8] == [
        ("n", None), ("m", None), ("m", None), (None, "bad"), (None, "bad"),
    ]  # fmt: skip


@pytest.mark.parametrize("raw", [None, [], "text", 5, {}, {"nodes": None}, {"nodes": {}}])
def test_what_is_no_workflow_is_refused(raw: Any) -> None:
    with pytest.raises(InvalidWorkflow):
        parse_document(raw)


def test_limits_name_the_found_and_the_allowed_number() -> None:
    raw = {"nodes": [{"id": str(i), "type": "x:A"} for i in range(4)], "edges": [{}] * 6}
    with pytest.raises(InvalidWorkflow) as caught:
        parse_document(raw, Limits(max_nodes=3, max_edges=5))
    assert [(problem.code, problem.message) for problem in caught.value.problems] == [
        ("too_many_nodes", "the document has 4 nodes; the limit is 3"),
        ("too_many_edges", "the document has 6 edges; the limit is 5"),
    ]


@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (b'{"a":\n 1,,}', "malformed_json", "line 2, column 4"),
        (b"", "malformed_json", "line 1, column 1"),
        (b"\xff\xfe", "malformed_json", "line 1"),
        (b'{"a": NaN}', "malformed_json", "column 7"),
        (b"[" * 101 + b"]" * 101, "document_too_deep", "101 levels; the limit is 100"),
        (b"[" * 100_000, "document_too_deep", "the limit is 100"),
        (b" " * 10_000_001, "document_too_large", "10000001 bytes; the limit is 10000000"),
    ],
)
def test_unreadable_json_says_what_and_where(data: bytes, code: str, words: str) -> None:
    with pytest.raises(InvalidWorkflow) as caught:
        load_json(data)
    assert caught.value.problems[0].code == code
    assert words in caught.value.problems[0].message


def test_broken_characters_and_great_numbers_in_a_document_are_mended() -> None:
    document = load_json(rb'{"a \ud83d": ["\ude00 x", 123456789012345678901234567890, 18446744073709551615]}')
    assert document == {"a \ufffd": ["\ufffd x", 1.2345678901234568e29, 2**64 - 1]}


def test_readable_json_may_begin_with_a_byte_order_mark() -> None:
    assert load_json(b'\xef\xbb\xbf{"a": [1]}') == {"a": [1]}
    assert load_json(b"[" * 100 + b"]" * 100)


def test_with_inputs_sets_values_and_warns_of_unknown_keys() -> None:
    document = parse_document(STORED)
    changed, warnings = with_inputs(document, {"who": "", "whom": "Grace"})
    assert changed.interface_inputs["who"].value == ""
    assert document.interface_inputs["who"].value == "Ada"
    assert [(problem.code, problem.level, problem.slot) for problem in warnings] == [
        ("unknown_input", "warning", "whom")
    ]
    assert "its inputs are 'who'" in warnings[0].message
