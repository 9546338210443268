"""Documents of workflows, as many tests write them."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
FORM = [{"key": "text", "dataFlowType": "STRING"}]


def node(id: str, type: str, inputs: Json | None = None, **config: Any) -> Json:
    """A node of the built-in library, `type` without its namespace."""
    return {"id": id, "fullType": f"core:{type}", "inputs": inputs or {}, "configValues": config}


def edge(source: str, target: str) -> Json:
    """From `node.slot` to `node.slot`."""
    (from_node, slot), (to, into) = source.split("."), target.split(".")
    ends = {"sourceNodeId": from_node, "sourceHandle": slot, "targetNodeId": to, "targetHandle": into}
    return {"id": f"{source}>{target}", **ends}


ASKING_GROUP = {
    "id": "asks",
    "name": "Asks",
    "nodes": [node("ask", "Approval", {"data": {"text": "old"}}, form=FORM), node("out", "GroupOutput")],
    "edges": [edge("ask.approved", "out.line")],
    "interfaceOutputs": {"line": {"key": "line", "dataFlowType": "WILDCARD"}},
    "outputInterfaceMappings": {"line": {"sourceNodeId": "ask", "sourceSlotKey": "approved"}},
}
"""A workflow to be stored and run as a group: it asks, and gives what was answered."""
