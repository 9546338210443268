"""Commands that say what is installed and configured here.

What a command needs is imported when it runs, so that `--help` comes at once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from innkeeper.gateway.cli.base import (
    INVALID,
    AsJson,
    DataDirectory,
    Offline,
    Plugins,
    Url,
    ask_if_running,
    catalogue_of,
    console,
    path_list,
    print_json,
)

if TYPE_CHECKING:
    from innkeeper.gateway.client import GatewayClient


def nodes(
    type: Annotated[str | None, typer.Argument(help="A node type, to see its slots and an example.")] = None,
    *,
    as_json: AsJson = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print all about them as a page: docs/node-reference.md.")
    ] = False,
    plugins: Plugins = None,
    offline: Offline = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """List the node types that workflows can use here, or show one.

    Example: innkeeper nodes, or innkeeper nodes core:Template
    """
    from innkeeper.gateway.cli.node_page import find_node, node_page, unknown_node
    from innkeeper.gateway.cli.node_reference import node_section, reference_page
    from innkeeper.gateway.cli.tables import nodes_table
    from innkeeper.gateway.process.plugin_report import fault_lines

    async def ask(client: GatewayClient) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        return await client.node_types(), await client.plugins()

    answer = None if offline or plugins else ask_if_running(ask, data_dir, url)
    if answer is None:
        found = [node.to_json() for node in catalogue_of(plugins).get_definitions()]  # which logs what is wrong
    else:
        found, loaded = answer
        for line in fault_lines(loaded):
            console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)
    found = sorted(found, key=lambda node: str(node["fullType"]))
    if type is not None:
        one = find_node(found, type)
        if one is None:
            console(stderr=True).print(unknown_node(found, type), markup=False, highlight=False, soft_wrap=True)
            raise typer.Exit(INVALID)
        if as_json:
            print_json(one)
        elif markdown:
            print(node_section(one), end="")
        else:
            console().print(node_page(one))
    elif as_json:
        print_json(found)
    elif markdown:
        print(reference_page(found), end="")
    else:
        console().print(nodes_table(found))


def schema(plugins: Plugins = None) -> None:
    """Print the JSON Schema of workflows, by which editors complete and check them.

    Example: innkeeper schema > workflow.schema.json
    """
    from innkeeper.workflows.document.schema import document_schema

    print_json(document_schema(catalogue_of(plugins).get_definitions()))


def settings(
    *,
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

    Example: innkeeper settings --json
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
        "INNKEEPER_PLUGINS": path_list(plugins),
    }
    report = report_of(os.environ, as_arguments(arguments))
    for sentence in unknown_variables(os.environ):
        console(stderr=True).print(f"innkeeper: {sentence}", markup=False, highlight=False, soft_wrap=True)
    if as_json:
        print_json(report_json(report))
        return
    for table in settings_tables(report):
        console().print(table, "")


def version(as_json: AsJson = False) -> None:
    """Print the versions of Innkeeper, Python and the Temporal server program.

    Example: innkeeper version
    """
    import platform
    from importlib.metadata import version as installed

    from innkeeper.gateway.process.temporal_server import ServerMissing, find_binary

    try:
        server = find_binary().version
    except ServerMissing:
        server = "missing"
    if as_json:
        print_json({"innkeeper": installed("innkeeper"), "python": platform.python_version(), "temporal": server})
        return
    line = f"innkeeper {installed('innkeeper')}, Python {platform.python_version()}, Temporal CLI {server}"
    console().print(line, highlight=False, soft_wrap=True)
