"""Commands about triggers: what starts runs by itself.

What a command needs is imported when it runs, so that `--help` comes at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from innkeeper.gateway.cli.base import AsJson, DataDirectory, Url, ask_gateway, console, print_json, say

if TYPE_CHECKING:
    from collections.abc import Iterable

    from innkeeper.gateway.cli.trigger_file import DefinitionFile
    from innkeeper.gateway.cli.trigger_options import TriggerOptions
    from innkeeper.gateway.client import GatewayClient

Trigger = Annotated[str, typer.Argument(help="The name of a trigger, or its id.", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Note = Annotated[str, typer.Option(help="Why, for people.", show_default=False)]
Scheme = Literal["standard", "svix", "github", "stripe", "slack", "shopify", "generic", "token", "basic", "none"]
Policy = Literal["allow", "skip", "queue", "cancel_running"]


def list_triggers(*, as_json: AsJson = False, data_dir: DataDirectory = None, url: Url = None) -> None:
    """List the triggers. Needs a running gateway, as all commands of triggers do.

    Example: innkeeper triggers list
    """
    from innkeeper.gateway.cli.tables import triggers_table

    found = ask_gateway(lambda client: client.triggers.find(), data_dir, url)
    if as_json:
        print_json(found)
    elif found:
        console().print(triggers_table(found))
    else:
        say("there is no trigger: 'innkeeper triggers add' makes one")


def show_trigger(name: Trigger, *, as_json: AsJson = False, data_dir: DataDirectory = None, url: Url = None) -> None:
    """Show a trigger, and its definition as YAML, which 'add --file' takes.

    Example: innkeeper triggers show nightly
    """
    from innkeeper.gateway.cli.trigger_command import definition_lines, found_trigger, head_lines

    found = ask_gateway(lambda client: found_trigger(client, name), data_dir, url)
    if as_json:
        print_json(found)
    else:
        _say_all([*head_lines(found), "", *definition_lines(found)])


def add_trigger(
    name: Annotated[
        str | None, typer.Argument(help="Its name; a --file may hold it instead.", show_default=False)
    ] = None,
    *,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="A whole definition, YAML or JSON.", show_default=False)
    ] = None,
    workflow: Annotated[
        str | None, typer.Option("--workflow", "-w", help="The id of the workflow to start.", show_default=False)
    ] = None,
    project: Annotated[str | None, typer.Option(help="The workflow's project.", show_default="default")] = None,
    version: Annotated[
        int | None, typer.Option(min=1, max=2**31 - 1, help="Its version.", show_default="the published one")
    ] = None,
    webhook: Annotated[
        Scheme | None,
        typer.Option(help="Webhook: how its sender proves who it is; with 'none' it need not.", show_default=False),
    ] = None,
    config: Annotated[
        list[str] | None,
        typer.Option(help="Webhook: a setting of the scheme, as header=X-Token.", show_default=False),
    ] = None,
    secret_file: Annotated[
        list[Path] | None,
        typer.Option(help="Webhook: a file that holds the secret; '-' is stdin.", show_default=False),
    ] = None,
    secret_env: Annotated[
        list[str] | None,
        typer.Option(help="Webhook: the name of the environment variable that holds it.", show_default=False),
    ] = None,
    new_secret: Annotated[bool, typer.Option("--new-secret", help="Webhook: make a secret, and show it once.")] = False,
    cron: Annotated[str | None, typer.Option(help="Schedule: five fields, as in Unix.", show_default=False)] = None,
    every: Annotated[int | None, typer.Option(min=1, help="Schedule: each so many s.", show_default=False)] = None,
    timezone: Annotated[str | None, typer.Option(help="Schedule: such as Europe/Berlin.", show_default="UTC")] = None,
    event: Annotated[str | None, typer.Option(help="Event: its name; * is any text.", show_default=False)] = None,
    source: Annotated[str | None, typer.Option(help="Event: only from this source.", show_default=False)] = None,
    folder: Annotated[
        str | None, typer.Option(help="File: the watched folder, below user:// or shared://.", show_default=False)
    ] = None,
    glob: Annotated[str | None, typer.Option(help="File: which files in it.", show_default="*")] = None,
    after: Annotated[str | None, typer.Option(help="Run: the workflow whose runs end.", show_default="any")] = None,
    on: Annotated[
        list[str] | None,
        typer.Option(help="Run: how it ended: complete, error, interrupted; may be repeated.", show_default="complete"),
    ] = None,
    maps: Annotated[
        list[str] | None,
        typer.Option("--map", help="An input from what came: title=body.issue.title (JMESPath).", show_default=False),
    ] = None,
    whole: Annotated[
        str | None, typer.Option("--whole", help="An input that gets all that came.", show_default=False)
    ] = None,
    inputs: Annotated[
        list[str] | None, typer.Option("--input", "-i", help="A fixed input: name=value.", show_default=False)
    ] = None,
    filter: Annotated[
        str | None, typer.Option(help="Only when this gives true: a JMESPath expression.", show_default=False)
    ] = None,
    concurrency: Annotated[Policy | None, typer.Option(help="While a run of it is open.", show_default="allow")] = None,
    labels: Annotated[
        list[str] | None, typer.Option("--label", help="Copied to its runs: key=text.", show_default=False)
    ] = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Do not let it start runs yet.")] = False,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Make a trigger: by options of one kind (webhook, schedule, event, file, run), or from a --file.

    The URL of a webhook is shown once. Secrets are never arguments: other users of the machine see command lines.

    Example: innkeeper triggers add issues -w summary --webhook github --new-secret --map title=body.issue.title

    Example: innkeeper triggers add nightly -w digest --cron "0 3 * * *" --timezone Europe/Berlin

    Example: innkeeper triggers add paid -w invoice --event "order.*" --whole order

    Example: innkeeper triggers add cards -w describe --folder user://inbox --glob "*.png" --map path=file.path

    Example: innkeeper triggers add alarm -w report --on error --map run=run.id
    """
    from innkeeper.gateway.cli.secret_sources import SecretSource
    from innkeeper.gateway.cli.trigger_command import made_lines, make_trigger, secrets_for
    from innkeeper.gateway.cli.trigger_options import TriggerOptions

    sources = [SecretSource(file=path) for path in secret_file or ()]
    sources += [SecretSource(env=variable) for variable in secret_env or ()]
    options = TriggerOptions(
        name=name or "",
        workflow=workflow or "",
        project=project,
        version=version,
        webhook=webhook,
        config=config or (),
        cron=cron,
        every=every,
        timezone=timezone,
        event=event,
        source=source,
        folder=folder,
        glob=glob,
        after=after,
        on=tuple(on or ()),
        maps=maps or (),
        whole=whole,
        inputs=inputs or (),
        filter=filter,
        concurrency=concurrency,
        labels=labels or (),
        disabled=disabled,
    )
    definition, read = _definition(options, file)
    given = secrets_for(definition, [*sources, *(read.secrets if read else ())], make_one=new_secret)
    made = ask_gateway(lambda client: make_trigger(client, definition, given, read), data_dir, url)
    secret = given[0] if new_secret else None
    if as_json:
        print_json({**made, **({"secret": secret} if secret else {})})
    else:
        _say_all(made_lines(made, secret))


