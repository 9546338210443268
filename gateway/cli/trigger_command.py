"""`innkeeper triggers`: what its commands ask a gateway, and what they say."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from innkeeper.gateway.cli.run_command import UsageError
from innkeeper.gateway.cli.secret_sources import SecretSource, new_secret, read_secrets
from innkeeper.gateway.cli.trigger_file import DefinitionFile
from innkeeper.gateway.cli.trigger_words import starts_when, target_of
from innkeeper.gateway.client import GatewayClient, GatewayRefused, InvalidTriggerDefinition, etag_of
from innkeeper.nodes.json_values import InvalidJson, read_json
from innkeeper.nodes.yaml_tree import InvalidFile

NOT_THERE = "trigger_not_found"
FOLLOW_S = 1.0
ADDED_BY_THE_GATEWAY = frozenset(
    {"id", "version", "createdAt", "updatedAt", "url", "secretCount", "warnings", "notes", "counters", "token"}
)
"""What a shown trigger has beside its definition."""
MAX_PAYLOAD_BYTES = 5_000_000


async def found_trigger(client: GatewayClient, name: str) -> dict[str, Any]:
    """The trigger of a name, else of an id. Raises GatewayRefused: there is none."""
    listed = await client.triggers.find()
    for key in ("name", "id"):
        for trigger in listed:
            if trigger.get(key) == name:
                return trigger
    raise GatewayRefused(f"there is no trigger {name!r}: 'innkeeper triggers list' lists them", code=NOT_THERE)


def definition_in(trigger: Mapping[str, Any]) -> dict[str, Any]:
    """The definition in a shown trigger, as a file for `add` or `apply` has it: secrets are named there."""
    found = {key: value for key, value in trigger.items() if key not in ADDED_BY_THE_GATEWAY}
    if isinstance(webhook := found.get("webhook"), Mapping):
        found["webhook"] = {key: value for key, value in webhook.items() if key != "secretCount"}
    return found


# --- making -------------------------------------------------------------------------------------------------------


def secrets_for(definition: Mapping[str, Any], sources: Sequence[SecretSource], *, make_one: bool) -> list[str]:
    """The secrets of a new trigger.

    Raises:
        UsageError: One cannot be read, or the trigger is no webhook.
    """
    webhook = definition.get("webhook")
    if (sources or make_one) and not isinstance(webhook, Mapping):
        raise UsageError("only a webhook has secrets")
    found = read_secrets(sources)
    if make_one and isinstance(webhook, Mapping):
        found.insert(0, new_secret(str(webhook.get("scheme"))))
    return found


async def make_trigger(
    client: GatewayClient, definition: Mapping[str, Any], secrets: Sequence[str], file: DefinitionFile | None
) -> dict[str, Any]:
    """Make a trigger.

    Raises:
        InvalidFile: What the gateway refuses, with lines, where the definition stands in a file.
        InvalidTriggerDefinition, LibraryConflict.
    """
    try:
        return await client.triggers.create(definition, secrets=secrets)
    except InvalidTriggerDefinition as error:
        if file is None or not error.problems:
            raise
        raise InvalidFile(file.tree.name, [file.tree.problem(*found) for found in error.problems]) from error


def made_lines(made: Mapping[str, Any], new: str | None = None) -> Iterator[str]:
    """What was made. `new`: the secret that was made for it."""
    yield f"made the trigger {made['name']!r}: {starts_when(made)} starts {target_of(made)!r}"
    if made.get("url"):
        yield f"URL: {made['url']}"
    if new is not None:
        yield f"secret: {new}"
    if made.get("url") or new is not None:
        yield "nobody is shown this again: give it to the sender now ('triggers rotate-token' makes a new URL)"
    yield from remarks(made)
    if not made.get("enabled", True):
        yield f"it is disabled: 'innkeeper triggers enable {made['name']}' lets it start runs"


def remarks(trigger: Mapping[str, Any]) -> Iterator[str]:
    for item in trigger.get("warnings") or ():
        yield f"note: {item.get('message') if isinstance(item, Mapping) else item}"


# --- looking ------------------------------------------------------------------------------------------------------


def head_lines(trigger: Mapping[str, Any]) -> Iterator[str]:
    """What a trigger is, a line each."""
    yield f"{trigger['name']}: {starts_when(trigger)} starts {target_of(trigger)!r}"
    state = "enabled" if trigger.get("enabled") else "disabled"
    count = trigger.get("secretCount") or 0
    secrets = "" if trigger.get("kind") != "webhook" else f", {count} secret{'' if count == 1 else 's'}"
    yield f"{state}{secrets}, version {trigger.get('version')}, changed {trigger.get('updatedAt')}"
    yield from remarks(trigger)


def definition_lines(trigger: Mapping[str, Any]) -> Iterator[str]:
    """The definition as YAML."""
    import yaml

    # Wide: a broken expression could not be copied.
    text = yaml.safe_dump(definition_in(trigger), sort_keys=False, allow_unicode=True, width=10_000)
    yield from text.splitlines()


def sample_payload(trigger: Mapping[str, Any]) -> dict[str, Any]:
    """What comes with nothing in it: of a schedule at this moment."""
    match trigger.get("kind"):
        case "webhook":
            return {}
        case "event":
            return {"data": None, "event": {"name": (trigger.get("event") or {}).get("name")}}
        case "schedule":
            now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            return {"schedule": {"scheduledAt": now, "startedAt": now}}
    return {str(trigger.get("kind")): {}}


def payload_of(text: str) -> Any:
    """What somebody typed or a file holds: JSON where it is JSON, else text."""
    try:
        return read_json(text)
    except InvalidJson:
        return text


def payload_file(file: Path) -> Any:
    """Raises UsageError: it cannot be read."""
    try:
        if str(file) == "-":
            data = sys.stdin.buffer.read(MAX_PAYLOAD_BYTES + 1)
        else:
            with file.open("rb") as opened:
                data = opened.read(MAX_PAYLOAD_BYTES + 1)
        text = data.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"cannot read the payload in {str(file)!r} ({reason}): check the path") from None
    if len(data) > MAX_PAYLOAD_BYTES:
        raise UsageError(f"the payload in {str(file)!r} has more than {MAX_PAYLOAD_BYTES:,} bytes")
    return payload_of(text)


def tested_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    """What a delivery would do, or did."""
    reason = f": {answer['reason']}" if answer.get("reason") else ""
    run = f", run {answer['runId']}" if answer.get("runId") else ""
    yield f"{answer.get('outcome')}{reason}{run}"
    for key, value in (answer.get("inputs") or {}).items():
        yield f"    {key} = {json.dumps(value, ensure_ascii=False)}"
    for item in answer.get("problems") or ():
        name = item.get("input") or item.get("path") or ""
        yield f"    {name}: {item.get('reason') or item.get('message')}"
    for note in answer.get("notes") or ():
        yield f"note: {note}"


def counter_line(counters: Mapping[str, Any]) -> str:
    """How many deliveries had which outcome."""
    told = [f"{name} {count}" for name, count in counters.items() if count]
    return ", ".join(told) or "nothing has come in yet"


async def following(client: GatewayClient, trigger_id: str) -> AsyncIterator[list[dict[str, Any]]]:
    """Results, the oldest first: those that are there, then each further one as it comes or changes."""
    seen: dict[str, Any] = {}
    while True:
        found = (await client.triggers.results(trigger_id))["results"]
        news = [item for item in reversed(found) if seen.get(str(item["id"])) != item]
        seen = {str(item["id"]): item for item in found}
        if news:
            yield news
        await asyncio.sleep(FOLLOW_S)


# --- changing -----------------------------------------------------------------------------------------------------


async def delete_trigger(client: GatewayClient, found: Mapping[str, Any]) -> None:
    """Delete a trigger, in the version in which somebody was asked about it."""
    await client.triggers.delete(str(found["id"]), etag=etag_of(found))
