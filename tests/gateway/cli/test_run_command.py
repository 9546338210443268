"""`innkeeper run FILE` against a running gateway."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from innkeeper.gateway.cli.run_command import RunOptions, read_document, run_file
from innkeeper.gateway.cli.signals import Stopping
from innkeeper.nodes.errors import InvalidWorkflow

SAY: dict[str, Any] = {"id": "a", "fullType": "toys:Say", "inputs": {"text": "hello", "nobody": 1}}


async def run(tmp_path: Path, document: Any, url: str, **options: Any) -> tuple[int, str, str]:
    """Exit code, what was shown, and what was said about it."""
    file = tmp_path / "graph.json"
    file.write_text(json.dumps(document))
    shown, notes = Console(file=io.StringIO(), width=200), Console(file=io.StringIO(), width=200)
    code = await run_file(RunOptions(file, url=url, **options), shown, notes, Stopping())
    return code, shown.file.getvalue(), notes.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("detach", [False, True])
async def test_warnings_are_shown_beside_the_run(shared: Any, tmp_path: Path, detach: bool) -> None:
    code, shown, notes = await run(tmp_path, {"nodes": [SAY], "edges": []}, shared.url, detach=detach)
    assert code == 0
    assert "unknown_slot" in notes
    assert "nobody" in notes
    assert "unknown_slot" not in shown


async def test_json_lines_hold_nothing_but_events_and_the_result(shared: Any, tmp_path: Path) -> None:
    _, shown, _ = await run(tmp_path, {"nodes": [SAY], "edges": []}, shared.url, as_json=True)
    lines = [json.loads(line) for line in shown.splitlines()]
    assert [line["type"] for line in lines][-2:] == ["EXECUTION_STATUS_UPDATE", "RESULT"]


async def test_malformed_part_of_a_document_is_told_by_the_gateway(shared: Any, tmp_path: Path) -> None:
    document = {"nodes": [SAY], "edges": [], "interfaceInputs": [1]}
    with pytest.raises(InvalidWorkflow, match="interfaceInputs"):
        await run(tmp_path, document, shared.url)


def test_file_without_an_end_is_not_read_to_the_end() -> None:
    with pytest.raises(InvalidWorkflow) as refused:
        read_document(Path("/dev/zero"))
    assert refused.value.problems[0].code == "document_too_large"
