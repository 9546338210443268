"""Nodes that the interpreter runs itself."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.library_cases.case import Case


def node(id: str, type: str, config: dict[str, Any] | None = None, **inputs: Any) -> dict[str, Any]:
    return {"id": id, "fullType": f"core:{type}", "inputs": inputs, "configValues": config or {}}


def stored(name: str, inputs: dict[str, str], outputs: dict[str, str], inner: list[Any], edges: list[str]) -> Any:
    """A workflow file. Inputs and outputs are key to type; edges `"node.slot > node.slot"`, with `in` and `out`."""
    ends = [[end.split(".") for end in edge.split(" > ")] for edge in edges]
    return {
        f"shared://library/workflows/{name}.json": json.dumps(
            {
                "id": name,
                "name": name,
                "nodes": [
                    {"id": "in", "type": "core:GroupInput"},
                    *({**item, "type": item["fullType"], "inputValues": item["inputs"]} for item in inner),
                    {"id": "out", "type": "core:GroupOutput"},
                ],
                "edges": [
                    {"id": f"e{number}", "source": a, "sourceHandle": b, "target": c, "targetHandle": d}
                    for number, ((a, b), (c, d)) in enumerate(ends)
                ],
                "interfaceInputs": {key: {"key": key, "dataFlowType": kind} for key, kind in inputs.items()},
                "interfaceOutputs": {key: {"key": key, "dataFlowType": kind} for key, kind in outputs.items()},
            }
        ).encode()
    }


SHOUT = stored(
    "shout",
    {"item": "STRING"},
    {"text": "STRING"},
    [node("m", "TextMerge", separator="")],
    ["in.item > m.text_inputs__0", "m.merged_text > out.text"],
)
COUNT = stored(
    "count",
    {"n": "FLOAT"},
    {"n": "FLOAT", "again": "FLOAT"},
    [
        node("more", "MathOperation", {"operationMode": "add"}, b=1),
        node("less", "MathOperation", {"operationMode": "lessThan"}, b=3),
    ],
    ["in.n > more.a", "more.result > less.a", "more.result > out.n", "less.result > out.again"],
)

CASES = [
    Case(
        "branch_and_merge",
        [
            node("b", "Branch", value="x", condition=False),
            node("yes", "TextMerge", separator="+"),
            node("no", "TextMerge", separator="-"),
            node("m", "Merge"),
        ],
        [
            "b.true > yes.text_inputs__0",
            "b.false > no.text_inputs__0",
            "yes.merged_text > m.values__0",
            "no.merged_text > m.values__1",
        ],
        expect={"m": {"value": "x"}},
    ),
    Case(
        "switch",
        [node("s", "Switch", {"cases": ["a", {"operator": "contains", "value": "b"}]}, value="abc")],
        expect={"s": {"case_1": "abc"}},
    ),
    Case("delay", [node("d", "Delay", value="v", seconds=0.05)], expect={"d": {"value": "v"}}),
    Case("wait_until", [node("w", "WaitUntil", value=1, time="2020-01-01")], expect={"w": {"value": 1}}),
    Case(
        "approval_without_an_answer",
        [node("a", "Approval", {"timeoutSeconds": 0.1}, data={"n": 1})],
        expect={"a": {"timeout": {"n": 1}}},
    ),
    Case(
        "event_that_does_not_come",
        [node("w", "WaitForEvent", {"name": "x", "timeoutSeconds": 0.1})],
        expect={"w": {"timeout": True}},
    ),
    Case(
        "event_that_nobody_wants",
        [node("e", "EmitEvent", name="nobody.wants.this", data={"n": 1})],
        expect={"e": {"started": 0, "woken": 0, "eventId": lambda id: len(id) == 32}},
    ),
    Case(
        "group",
        [node("g", "NodeGroup", {"referencedWorkflowId": "shout"}, item="a")],
        expect={"g": {"text": "a"}},
        files=SHOUT,
    ),
    Case(
        "for_each",
        [node("f", "ForEach", {"referencedWorkflowId": "shout"}, items=["a", "b"])],
        expect={"f": {"results": [{"text": "a"}, {"text": "b"}], "errors": []}},
        files=SHOUT,
    ),
    Case(
        "loop",
        [node("l", "Loop", {"referencedWorkflowId": "count", "conditionKey": "again"}, state={"n": 0})],
        expect={"l": {"iterations": 3, "state": lambda state: state["n"] == 3}},
        files=COUNT,
    ),
]
