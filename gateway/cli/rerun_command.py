"""`innkeeper rerun RUN`: run an earlier run again, taking over what it has finished."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from innkeeper.gateway.cli.run_command import RunOptions, parse_inputs, read_document, run_body, with_values
from innkeeper.gateway.cli.signals import Stopping


@dataclass(frozen=True)
class RerunOptions:
    """What is to be run again. `file` is None where the graph is as it was."""

    run_id: str
    file: Path | None = None
    from_nodes: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    no_cache: bool = False


async def rerun_run(
    asked: RerunOptions, options: RunOptions, *, console: Console, notes: Console, stopping: Stopping
) -> int:
    """Start the new run, say what it takes over, and show it; gives the exit code of `run_body`."""
    document = read_document(asked.file) if asked.file else {}
    values = parse_inputs(asked.inputs, document)
    body = {**with_values(document, values), **_wish(asked)}
    return await run_body(options, document, body, console=console, notes=notes, stopping=stopping)


def _wish(asked: RerunOptions) -> dict[str, Any]:
    keys = {"fromNode": list(asked.from_nodes), "targets": list(asked.targets), "noCache": asked.no_cache}
    return {"baseRun": asked.run_id, **{key: value for key, value in keys.items() if value}}
