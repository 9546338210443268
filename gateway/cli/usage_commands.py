"""Commands about what requests to models took and cost.

What a command needs is imported when it runs, so that `--help` comes at once.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from innkeeper.gateway.cli.base import AsJson, DataDirectory, Url, ask_gateway, console, print_json, say


class Group(StrEnum):
    """What is summed up together."""

    RUN = "run"
    NODE = "node"
    WORKFLOW = "workflow"
    CHANNEL = "channel"
    MODEL = "model"
    USER = "user"
    DAY = "day"


def _only(what: str) -> Any:
    return typer.Option(help=f"Only requests of this {what}.", show_default=False)


def usage(
    *,
    by: Annotated[Group, typer.Option(help="What is summed up together.")] = Group.DAY,
    since: Annotated[
        str | None, typer.Option(help="Requests from then on: 7d, 12h, or a date.", show_default=False)
    ] = None,
    until: Annotated[str | None, typer.Option(help="Requests before: 7d, 12h, or a date.", show_default=False)] = None,
    run: Annotated[str | None, _only("run: the id, the beginning of one, or 'last'")] = None,
    node: Annotated[str | None, _only("node, by its path")] = None,
    workflow: Annotated[str | None, _only("stored workflow")] = None,
    channel: Annotated[str | None, _only("channel")] = None,
    model: Annotated[str | None, _only("model")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many lines.")] = 100,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Tell what requests to models took and cost.

    Example: innkeeper usage --by model --since 7d
    """
    from innkeeper.gateway.cli.run_ids import find_run
    from innkeeper.gateway.cli.usage_command import ask_usage, price_hints, usage_table
    from innkeeper.gateway.client import GatewayClient

    async def fetch(client: GatewayClient) -> dict[str, Any]:
        whole = None if run is None else await find_run(client, run)
        names = {"run": whole, "node": node, "workflow": workflow, "channel": channel, "model": model}
        return await ask_usage(client, by=by, since=since, until=until, limit=limit, names=names)

    found = ask_gateway(fetch, data_dir, url)
    if as_json:
        print_json(found)
        return
    console().print(usage_table(found))
    for line in price_hints(found):
        say(line)
