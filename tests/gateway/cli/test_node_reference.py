"""`docs/node-reference.md` is what the code writes, and its examples can be used."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from typer.testing import CliRunner

from innkeeper.gateway.cli.commands import app
from innkeeper.gateway.cli.node_page import example_of, find_node
from innkeeper.gateway.cli.node_reference import CATEGORIES, node_section, reference_page
from innkeeper.nodes.catalogue.plugins import load_catalogue
from innkeeper.nodes.errors import InvalidWorkflow, Problem
from innkeeper.workflows.compiler.compile import compile_document
from innkeeper.workflows.document.model import WorkflowDocument, parse_document
from tests.docs.pages import DOCS

CATALOGUE = load_catalogue(())
NODES = [node.to_json() for node in CATALOGUE.get_definitions()]
IDS = [str(node["fullType"]) for node in NODES]
LEFT_TO_EDGES = {"missing_input", "group_not_found"}
"""What one node alone cannot have: an edge, and another workflow."""


def section(name: str) -> str:
    node = find_node(NODES, name)
    assert node is not None
    return node_section(node)


def problems_of(document: WorkflowDocument) -> Sequence[Problem]:
    try:
        return compile_document(document, CATALOGUE, secret_id=str).warnings
    except InvalidWorkflow as error:
        return error.problems


def test_page_is_what_the_code_writes() -> None:
    assert (DOCS / "node-reference.md").read_text() == reference_page(NODES)


@pytest.mark.parametrize("node", NODES, ids=IDS)
def test_example_compiles_but_for_edges_and_other_workflows(node: dict[str, object]) -> None:
    document = parse_document({"nodes": [example_of(node)]})
    assert document.odd == ()
    assert {problem.code for problem in problems_of(document)} <= LEFT_TO_EDGES


@pytest.mark.parametrize("node", NODES, ids=IDS)
def test_every_node_and_category_has_a_name_in_english_and_in_chinese(node: dict[str, object]) -> None:
    names = node["displayNames"]
    assert isinstance(names, dict)
    assert str(node["displayName"]).isascii()
    assert names["zh"]
    assert node["category"] in CATEGORIES


def test_slots_show_type_default_bounds_and_choices() -> None:
    assert "| `temperature` | float | default `0.7` | min 0, max 2 | 0 is sober, 2 is wild. |" in section("core:OpenAI")
    assert '| `api_key` | string, secret | default `""` |' in section("core:APISettings")
    assert "| `text_inputs` | string, takes several edges | required |" in section("core:TextMerge")
    assert "one of `固定` (Fixed), `增加` (Increment)" in section("core:RandomNumber")
    assert "gives nothing when bypassed" in section("core:SaveText")


def test_modes_with_the_same_slots_are_one_row() -> None:
    rows = [line for line in section("core:MatrixOperation").splitlines() if line.startswith("| `add`")]
    assert len(rows) == 1
    assert "`multiply` (乘)" in rows[0]
    assert "`det` (行列式)" not in rows[0]


def test_texts_of_plugins_break_no_table_and_command_no_terminal() -> None:
    slot = {"dataFlowType": "STRING", "required": True, "description": "a |\x1b[2J\n b"}
    node = {"type": "Odd", "fullType": "my:Odd", "inputs": {"x": slot}}
    assert "| `x` | string | required |  | a \\|[2J b |" in node_section(node)


def test_command_prints_the_page_and_the_section_of_one_type() -> None:
    def printed(*words: str) -> str:
        done = CliRunner().invoke(app, ["nodes", "--markdown", "--offline", *words])
        assert done.exit_code == 0, done.output
        return done.output

    assert printed() == reference_page(NODES)
    assert printed("textmerge") == section("core:TextMerge")
