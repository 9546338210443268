"""Commands about channels: where language models are.

What a command needs is imported when it runs, so that `--help` comes at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sized
from typing import TYPE_CHECKING, Annotated, Any

import typer

from innkeeper.gateway.cli.base import (
    FAILED,
    INVALID,
    AsJson,
    DataDirectory,
    Plugins,
    Url,
    ask_gateway,
    catalogue_of,
    console,
    data_folder,
    print_json,
    say,
)

if TYPE_CHECKING:
    from innkeeper.gateway.cli.channels_command import ChannelReport
    from innkeeper.gateway.client import GatewayClient

ChannelName = Annotated[str, typer.Argument(help="The id of a channel.", show_default=False)]


def channels(
    context: typer.Context,
    *,
    as_json: AsJson = False,
    check: Annotated[bool, typer.Option("--check", help="Ask each server for its models.")] = False,
    store: Annotated[
        bool, typer.Option("--store-key", help="Store a key (asked for, or read from a pipe) and print its reference.")
    ] = False,
    data_dir: DataDirectory = None,
    plugins: Plugins = None,
) -> None:
    """Show the language models that workflows may use: channels.yaml of the data directory, and users' own channels.

    Exit code 2: an error in it, or, with --check, a server that cannot be reached.

    Example: innkeeper channels --check
    """
    from innkeeper.gateway.cli.channels_command import ask_servers, report_channels, store_key

    if context.invoked_subcommand is not None:
        return
    folder = data_folder(data_dir)
    if store:
        print(store_key(_key(), folder, os.environ))
        return
    # Loading the catalogue takes a while: only plugins add protocols to those that are known without it.
    offered = catalogue_of(plugins).adapters if plugins else ()
    report = report_channels(folder, os.environ, offered)
    if check:
        report = ask_servers(report, folder, os.environ, offered)
    if as_json:
        print_json(report.to_json())
    else:
        _print_channels(report)
    raise typer.Exit(0 if report.is_usable and report.is_reached else INVALID)


def try_channel(
    name: ChannelName,
    *,
    model: Annotated[
        str, typer.Option(help="The model to ask.", show_default="the first that the channel is known to have")
    ] = "",
    tries_all: Annotated[
        bool, typer.Option("--all", help="Also ask for a tool call and for JSON by a schema: two more requests.")
    ] = False,
    limit_s: Annotated[float, typer.Option("--timeout", min=1, max=3600, help="Seconds for each question.")] = 120.0,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Ask a channel the smallest question, as a run that the workers carry out, and show what came of it.

    Shown are the time to the first piece and to the end, tokens, the model that answered, what the channel was seen to
    be able to do, and the cost where a price is known. Exit code 1: it did not answer.

    Example: innkeeper channels test demo, or innkeeper channels test openai --model gpt-4o-mini --all
    """
    from innkeeper.gateway.cli.channel_test import check_channel
    from innkeeper.gateway.cli.tables import channel_test_table

    def ask(client: GatewayClient) -> Any:
        return check_channel(client, name, model=model, tries_all=tries_all, limit_s=limit_s)

    found = ask_gateway(ask, data_dir, url)
    if as_json:
        print_json(found)
    else:
        console().print(channel_test_table(found))
    raise typer.Exit(0 if found["ok"] else FAILED)


def add_channel(
    name: ChannelName,
    base_url: Annotated[str, typer.Argument(help="The address of its server.", show_default=False)],
    *,
    kind: Annotated[str, typer.Option("--type", help="The protocol that is spoken there.")] = "openai",
    models: Annotated[
        list[str] | None, typer.Option("--model", help="A model that it has; several times.", show_default="all")
    ] = None,
    with_key: Annotated[bool, typer.Option("--key", help="It needs a key: asked for, or read from a pipe.")] = False,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Make a channel of your own, beside those of channels.yaml. Its key is stored encrypted.

    Example: innkeeper channels add groq https://api.groq.com/openai/v1 --model llama-3.1-8b-instant --key
    """
    body = {"id": name, "baseUrl": base_url, "adapterType": kind, "supportedModels": models or []}
    if with_key:
        body["apiKey"] = _key().strip()
    made = ask_gateway(lambda client: client.channels.add(body), data_dir, url)
    if as_json:
        print_json(made)
    else:
        say(f"the channel {name!r} is there; 'innkeeper channels test {name}' asks it")


def remove_channel(
    name: ChannelName, *, as_json: AsJson = False, data_dir: DataDirectory = None, url: Url = None
) -> None:
    """Delete a channel of your own. Those of channels.yaml are deleted there.

    Example: innkeeper channels remove groq
    """
    ask_gateway(lambda client: client.channels.delete(name), data_dir, url)
    if as_json:
        print_json({"deleted": [name]})
    else:
        say(f"the channel {name!r} is deleted")


def _key() -> str:
    return str(typer.prompt("Key", hide_input=True, err=True)) if sys.stdin.isatty() else sys.stdin.readline()


def _counted(things: Sized, noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def _print_channels(report: ChannelReport) -> None:
    from innkeeper.gateway.cli.tables import channels_table, file_problems_table, groups_lines, models_table

    screen = console()
    if report.channels:
        screen.print(channels_table(report.channels))
    if report.models:
        screen.print()
        screen.print(models_table(report.models))
    for line in groups_lines(report.groups):
        screen.print(line, markup=False, highlight=False, soft_wrap=True)
    if report.problems:
        screen.print(file_problems_table(report.problems))
    if not report.exists:
        line = f"there is no {str(report.file)!r}: examples/channels.yaml of Innkeeper shows what to write there"
    elif not report.is_usable:
        line = f"{str(report.file)!r} has errors, so no channel is used"
    else:
        line = f"{str(report.file)!r}: {_counted(report.channels, 'channel')}, {_counted(report.models, 'model')}"
    screen.print(line, markup=False, highlight=False, soft_wrap=True)
