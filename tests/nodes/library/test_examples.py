"""Examples that people copy must work: those in docstrings, and the workflows under examples/."""

from __future__ import annotations

import doctest
import importlib
import json
import pkgutil
from pathlib import Path
from typing import Any

import pytest

from innkeeper.nodes import library
from innkeeper.nodes.definition import NodeDefinition
from innkeeper.nodes.testing import collect, run_node

MODULES = [
    "innkeeper.nodes.testing",
    *(found.name for found in pkgutil.walk_packages(library.__path__, "innkeeper.nodes.library.") if not found.ispkg),
]
FILES = sorted((Path(__file__).parents[3] / "examples").glob("*.json"))
EXAMPLES = [path for path in FILES if '"nodes"' in path.read_text("utf-8")]
NODES: dict[str, NodeDefinition] = {
    f"core:{definition.type}": definition
    for module in map(importlib.import_module, MODULES)
    for definition in (*getattr(module, "definitions", ()), *filter(None, [getattr(module, "definition", None)]))
}


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), extraglobs={"run_node": run_node, "collect": collect})
    assert result.failed == 0


def test_there_are_examples() -> None:
    assert {path.stem for path in EXAMPLES} >= {"hello", "story"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_edges_and_values_of_an_example_name_slots_that_exist(path: Path) -> None:
    document: dict[str, Any] = json.loads(path.read_text("utf-8"))
    nodes = {node["id"]: node for node in document["nodes"]}
    assert {node["type"] for node in nodes.values()} <= NODES.keys()
    for edge in document["edges"]:
        assert edge["sourceHandle"] in slots(nodes[edge["source"]], document, "outputs"), edge
        assert edge["targetHandle"].split("__")[0] in slots(nodes[edge["target"]], document, "inputs"), edge
    for node in nodes.values():
        assert node.get("inputValues", {}).keys() <= NODES[node["type"]].inputs.keys()


def slots(node: dict[str, Any], document: dict[str, Any], side: str) -> set[str]:
    if node["type"] in ("core:GroupInput", "core:GroupOutput"):
        return set(document["interfaceInputs" if side == "outputs" else "interfaceOutputs"])
    return set(getattr(NODES[node["type"]], side))


def test_every_node_type_is_in_the_documentation() -> None:
    text = (Path(__file__).parents[3] / "docs" / "nodes.md").read_text("utf-8")
    assert [name for name in NODES if f"`{name}`" not in text] == []
