"""The command line: one line a command, in the order of `--help`."""

from __future__ import annotations

import io
import os
import sys

import typer

from innkeeper.gateway.cli import (
    catalogue_commands,
    control_commands,
    file_commands,
    key_commands,
    process_commands,
    run_commands,
)
from innkeeper.gateway.cli.base import INVALID, console
from innkeeper.nodes.errors import InnkeeperError, InvalidWorkflow

app = typer.Typer(
    name="innkeeper",
    help="Runs node graphs as durable workflows. Options can also come from environment variables INNKEEPER_*.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.command()(process_commands.up)
app.command()(run_commands.run)
app.command()(run_commands.rerun)
app.command()(run_commands.validate)
app.command()(catalogue_commands.nodes)
app.command()(catalogue_commands.channels)
app.command()(run_commands.runs)
app.command()(run_commands.show)
app.command()(run_commands.cancel)
app.command()(run_commands.delete)
app.command()(run_commands.gc)
app.command()(control_commands.pause)
app.command()(control_commands.resume)
app.command()(control_commands.approvals)
app.command()(control_commands.approve)
app.command()(control_commands.event)
app.command()(file_commands.put)
app.command()(file_commands.get)
app.command("ls")(file_commands.list_files)
app.command()(process_commands.worker)
app.command()(process_commands.gateway)
app.command()(key_commands.rotate_key)
app.command()(catalogue_commands.settings)
app.command()(catalogue_commands.version)


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
    screen = console(stderr=True)
    if isinstance(error, InvalidWorkflow):
        from innkeeper.gateway.cli.tables import problems_table

        screen.print(problems_table(error.problems))
        screen.print("the workflow cannot run: correct the problems above", highlight=False)
        return INVALID
    screen.print(f"innkeeper: {_sentence(error)}", markup=False, highlight=False, soft_wrap=True)
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


if __name__ == "__main__":
    main()
