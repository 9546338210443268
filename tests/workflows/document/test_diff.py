"""How two workflows differ."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from innkeeper.workflows.document.diff import differences

STORY: dict[str, Any] = json.loads((Path(__file__).parents[3] / "examples/story.json").read_bytes())


def test_a_document_does_not_differ_from_itself_however_it_is_drawn() -> None:
    moved = copy.deepcopy(STORY)
    for node in moved["nodes"]:
        node["position"] = {"x": 1, "y": 2}
    moved["nodes"].reverse()
    moved["edges"].reverse()
    moved["viewport"] = {"zoom": 3}
    assert differences(STORY, moved) == []


def test_nodes_edges_inputs_and_the_rest() -> None:
    after = copy.deepcopy(STORY)
    tell = next(node for node in after["nodes"] if node["id"] == "tell")
    tell["inputValues"]["model"] = "another"
    del tell["inputValues"]["stream"]
    after["nodes"].append({"id": "new", "type": "core:Template"})
    after["edges"] = [edge for edge in after["edges"] if edge["id"] != "e17"]
    del after["interfaceInputs"]["place"]
    after["name"] = "Tale"
    found = {(item.kind, item.what, item.name): dict(item.changes) for item in differences(STORY, after)}
    assert found == {
        ("changed", "node", "tell"): {
            "inputValues.model": ("demo-storyteller", "another"),
            "inputValues.stream": (True, None),
        },
        ("added", "node", "new"): {},
        ("removed", "edge", "tell.stream_output > out.story"): {},
        ("removed", "input", "place"): {},
        ("changed", "document", ""): {"name": ("Story", "Tale")},
    }


def test_values_of_other_types_are_other_values() -> None:
    one, two = ({"nodes": [{"id": "a", "type": "t", "inputValues": {"x": x}}]} for x in (1, True))
    assert [dict(item.changes) for item in differences(one, two)] == [{"inputValues.x": (1, True)}]
