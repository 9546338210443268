"""What the commands share: their options, the gateway they ask, and how they print."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from innkeeper.nodes.catalogue.plugins import Catalogue

DEFAULT_PORT = 8090
UNWRAPPED = 10_000

FAILED = 1
INVALID = 2
UNREACHABLE = 3
PLANNED = 4
EXIT_CODES = """\
Exit codes: 0 it is done, 1 the run failed or the gateway refused, 2 invalid workflow or options, 3 no gateway can be
reached, 4 a plan was shown and not carried out, 130 stopped by Ctrl-C."""

File = Annotated[Path, typer.Argument(help="A workflow file (JSON).", show_default=False)]

RunId = Annotated[str, typer.Argument(help="The id of a run, the beginning of one, or 'last'.", show_default=False)]

RunIds = Annotated[
    list[str] | None,
    typer.Argument(help="Ids of runs, beginnings of them, or 'last'.", show_default=False),
]

Before = Annotated[
    str | None,
    typer.Option(help="All that were submitted before: 7d, 12h, or a date.", show_default=False),
]

Project = Annotated[
    str | None,
    typer.Option(help="The project of a stored workflow.", show_default="default, else the only one that has it"),
]

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but the outputs, and why a run failed.")]

OutputName = Annotated[
    str | None,
    typer.Option("--output", "-o", help="Write this output alone to stdout, raw.", show_default=False),
]

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

Offline = Annotated[
    bool, typer.Option("--offline", help="Ask no gateway, also when one is running: use what is installed here.")
]

Temporal = Annotated[
    str | None,
    typer.Option(envvar="INNKEEPER_TEMPORAL_ADDRESS", help="The Temporal server, host:port.", show_default=False),
]


def ask_gateway(question: Any, data_dir: Path | None, url: str | None) -> Any:
    """Ask the running gateway something."""
    import asyncio

    from innkeeper.gateway.cli.run_command import need_gateway
    from innkeeper.gateway.client import GatewayClient

    async def answer() -> Any:
        async with GatewayClient(await need_gateway(data_dir, url), access_token(), patience_s=5.0) as client:
            return await question(client)

    return asyncio.run(answer())


def ask_if_running(question: Any, data_dir: Path | None, url: str | None) -> Any:
    """Ask the running gateway something; None when none is running and none was named."""
    import asyncio

    from innkeeper.gateway.cli.run_command import find_gateway
    from innkeeper.gateway.client import GatewayClient

    async def answer() -> Any:
        found = await find_gateway(data_dir, url, temporary=True)
        if found is None:
            return None
        async with GatewayClient(found, access_token(), patience_s=5.0) as client:
            return await question(client)

    return asyncio.run(answer())


def ask_about_run(run_id: str, question: Any, data_dir: Path | None, url: str | None) -> Any:
    """Ask the running gateway about a run that somebody has named; `question` gets the client and the whole id."""

    async def about(client: Any) -> Any:
        from innkeeper.gateway.cli.run_ids import find_run

        return await question(client, await find_run(client, run_id))

    return ask_gateway(about, data_dir, url)


def catalogue_of(plugins: list[Path] | None) -> Catalogue:
    from innkeeper.nodes.catalogue.plugins import load_catalogue

    log_to_stderr()
    return load_catalogue(plugin_paths(plugins))


def console(stderr: bool = False) -> Console:
    from rich.console import Console

    made = Console(stderr=stderr)
    # In a pipe or a file a line is a line; COLUMNS asks for another width there, too.
    return made if made.is_terminal or os.environ.get("COLUMNS") else Console(stderr=stderr, width=UNWRAPPED)


def log_to_stderr() -> None:
    import logging

    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)


def say(sentence: str) -> None:
    console().print(sentence, markup=False, highlight=False, soft_wrap=True)


def open_in_browser(url: str) -> None:
    """Show a page to whoever sits here, or say that it must be opened by hand."""
    import webbrowser

    if not webbrowser.open(url):
        console(stderr=True).print("no browser was found here: open the address yourself", highlight=False)


def print_json(value: Any) -> None:
    import json

    print(json.dumps(value, ensure_ascii=False, indent=2))


def data_folder(data_dir: Path | None) -> Path:
    """The data directory that the user named, else the one of this folder.

    Raises:
        ForeignDataDir: Nobody has named it, and it may have come with a download.
    """
    from innkeeper.gateway.process.data_dir import own_default

    return data_dir or own_default()


def plugin_paths(plugins: list[Path] | None) -> tuple[Path, ...]:
    return tuple(plugins or ())


def path_list(plugins: list[Path] | None) -> str | None:
    return os.pathsep.join(str(path.absolute()) for path in plugins or ()) or None


def without_none(env: dict[str, str | None]) -> dict[str, str]:
    return {key: str(value) for key, value in env.items() if value}


def access_token() -> str | None:
    """From the environment only: command lines are seen by other users of the machine."""
    return os.environ.get("INNKEEPER_ACCESS_TOKEN") or None
