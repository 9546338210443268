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
    Before,
    DataDirectory,
    File,
    Offline,
    OutputName,
    Plugins,
    Project,
    Quiet,
    RunId,
    RunIds,
    Url,
    access_token,
    ask_about_run,
    ask_gateway,
    ask_if_running,
    catalogue_of,
    console,
    data_folder,
    plugin_paths,
    print_json,
    say,
)

if TYPE_CHECKING:
    from innkeeper.gateway.cli.run_command import RunOptions
    from innkeeper.gateway.client import GatewayClient

AsJsonLines = Annotated[bool, typer.Option("--json", help="One JSON object per line: events, then the result.")]
Detach = Annotated[bool, typer.Option("--detach", "-d", help="Only start the run and print its id.")]
RunInputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input", "-i", help="A value for an input: name=value, name=@file, name=- for stdin.", show_default=False
    ),
]


def run(
    file: Annotated[
        Path, typer.Argument(help="A workflow file (JSON), or the id of a stored workflow.", show_default=False)
    ],
    *,
    inputs: RunInputs = None,
    version: Annotated[
        str | None,
        typer.Option(
            help="Of a stored workflow: a number, 'latest' or 'published'.",
            show_default="the published one, else the newest that compiles",
        ),
    ] = None,
    project: Project = None,
    as_json: AsJsonLines = False,
    output: OutputName = None,
    quiet: Quiet = False,
    detach: Detach = False,
    data_dir: DataDirectory = None,
    url: Url = None,
    plugins: Plugins = None,
) -> None:
    """Run a workflow file and show it. Starts what is needed for this run when no gateway is running.

    Where no file has the name, or with --version or --project, a stored workflow of the running gateway runs by its id.

    The outputs go to stdout, everything else to stderr where stdout is no terminal.

    Example: innkeeper run story.json -i hero='a tired dragon' -o story > story.txt, or innkeeper run greeter -i who=ada
    """
    from innkeeper.gateway.cli.run_command import run_file
    from innkeeper.gateway.cli.signals import Stopping

    options = _options(
        file,
        inputs=tuple(inputs or ()),
        version=version,
        project=project,
        detach=detach,
        plugins=plugins,
        as_json=as_json,
        output=output,
        quiet=quiet,
        data_dir=data_dir,
        url=url,
    )
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
    inputs: RunInputs = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Ask the result cache for nothing.")] = False,
    as_json: AsJsonLines = False,
    output: OutputName = None,
    quiet: Quiet = False,
    detach: Detach = False,
    data_dir: DataDirectory = None,
    url: Url = None,
    plugins: Plugins = None,
) -> None:
    """Run an earlier run again as a new one: what it has finished, and what is still the same, is taken over.

    Example: innkeeper rerun RUN, or innkeeper rerun RUN story.json --from write

    The options for what is shown are those of 'innkeeper run'.
    """
    from innkeeper.gateway.cli.rerun_command import RerunOptions, rerun_run
    from innkeeper.gateway.cli.signals import Stopping

    asked = RerunOptions(run_id, file, tuple(from_nodes or ()), tuple(targets or ()), tuple(inputs or ()), no_cache)
    shown = file or Path(f"rerun of {run_id}")
    options = _options(
        shown, detach=detach, plugins=plugins, as_json=as_json, output=output, quiet=quiet, data_dir=data_dir, url=url
    )
    stopping = Stopping()
    raise typer.Exit(
        stopping.run(rerun_run(asked, options, console=console(), notes=console(stderr=True), stopping=stopping))
    )


