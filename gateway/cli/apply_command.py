"""`innkeeper triggers apply`: reads what stands, shows the plan, asks, and carries it out."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer
from rich.text import Text

from innkeeper.gateway.cli.apply_file import Wanted, WantedTrigger, read_apply_file
from innkeeper.gateway.cli.apply_plan import (
    Changes,
    Standing,
    Step,
    StoredWorkflow,
    TriggerStep,
    WorkflowStep,
    is_done,
    name_of,
    plan,
)
from innkeeper.gateway.cli.base import PLANNED, console, print_json, say
from innkeeper.gateway.cli.difference_lines import MAX_SHOWN, difference_lines
from innkeeper.gateway.cli.live_view import clean
from innkeeper.gateway.cli.trigger_command import remarks
from innkeeper.gateway.cli.trigger_file import CALLBACK
from innkeeper.gateway.client import GatewayClient, etag_of
from innkeeper.nodes.errors import InnkeeperError
from innkeeper.workflows.document.callback import shown_url

NOTE = "triggers apply"
"""Of the versions of workflows that it makes."""
_SIGNS = {"create": ("+", "green"), "change": ("~", "yellow"), "keep": ("=", "dim"), "delete": ("-", "red")}


@dataclass(frozen=True)
class ApplyOptions:
    yes: bool = False
    dry_run: bool = False
    prune: bool = False
    send_secrets: bool = False
    as_json: bool = False


class ApplyStopped(InnkeeperError):
    """A step went wrong; those before it are done. `code` is that of its error."""


@dataclass
class Done:
    """What was carried out: names of steps, and URLs of new webhooks by the name of their trigger."""

    names: list[str] = field(default_factory=list)
    urls: dict[str, str] = field(default_factory=dict)


async def apply_file(client: GatewayClient, file: Path, options: ApplyOptions) -> int:
    """Make what stands equal to a file; gives the exit code.

    Raises:
        UsageError, InvalidFile: Nothing was changed.
        ApplyStopped: Part of it is done; applied again, it goes on.
    """
    wanted = await asyncio.to_thread(read_apply_file, file)
    steps = plan(wanted, await standing(client, wanted), prune=options.prune, send_secrets=options.send_secrets)
    if not options.as_json:
        _show(steps)
    if is_done(steps):
        return _end(steps, Done(), 0, options)
    if options.dry_run or not _may_go_on(options):
        return _end(steps, Done(), PLANNED, options)
    done = Done()
    try:
        await carry_out(client, steps, done, is_told=not options.as_json)
    finally:
        # A URL is shown once: also when a later step fails.
        if options.as_json:
            print_json(_told(steps, done))
    return 0


async def standing(client: GatewayClient, wanted: Wanted) -> Standing:
    """What the gateway has of it now.

    Raises:
        GatewayRefused: There is no such project.
    """
    listed: dict[tuple[str, str], Mapping[str, Any]] = {}
    for project in dict.fromkeys(item.project for item in wanted.workflows):
        listed |= {(project, str(item["id"])): item for item in await client.workflows.find(project=project)}
    keys = [(item.project, item.id) for item in wanted.workflows]
    found = {key: await _stored_workflow(client, key, listed[key]) for key in keys if key in listed}
    return Standing(found, await client.triggers.find())


async def _stored_workflow(client: GatewayClient, key: tuple[str, str], item: Mapping[str, Any]) -> StoredWorkflow:
    project, identity = key
    seen = await client.workflows.get(identity, item["version"], project=project)
    return StoredWorkflow(seen.document, str(item["etag"]), item["version"], item.get("published"))


# --- showing ------------------------------------------------------------------------------------------------------


def _show(steps: Sequence[Step]) -> None:
    for step in steps:
        sign, style = _SIGNS[step.action]
        console().print(Text(clean(f"{sign} {name_of(step)}{_aside(step)}"), style), soft_wrap=True)
        for line in _details(step):
            console().print(line, soft_wrap=True)
    if is_done(steps):
        say("what stands is what the file says")


def _aside(step: Step) -> str:
    if isinstance(step, WorkflowStep):
        return " (published)" if step.publish else ""
    count = len(step.wanted.secrets) + (step.wanted.callback_secret is not None) if step.wanted else 0
    if not count or step.action == "create":
        return ""
    secrets = f"{count} secret{'' if count == 1 else 's'}"
    return f" ({secrets} sent again)" if step.sends_secrets else f" ({secrets} not compared: --send-secrets sends them)"


def _details(step: Step) -> Iterator[Text]:
    if isinstance(step, WorkflowStep):
        # A key that is typed into a file stands there as it is; plans are kept in the logs of others.
        for line in difference_lines(step.differences, values=False):
            yield Text("    ").append_text(line)
        return
    for path, (before, after) in _shown(step.changes).items():
        yield Text(clean(f"    {path}: {_short(before)} -> {_short(after)}"))


def _shown(changes: Changes) -> Changes:
    """Without the query of a callback's address, which may hold a key."""
    return {path: (_without_query(path, pair[0]), _without_query(path, pair[1])) for path, pair in changes.items()}


