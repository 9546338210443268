"""Commands that look at what runs here: status, logs, the page in a browser.

What a command needs is imported when it runs, so that `--help` comes at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from innkeeper.gateway.cli.base import (
    INVALID,
    UNREACHABLE,
    AsJson,
    DataDirectory,
    Url,
    ask_about_run,
    ask_if_running,
    data_folder,
    print_json,
    say,
)

if TYPE_CHECKING:
    from innkeeper.gateway.client import GatewayClient


def status(as_json: AsJson = False, data_dir: DataDirectory = None, url: Url = None) -> None:
    """Say what runs here: address, processes, logs, and how many runs there are. Exit code 3 when nothing runs.

    Example: innkeeper status --json
    """
    from innkeeper.gateway.process.data_dir import holder_of

    folder = data_folder(data_dir)
    holder = holder_of(folder) or {}

    async def ask(client: GatewayClient) -> dict[str, Any]:
        return {"url": client.url, **await client.state()}

    found: dict[str, Any] = ask_if_running(ask, data_dir, url) or {}
    if found and found["url"] == holder.get("address"):
        found |= {"dataDir": str(folder), "logs": str(folder / "logs"), "pid": holder.get("pid")}
        found |= {"pids": holder.get("pids") or {}, "temporal": holder.get("temporal")}
    if as_json:
        print_json(found)
    elif found:
        _print_status(found)
    else:
        say("nothing runs here; 'innkeeper up' starts it")
    raise typer.Exit(0 if found else UNREACHABLE)


def _print_status(found: dict[str, Any]) -> None:
    say(f"gateway   {found['url']} ({'ready' if found.get('ready') else 'not ready'})")
    for name, state in (found.get("checks") or {}).items():
        if state != "ok":
            say(f"          {name}: {state}")
    running, pending = (found.get(f"{kind}Executions", 0) for kind in ("running", "pending"))
    say(f"runs      {running} under way (those that wait for something included), {pending} queued for a place")
    if found.get("dataDir"):
        parts = ", ".join(f"{name} {pid}" for name, pid in found["pids"].items())
        say(f"data      {found['dataDir']}\nlogs      {found['logs']}\nprocesses {parts or found.get('pid')}")


def logs(
    run_id: Annotated[
        str | None, typer.Argument(help="Only lines about this run: its id, the beginning of it, or 'last'.")
    ] = None,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="At most so many lines of the past.")] = 100,
    part: Annotated[str | None, typer.Option(help="Only of gateway, temporal, worker-1, ...")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The lines as they stand in the files.")] = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Show the logs of gateway, workers and Temporal server together, oldest first.

    Example: innkeeper logs last -f
    """
    from innkeeper.gateway.cli.log_lines import Logs

    folder = data_folder(data_dir) / "logs"
    wanted = run_id and _whole_id(run_id, data_dir, url)
    read = Logs(folder, part)
    if not read.files():
        known = ", ".join(path.stem for path in Logs(folder).files())
        say(f"there is no log of {part!r} here; there are {known}" if part and known else f"no logs in {str(folder)!r}")
        raise typer.Exit(INVALID)
    past = [line for line in read.new_lines() if not wanted or line.concerns(wanted)]
    for line in past[len(past) - min(lines, len(past)) :]:
        print(line.raw if as_json else line.shown())
    if follow:
        for line in read.follow():
            if not wanted or line.concerns(wanted):
                print(line.raw if as_json else line.shown(), flush=True)


def _whole_id(run_id: str, data_dir: Path | None, url: str | None) -> str:
    from innkeeper.gateway.cli.run_ids import WHOLE_ID

    # Logs can be read without a gateway; only a short id needs one.
    return run_id if len(run_id) >= WHOLE_ID else str(ask_about_run(run_id, _itself, data_dir, url))


async def _itself(client: GatewayClient, run_id: str) -> str:
    return run_id


def open_page(as_json: AsJson = False, data_dir: DataDirectory = None, url: Url = None) -> None:
    """Open the gateway's page in a browser, and print its address.

    Example: innkeeper open
    """
    from innkeeper.gateway.cli.base import ask_gateway, open_in_browser

    async def address(client: GatewayClient) -> str:
        return client.url

    found = str(ask_gateway(address, data_dir, url))
    if as_json:
        print_json({"url": found})
    else:
        say(found)
    open_in_browser(found)
