"""Every workflow of docs/workflow-format.md compiles without a warning, and the builder writes the first one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from innkeeper import Workflow
from innkeeper.gateway.client.workflow_builder import NODE_KEYS as OPTIONS
from innkeeper.gateway.process.offline_check import check_document
from innkeeper.nodes.catalogue.plugins import load_catalogue
from innkeeper.nodes.definition import Retry
from innkeeper.workflows.compiler.groups import MAX_DEPTH, MAX_EXPANDED_NODES
from innkeeper.workflows.compiler.node_limits import DEFAULT_TIMEOUT_S
from innkeeper.workflows.compiler.validate import MAX_ATTEMPTS, MAX_TIMEOUT_S
from innkeeper.workflows.document.limits import DEFAULT_LIMITS, MAX_PATH_BYTES
from innkeeper.workflows.document.model import DOCUMENT_KEYS, NODE_KEYS, SLOT_KEYS
from innkeeper.workflows.document.schema import document_schema
from tests.docs.pages import DOCS, code_blocks, examples, table_rows

PAGE = (DOCS / "workflow-format.md").read_text()
FLOWS: dict[str, Any] = {name: flow for name, flow in examples().items() if name.startswith("flow-")}
SAME_AS_ANOTHER = {"fullType", "inputs", "metadata", "workflowId"}
"""Keys of execution payloads, which mean the same as one that the tables have."""


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data directory with the workflow that others of the page refer to."""
    library = tmp_path / "shared" / "library" / "workflows"
    library.mkdir(parents=True)
    (library / "greeting.json").write_text(json.dumps(FLOWS["flow-greeting"]))
    return tmp_path


def test_page_has_the_workflows_that_are_checked_here() -> None:
    assert len(code_blocks(PAGE, "json")) == len(FLOWS) > 8


@pytest.mark.parametrize("name", FLOWS)
def test_workflow_compiles_and_fits_the_schema(name: str, data_dir: Path) -> None:
    verdict = check_document(FLOWS[name], load_catalogue(()), data_dir)
    assert (verdict.is_valid, verdict.problems) == (True, ())
    assert list(Draft202012Validator(document_schema()).iter_errors(FLOWS[name])) == []


def test_builder_writes_the_first_workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (script,) = code_blocks(PAGE, "python")
    exec(compile(script, "workflow-format.md", "exec"), {})
    flow = Workflow.load("greeting.json").to_json()
    for node in flow["nodes"]:
        del node["position"]
    assert flow == FLOWS["flow-greeting"]


def test_tables_name_every_key_that_is_read() -> None:
    for keys, heading in (
        (DOCUMENT_KEYS, "A whole workflow"),
        (NODE_KEYS, "Nodes"),
        (SLOT_KEYS, "Inputs and outputs of the workflow"),
    ):
        named = " ".join(row[0] for row in table_rows(PAGE, heading))
        assert [key for key in sorted(keys - SAME_AS_ANOTHER) if f"`{key}" not in named] == []
    assert [option for option in OPTIONS if option not in PAGE] == []


def test_numbers_are_those_of_the_code() -> None:
    limits = dict(table_rows(PAGE, "Limits"))
    sizes = DEFAULT_LIMITS
    assert limits["bytes, levels of nesting, objects and lists"] == (
        f"{sizes.max_bytes:,}, {sizes.max_depth}, {sizes.max_containers:,}"
    )
    assert limits["nodes, edges"] == f"{sizes.max_nodes:,}, {sizes.max_edges:,}"
    assert limits["nodes with those of all groups; levels of groups"] == f"{MAX_EXPANDED_NODES:,}; {MAX_DEPTH}"
    assert limits["path of a node"] == f"{MAX_PATH_BYTES} bytes"
    rows = {row[0]: row[1:] for row in table_rows(PAGE, "How a node runs")}
    retry = Retry()
    assert rows["`retry.maximumAttempts`"][0].startswith(f"{retry.maximum_attempts};")
    assert f"1 to {MAX_ATTEMPTS}" in rows["`retry.maximumAttempts`"][1]
    pauses = f"{retry.initial_seconds:g}, {retry.backoff:g}, {retry.maximum_seconds:g}"
    assert rows["`retry.initialSeconds`, `backoff`, `maximumSeconds`"][0] == pauses
    assert rows["`timeoutSeconds`"][0].startswith(f"{DEFAULT_TIMEOUT_S:g},")
    assert f"at most {MAX_TIMEOUT_S:,}" in rows["`timeoutSeconds`"][1]
