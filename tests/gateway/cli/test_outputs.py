"""What `innkeeper run` writes to stdout and to stderr, to be used in a shell."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from innkeeper.gateway.cli.results import NoSuchOutput
from innkeeper.gateway.cli.run_command import RunOptions, UsageError, watch_run
from innkeeper.gateway.cli.signals import Stopping
from innkeeper.gateway.client import GatewayClient
from tests.gateway.cli.test_run_command import run

BIG = "b" * 400_000


def document(**outputs: Any) -> dict[str, Any]:
    """Each output is what a node of its own says."""
    nodes = [{"id": key, "fullType": "toys:Say", "inputs": {"text": text}} for key, text in outputs.items()]
    return {
        "nodes": [*nodes, {"id": "out", "fullType": "core:GroupOutput"}],
        "edges": [{"source": key, "sourceHandle": "text", "target": "out", "targetHandle": key} for key in outputs],
        "interfaceOutputs": {key: {"dataFlowType": "STRING"} for key in outputs},
    }


async def test_a_single_output_is_raw_and_all_else_is_on_stderr(shared: Any, tmp_path: Path) -> None:
    text = "a [bold]long[/bold] line " * 20
    code, shown, notes = await run(tmp_path, document(one=text), shared.url)
    assert (code, shown) == (0, f"{text}\n")
    assert "one:" in notes


async def test_several_outputs_have_their_names_and_one_may_be_asked_for(shared: Any, tmp_path: Path) -> None:
    graph = document(one="first\n", two="second")
    assert (await run(tmp_path, graph, shared.url))[1] == "--- one\nfirst\n--- two\nsecond\n"
    assert (await run(tmp_path, graph, shared.url, output="two"))[1] == "second\n"
    with pytest.raises(UsageError, match="no output 'three': its outputs are 'one', 'two'"):
        await run(tmp_path, graph, shared.url, output="three")


async def test_a_large_output_is_whole(shared: Any, tmp_path: Path) -> None:
    assert (await run(tmp_path, document(one=BIG), shared.url))[1] == f"{BIG}\n"


async def test_quiet_says_nothing_but_the_outputs(shared: Any, tmp_path: Path) -> None:
    assert await run(tmp_path, document(one="x"), shared.url, quiet=True) == (0, "x\n", "")


async def test_a_run_can_be_watched_afterwards_by_the_beginning_of_its_id(shared: Any, tmp_path: Path) -> None:
    async with GatewayClient(shared.url) as client:
        run_id = await client.submit(document(one="again"))
        await client.wait(run_id)
    shown, notes = Console(file=io.StringIO()), Console(file=io.StringIO(), width=200)
    options = RunOptions(Path("-"), url=shared.url)
    assert await watch_run(run_id[:10], options, shown, notes, Stopping()) == 0
    assert shown.file.getvalue() == "again\n"  # type: ignore[attr-defined]
    assert "one: " in notes.file.getvalue()  # type: ignore[attr-defined]
    with pytest.raises(NoSuchOutput, match="its outputs are 'one'"):
        await watch_run(run_id, RunOptions(Path("-"), url=shared.url, output="two"), shown, notes, Stopping())


async def test_inputs_come_from_files_and_stdin(shared: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = document(one="unused")
    graph["nodes"] = [{"id": "in", "type": "core:GroupInput"}, graph["nodes"][-1]]
    graph["interfaceInputs"] = {"text": {"dataFlowType": "STRING"}}
    graph["edges"] = [{"source": "in", "sourceHandle": "text", "target": "out", "targetHandle": "one"}]
    (tmp_path / "text.txt").write_text("from a file: 雪\n", "utf-8")
    named = (f"text=@{tmp_path / 'text.txt'}",)
    assert (await run(tmp_path, graph, shared.url, inputs=named, quiet=True))[1] == "from a file: 雪\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"from a pipe")))
    assert (await run(tmp_path, graph, shared.url, inputs=("text=-",), quiet=True))[1] == "from a pipe\n"
    (tmp_path / "image").write_bytes(b"\xff\xfe\x00")
    for wrong, words in ((f"text=@{tmp_path}/nothing", "cannot read"), (f"text=@{tmp_path}/image", "no UTF-8 text")):
        with pytest.raises(UsageError, match=words):
            await run(tmp_path, graph, shared.url, inputs=(wrong,))
