"""How two workflow documents differ: nodes and edges that came, went or changed. Positions do not count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

NOT_COMPARED = frozenset({"position", "width", "height", "viewport"})
"""Where editors draw things: no run depends on it."""
Kind = Literal["added", "removed", "changed"]


@dataclass(frozen=True)
class Difference:
    """One difference. `what`: `node`, `edge`, `input`, `output` or `document`.

    Attributes:
        name: Id of a node, the ends of an edge, name of an input or output, key of the document.
        changes: Of what changed: path inside it to its value before and after, None where there was none.
    """

    kind: Kind
    what: str
    name: str
    changes: Mapping[str, tuple[Any, Any]]

    def to_json(self) -> dict[str, Any]:
        changes = {path: {"from": before, "to": after} for path, (before, after) in self.changes.items()}
        return {"kind": self.kind, "what": self.what, "name": self.name, "changes": changes}


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """All differences of two documents that `parse_document` takes, in the order of the second one."""
    found = [*_compare("node", _by_id(before.get("nodes")), _by_id(after.get("nodes")))]
    found += _compare("edge", _by_ends(before.get("edges")), _by_ends(after.get("edges")))
    for what, key in (("input", "interfaceInputs"), ("output", "interfaceOutputs")):
        found += _compare(what, before.get(key) or {}, after.get(key) or {})
    parts = {"nodes", "edges", "interfaceInputs", "interfaceOutputs", *NOT_COMPARED}
    rest = [{key: value for key, value in document.items() if key not in parts} for document in (before, after)]
    if changes := dict(_changes(rest[0], rest[1])):
        found.append(Difference("changed", "document", "", changes))
    return found


def _by_id(nodes: Any) -> dict[str, Any]:
    return {str(node["id"]): node for node in nodes or ()}


def _by_ends(edges: Any) -> dict[str, Any]:
    """Edges by what they join: their ids are names, and a slot of several edges has its order at the node."""
    return {
        f"{edge.get('sourceNodeId', edge.get('source'))}.{edge.get('sourceHandle') or ''} > "
        f"{edge.get('targetNodeId', edge.get('target'))}.{edge.get('targetHandle') or ''}": {}
        for edge in edges or ()
    }


def _compare(what: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    for name, item in after.items():
        if name not in before:
            yield Difference("added", what, name, {})
        elif changes := dict(_changes(before[name], item)):
            yield Difference("changed", what, name, changes)
    for name in before:
        if name not in after:
            yield Difference("removed", what, name, {})


def _changes(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Paths at which two values differ, as deep as both are objects."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in _keys(before, after):
            inner = f"{path}.{key}" if path else str(key)
            yield from _changes(before.get(key), after.get(key), inner)
    elif before != after or type(before) is not type(after):
        yield path, (before, after)


def _keys(*items: Iterable[str]) -> list[str]:
    return [key for key in dict.fromkeys(key for item in items for key in item) if key not in NOT_COMPARED]
