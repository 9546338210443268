"""What runs, but hardly as it was meant: told as warnings, in the library's own node types."""

from __future__ import annotations

from typing import Any

import pytest

from innkeeper.gateway.process.offline_check import check_document
from innkeeper.nodes.catalogue.plugins import load_catalogue

CATALOGUE = load_catalogue(())
ASK: dict[str, Any] = {"id": "ask", "type": "core:OpenAI", "inputValues": {"model": "m", "temperature": 0.5}}
SETTINGS = {"id": "set", "type": "core:APISettings", "inputValues": {"base_url": "demo"}}
EDGE = {"source": "set", "sourceHandle": "api_settings", "target": "ask", "targetHandle": "api_settings"}


def warnings(document: dict[str, Any], data_dir: Any) -> list[tuple[str, str | None, str | None]]:
    verdict = check_document(document, CATALOGUE, data_dir)
    assert verdict.is_valid, verdict.problems
    assert {problem.level for problem in verdict.problems} <= {"warning"}
    return [(problem.code, problem.node, problem.slot) for problem in verdict.problems]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"temperature": 0.5}, False),
        ({"temperature": 2}, False),
        ({"temperature": 99}, True),
        ({"temperature": -1}, True),
        ({"temperature": None}, False),
        ({"max_tokens": 0}, True),
        ({"max_tokens": "12"}, False),  # the node makes a number of it
    ],
)
def test_numbers_out_of_their_slots_bounds(values: dict[str, Any], told: bool, tmp_path: Any) -> None:
    ask = {**ASK, "inputValues": {**ASK["inputValues"], **values}}
    found = warnings({"nodes": [ask, SETTINGS], "edges": [EDGE]}, tmp_path)
    assert found == ([("out_of_range", "ask", next(iter(values)))] if told else [])


def test_outputs_that_nothing_feeds(tmp_path: Any) -> None:
    outputs = {"a": {"dataFlowType": "STRING"}, "later": {"dataFlowType": "CONVERTIBLE_ANY"}}
    document = {"nodes": [{"id": "out", "type": "core:GroupOutput"}], "interfaceOutputs": outputs}
    assert warnings(document, tmp_path) == [("unfed_output", None, "a")]


def test_misspelt_keys(tmp_path: Any) -> None:
    document = {"nodes": [{**ASK, "bypassd": True}, SETTINGS], "edges": [EDGE], "interfaceOutput": {}}
    assert warnings(document, tmp_path) == [("unknown_key", "ask", None), ("unknown_key", None, None)]


def test_a_setting_of_retry_is_suggested(tmp_path: Any) -> None:
    document = {"nodes": [{**ASK, "retry": {"maximumAttempt": 3}}, SETTINGS], "edges": [EDGE]}
    verdict = check_document(document, CATALOGUE, tmp_path)
    assert "did you mean 'maximumAttempts'?" in verdict.problems[0].message
