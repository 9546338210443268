"""Commands for the Temporal server: making it fit, and trying its histories with the code that is installed here.

What a command needs is imported when it runs, so that `--help` comes at once.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from innkeeper.gateway.cli.base import FAILED, AsJson, DataDirectory, Temporal, data_folder, print_json, say

if TYPE_CHECKING:
    from temporalio.client import Client

    from innkeeper.gateway.process.replay_check import Report
    from innkeeper.gateway.process.temporal_setup import Step

_SIGNS = {"made": "made   ", "there": "there  ", "refused": "REFUSED"}


def ask_temporal(question: Callable[[Client], Awaitable[Any]], data_dir: Path, temporal: str | None) -> Any:
    """Ask the Temporal server of a data directory, or the one that is named.

    Raises:
        TemporalUnfit: It does not answer, or refuses.
    """
    import asyncio

    from temporalio.service import RPCError

    from innkeeper.gateway.process.temporal_access import TemporalUnfit, joined, open_client

    async def answer() -> Any:
        try:
            return await question(await open_client(data_dir, joined(data_dir, temporal, os.environ)))
        except RPCError as error:
            raise TemporalUnfit(f"Temporal refuses ({error.status.name.lower()}): {error.message}") from error

    return asyncio.run(answer())


def setup(
    *,
    retention: Annotated[
        str | None,
        typer.Option(help="How long histories of ended runs are kept: 7d, 12h.", show_default="7d for a new namespace"),
    ] = None,
    temporal: Temporal = None,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
) -> None:
    """Make the namespace and its search attributes on a Temporal server that is not the embedded one.

    What is there already stays. What the server does not let us make is told with the command to make it, and the exit
    code is 1 then. Where the server is: --temporal, or Temporal's own variables and profile file.

    Example: innkeeper setup --temporal temporal.internal:7233, or innkeeper setup --retention 30d
    """
    from innkeeper.gateway.process.temporal_access import joined
    from innkeeper.gateway.process.temporal_setup import set_up
    from innkeeper.workflows.connection import connect_config, described

    kept = None if retention is None else span(retention, "--retention")

    async def make(client: Client) -> list[Step]:
        return await set_up(client, kept)

    folder = data_folder(data_dir)
    environ = joined(folder, temporal, os.environ)
    address, namespace = environ.get("INNKEEPER_TEMPORAL_ADDRESS"), environ.get("INNKEEPER_NAMESPACE")
    where = described(connect_config(address, namespace, environ))
    steps: list[Step] = ask_temporal(make, folder, temporal)
    if as_json:
        print_json({"server": where, "steps": [step.to_json() for step in steps]})
    else:
        say(where)
        for step in steps:
            say(f"{_SIGNS[step.outcome]} {step.what}{': run ' + step.command if step.command else ''}")
    if any(step.outcome == "refused" for step in steps):
        raise typer.Exit(FAILED)


def replay(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Histories in files, as 'temporal workflow show' writes them.", show_default=False),
    ] = None,
    *,
    since: Annotated[
        str, typer.Option(help="Histories of all runs that were open at some moment in that time: 7d, 12h.")
    ] = "7d",
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="At most so many, the newest first.")] = 1_000,
    temporal: Temporal = None,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
) -> None:
    """Replay stored histories with the code that is installed here: would it go on with these runs?

    For a pipeline, before it deploys. Nothing is run and nothing is written. Exit code 1 when a history breaks.

    Example: innkeeper replay --since 7d, or innkeeper replay history.json
    """
    folder = data_folder(data_dir)
    report = _replayed_files(files, folder, limit) if files else _replayed(since, folder, limit, temporal)
    if as_json:
        print_json(report.to_json())
    else:
        for found in report.broken:
            say(f"breaks: {found.workflow_id} ({found.temporal_run_id}): {found.reason}")
        rest = f"; there are more: --limit {limit * 10}" if report.more else ""
        say(f"{report.replayed} histories replayed, {len(report.broken)} of them break{rest}")
    if report.broken:
        raise typer.Exit(FAILED)


def _replayed(since: str, folder: Path, limit: int, temporal: str | None) -> Report:
    from innkeeper.gateway.process.replay_check import check, histories_since, signing_as
    from innkeeper.gateway.process.temporal_access import stored_codec

    asked = span(since, "--since")

    async def ask(client: Client) -> Report:
        with signing_as(folder, os.environ):
            return await check(histories_since(client, asked), stored_codec(folder, os.environ), limit=limit)

    report: Report = ask_temporal(ask, folder, temporal)
    return report


def _replayed_files(files: list[Path], folder: Path, limit: int) -> Report:
    import asyncio

    from innkeeper.gateway.process.replay_check import check, histories_in, signing_as
    from innkeeper.gateway.process.temporal_access import stored_codec

    with signing_as(folder, os.environ):
        return asyncio.run(check(histories_in(files), stored_codec(folder, os.environ), limit=limit))


def span(text: str, option: str) -> timedelta:
    from innkeeper.gateway.cli.run_ids import span_of
    from innkeeper.nodes.errors import InnkeeperError

    found = span_of(text)
    if not found:
        raise InnkeeperError(f"{option} {text!r} is not understood: write 7d, 12h or 30m", code="usage")
    return found
