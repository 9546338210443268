"""Tables fit the terminal, and break no word."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from innkeeper.gateway.cli.base import console
from innkeeper.gateway.cli.tables import nodes_table, runs_table
from innkeeper.nodes.catalogue.plugins import load_catalogue

RUNS: list[dict[str, Any]] = [
    {"promptId": "a44df39a69a88d118e2c", "status": "interrupted", "workflowName": "A long name of a workflow",
     "submittedAt": 1_764_440_000_000, "durationMs": 1_234_567},
    {"promptId": "b44df39a69a88d118e2c", "status": "complete", "workflowId": "x", "submittedAt": "2026-01-01T00:00:00"},
]  # fmt: skip


def lines(table: Any, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_runs(width: int) -> None:
    shown = lines(runs_table(RUNS, width), width)
    words = " ".join(shown).split()
    assert max(map(len, shown)) <= width
    assert {"interrupted", "1234.6", "workflow", "took"} <= set(words)
    assert RUNS[0]["promptId"][:10] in " ".join(words)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_nodes(width: int) -> None:
    nodes = [node.to_json() for node in load_catalogue(()).get_definitions()]
    shown = lines(nodes_table(nodes), width)
    words = set(" ".join(shown).split())
    assert max(map(len, shown)) <= width
    for node in nodes:
        assert node["fullType"] in words
        assert set(str(node["description"]).split()) <= words


def test_in_a_pipe_no_line_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert console().width > 5_000
    monkeypatch.setenv("COLUMNS", "60")
    assert console().width == 60