def _definition(options: TriggerOptions, file: Path | None) -> tuple[dict[str, Any], DefinitionFile | None]:
    from dataclasses import replace

    from innkeeper.gateway.cli.run_command import UsageError
    from innkeeper.gateway.cli.trigger_file import read_definition
    from innkeeper.gateway.cli.trigger_options import TriggerOptions, definition_of

    if file is None:
        if not options.name or not options.workflow:
            raise UsageError("a trigger needs a NAME and a --workflow, or a --file with a whole definition")
        return definition_of(options), None
    if replace(options, name="") != TriggerOptions("", ""):
        raise UsageError("a --file holds the whole definition: beside it only NAME and secrets may be given")
    read = read_definition(file)
    return {**read.whole(), **({"name": options.name} if options.name else {})}, read


def apply_triggers(
    file: Annotated[Path, typer.Argument(help="A YAML file with workflows and triggers.", show_default=False)],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the plan.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete triggers that an earlier apply of this file's 'name' has made.")
    ] = False,
    send_secrets: Annotated[
        bool, typer.Option("--send-secrets", help="Send all secrets again: they are not compared.")
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Make what stands equal to a YAML file. The plan comes first; without a terminal, --yes must confirm it.

    Exit code 4 when there is something to do and it was not done. Applied twice, the second time changes nothing.

    Example: innkeeper triggers apply examples/triggers/github_issue.yaml --yes
    """
    from innkeeper.gateway.cli.apply_command import ApplyOptions, apply_file

    options = ApplyOptions(yes=yes, dry_run=dry_run, prune=prune, send_secrets=send_secrets, as_json=as_json)
    raise typer.Exit(ask_gateway(lambda client: apply_file(client, file, options), data_dir, url))


def try_trigger(
    name: Trigger,
    *,
    payload: Annotated[
        Path | None,
        typer.Option(
            "--payload",
            "-p",
            help="A file: of a webhook the body, else what the mapping sees, as {\"data\": 1}; '-' is stdin.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", "-d", help="The same, typed here.", show_default="nothing in it")
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", help="Of a webhook: name=value.", show_default=False)
    ] = None,
    query: Annotated[
        list[str] | None, typer.Option("--query", help="Of a webhook: name=value.", show_default=False)
    ] = None,
    delivery_id: Annotated[
        str | None, typer.Option(help="Its id, to see what happens the second time.", show_default=False)
    ] = None,
    run: Annotated[bool, typer.Option("--run", help="Start the run, too.")] = False,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Say what a delivery would do: whether it fires, why not, and with which inputs. With --run it does.

    Example: innkeeper triggers test issues --payload issue.json --header x-github-event=issues

    Example: innkeeper triggers test nightly --run
    """
    from innkeeper.gateway.cli.run_command import UsageError
    from innkeeper.gateway.cli.trigger_command import (
        found_trigger,
        payload_file,
        payload_of,
        sample_payload,
        tested_lines,
    )
    from innkeeper.gateway.cli.trigger_options import pairs_of

    if payload is not None and data is not None:
        raise UsageError("give either --payload or --data")
    given = payload_file(payload) if payload is not None else None if data is None else payload_of(data)
    headers, params = pairs_of("--header", header or ()), pairs_of("--query", query or ())

    async def ask(client: GatewayClient) -> Any:
        found = await found_trigger(client, name)
        body = sample_payload(found) if given is None else given
        return await client.triggers.test(
            found["id"], body, headers=headers or None, query=params or None, delivery_id=delivery_id, run=run
        )

    answer = ask_gateway(ask, data_dir, url)
    if as_json:
        print_json(answer)
    else:
        _say_all(tested_lines(answer))


def enable_trigger(
    name: Trigger, *, note: Note = "", as_json: AsJson = False, data_dir: DataDirectory = None, url: Url = None
) -> None:
    """Let a trigger start runs.

    Example: innkeeper triggers enable nightly
    """

    async def ask(client: GatewayClient) -> Any:
        from innkeeper.gateway.cli.trigger_command import found_trigger

        return await client.triggers.enable((await found_trigger(client, name))["id"], note=note)

    _tell(ask_gateway(ask, data_dir, url), f"{name!r} is enabled", as_json=as_json)


def disable_trigger(
    name: Trigger, *, note: Note = "", as_json: AsJson = False, data_dir: DataDirectory = None, url: Url = None
) -> None:
    """Let a trigger start nothing until it is enabled again. Runs that it has started go on.

    Example: innkeeper triggers disable nightly --note "the printer is away"
    """

    async def ask(client: GatewayClient) -> Any:
        from innkeeper.gateway.cli.trigger_command import found_trigger

        return await client.triggers.disable((await found_trigger(client, name))["id"], note=note)

    _tell(ask_gateway(ask, data_dir, url), f"{name!r} is disabled", as_json=as_json)


def results_trigger(
    name: Trigger,
    *,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Show what became of the latest deliveries: fired, filtered, duplicate, skipped, refused or failed, and why.

    Example: innkeeper triggers results issues --limit 5
    """
    from innkeeper.gateway.cli.tables import results_table
    from innkeeper.gateway.cli.trigger_command import counter_line, following, found_trigger

    async def ask(client: GatewayClient) -> Any:
        trigger = await found_trigger(client, name)
        if not follow:
            return await client.triggers.results(trigger["id"], limit=limit)
        async for news in following(client, trigger["id"]):
            for item in news:
                print_json(item) if as_json else console().print(results_table([item], head=False))

    found = ask_gateway(ask, data_dir, url)
    if as_json:
        print_json(found)
        return
    if found["results"]:
        console().print(results_table(found["results"]))
    say(counter_line(found.get("counters") or {}))


def preview_trigger(
    name: Trigger,
    *,
    count: Annotated[int, typer.Option(min=1, max=100, help="How many.")] = 10,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    url: Url = None,
) -> None:
    """Show the next times of a schedule, as the server will take them.

    Example: innkeeper triggers preview nightly --count 3
    """

    async def ask(client: GatewayClient) -> Any:
        from innkeeper.gateway.cli.trigger_command import found_trigger

        return await client.triggers.preview((await found_trigger(client, name))["id"], count=count)

    found = ask_gateway(ask, data_dir, url)
    if as_json:
        print_json(found)
    else:
        _say_all([*map(str, found["times"]), *(f"note: {note}" for note in found.get("notes") or ())])


def rotate_token(
    name: Trigger, *, yes: Yes = False, as_json: AsJson = False, data_dir: DataDirectory = None, url: Url = None
) -> None:
    """Give a webhook a new URL, and show it once. The old one is gone at once; the secrets stay.

    Example: innkeeper triggers rotate-token issues --yes
    """
    from innkeeper.gateway.cli.trigger_command import found_trigger

    found = ask_gateway(lambda client: found_trigger(client, name), data_dir, url)
    _confirm(f"give {found['name']!r} a new URL and end the old one at once", yes=yes)
    made = ask_gateway(lambda client: client.triggers.rotate_token(found["id"]), data_dir, url)
    if as_json:
        print_json(made)
    else:
        _say_all([f"URL: {made['url']}", "nobody is shown this again: give it to the sender now"])


def delete_trigger(
    name: Trigger, *, yes: Yes = False, as_json: AsJson = False, data_dir: DataDirectory = None, url: Url = None
) -> None:
    """Delete a trigger with its results. Runs that it has started stay.

    Example: innkeeper triggers delete nightly --yes
    """
    from innkeeper.gateway.cli import trigger_command

    found = ask_gateway(lambda client: trigger_command.found_trigger(client, name), data_dir, url)
    _confirm(f"delete the trigger {found['name']!r} (version {found['version']})", yes=yes)
    ask_gateway(lambda client: trigger_command.delete_trigger(client, found), data_dir, url)
    if as_json:
        print_json({"deleted": [found["name"]]})
    else:
        say(f"deleted the trigger {found['name']!r}")


def _confirm(what: str, *, yes: bool) -> None:
    """Ask whether to do it."""
    if not yes:
        from innkeeper.gateway.cli.library_command import check_can_ask

        check_can_ask(f"whether to {what}")
        typer.confirm(f"{what}?", abort=True, err=True)


def _tell(trigger: dict[str, Any], sentence: str, *, as_json: bool) -> None:
    if as_json:
        print_json(trigger)
    else:
        say(sentence)


def _say_all(lines: Iterable[str]) -> None:
    """Lines with words that somebody else wrote."""
    from innkeeper.gateway.cli.live_view import clean

    for line in lines:
        say(clean(line))
