"""The command line. What a command needs is imported when it runs, so that `--help` and errors come at once."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from innkeeper.nodes.errors import InnkeeperError, InvalidWorkflow

if TYPE_CHECKING:
    from rich.console import Console

    from innkeeper.gateway.cli.channels_command import ChannelReport
    from innkeeper.gateway.client import GatewayClient
    from innkeeper.nodes.plugins import Catalogue

app = typer.Typer(
    name="innkeeper",
    help="Runs node graphs as durable workflows. Options can also come from environment variables INNKEEPER_*.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

DEFAULT_PORT = 8090
INVALID = 2

File = Annotated[Path, typer.Argument(help="A workflow file (JSON).", show_default=False)]
RunId = Annotated[str, typer.Argument(help="The id of a run.", show_default=False)]
DataDirectory = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", envvar="INNKEEPER_DATA_DIR", help="Where everything is kept.", show_default=".innkeeper"
    ),
]
Url = Annotated[
    str | None,
    typer.Option(envvar="INNKEEPER_URL", help="Use the gateway at this address.", show_default=False),
]
Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        envvar="INNKEEPER_PLUGINS",
        help="A folder of plugins; may be repeated.",
        show_default=False,
        exists=True,
        file_okay=False,
    ),
]
Host = Annotated[str, typer.Option(envvar="INNKEEPER_HOST", help="The address to listen on.")]
Port = Annotated[int, typer.Option(envvar="INNKEEPER_PORT", min=0, max=65535, help="The port; 0 takes a free one.")]
Workers = Annotated[
    int,
    typer.Option("--workers", envvar="INNKEEPER_WORKER_PROCESSES", min=1, max=64, help="Number of worker processes."),
]
Processes = Annotated[
    int,
    typer.Option("--processes", envvar="INNKEEPER_WORKER_PROCESSES", min=1, max=64, help="Number of worker processes."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Temporal = Annotated[
    str | None,
    typer.Option(envvar="INNKEEPER_TEMPORAL_ADDRESS", help="The Temporal server, host:port.", show_default=False),
]


@app.command()
def up(
    data_dir: DataDirectory = None,
    host: Host = "127.0.0.1",
    port: Port = DEFAULT_PORT,
    workers: Workers = 1,
    plugins: Plugins = None,
) -> None:
    """Run everything: Temporal server, gateway and workers. Ctrl-C stops it, killed parts start again."""
    from innkeeper.gateway.cli.signals import Stopping
    from innkeeper.gateway.process.local_stack import StackOptions, stay_up

    _log_to_stderr()
    options = StackOptions(_folder(data_dir), host, port, workers, _paths(plugins))
    stopping = Stopping()
    code = stopping.run(stay_up(options, lambda line: _console().print(line, highlight=False, soft_wrap=True)))
    if stopping.signal is not None:  # being stopped is how it ends
        _console().print("Innkeeper has stopped.", highlight=False)
        code = 0
    raise typer.Exit(code)


@app.command()
def run(
    file: File,
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

    options = RunOptions(file, inputs or (), as_json, detach, data_dir, url, _token(), _paths(plugins))
    stopping = Stopping()
    raise typer.Exit(stopping.run(run_file(options, _console(), _console(stderr=True), stopping)))


@app.command()
def rerun(
    run_id: RunId,
    file: Annotated[
        Path | None, typer.Argument(help="The workflow as it is now; without it, as it was then.", show_default=False)
    ] = None,
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
    options = RunOptions(shown, (), as_json, detach, data_dir, url, _token(), _paths(plugins))
    stopping = Stopping()
    raise typer.Exit(stopping.run(rerun_run(asked, options, _console(), _console(stderr=True), stopping)))


@app.command()
def validate(file: File, as_json: AsJson = False, plugins: Plugins = None, data_dir: DataDirectory = None) -> None:
    """Check a workflow file without running it. Exit code 2 when it cannot run; all problems are told at once."""
    from innkeeper.gateway.cli.tables import problems_table
    from innkeeper.gateway.cli.validate_command import check_file
    from innkeeper.gateway.storage.workflow_library import WorkflowFiles

    checked = check_file(file, _catalogue(plugins), WorkflowFiles.of(_folder(data_dir)))
    if as_json:
        _print_json({"valid": checked.is_valid, "problems": [problem.to_json() for problem in checked.problems]})
    else:
        if checked.problems:
            _console().print(problems_table(checked.problems))
        verdict = f"is valid ({checked.node_count} nodes)" if checked.is_valid else "cannot run"
        _console().print(f"{str(file)!r} {verdict}", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(0 if checked.is_valid else INVALID)


@app.command()
def nodes(as_json: AsJson = False, plugins: Plugins = None) -> None:
    """List the node types that workflows can use here."""
    from innkeeper.gateway.cli.tables import nodes_table

    catalogue = _catalogue(plugins)
    definitions = sorted(catalogue.get_definitions(), key=lambda node: node.full_type)
    if as_json:
        _print_json([node.to_json() for node in definitions])
    else:
        _console().print(nodes_table(definitions))


@app.command()
def channels(
    as_json: AsJson = False,
    check: Annotated[bool, typer.Option("--check", help="Ask each server for its models.")] = False,
    store: Annotated[
        bool, typer.Option("--store-key", help="Store a key (asked for, or read from a pipe) and print its reference.")
    ] = False,
    data_dir: DataDirectory = None,
) -> None:
    """Show the language models that workflows may use: channels.yaml of the data directory.

    Exit code 2: an error in it, or, with --check, a server that cannot be reached.
    """
    from innkeeper.gateway.cli.channels_command import ask_servers, report_channels, store_key

    folder = _folder(data_dir)
    if store:
        value = typer.prompt("Key", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
        print(store_key(value, folder, os.environ))
        return
    report = report_channels(folder, os.environ)
    if check:
        report = ask_servers(report, folder, os.environ)
    if as_json:
        _print_json(report.to_json())
    else:
        _print_channels(report)
    raise typer.Exit(0 if report.is_usable and report.is_reached else INVALID)


@app.command()
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

    found = _ask(fetch, data_dir, url)
    if as_json:
        _print_json(found)
    else:
        _console().print(runs_table(found))
        for line in hints_of_runs(found):
            _say(line)


@app.command()
def show(run_id: RunId, as_json: AsJson = False, data_dir: DataDirectory = None, url: Url = None) -> None:
    """Show one run: status, nodes, outputs."""
    from rich.console import Group
    from rich.text import Text

    from innkeeper.gateway.cli.control_command import hints_of_run, shown_nodes
    from innkeeper.gateway.cli.live_view import outcome
    from innkeeper.gateway.cli.tables import node_states_table

    found = _ask(lambda client: client.status(run_id), data_dir, url)
    if as_json:
        _print_json(found)
        return
    nodes = node_states_table(shown_nodes(found.get("nodeStatus") or {}))
    _console().print(Group(Text(f"run {run_id}: {found.get('status')}", "bold"), nodes, *outcome(found)))
    for line in hints_of_run(found):
        _say(line)


@app.command()
def cancel(run_id: RunId, data_dir: DataDirectory = None, url: Url = None) -> None:
    """Interrupt a run."""
    _ask(lambda client: client.cancel(run_id), data_dir, url)
    _console().print(f"interrupting run {run_id}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def delete(run_id: RunId, data_dir: DataDirectory = None, url: Url = None) -> None:
    """Delete a run that has ended: its result, its events, and with the next 'gc' values that no other run has."""
    _ask(lambda client: client.delete_run(run_id), data_dir, url)
    _say(f"deleted run {run_id}")


@app.command()
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

    found = _ask(lambda client: client.collect(dry_run=dry_run), data_dir, url)
    if as_json:
        _print_json(found)
    else:
        _say(collected_line(found))


@app.command()
def pause(run_id: RunId, data_dir: DataDirectory = None, url: Url = None) -> None:
    """Pause a run: what runs goes on, nothing new starts, until 'innkeeper resume'."""
    _say(_ask(lambda client: client.pause(run_id), data_dir, url)["message"])


@app.command()
def resume(run_id: RunId, data_dir: DataDirectory = None, url: Url = None) -> None:
    """Let a paused run go on."""
    _say(_ask(lambda client: client.resume(run_id), data_dir, url)["message"])


@app.command()
def approvals(
    run_id: Annotated[
        str | None, typer.Argument(help="The id of a run; without it, of all.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """List what waits for somebody's approval; of one run also what was answered."""
    from innkeeper.gateway.cli.control_command import approvals_table

    found = _ask(lambda client: client.approvals(run_id), data_dir, url)
    if as_json:
        _print_json(found)
    elif found:
        _console().print(approvals_table(found))
    else:
        _say("nothing waits for an approval" if run_id is None else f"run {run_id} has asked for no approval")


