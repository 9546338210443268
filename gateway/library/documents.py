"""What the library reads out of a workflow document, whatever stands in it: drafts need not be sound. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from innkeeper.gateway.errors import BadRequest
from innkeeper.nodes.json_values import encode_json
from innkeeper.workflows.document.diff import Difference
from innkeeper.workflows.document.json_reader import kind

JsonObject = dict[str, Any]
SERVER_FIELDS = frozenset({"createdAt", "updatedAt"})
"""Set by whoever serves a document: they make no version."""
MAX_ID_CHARS = 200
MAX_NAME_CHARS = 200
MAX_TEXT_CHARS = 10_000
MAX_TAGS = 50
MAX_SLOTS = 500
_EDITOR_FIELDS = frozenset(
    {
        *("id", "name", "description", "nodes", "edges", "viewport", "interfaceInputs", "interfaceOutputs"),
        *("referencedWorkflows", "version", "previewTarget", "createdAt", "updatedAt"),
    }
)
"""What ComfyTavern's editor writes: what it leaves out of these is gone, what it does not know stays."""
_EDITOR_NODE_FIELDS = frozenset(
    {
        *("id", "type", "position", "parentNode", "width", "height", "displayName", "customDescription"),
        *("customSlotDescriptions", "inputValues", "configValues", "inputConnectionOrders", "data", "zIndex"),
        "isMissing",
    }
)
_COMPARED = {"node": "nodes", "edge": "edges", "input": "inputs", "output": "outputs"}
_GLANCE_FIELDS = ("dataFlowType", "displayName", "customDescription", "required", "isStream", "multi")


@dataclass(frozen=True)
class Glance:
    """What lists show of a document.

    Attributes:
        interface: `inputs` and `outputs`: key to type and name.
        references: Ids of the workflows that it runs as groups.
    """

    name: str
    description: str | None
    tags: tuple[str, ...]
    interface: JsonObject
    references: tuple[str, ...]

    def columns(self) -> JsonObject:
        """As `WorkflowRow` keeps it."""
        return {
            "name": self.name,
            "description": self.description,
            "tags": orjson.dumps(self.tags).decode(),
            "interface": orjson.dumps(self.interface).decode(),
            "references": orjson.dumps(self.references).decode(),
        }


def checked_document(body: JsonObject) -> JsonObject:
    """The body, if it is a workflow at all: one that does not compile may be saved.

    Raises:
        BadRequest: It has no lists of nodes and edges, or an id or a name that is none.
    """
    for key in ("nodes", "edges"):
        if not isinstance(body.get(key, [] if key == "edges" else None), list):
            raise BadRequest(f"a workflow has {key!r}, a list; found {kind(body.get(key))}")
    for key, most in (("id", MAX_ID_CHARS), ("name", MAX_NAME_CHARS)):
        value = body.get(key)
        if value is not None and (not isinstance(value, str) or not 0 < len(value.strip()) <= most):
            raise BadRequest(f"{key!r} of a workflow is a text of 1 to {most} characters")
    return body


def check_new_id(document: JsonObject) -> None:
    """A new id stands in addresses: one that no address can say could never be read or deleted.

    Raises:
        BadRequest: It has a `/` or characters that cannot be seen, or is `.` or `..`.
    """
    found = document.get("id")
    if isinstance(found, str) and (found in (".", "..") or "/" in found or not found.isprintable()):
        raise BadRequest(
            "'id' of a workflow cannot hold '/' or invisible characters, or be '.' or '..': it is a part of addresses"
        )


def glance(document: Mapping[str, Any], otherwise: str) -> Glance:
    """What lists show. `otherwise`: its name, if it has none."""
    return Glance(
        name=_text(document.get("name"), MAX_NAME_CHARS) or otherwise,
        description=_text(document.get("description"), MAX_TEXT_CHARS),
        tags=tuple(_texts(document.get("tags"), MAX_TAGS)),
        interface={
            side: _slots(document.get(key))
            for side, key in (("inputs", "interfaceInputs"), ("outputs", "interfaceOutputs"))
        },
        references=tuple(_references(document)),
    )