def _without_query(path: str, value: Any) -> Any:
    if path == f"{CALLBACK}.url" and isinstance(value, str):
        return shown_url(value)
    if path == CALLBACK and isinstance(value, Mapping):
        return {key: _without_query(f"{path}.{key}", inner) for key, inner in value.items()}
    return value


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _told(steps: Sequence[Step], done: Done) -> dict[str, Any]:
    told = [{"action": step.action, "what": name_of(step), "changes": _changes(step)} for step in steps]
    return {"plan": told, "done": done.names, "urls": done.urls}


def _changes(step: Step) -> Any:
    if isinstance(step, WorkflowStep):
        return [{"kind": it.kind, "what": it.what, "name": it.name, "paths": [*it.changes]} for it in step.differences]
    return {path: {"from": before, "to": after} for path, (before, after) in _shown(step.changes).items()}


def _end(steps: Sequence[Step], done: Done, code: int, options: ApplyOptions) -> int:
    if options.as_json:
        print_json(_told(steps, done))
    elif code == PLANNED:
        console(stderr=True).print("nothing was changed: --yes applies the plan", highlight=False)
    return code


def _may_go_on(options: ApplyOptions) -> bool:
    if options.yes:
        return True
    # With --json the plan was not shown: nobody could know what she agrees to.
    if options.as_json or not sys.stdin.isatty():
        return False
    return typer.confirm("apply this plan?", err=True)


# --- doing --------------------------------------------------------------------------------------------------------


async def carry_out(client: GatewayClient, steps: Sequence[Step], done: Done, *, is_told: bool = True) -> None:
    """Take the steps one by one; `done` gets each.

    Raises:
        ApplyStopped.
    """
    todo = [step for step in steps if step.action != "keep"]
    for step in todo:
        try:
            lines = await _take(client, step, done)
        except InnkeeperError as error:
            raise _stopped(step, error, len(done.names), len(todo)) from error
        done.names.append(name_of(step))
        for line in lines if is_told else ():
            say(clean(line))


def _stopped(step: Step, error: InnkeeperError, count: int, whole: int) -> ApplyStopped:
    before = f"{count} of {whole} steps are done and stay; correct it and apply again, which goes on from there"
    return ApplyStopped(f"{name_of(step)}: {error.message}\n{before}", code=error.code, details=error.details)


async def _take(client: GatewayClient, step: Step, done: Done) -> list[str]:
    if isinstance(step, WorkflowStep):
        return await _take_workflow(client, step)
    if step.wanted is None:
        stored = step.stored or {}
        await client.triggers.delete(str(stored["id"]), etag=etag_of(stored))
        return [f"deleted the {name_of(step)}"]
    return await _take_trigger(client, step, step.wanted, done)


async def _take_workflow(client: GatewayClient, step: WorkflowStep) -> list[str]:
    wanted, stored = step.wanted, step.stored
    etag, version = (stored.etag, stored.version) if stored else (None, 0)
    if step.save:
        options = {"project": wanted.project, "note": NOTE}
        if stored is None:
            saved = await client.workflows.create(wanted.document, **options)
        else:
            saved = await client.workflows.save(wanted.document, etag=stored.etag, **options)
        etag, version = str(saved["etag"]), int(saved["version"])
    if step.publish:
        await client.workflows.publish(wanted.id, version, etag=etag, project=wanted.project)
    return [f"{name_of(step)} is in version {version}{', which is published' if step.publish else ''}"]


async def _take_trigger(client: GatewayClient, step: TriggerStep, wanted: WantedTrigger, done: Done) -> list[str]:
    definition = _without_count(step.definition)
    if step.stored is None:
        made = await client.triggers.create(definition, secrets=wanted.secrets)
        lines = [f"made the trigger {wanted.name}"]
        if made.get("url"):
            done.urls[wanted.name] = made["url"]
            lines.append(f"URL of {wanted.name}, which is shown only now: {made['url']}")
        return [*lines, *remarks(made)]
    secrets = wanted.secrets if step.sends_secrets and wanted.secrets else None
    if secrets is None and "webhook.secretCount" in step.changes:
        secrets = ()
    changed = await client.triggers.replace(
        str(step.stored["id"]), definition, etag=etag_of(step.stored), secrets=secrets
    )
    return [f"changed the trigger {wanted.name}", *remarks(changed)]


def _without_count(definition: Mapping[str, Any]) -> dict[str, Any]:
    """As the API takes it: it counts the secrets itself."""
    webhook = definition.get("webhook")
    if not isinstance(webhook, Mapping):
        return dict(definition)
    return {**definition, "webhook": {key: value for key, value in webhook.items() if key != "secretCount"}}
