"""`innkeeper nodes TYPE`: what somebody needs to use a node, with an example that is valid."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from innkeeper.gateway.cli.node_page import example_of, find_node, node_page, unknown_node
from innkeeper.nodes.catalogue.plugins import load_catalogue
from innkeeper.workflows.document.model import parse_document

NODES = [node.to_json() for node in load_catalogue(()).get_definitions()]


def shown(name: str, width: int = 80) -> str:
    node = find_node(NODES, name)
    assert node is not None
    console = Console(file=io.StringIO(), width=width)
    console.print(node_page(node))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_slots_have_type_duty_default_and_bounds() -> None:
    page = shown("core:OpenAI")
    assert "api_settings  object, required" in page
    assert "temperature  float, default 0.7, min 0, max 2" in page
    assert "stream_output  string, stream" in page
    assert "several edges" in shown("core:TextMerge")
    assert "secret" in shown("core:APISettings")


def test_modes_show_their_own_slots() -> None:
    with_modes = [str(node["fullType"]) for node in NODES if node.get("modes")]
    assert with_modes
    assert all(" = " in shown(name) for name in with_modes)


@pytest.mark.parametrize("node", NODES, ids=[str(node["fullType"]) for node in NODES])
def test_every_node_has_a_page_and_an_example_of_the_format(node: dict[str, object]) -> None:
    example = example_of(node)
    assert parse_document({"nodes": [example]}).odd == ()
    for width in (40, 120):
        assert str(node["fullType"]) in shown(str(node["fullType"]), width)


def test_a_type_is_found_without_its_plugin_and_in_any_case() -> None:
    assert find_node(NODES, "openai") == find_node(NODES, "core:OpenAI")
    assert find_node(NODES, "nothing") is None
    twice = [*NODES, {**NODES[0], "fullType": f"mine:{NODES[0]['type']}", "namespace": "mine"}]
    assert find_node(twice, str(NODES[0]["type"])) is None
    assert "mine:" in unknown_node(twice, str(NODES[0]["type"]))
    assert "did you mean core:OpenAI" in unknown_node(NODES, "opnai")
