"""The command line: its commands in the groups and the order of `--help`."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from functools import cache
from typing import Annotated

import typer
from typer.core import TyperGroup
from typer.main import get_command

from innkeeper.gateway.cli import (
    authoring_commands,
    backup_commands,
    catalogue_commands,
    channel_commands,
    control_commands,
    deploy_commands,
    file_commands,
    key_commands,
    library_commands,
    process_commands,
    run_commands,
    stack_commands,
    temporal_commands,
    trigger_commands,
    usage_commands,
)
from innkeeper.gateway.cli.base import EXIT_CODES, FAILED, INVALID, UNREACHABLE, console
from innkeeper.nodes.errors import InnkeeperError, InvalidWorkflow

app = typer.Typer(
    name="innkeeper",
    help="Runs node graphs as durable workflows. Options can also come from environment variables INNKEEPER_*.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
library = typer.Typer(
    help="Workflows that are stored in the gateway, in versions.",
    no_args_is_help=True,
    epilog=EXIT_CODES,
)
triggers = typer.Typer(
    help="What starts runs by itself: webhooks, schedules, events, files, ends of runs.",
    no_args_is_help=True,
    epilog=EXIT_CODES,
)
INVALID_TRIGGER = "invalid_trigger"
NATIVE_CLIENT = "temporalio.bridge.temporal_sdk_bridge"
channels = typer.Typer(epilog=EXIT_CODES)
LIBRARY = "Workflow library"
CHANNELS = "Language models"
TRIGGERS = "Triggers"
deploy = typer.Typer(
    help="Builds of versioned workers: which gets new runs, and what is open on the others.",
    no_args_is_help=True,
    epilog=EXIT_CODES,
)
DEPLOYMENTS = "Versions of workers"
GROUPS: dict[str, tuple[Callable[..., None], ...]] = {
    "Start": (process_commands.up, stack_commands.status, stack_commands.logs, stack_commands.open_page),
    "Run workflows": (run_commands.run, run_commands.rerun, run_commands.watch, run_commands.validate),
    "Look at runs": (
        run_commands.runs,
        run_commands.show,
        run_commands.cancel,
        run_commands.delete,
        run_commands.gc,
        usage_commands.usage,
    ),
    "Steer runs": (
        *(control_commands.pause, control_commands.resume, control_commands.approvals),
        *(control_commands.approve, control_commands.event),
    ),
    "Write workflows and plugins": (
        *(authoring_commands.init, authoring_commands.new, authoring_commands.fmt, authoring_commands.diff),
        *(catalogue_commands.nodes, catalogue_commands.schema),
    ),
    CHANNELS: (
        *(channel_commands.channels, channel_commands.try_channel),
        *(channel_commands.add_channel, channel_commands.remove_channel),
    ),
    LIBRARY: (
        *(library_commands.list_workflows, library_commands.show_workflow, library_commands.save_workflow),
        *(library_commands.publish_workflow, library_commands.diff_workflow, library_commands.export_workflow),
        *(library_commands.import_workflows, library_commands.delete_workflow, library_commands.restore_workflow),
    ),
    TRIGGERS: (
        *(trigger_commands.list_triggers, trigger_commands.show_trigger, trigger_commands.add_trigger),
        *(trigger_commands.apply_triggers, trigger_commands.try_trigger, trigger_commands.enable_trigger),
        *(trigger_commands.disable_trigger, trigger_commands.results_trigger, trigger_commands.preview_trigger),
        *(trigger_commands.rotate_token, trigger_commands.delete_trigger),
    ),
    "Files of workflows": (file_commands.put, file_commands.get, file_commands.list_files),
    "Operate": (
        *(process_commands.worker, process_commands.gateway, backup_commands.backup, backup_commands.restore),
        *(temporal_commands.setup, temporal_commands.replay),
        *(key_commands.rotate_key, key_commands.rotate_payload_key),
        *(catalogue_commands.settings, catalogue_commands.version),
    ),
    DEPLOYMENTS: (deploy_commands.current_build, deploy_commands.set_build, deploy_commands.drain_builds),
}
WORDS: dict[str, tuple[str, typer.Typer]] = {
    LIBRARY: ("workflows", library),
    CHANNELS: ("channels", channels),
    TRIGGERS: ("triggers", triggers),
    DEPLOYMENTS: ("deploy", deploy),
}
"""Groups whose commands have two words: the first one, and what holds them."""
ALONE: dict[str, Callable[..., None]] = {CHANNELS: channel_commands.channels}
"""Of such a group: what its first word does by itself."""
_OTHER_NAMES: dict[Callable[..., None], str] = {
    channel_commands.try_channel: "test",
    trigger_commands.try_trigger: "test",
    trigger_commands.rotate_token: "rotate-token",
}


def _second_word(command: Callable[..., None]) -> str:
    return _OTHER_NAMES.get(command) or command.__name__.partition("_")[0]


NAMES: dict[Callable[..., None], str] = {
    **{file_commands.list_files: "ls", stack_commands.open_page: "open"},
    **{command: f"{word} {_second_word(command)}" for title, (word, _) in WORDS.items() for command in GROUPS[title]},
    **{command: WORDS[title][0] for title, command in ALONE.items()},
}
for _title, _commands in GROUPS.items():
    _word, _inner = WORDS.get(_title, ("", None))
    for _command in _commands:
        if _inner is not None and _command is ALONE.get(_title):
            _inner.callback(invoke_without_command=True)(_command)
        elif _inner is not None:
            _inner.command(_second_word(_command))(_command)
        else:
            app.command(NAMES.get(_command), rich_help_panel=_title)(_command)
    if _inner is not None:
        app.add_typer(_inner, name=_word, rich_help_panel=_title)


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the versions and end.", is_eager=True)] = False,
) -> None:
    if version:
        catalogue_commands.version()
        raise typer.Exit


@cache
def command_line() -> TyperGroup:
    """All commands, as they are run. Made once in a process: that takes 60 ms."""
    found = get_command(app)
    assert isinstance(found, TyperGroup)
    return found


def main() -> None:
    """Entry of the console script: no traceback reaches a user, unless INNKEEPER_DEBUG is set."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that does not know a character shows another one: no reason to fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        command_line()()
    except Exception as error:
        if os.environ.get("INNKEEPER_DEBUG"):
            raise
        sys.exit(_explain(error))


