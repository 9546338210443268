"""Commands that steer a run: pause, approvals, events.

What a command needs is imported when it runs, so that `--help` comes at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from innkeeper.gateway.cli.base import (
    AsJson,
    DataDirectory,
    RunId,
    Url,
    ask_about_run,
    ask_gateway,
    console,
    print_json,
    say,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from innkeeper.gateway.client import GatewayClient


def pause(run_id: RunId, as_json: AsJson = False, data_dir: DataDirectory = None, url: Url = None) -> None:
    """Pause a run: what runs goes on, nothing new starts, until 'innkeeper resume'.

    Example: innkeeper pause last
    """
    _tell(ask_about_run(run_id, lambda client, run: client.pause(run), data_dir, url), as_json=as_json)


def resume(run_id: RunId, as_json: AsJson = False, data_dir: DataDirectory = None, url: Url = None) -> None:
    """Let a paused run go on.

    Example: innkeeper resume last
    """
    _tell(ask_about_run(run_id, lambda client, run: client.resume(run), data_dir, url), as_json=as_json)


def _tell(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        say(answer["message"])


def approvals(
    run_id: Annotated[
        str | None, typer.Argument(help="The id of a run; without it, of all.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """List what waits for somebody's approval; of one run also what was answered.

    Example: innkeeper approvals, or innkeeper approvals last
    """
    from innkeeper.gateway.cli.control_command import approval_blocks

    if run_id is None:
        found = ask_gateway(lambda client: client.approvals.find(), data_dir, url)
    else:
        found = ask_about_run(run_id, lambda client, run: client.approvals.find(run), data_dir, url)
    if as_json:
        print_json(found)
    elif found:
        console().print(approval_blocks(found, whole=run_id is not None))
    else:
        say("nothing waits for an approval" if run_id is None else f"run {run_id} has asked for no approval")


def approve(
    run_id: RunId,
    node: Annotated[
        str | None, typer.Argument(help="The node that waits; not needed when only one does.", show_default=False)
    ] = None,
    *,
    reject: Annotated[bool, typer.Option("--reject", help="Say no.")] = False,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", "--value", help="A new value for a field: name=value, name=@file, name=- for stdin."),
    ] = None,
    comment: Annotated[str | None, typer.Option(help="Why.", show_default=False)] = None,
    by: Annotated[str | None, typer.Option(help="Who answers.", show_default=False)] = None,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Answer what a run waits for: yes, or no with --reject. Of a used-up budget give the new limit.

    Example: innkeeper approve RUN check --set title="A better one", or innkeeper approve RUN story --value tokens=90000
    """
    from innkeeper.gateway.cli.control_command import Answer, answer

    def give(client: GatewayClient, run: str) -> Coroutine[Any, Any, str]:
        return answer(client.approvals, Answer(run, node, not reject, tuple(values or ()), comment, by))

    _tell({"message": ask_about_run(run_id, give, data_dir, url)}, as_json=as_json)


def event(
    run_id: Annotated[
        str | None, typer.Argument(help="The id of a run; leave it out with --all.", show_default=False)
    ] = None,
    name: Annotated[str | None, typer.Argument(help="The event's name.", show_default=False)] = None,
    *,
    data: Annotated[str, typer.Option(help="What happened, as JSON; other text is taken as it is.")] = "null",
    to_all: Annotated[bool, typer.Option("--all", help="Tell triggers and every run that waits for it.")] = False,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Tell a run, or with --all triggers and every run that waits for it, that something happened.

    Example: innkeeper event RUN payment --data '{"amount": 12}', or innkeeper event --all payment
    """
    from innkeeper.gateway.cli.control_command import told, wanted_event

    run, what, value = wanted_event(run_id, name, data, to_all=to_all)
    if run is None:
        answer = ask_gateway(lambda client: client.post_event(what, value), data_dir, url)
    else:
        answer = ask_about_run(run, lambda client, id: client.post_event(what, value, run_id=id), data_dir, url)
    if as_json:
        print_json(answer)
    else:
        say(told(answer))