@app.command()
def approve(
    run_id: RunId,
    node: Annotated[
        str | None, typer.Argument(help="The node that waits; not needed when only one does.", show_default=False)
    ] = None,
    reject: Annotated[bool, typer.Option("--reject", help="Say no.")] = False,
    values: Annotated[
        list[str] | None, typer.Option("--set", help="A new value for a field of the form: name=value.")
    ] = None,
    comment: Annotated[str | None, typer.Option(help="Why.", show_default=False)] = None,
    by: Annotated[str | None, typer.Option(help="Who answers.", show_default=False)] = None,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Answer what a run waits for: yes, or no with --reject.

    Example: innkeeper approve RUN check --set title="A better one" --comment "only the title"
    """
    from innkeeper.gateway.cli.control_command import Answer, answer

    given = Answer(run_id, node, not reject, tuple(values or ()), comment, by)
    _say(_ask(lambda client: answer(client, given), data_dir, url))


@app.command()
def event(
    run_id: Annotated[
        str | None, typer.Argument(help="The id of a run; leave it out with --all.", show_default=False)
    ] = None,
    name: Annotated[str | None, typer.Argument(help="The event's name.", show_default=False)] = None,
    data: Annotated[str, typer.Option(help="What happened, as JSON; other text is taken as it is.")] = "null",
    to_all: Annotated[bool, typer.Option("--all", help="Tell every run that waits for it.")] = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Tell a run, or with --all every run that waits for it, that something happened.

    Example: innkeeper event RUN payment --data '{"amount": 12}', or innkeeper event --all payment
    """
    from innkeeper.gateway.cli.control_command import told, wanted_event

    run, what, value = wanted_event(run_id, name, data, to_all=to_all)
    _say(told(_ask(lambda client: client.post_event(what, value, run_id=run), data_dir, url)))


@app.command()
def put(
    file: Annotated[Path, typer.Argument(help="The file to upload.", show_default=False)],
    logical_path: Annotated[str, typer.Argument(help="Where to: user://cards/ or user://cards/name.png.")],
    overwrite: Annotated[bool, typer.Option(help="Replace a file that is there.")] = True,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Upload a file for workflows to read. Needs a running gateway."""
    from innkeeper.gateway.cli.file_command import put_file, put_line

    written = _ask(lambda client: put_file(client, file, logical_path, overwrite=overwrite), data_dir, url)
    if as_json:
        _print_json(written)
    else:
        _console().print(put_line(written), markup=False, highlight=False, soft_wrap=True)


@app.command()
def get(
    logical_path: Annotated[str, typer.Argument(help="The file, such as user://cards/name.png.")],
    file: Annotated[
        Path | None, typer.Argument(help="Where to; '-' is the standard output.", show_default="its own name, here")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Download a file that workflows have read or written. Needs a running gateway."""
    from innkeeper.gateway.cli.file_command import get_file

    line = _ask(lambda client: get_file(client, logical_path, file, force=force), data_dir, url)
    _console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)


@app.command("ls")
def list_files(
    prefix: Annotated[str, typer.Argument(help="The folder, such as shared://library.")] = "user://",
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """List the files below a folder: user:// (yours), shared:// or system://. Needs a running gateway."""
    from innkeeper.gateway.cli.file_command import list_below, upload_hint
    from innkeeper.gateway.cli.tables import files_table

    found = _ask(lambda client: list_below(client, prefix), data_dir, url)
    if as_json:
        _print_json(found)
    elif found:
        _console().print(files_table(found))
    else:
        line = f"there are no files below {prefix!r}{upload_hint(prefix)}"
        _console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)


@app.command()
def worker(
    data_dir: DataDirectory = None,
    temporal: Temporal = None,
    url: Url = None,
    plugins: Plugins = None,
    processes: Processes = 1,
) -> None:
    """Run one or more further worker processes; without addresses they join what runs on the data directory."""
    from innkeeper.gateway.process.data_dir import holder_of

    holder = holder_of(_folder(data_dir)) or {}
    env = {
        "INNKEEPER_DATA_DIR": str(_folder(data_dir).absolute()),
        "INNKEEPER_TEMPORAL_ADDRESS": temporal or holder.get("temporal"),
        "INNKEEPER_GATEWAY_URL": url or os.environ.get("INNKEEPER_GATEWAY_URL") or holder.get("address"),
        "INNKEEPER_PLUGINS": _path_list(plugins),
    }
    # A program of its own: gateway code must not import what runs nodes.
    command = (sys.executable, "-P", "-m", "innkeeper.activities.worker")
    whole_env = {**os.environ, **_known(env)}
    if processes == 1:
        os.execve(command[0], command, whole_env)
    from innkeeper.gateway.cli.signals import Stopping
    from innkeeper.gateway.process.worker_pool import keep_workers

    _log_to_stderr()
    stopping = Stopping()
    code = stopping.run(keep_workers(processes, command, whole_env))
    raise typer.Exit(0 if stopping.signal is not None else code)  # being stopped is how it ends


@app.command()
def gateway(
    data_dir: DataDirectory = None,
    host: Host = "127.0.0.1",
    port: Port = DEFAULT_PORT,
    temporal: Temporal = None,
    plugins: Plugins = None,
) -> None:
    """Run a gateway alone, beside a Temporal server of your own."""
    from innkeeper.gateway.serve import main as serve

    env = {
        "INNKEEPER_DATA_DIR": str(_folder(data_dir).absolute()),
        "INNKEEPER_HOST": host,
        "INNKEEPER_PORT": str(port),
        "INNKEEPER_TEMPORAL_ADDRESS": temporal,
        "INNKEEPER_PLUGINS": _path_list(plugins),
    }
    os.environ.update(_known(env))
    raise typer.Exit(serve([]))


@app.command()
def settings(
    data_dir: Annotated[Path | None, typer.Option(help="As of 'up' and 'gateway'.", show_default=False)] = None,
    host: Annotated[str | None, typer.Option(help="As of 'up' and 'gateway'.", show_default=False)] = None,
    port: Annotated[int | None, typer.Option(help="As of 'up' and 'gateway'.", show_default=False)] = None,
    temporal: Annotated[str | None, typer.Option(help="As of 'worker' and 'gateway'.", show_default=False)] = None,
    plugins: Annotated[list[Path] | None, typer.Option(help="As of 'up'; may be repeated.", show_default=False)] = None,
    as_json: AsJson = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the page docs/settings.md.")] = False,
) -> None:
    """Show the settings that gateway and worker have here, and where each comes from. Secrets are masked.

    Exit code: 1 when a value cannot be used; every one that cannot is told.
    """
    # These options take nothing from the environment: what it holds must be told as such.
    from innkeeper.gateway.cli.settings_command import as_arguments, settings_tables
    from innkeeper.gateway.process.settings_report import report_json, report_of, report_page
    from innkeeper.nodes.process.variables import unknown_variables

    if markdown:
        print(report_page(os.environ), end="")
        return
    arguments = {
        "INNKEEPER_DATA_DIR": data_dir,
        "INNKEEPER_HOST": host,
        "INNKEEPER_PORT": port,
        "INNKEEPER_TEMPORAL_ADDRESS": temporal,
        "INNKEEPER_PLUGINS": _path_list(plugins),
    }
    report = report_of(os.environ, as_arguments(arguments))
    for sentence in unknown_variables(os.environ):
        _console(stderr=True).print(f"innkeeper: {sentence}", markup=False, highlight=False, soft_wrap=True)
    if as_json:
        _print_json(report_json(report))
        return
    for table in settings_tables(report):
        _console().print(table, "")


@app.command()
def version() -> None:
    """Print the versions of Innkeeper, Python and the Temporal server program."""
    import platform
    from importlib.metadata import version as installed

    from innkeeper.gateway.process.temporal_server import ServerMissing, find_binary

    try:
        server = find_binary().version
    except ServerMissing:
        server = "missing"
    line = f"innkeeper {installed('innkeeper')}, Python {platform.python_version()}, Temporal CLI {server}"
    _console().print(line, highlight=False, soft_wrap=True)


def main() -> None:
    """Entry of the console script: no traceback reaches a user, unless INNKEEPER_DEBUG is set."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that does not know a character shows another one: no reason to fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        app()
    except Exception as error:
        if os.environ.get("INNKEEPER_DEBUG"):
            raise
        sys.exit(_explain(error))


def _explain(error: Exception) -> int:
    """Say in one sentence what went wrong and what to do; gives the exit code."""
    console = _console(stderr=True)
    if isinstance(error, InvalidWorkflow):
        from innkeeper.gateway.cli.tables import problems_table

        console.print(problems_table(error.problems))
        console.print("the workflow cannot run: correct the problems above", highlight=False)
        return INVALID
    console.print(f"innkeeper: {_sentence(error)}", markup=False, highlight=False, soft_wrap=True)
    return 1


def _sentence(error: BaseException) -> str:
    if isinstance(error, InnkeeperError):
        return error.message
    if isinstance(error, BaseExceptionGroup):
        return _sentence(error.exceptions[0])
    if isinstance(error, OSError):
        place = f" ({error.filename})" if error.filename else ""
        return f"the system refuses: {error.strerror or error}{place}; check rights and free space"
    return f"an error inside innkeeper ({type(error).__name__}): INNKEEPER_DEBUG=1 shows where; please report it"


def _ask(question: Any, data_dir: Path | None, url: str | None) -> Any:
    """Ask the running gateway something."""
    import asyncio

    from innkeeper.gateway.cli.run_command import need_gateway
    from innkeeper.gateway.client import GatewayClient

    async def answer() -> Any:
        async with GatewayClient(await need_gateway(data_dir, url), _token(), patience_s=5.0) as client:
            return await question(client)

    return asyncio.run(answer())


def _print_channels(report: ChannelReport) -> None:
    from innkeeper.gateway.cli.tables import channels_table, file_problems_table, models_table

    console = _console()
    if report.channels:
        console.print(channels_table(report.channels))
    if report.models:
        console.print()
        console.print(models_table(report.models))
    if report.problems:
        console.print(file_problems_table(report.problems))
    if not report.exists:
        line = f"there is no {str(report.file)!r}: examples/channels.yaml of Innkeeper shows what to write there"
    elif not report.is_usable:
        line = f"{str(report.file)!r} has errors, so no channel is used"
    else:
        line = f"{str(report.file)!r}: {len(report.channels)} channels, {len(report.models)} models"
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _catalogue(plugins: list[Path] | None) -> Catalogue:
    from innkeeper.nodes.plugins import load_catalogue

    _log_to_stderr()
    return load_catalogue(_paths(plugins))


def _console(stderr: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=stderr)


def _log_to_stderr() -> None:
    import logging

    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)


def _say(sentence: str) -> None:
    _console().print(sentence, markup=False, highlight=False, soft_wrap=True)


def _print_json(value: Any) -> None:
    import json

    print(json.dumps(value, ensure_ascii=False, indent=2))


def _folder(data_dir: Path | None) -> Path:
    from innkeeper.gateway.process.data_dir import DEFAULT_DATA_DIR

    return data_dir or DEFAULT_DATA_DIR


def _paths(plugins: list[Path] | None) -> tuple[Path, ...]:
    return tuple(plugins or ())


def _path_list(plugins: list[Path] | None) -> str | None:
    return os.pathsep.join(str(path.absolute()) for path in plugins or ()) or None


def _known(env: dict[str, str | None]) -> dict[str, str]:
    return {key: str(value) for key, value in env.items() if value}


def _token() -> str | None:
    """From the environment only: command lines are seen by other users of the machine."""
    return os.environ.get("INNKEEPER_ACCESS_TOKEN") or None


if __name__ == "__main__":
    main()