def run_and_end() -> None:
    """`main` as the whole of a process."""
    try:
        main()
    except SystemExit as end:
        _end_without_threads(end.code)
        raise


def _end_without_threads(code: object) -> None:
    """End a process that has talked to Temporal. Threads of its native client may call into Python while that is torn
    down, which aborts the process with a dump, though the command has done its work."""
    if NATIVE_CLIENT not in sys.modules or not isinstance(code, int | None):
        return
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # nobody reads it any more
            return
    os._exit(code or 0)


def _explain(error: Exception) -> int:
    """Say in one sentence what went wrong and what to do; gives the exit code."""
    screen = console(stderr=True)
    if isinstance(error, InvalidWorkflow):
        from innkeeper.gateway.cli.tables import problems_table

        screen.print(problems_table(error.problems))
        screen.print("the workflow cannot run: correct the problems above", highlight=False)
        return INVALID
    screen.print(f"innkeeper: {_sentence(error)}", markup=False, highlight=False, soft_wrap=True)
    if isinstance(error, InnkeeperError):
        return {"usage": INVALID, INVALID_TRIGGER: INVALID, "gateway_unreachable": UNREACHABLE}.get(error.code, FAILED)
    return FAILED


def _sentence(error: BaseException) -> str:
    if isinstance(error, InnkeeperError):
        problems = error.details.get("problems") if error.code == INVALID_TRIGGER else ()
        return "\n  ".join((error.message, *(str(problem.get("message")) for problem in problems or ())))
    if isinstance(error, BaseExceptionGroup):
        return _sentence(error.exceptions[0])
    if isinstance(error, OSError):
        place = f" ({error.filename})" if error.filename else ""
        return f"the system refuses: {error.strerror or error}{place}; check rights and free space"
    return f"an error inside innkeeper ({type(error).__name__}): INNKEEPER_DEBUG=1 shows where; please report it"


if __name__ == "__main__":
    run_and_end()
