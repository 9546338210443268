"""Commands about runs.

What a command needs is imported when it runs, so that `--help` comes at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from innkeeper.gateway.cli.base import (
    INVALID,
    AsJson,
    DataDirectory,
    File,
    Plugins,
    RunId,
    Url,
    access_token,
    ask_gateway,
    catalogue_of,
    console,
    data_folder,
    plugin_paths,
    print_json,
    say,
)

if TYPE_CHECKING:
    from innkeeper.gateway.client import GatewayClient


def run(
    file: File,
    *,
    inputs: Annotated[
        list[str] | None, typer.Option("--input", help="A value for an input of the workflow: name=value.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line: events, then the result.")] = False,
    detach: Annotated[bool, typer.Option(help="Only start the run and print its id.")] = False,
    data_dir: DataDirectory = None,
    url: Url = None,
    plugins: Plugins = None,
) -> None:
    """Run a workflow file and show it. Starts what is needed for this run when no gateway is running.

    Exit code: 0 complete, 1 error, 2 the workflow is invalid, 130 after Ctrl-C.
    """
    from innkeeper.gateway.cli.run_command import RunOptions, run_file
    from innkeeper.gateway.cli.signals import Stopping

    options = RunOptions(file, inputs or (), as_json, detach, data_dir, url, access_token(), plugin_paths(plugins))
    stopping = Stopping()
    raise typer.Exit(stopping.run(run_file(options, console(), console(stderr=True), stopping)))


def rerun(
    run_id: RunId,
    file: Annotated[
        Path | None, typer.Argument(help="The workflow as it is now; without it, as it was then.", show_default=False)
    ] = None,
    *,
    from_nodes: Annotated[
        list[str] | None, typer.Option("--from", help="Run this node, and all behind it, in any case.")
    ] = None,
    targets: Annotated[
        list[str] | None, typer.Option("--target", help="Run only this node or output, and what it needs.")
    ] = None,
    inputs: Annotated[
        list[str] | None, typer.Option("--input", help="A value for an input of the workflow: name=value.")
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Ask the result cache for nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line: events, then the result.")] = False,
    detach: Annotated[bool, typer.Option(help="Only start the run and print its id.")] = False,
    data_dir: DataDirectory = None,
    url: Url = None,
    plugins: Plugins = None,
) -> None:
    """Run an earlier run again as a new one: what it has finished, and what is still the same, is taken over.

    Example: innkeeper rerun RUN, or innkeeper rerun RUN story.json --from write

    Exit codes are those of 'innkeeper run'.
    """
    from innkeeper.gateway.cli.rerun_command import RerunOptions, rerun_run
    from innkeeper.gateway.cli.run_command import RunOptions
    from innkeeper.gateway.cli.signals import Stopping

    asked = RerunOptions(run_id, file, tuple(from_nodes or ()), tuple(targets or ()), tuple(inputs or ()), no_cache)
    shown = file or Path(f"rerun of {run_id}")
    options = RunOptions(shown, (), as_json, detach, data_dir, url, access_token(), plugin_paths(plugins))
    stopping = Stopping()
    raise typer.Exit(
        stopping.run(rerun_run(asked, options, console=console(), notes=console(stderr=True), stopping=stopping))
    )


def validate(file: File, as_json: AsJson = False, plugins: Plugins = None, data_dir: DataDirectory = None) -> None:
    """Check a workflow file without running it. Exit code 2 when it cannot run; all problems are told at once."""
    from innkeeper.gateway.cli.run_command import read_document
    from innkeeper.gateway.cli.tables import problems_table
    from innkeeper.gateway.process.offline_check import Verdict, check_document
    from innkeeper.nodes.errors import InvalidWorkflow

    catalogue = catalogue_of(plugins)
    try:
        checked = check_document(read_document(file), catalogue, data_folder(data_dir))
    except InvalidWorkflow as error:
        checked = Verdict(False, error.problems)
    if as_json:
        print_json({"valid": checked.is_valid, "problems": [problem.to_json() for problem in checked.problems]})
    else:
        if checked.problems:
            console().print(problems_table(checked.problems))
        verdict = f"is valid ({checked.node_count} nodes)" if checked.is_valid else "cannot run"
        console().print(f"{str(file)!r} {verdict}", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(0 if checked.is_valid else INVALID)


def runs(
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many ended runs.")] = 20,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """List the runs that wait, run, and ended last."""
    from innkeeper.gateway.cli.control_command import hints_of_runs
    from innkeeper.gateway.cli.tables import runs_table

    async def fetch(client: GatewayClient) -> list[dict[str, Any]]:
        return [*await client.active(), *await client.history(limit)]

    found = ask_gateway(fetch, data_dir, url)
    if as_json:
        print_json(found)
    else:
        console().print(runs_table(found))
        for line in hints_of_runs(found):
            say(line)


def show(
    run_id: RunId,
    *,
    trace: Annotated[
        bool, typer.Option("--trace", help="Of nodes that raised an exception, the way through the code.")
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Show one run: status, nodes, outputs."""
    from rich.console import Group
    from rich.text import Text

    from innkeeper.gateway.cli.control_command import hints_of_run, shown_nodes
    from innkeeper.gateway.cli.live_view import outcome
    from innkeeper.gateway.cli.tables import node_states_table

    found = ask_gateway(lambda client: client.status(run_id), data_dir, url)
    if as_json:
        print_json(found)
        return
    nodes = node_states_table(shown_nodes(found.get("nodeStatus") or {}), trace=trace)
    console().print(Group(Text(f"run {run_id}: {found.get('status')}", "bold"), nodes, *outcome(found)))
    for line in hints_of_run(found):
        say(line)


def cancel(run_id: RunId, data_dir: DataDirectory = None, url: Url = None) -> None:
    """Interrupt a run."""
    ask_gateway(lambda client: client.cancel(run_id), data_dir, url)
    console().print(f"interrupting run {run_id}", markup=False, highlight=False, soft_wrap=True)


def delete(run_id: RunId, data_dir: DataDirectory = None, url: Url = None) -> None:
    """Delete a run that has ended: its result, its events, and with the next 'gc' values that no other run has."""
    ask_gateway(lambda client: client.delete_run(run_id), data_dir, url)
    say(f"deleted run {run_id}")


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Delete stored values that no kept run, event or cached result refers to any more. Needs a running gateway.

    The gateway does it by itself every hour. Values of the last hour, or since the oldest open run began, stay.
    """
    from innkeeper.gateway.cli.tables import collected_line

    found = ask_gateway(lambda client: client.collect(dry_run=dry_run), data_dir, url)
    if as_json:
        print_json(found)
    else:
        say(collected_line(found))
