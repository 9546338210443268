"""Commands for builds of versioned workers: `innkeeper deploy`.

What a command needs is imported when it runs, so that `--help` comes at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from innkeeper.gateway.cli.base import FAILED, AsJson, DataDirectory, Temporal, console, data_folder, print_json, say
from innkeeper.gateway.cli.temporal_commands import ask_temporal

if TYPE_CHECKING:
    from temporalio.client import Client

    from innkeeper.gateway.process.deployments import Deployment

Name = Annotated[
    str, typer.Option("--deployment", envvar="INNKEEPER_DEPLOYMENT", help="The deployment that the workers name.")
]
Build = Annotated[str, typer.Argument(help="A build: INNKEEPER_BUILD_ID of its workers.", show_default=False)]


def current_build(
    *,
    name: Name = "innkeeper",
    temporal: Temporal = None,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
) -> None:
    """Show the builds of a deployment: which one gets new runs, and what is open on each.

    Example: innkeeper deploy current --json
    """
    from rich.table import Table

    from innkeeper.gateway.process.deployments import checked_name, deployment

    async def ask(client: Client) -> Deployment:
        return await deployment(client, checked_name(name))

    found: Deployment = ask_temporal(ask, data_folder(data_dir), temporal)
    if as_json:
        print_json(found.to_json())
        return
    table = Table("build", "status", "open workflows", "workers", box=None)
    for version in found.versions:
        table.add_row(version.build_id, version.status, str(version.open), str(version.workers))
    console().print(table)
    if found.current is None:
        say("no build gets new runs as one of this deployment: 'innkeeper deploy set BUILD' gives them to one")
    if found.unversioned:
        say(f"{found.unversioned} workflows are open without a build")
    for version in found.versions:
        if version.open and not version.workers:
            say(f"nobody works on what is open on {version.build_id}: start workers of that build")


def set_build(
    build: Build,
    *,
    name: Name = "innkeeper",
    temporal: Temporal = None,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
) -> None:
    """Give new runs to a build. Open ones stay on theirs, so keep its workers until 'deploy drain' is through.

    Example: innkeeper deploy set 2026-12-01
    """
    from innkeeper.gateway.process.deployments import checked_name, set_current

    async def ask(client: Client) -> str | None:
        return await set_current(client, checked_name(name), checked_name(build))

    before: str | None = ask_temporal(ask, data_folder(data_dir), temporal)
    if as_json:
        print_json({"current": build, "before": before})
        return
    say(f"new runs go to {build}{f', no longer to {before}' if before and before != build else ''}")


def drain_builds(
    builds: Annotated[
        list[str] | None, typer.Argument(help="Builds to wait for.", show_default="all but the current one")
    ] = None,
    *,
    timeout: Annotated[
        str | None, typer.Option(help="Give up after that time: 30m, 12h.", show_default="never")
    ] = None,
    name: Name = "innkeeper",
    temporal: Temporal = None,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
) -> None:
    """Wait until nothing is open on older builds, so that their workers can be stopped. Exit code 1 when time is up.

    Example: innkeeper deploy drain --timeout 12h, or innkeeper deploy drain 2026-11-30
    """
    from innkeeper.gateway.cli.temporal_commands import span
    from innkeeper.gateway.process.deployments import DeploymentError, checked_name, deployment, drain

    timeout_s = None if timeout is None else span(timeout, "--timeout").total_seconds()
    last: dict[str, int] = {}

    def tell(left: dict[str, int]) -> None:
        last.update(left)
        if not as_json:
            say(", ".join(f"{build}: {count} open" for build, count in left.items()))

    async def ask(client: Client) -> bool:
        found = await deployment(client, checked_name(name))
        wanted = builds or [version.build_id for version in found.versions if not version.is_current]
        if found.current in wanted:
            raise DeploymentError(f"{found.current!r} gets new runs, so it never drains: 'innkeeper deploy set' first")
        if unknown := set(wanted) - {version.build_id for version in found.versions}:
            raise DeploymentError(f"there is no build {min(unknown)!r}; 'innkeeper deploy current' lists them")
        return await drain(client, name, wanted, timeout_s=timeout_s, tell=tell)

    done: bool = ask_temporal(ask, data_folder(data_dir), temporal)
    if as_json:
        print_json({"drained": done, "open": last})
    else:
        say("nothing is open on them any more: their workers can be stopped" if done else "time is up")
    if not done:
        raise typer.Exit(FAILED)