def watch(
    run_id: RunId,
    *,
    as_json: AsJsonLines = False,
    output: OutputName = None,
    quiet: Quiet = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Show a run from its beginning, until it has ended; the options are those of 'innkeeper run'.

    Example: innkeeper watch last
    """
    from innkeeper.gateway.cli.run_command import watch_run
    from innkeeper.gateway.cli.signals import Stopping

    options = _options(Path(run_id), as_json=as_json, output=output, quiet=quiet, data_dir=data_dir, url=url)
    stopping = Stopping()
    raise typer.Exit(stopping.run(watch_run(run_id, options, console(), console(stderr=True), stopping)))


def _options(file: Path, *, plugins: list[Path] | None = None, **asked: Any) -> RunOptions:
    """The options of a command that shows a run, with what comes from elsewhere than the command line."""
    from innkeeper.gateway.cli.run_command import RunOptions

    return RunOptions(file, token=access_token(), plugins=plugin_paths(plugins), **asked)


def validate(
    file: File,
    *,
    inputs: RunInputs = None,
    as_json: AsJson = False,
    plugins: Plugins = None,
    offline: Offline = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Check a workflow file without running it. Exit code 2 when it cannot run; all problems are told at once.

    A gateway that is running is asked: it knows its plugins, stored workflows and secrets.

    Example: innkeeper validate story.json
    """
    from innkeeper.gateway.cli.run_command import parse_inputs, read_document, with_values
    from innkeeper.gateway.cli.tables import problems_table
    from innkeeper.gateway.process.offline_check import Verdict, check_document
    from innkeeper.nodes.errors import InvalidWorkflow, Problem

    try:
        document = read_document(file)
        document = dict(with_values(document, parse_inputs(inputs or (), document)))
        found = None
        if not (offline or plugins):
            found = ask_if_running(lambda client: client.validate(document), data_dir, url)
        if found is not None:
            problems = tuple(Problem(**problem) for problem in found["problems"])
            checked = Verdict(bool(found["valid"]), problems, len(document.get("nodes") or ()))
        else:
            checked = check_document(document, catalogue_of(plugins), data_folder(data_dir))
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
    """List the runs that wait, run, and ended last.

    Example: innkeeper runs --limit 5
    """
    from innkeeper.gateway.cli.control_command import hints_of_runs
    from innkeeper.gateway.cli.tables import runs_table

    async def fetch(client: GatewayClient) -> list[dict[str, Any]]:
        return [*await client.active(), *await client.history(limit)]

    found = ask_gateway(fetch, data_dir, url)
    if as_json:
        print_json(found)
    else:
        console().print(runs_table(found, console().width))
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
    """Show one run: status, nodes, outputs.

    Example: innkeeper show last
    """
    from rich.console import Group
    from rich.text import Text

    from innkeeper.gateway.cli.control_command import callback_lines, hints_of_run, shown_nodes
    from innkeeper.gateway.cli.live_view import outcome
    from innkeeper.gateway.cli.tables import node_states_table
    from innkeeper.gateway.cli.usage_command import usage_lines

    found = ask_about_run(run_id, lambda client, run: client.status(run), data_dir, url)
    if as_json:
        print_json(found)
        return
    nodes = node_states_table(shown_nodes(found.get("nodeStatus") or {}), trace=trace)
    head = Text(f"run {found.get('promptId')}: {found.get('status')}", "bold")
    console().print(Group(head, nodes, *outcome(found)))
    for line in (*usage_lines(found), *callback_lines(found), *hints_of_run(found)):
        say(line)


def cancel(
    run_ids: RunIds = None,
    *,
    before: Before = None,
    force: Annotated[
        bool, typer.Option("--force", help="End it now, without waiting for its nodes, its worker or Temporal.")
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Interrupt runs. One that does not end is ended by a second cancel after 10 s, or by --force.

    Example: innkeeper cancel last, or innkeeper cancel --before 7d
    """
    from innkeeper.gateway.cli.run_ids import wanted_runs

    async def interrupt(client: GatewayClient) -> dict[str, str]:
        chosen = await wanted_runs(client, run_ids or (), before, await client.active() if before else ())
        return {run: str((await client.cancel(run, force=force))["message"]) for run in chosen}

    found = ask_gateway(interrupt, data_dir, url)
    if as_json:
        print_json({"interrupting": list(found)})
        return
    for message in found.values():
        say(message)
    if not found:
        say("no run is as old as that")


def delete(
    run_ids: RunIds = None,
    *,
    before: Before = None,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Delete runs that have ended: results, events, and with the next 'gc' values that no other run has.

    Example: innkeeper delete last, or innkeeper delete --before 7d
    """
    from innkeeper.gateway.cli.run_ids import wanted_runs

    async def remove(client: GatewayClient) -> list[str]:
        chosen = await wanted_runs(client, run_ids or (), before, await client.whole_history() if before else ())
        for run in chosen:
            await client.delete_run(run)
        return chosen

    found = ask_gateway(remove, data_dir, url)
    if as_json:
        print_json({"deleted": found})
        return
    for run in found:
        say(f"deleted run {run}")
    if not found:
        say("no run that has ended is as old as that")


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Delete stored values that no kept run, event or cached result refers to any more. Needs a running gateway.

    The gateway does it by itself every hour. Values of the last hour, or since the oldest open run began, stay.

    Example: innkeeper gc --dry-run
    """
    from innkeeper.gateway.cli.tables import collected_line

    found = ask_gateway(lambda client: client.collect(dry_run=dry_run), data_dir, url)
    if as_json:
        print_json(found)
    else:
        say(collected_line(found))
