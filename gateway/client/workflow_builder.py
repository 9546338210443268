"""Workflows in Python: calls that write the JSON which everything else reads."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from innkeeper.nodes.definition import TYPED_EMPTY
from innkeeper.nodes.errors import InvalidWorkflow, Problem
from innkeeper.workflows.document.model import load_json, parse_document

JsonObject = dict[str, Any]
COLUMN, ROW = 280, 160
"""Pixels between nodes as editors draw them."""
GROUP_INPUT = "core:GroupInput"
GROUP_OUTPUT = "core:GroupOutput"
NODE_KEYS = {
    "bypassed": "bypassed",
    "cache": "cache",
    "continue_on_error": "continueOnError",
    "queue": "queue",
    "retry": "retry",
    "timeout_seconds": "timeoutSeconds",
    "title": "displayName",
    "total_timeout_seconds": "totalTimeoutSeconds",
}


@dataclass(frozen=True)
class Slot:
    """An output of a node, to be given to other nodes as an input."""

    node: str
    key: str


class Node:
    """A node of a `Workflow`; `node["slot"]` is one of its outputs."""

    def __init__(self, workflow: Workflow, id: str) -> None:
        self._workflow = workflow
        self.id = id

    def __getitem__(self, key: str) -> Slot:
        return Slot(self.id, key)

    def connect(self, slot: str, value: Slot | Sequence[Slot]) -> None:
        """Feed an input later than in `Workflow.node`, when two parts of a graph are built apart."""
        self._workflow.connect(self.id, slot, value)

    def __repr__(self) -> str:
        return f"<node {self.id!r}>"


class Workflow:
    """A workflow that is being written.

        flow = Workflow("greeting")
        who = flow.input("who", default="world")
        text = flow.node("core:Template", template="Hello {{ input }}!", input=who)
        flow.output("text", text["text"])
        flow.save("greeting.json")

    What it holds is the document itself: `to_json` gives exactly that, and `from_json(document).to_json()` equals
    `document`, keys that nobody here knows included.
    """

    def __init__(self, id: str, *, name: str = "", description: str = "") -> None:
        self._document: JsonObject = {
            "id": id,
            "name": name or id,
            **({"description": description} if description else {}),
            "interfaceInputs": {},
            "interfaceOutputs": {},
            "nodes": [],
            "edges": [],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Workflow:
        """Go on with a document.

        Raises:
            InvalidWorkflow: Its shape is wrong.
        """
        parse_document(document)
        workflow = cls(str(document.get("id") or ""))
        workflow._document = copy.deepcopy(dict(document))
        return workflow

    @classmethod
    def load(cls, file: str | Path) -> Workflow:
        """Read a file. Raises InvalidWorkflow, OSError."""
        return cls.from_json(load_json(Path(file).read_bytes()))

    # --- writing --------------------------------------------------------------------------------------------------

    def node(
        self,
        type: str,
        id: str = "",
        *,
        config: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        **inputs: Any,
    ) -> Node:
        """Add a node.

        Args:
            type: `namespace:Name`.
            id: Names it in events and results; made of the type when left away.
            config: Its settings (`configValues`).
            options: `bypassed`, `cache`, `continue_on_error`, `queue`, `retry`, `timeout_seconds`, `title`,
                `total_timeout_seconds`.
            inputs: Slot to value; a `Slot` makes an edge, a list of them the edges of a slot that takes several.

        Raises:
            InvalidWorkflow: The id is taken, an option is unknown, or an edge begins at a node that is not here.
        """
        id = id or self._free_id(type.rpartition(":")[2])
        if self._find(id) is not None:
            raise _invalid(f"there is a node {id!r} already", node=id)
        entry: JsonObject = {"id": id, "type": type}
        for key, value in (options or {}).items():
            if key not in NODE_KEYS:
                raise _invalid(f"unknown option {key!r}; options are {', '.join(NODE_KEYS)}", node=id)
            entry[NODE_KEYS[key]] = value
        edges = {key: value for key, value in inputs.items() if _has_slots(value)}
        for slot, value in edges.items():
            self._check_sources(id, slot, value)
        literals = {key: value for key, value in inputs.items() if key not in edges}
        entry["position"] = self._place([slot.node for value in edges.values() for slot in _slots(value)])
        if literals:
            entry["inputValues"] = copy.deepcopy(literals)
        if config:
            entry["configValues"] = copy.deepcopy(dict(config))
        self._list("nodes").append(entry)
        for slot, value in edges.items():
            self.connect(id, slot, value)
        return Node(self, id)

    def input(
        self, key: str, type: str = "STRING", *, default: Any = None, title: str = "", required: bool = False
    ) -> Slot:
        """Add an input of the whole workflow, and give it as a slot. `default`: its value when a run names none."""
        slot: JsonObject = {"key": key, "dataFlowType": type}
        if title:
            slot["displayName"] = title
        if required:
            slot["required"] = True
        if default is not None or (not required and type not in TYPED_EMPTY):
            slot["config"] = {"default": default}
        self._map("interfaceInputs")[key] = slot
        return Slot(self._border(GROUP_INPUT, "in"), key)

    def output(self, key: str, source: Slot, type: str = "WILDCARD", *, title: str = "", stream: bool = False) -> None:
        """Add an output of the whole workflow. `stream`: its chunks are seen while the run goes on."""
        self._map("interfaceOutputs")[key] = {
            "key": key,
            "dataFlowType": type,
            **({"displayName": title} if title else {}),
            **({"isStream": True} if stream else {}),
        }
        border = self._border(GROUP_OUTPUT, "out")
        self.connect(border, key, source)
        self._existing(border)["position"] = self._place([source.node])

    def connect(self, node: str, slot: str, value: Slot | Sequence[Slot]) -> None:
        """Feed an input slot, instead of what fed it before. Raises InvalidWorkflow when a node is not here."""
        if self._find(node) is None:
            raise _invalid(f"there is no node {node!r}", node=node)
        self._check_sources(node, slot, value)
        self._remove_edges(node, slot)
        if isinstance(value, Slot):
            self._add_edge(value, node, slot)
            return
        ids = [self._add_edge(source, node, f"{slot}__{index}") for index, source in enumerate(value)]
        self._existing(node).setdefault("inputConnectionOrders", {})[slot] = ids

    # --- reading --------------------------------------------------------------------------------------------------

    def __getitem__(self, id: str) -> Node:
        """A node that is here. Raises KeyError."""
        if self._find(id) is None:
            raise KeyError(id)
        return Node(self, id)

    def to_json(self) -> JsonObject:
        """The document: what POST /api/prompt takes."""
        return copy.deepcopy(self._document)

    def save(self, file: str | Path) -> None:
        """Write the document as a file that 'innkeeper run' takes."""
        Path(file).write_text(json.dumps(self._document, ensure_ascii=False, indent=2) + "\n", "utf-8")

    # --- parts ----------------------------------------------------------------------------------------------------

    def _list(self, key: str) -> list[JsonObject]:
        if not isinstance(self._document.get(key), list):
            self._document[key] = []
        return cast("list[JsonObject]", self._document[key])

    def _map(self, key: str) -> JsonObject:
        if not isinstance(self._document.get(key), dict):
            self._document[key] = {}
        return cast(JsonObject, self._document[key])

    def _find(self, id: str) -> JsonObject | None:
        return next((node for node in self._list("nodes") if node["id"] == id), None)

    def _existing(self, id: str) -> JsonObject:
        node = self._find(id)
        assert node is not None
        return node

    def _free_id(self, wanted: str) -> str:
        taken = {node["id"] for node in self._list("nodes")}
        names = (wanted if number == 1 else f"{wanted}_{number}" for number in range(1, len(taken) + 2))
        return next(name for name in names if name not in taken)

    def _border(self, type: str, id: str) -> str:
        """The node by which a workflow's inputs come in, or its outputs leave."""
        for node in self._list("nodes"):
            if type in (node.get("type"), node.get("fullType")):
                return str(node["id"])
        return self.node(type, id if self._find(id) is None else "").id

    def _check_sources(self, node: str, slot: str, value: Any) -> None:
        for source in _slots(value):
            if self._find(source.node) is None:
                raise _invalid(f"{slot!r} is fed by {source.node!r}, which is no node of this workflow", node=node)

    def _add_edge(self, source: Slot, target: str, handle: str) -> str:
        edges = self._list("edges")
        taken = {edge.get("id") for edge in edges}
        id = next(name for number in range(len(edges) + 1, 2 * len(edges) + 3) if (name := f"e{number}") not in taken)
        ends = {"source": source.node, "sourceHandle": source.key, "target": target, "targetHandle": handle}
        edges.append({"id": id, **ends})
        return id

    def _remove_edges(self, node: str, slot: str) -> None:
        def feeds(edge: JsonObject) -> bool:
            target, handle = edge.get("targetNodeId", edge.get("target")), str(edge.get("targetHandle"))
            name, _, number = handle.rpartition("__")
            return target == node and (handle == slot or (name == slot and number.isdigit()))

        self._document["edges"] = [edge for edge in self._list("edges") if not feeds(edge)]

    def _place(self, sources: Sequence[str]) -> JsonObject:
        """Right of everything that feeds it, below what stands there already."""
        xs = [position.get("x", 0) for id in sources if (position := self._existing(id).get("position") or {})]
        x = max(xs, default=-COLUMN) + COLUMN
        below = [node for node in self._list("nodes") if (node.get("position") or {}).get("x") == x]
        return {"x": x, "y": ROW * len(below)}


def _has_slots(value: Any) -> bool:
    """Does an argument make edges? Raises InvalidWorkflow for a list of slots and values."""
    if isinstance(value, Slot):
        return True
    if not isinstance(value, list | tuple) or not any(isinstance(item, Slot) for item in value):
        return False
    if not all(isinstance(item, Slot) for item in value):
        raise _invalid("a list that feeds a slot holds outputs of nodes only; put values into nodes of their own")
    return True


def _slots(value: Any) -> Sequence[Slot]:
    return [value] if isinstance(value, Slot) else cast("Sequence[Slot]", value)


def _invalid(message: str, node: str | None = None) -> InvalidWorkflow:
    return InvalidWorkflow([Problem("invalid_workflow", message, node=node)])