def content_hash(document: Mapping[str, Any]) -> str:
    """Equal for documents that say the same in the same order, whenever they were written."""
    content = {key: value for key, value in document.items() if key not in SERVER_FIELDS}
    return hashlib.sha256(encode_json(content).data).hexdigest()


def with_id(document: JsonObject, workflow_id: str) -> JsonObject:
    """The document with its id inside, in front if it had none."""
    return document if document.get("id") == workflow_id else {"id": workflow_id, **document, **{"id": workflow_id}}


def with_kept_fields(new: JsonObject, old: Mapping[str, Any]) -> JsonObject:
    """What a client saved that drops all fields it does not know, with those fields: of the document, and of each node
    that has the same id and type."""
    before = {node["id"]: node for node in _objects(old.get("nodes")) if isinstance(node.get("id"), str)}
    nodes = [_kept_node(node, before) for node in new["nodes"]]
    return {**new, "nodes": nodes, **_unknown(new, old, _EDITOR_FIELDS)}


def _kept_node(node: Any, before: Mapping[str, Mapping[str, Any]]) -> Any:
    if not isinstance(node, dict) or not isinstance(node.get("id"), str):
        return node
    old = before.get(node["id"])
    if old is None or old.get("type") != node.get("type"):
        return node
    return {**node, **_unknown(node, old, _EDITOR_NODE_FIELDS)}


def _unknown(new: Mapping[str, Any], old: Mapping[str, Any], known: frozenset[str]) -> JsonObject:
    return {key: value for key, value in old.items() if key not in known and key not in new}


def _references(document: Mapping[str, Any]) -> Iterable[str]:
    found: dict[str, None] = dict.fromkeys(_texts(document.get("referencedWorkflows"), MAX_SLOTS))
    for node in _objects(document.get("nodes")):
        settings = node.get("configValues")
        named = settings.get("referencedWorkflowId") if isinstance(settings, dict) else None
        if isinstance(named, str) and 0 < len(named) <= MAX_ID_CHARS:
            found[named] = None
    return found


def _slots(slots: Any) -> JsonObject:
    if not isinstance(slots, dict):
        return {}
    sound = [(key, slot) for key, slot in slots.items() if isinstance(slot, dict)]
    return {key[:MAX_NAME_CHARS]: _slot(slot) for key, slot in sound[:MAX_SLOTS] if not _is_hollow(slot)}


def _is_hollow(slot: Mapping[str, Any]) -> bool:
    return slot.get("dataFlowType") == "CONVERTIBLE_ANY"


def _slot(slot: Mapping[str, Any]) -> JsonObject:
    shown = {key: slot[key] for key in _GLANCE_FIELDS if isinstance(slot.get(key), str | bool)}
    return {key: value[:MAX_NAME_CHARS] if isinstance(value, str) else value for key, value in shown.items()}


def _objects(items: Any) -> list[JsonObject]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _texts(items: Any, most: int) -> list[str]:
    found = [item for item in items if isinstance(item, str) and item] if isinstance(items, list) else []
    return [item[:MAX_ID_CHARS] for item in found[:most]]


def _text(value: Any, most: int) -> str | None:
    return value.strip()[:most] or None if isinstance(value, str) else None


def grouped(differences: Iterable[Difference]) -> JsonObject:
    """What differs of nodes, edges, inputs and outputs (`added`, `removed`: ids; `changed`: with what), and of the
    document itself."""
    told: JsonObject = {what: {"added": [], "removed": [], "changed": []} for what in _COMPARED.values()}
    told["document"] = {}
    for difference in differences:
        changes = difference.to_json()["changes"]
        if difference.what == "document":
            told["document"] = changes
        elif difference.kind == "changed":
            told[_COMPARED[difference.what]]["changed"].append({"id": difference.name, "changes": changes})
        else:
            told[_COMPARED[difference.what]][difference.kind].append(difference.name)
    return told


def comparable(document: Mapping[str, Any]) -> JsonObject:
    """A draft with only those parts that can be compared."""
    sides = {key: document.get(key) for key in ("interfaceInputs", "interfaceOutputs")}
    return {
        **document,
        "nodes": [node for node in _objects(document.get("nodes")) if "id" in node],
        "edges": _objects(document.get("edges")),
        **{key: side if isinstance(side, dict) else {} for key, side in sides.items()},
    }
