"""A small catalogue and short ways to write documents, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.nodes.definition import BypassBehavior, Input, Mode, NodeDefinition, Output, Retry
from innkeeper.nodes.errors import InvalidWorkflow, Problem
from innkeeper.workflows.compiler.compile import Compiled, compile_document
from innkeeper.workflows.document.model import WorkflowDocument, parse_document

HOLLOW = ("BehaviorConvertible",)


def toy(name: str, inputs: Mapping[str, Input], outputs: Mapping[str, Output], **more: Any) -> NodeDefinition:
    namespace = more.pop("namespace", "toy")
    return NodeDefinition(name, "Toys", f"A {name}", "", inputs, outputs, namespace=namespace, **more)


TEXT = Output("STRING")
ROLES = ({"value": "user", "label": "User"}, {"value": "system", "label": "System"})

TOYS = [
    toy("GroupInput", {}, {"output_0": Output("CONVERTIBLE_ANY", match_categories=HOLLOW)}, namespace="core",
        dynamic_slots=True, bypassable=False, interface_values=True),
    toy("GroupOutput", {"input_0": Input("CONVERTIBLE_ANY", match_categories=HOLLOW)}, {}, namespace="core",
        dynamic_slots=True, bypassable=False, interface_sink=True),
    toy("MathOperation", {"a": Input("FLOAT", required=True), "note": Input("STRING")}, {"result": Output("FLOAT")},
        namespace="core"),
    toy("Source", {"value": Input("WILDCARD")}, {"value": Output("WILDCARD")}),
    toy("Echo", {"a": Input("STRING"), "b": Input("STRING"), "n": Input("INTEGER", config={"default": 7})},
        {"all": Output("OBJECT"), "text": TEXT}),
    toy("Need", {"a": Input("STRING", required=True), "b": Input("STRING", required=True, config={"default": "d"})},
        {"text": TEXT}),
    toy("Join", {"parts": Input("STRING", required=True, multi=True), "sep": Input("STRING", config={"default": ","})},
        {"text": TEXT}),
    toy("Role", {"role": Input("STRING", required=True, config={"suggestions": ROLES})}, {"text": TEXT}),
    toy("Number", {}, {"n": Output("INTEGER"), "f": Output("FLOAT"), "yes": Output("BOOLEAN")}),
    toy("List", {"items": Input("ARRAY"), "x": Input("FLOAT")}, {"items": Output("ARRAY"), "o": Output("OBJECT")}),
    toy("Emit", {}, {"out": Output("STRING", is_stream=True), "raw": Output("OBJECT", is_stream=True), "text": TEXT}),
    toy("Relay", {"stream": Input("STRING", is_stream=True)}, {"stream": Output("STRING", is_stream=True)}),
    toy("Key", {"api_key": Input("STRING", secret=True), "note": Input("STRING")},
        {"settings": Output("OBJECT", secret_keys=("api_key",))}),
    toy("Call", {"settings": Input("OBJECT", secret_keys=("api_key",)), "prompt": Input("STRING")}, {"text": TEXT},
        side_effects=True, retry=None),
    toy("Door", {"token": Input("STRING", secret=True), "base_url": Input("STRING"), "url": Input("STRING"),
                 "use_env_vars": Input("BOOLEAN")}, {"text": TEXT}),
    toy("Vault", {}, {"text": TEXT}, config_schema={"token": Input("STRING", secret=True)}),
    toy("Fixed", {}, {"text": TEXT}, bypassable=False),
    toy("Muted", {"a": Input("STRING")}, {"text": TEXT, "stream": Output("STRING", is_stream=True)},
        bypass_behavior="mute"),
    toy("Passing", {"a": Input("STRING"), "o": Input("OBJECT")},
        {"x": TEXT, "y": TEXT, "z": Output("INTEGER"), "bad": Output("ARRAY"), "rest": Output("OBJECT")},
        bypass_behavior=BypassBehavior({"x": "a", "y": "a", "bad": "o"}, {"z": 42})),
    toy("Plain", {"s": Input("STRING"), "i": Input("INTEGER"), "o": Input("OBJECT"), "t": Input("STRING")},
        {"s": TEXT, "f": Output("FLOAT"), "o": Output("OBJECT"), "b": Output("BOOLEAN"), "bin": Output("BINARY"),
         "st": Output("STRING", is_stream=True)}),
    toy("Setting", {"x": Input("STRING", required={"when": {"mode": "loud"}})}, {"text": TEXT}, config_schema={
        "mode": Input("STRING", config={"default": "quiet", "suggestions": ("quiet", "loud")},
                      match_categories=("ComboOption",)),
        "level": Input("INTEGER", config={"min": 0, "max": 9}),
        "path": Input("STRING", required=True)}),
    toy("Modal", {"base": Input("STRING")}, {"text": TEXT}, mode_config_key="op", modes={
        "add": Mode("add", "Add", {"left": Input("FLOAT", required=True)}, {"sum": Output("FLOAT")})}),
    toy("Patient", {}, {}, placement="inline", timeout_s=10, retry=Retry(7, 2, 3, 60, ("refused",)), queue="gpu"),
    toy("Switched", {"on": Input("BOOLEAN")}, {"text": TEXT}),
    toy("Sum", {"parts": Input("FLOAT", multi=True)}, {"sum": Output("FLOAT")}),
    toy("Frame", {}, {}, is_ui_node=True),
]  # fmt: skip


class ToyCatalogue:
    def __init__(self, *more: NodeDefinition) -> None:
        self._types = {definition.full_type: definition for definition in (*TOYS, *more)}

    def get_node(self, full_type: str) -> NodeDefinition | None:
        return self._types.get(full_type)

    def get_definitions(self) -> list[NodeDefinition]:
        return list(self._types.values())


def node(node_id: str, kind: str, inputs: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    full_type = kind if ":" in kind else f"toy:{kind}"
    return {"id": node_id, "fullType": full_type, "inputs": dict(inputs or {}), **more}


def edges(*ends: str) -> list[dict[str, str]]:
    """`"a.value > b.x"` becomes edge `e1`, the next `e2`, ..."""
    found = []
    for number, text in enumerate(ends, 1):
        source, target = (end.strip().split(".") for end in text.split(">"))
        found.append(
            {
                "id": f"e{number}",
                "sourceNodeId": source[0],
                "sourceHandle": source[1],
                "targetNodeId": target[0],
                "targetHandle": target[1],
            }
        )
    return found


def document(nodes: list[dict[str, Any]], *ends: str, **more: Any) -> WorkflowDocument:
    return parse_document({"nodes": nodes, "edges": edges(*ends), **more})


def compiled(nodes: list[dict[str, Any]], *ends: str, types: tuple[NodeDefinition, ...] = (), **more: Any) -> Compiled:
    return compile_document(document(nodes, *ends, **more), ToyCatalogue(*types), secret_id=lambda text: f"id-{text}")


def problems(nodes: list[dict[str, Any]], *ends: str, **more: Any) -> tuple[Problem, ...]:
    """What the compiler says about it: the errors with their warnings, or the warnings alone."""
    try:
        return compiled(nodes, *ends, **more).warnings
    except InvalidWorkflow as error:
        return error.problems


def places(found: tuple[Problem, ...]) -> list[tuple[str | None, ...]]:
    return [(problem.code, problem.node, problem.slot, problem.edge) for problem in found]
