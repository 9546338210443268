"""What `innkeeper triggers apply` has to do: the file against what stands. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from innkeeper.gateway.cli.apply_file import APPLIED_BY, Wanted, WantedTrigger, WantedWorkflow
from innkeeper.gateway.cli.library_transfer import in_rounds, references
from innkeeper.gateway.cli.run_command import UsageError
from innkeeper.gateway.cli.trigger_file import CALLBACK, SECRET
from innkeeper.gateway.triggers.model import Trigger
from innkeeper.nodes.call import secret_reference
from innkeeper.nodes.errors import InvalidWorkflow
from innkeeper.workflows.document.diff import Difference, differences
from innkeeper.workflows.document.model import parse_document

Action = Literal["create", "change", "keep", "delete"]
Changes = Mapping[str, tuple[Any, Any]]
SERVER_FIELDS = frozenset({"createdAt", "updatedAt"})
"""Of a stored workflow: no part of what was saved."""
_DEFINITION_KEYS = frozenset(part.alias or name for name, part in Trigger.model_fields.items())
"""What of a shown trigger is its definition."""


@dataclass(frozen=True)
class StoredWorkflow:
    """The newest version of a workflow. `published` is None where none is."""

    document: Mapping[str, Any]
    etag: str
    version: int
    published: int | None


@dataclass(frozen=True)
class Standing:
    """What stands now: workflows of the file by project and id, and all triggers, as the gateway shows them."""

    workflows: Mapping[tuple[str, str], StoredWorkflow]
    triggers: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class WorkflowStep:
    """What is done with a workflow of the file.

    Attributes:
        stored: None: there is none yet.
        save: Its document differs.
        publish: Its newest version is to be published.
    """

    action: Action
    wanted: WantedWorkflow
    stored: StoredWorkflow | None = None
    save: bool = False
    publish: bool = False
    differences: Sequence[Difference] = ()


@dataclass(frozen=True)
class TriggerStep:
    """What is done with a trigger.

    Attributes:
        wanted: None: it is deleted.
        stored: None: there is none yet.
        definition: What it is changed to, with the secret of its callback.
        sends_secrets: The secrets go along; else those that it has stay.
    """

    action: Action
    wanted: WantedTrigger | None
    stored: Mapping[str, Any] | None = None
    definition: Mapping[str, Any] = field(default_factory=dict, repr=False)
    sends_secrets: bool = False
    changes: Changes = field(default_factory=dict)


Step = WorkflowStep | TriggerStep


def name_of(step: Step) -> str:
    """What it is about, as `workflow summary` or `trigger nightly`."""
    if isinstance(step, WorkflowStep):
        return f"workflow {step.wanted.id}"
    return f"trigger {step.wanted.name if step.wanted else (step.stored or {}).get('name')}"


def plan(wanted: Wanted, standing: Standing, *, prune: bool = False, send_secrets: bool = False) -> list[Step]:
    """All steps in order: workflows, those first that others run as groups; then triggers; what is deleted last.

    Raises:
        UsageError: `prune` and the file has no name; or a trigger belongs to a file with another name.
    """
    if prune and wanted.name is None:
        raise UsageError("--prune deletes what the file's 'name' has made before: give the file a 'name'")
    steps: list[Step] = [_workflow_step(item, standing) for item in _in_order(wanted.workflows)]
    standing_triggers = {str(item["name"]): item for item in standing.triggers}
    for item in wanted.triggers:
        stored = standing_triggers.get(item.name)
        _check_same(wanted.name, item, stored or {})
        steps.append(_trigger_step(item, stored, send_secrets=send_secrets))
    if prune:
        steps += _deletions(wanted, standing.triggers)
    return steps


def is_done(steps: Sequence[Step]) -> bool:
    return all(step.action == "keep" for step in steps)


def _in_order(workflows: Sequence[WantedWorkflow]) -> Iterator[WantedWorkflow]:
    by_id = {item.id: item for item in workflows}
    for some in in_rounds({item.id: references(item.document) for item in workflows}):
        yield from (by_id[identity] for identity in some)


def _workflow_step(wanted: WantedWorkflow, standing: Standing) -> WorkflowStep:
    stored = standing.workflows.get((wanted.project, wanted.id))
    if stored is None:
        return WorkflowStep("create", wanted, save=True, publish=wanted.publish)
    save = not says_the_same(wanted.document, stored.document)
    publish = wanted.publish and (save or stored.published != stored.version)
    found = _differences(stored.document, wanted.document) if save else ()
    action: Action = "change" if save or publish else "keep"
    return WorkflowStep(action, wanted, stored, save, publish, found)


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Sequence[Difference]:
    try:
        for document in (before, after):
            parse_document(document)
    except InvalidWorkflow:
        return ()  # a draft: which parts of it differ cannot be told
    return differences(before, after)


def says_the_same(ours: Any, stored: Any) -> bool:
    """Do a document of a file and a stored one say the same? A secret that was typed into the file is a reference in
    the stored one: which secret it is cannot be compared."""
    if isinstance(ours, str) and secret_reference(stored) is not None and secret_reference(ours) is None:
        return True
    if isinstance(ours, Mapping) and isinstance(stored, Mapping):
        keys = (ours.keys() | stored.keys()) - SERVER_FIELDS
        return all(key in ours and key in stored and says_the_same(ours[key], stored[key]) for key in keys)
    if isinstance(ours, list) and isinstance(stored, list):
        return len(ours) == len(stored) and all(map(says_the_same, ours, stored))
    return bool(ours == stored) and isinstance(ours, bool) == isinstance(stored, bool)


def _check_same(name: str | None, wanted: WantedTrigger, stored: Mapping[str, Any]) -> None:
    owner = (stored.get("labels") or {}).get(APPLIED_BY)
    if owner is not None and owner != name:
        message = f"the trigger {wanted.name!r} was made by a file with the name {owner!r}"
        raise UsageError(f"{message}: give yours another name, or delete that one")
    kinds = (stored.get("kind"), wanted.definition["kind"])
    if stored and kinds[0] != kinds[1]:
        message = f"the trigger {wanted.name!r} is of the kind {kinds[0]!r}, and in the file of {kinds[1]!r}"
        raise UsageError(f"{message}: a kind cannot be changed; delete it first, or give yours another name")


def _trigger_step(wanted: WantedTrigger, stored: Mapping[str, Any] | None, *, send_secrets: bool) -> TriggerStep:
    if stored is None:
        definition = _with_callback_secret(wanted.definition, wanted.callback_secret)
        return TriggerStep("create", wanted, None, definition, bool(wanted.secrets))
    definition = wanted.definition if wanted.is_switched else _switched_as(stored, wanted.definition)
    before: Mapping[str, Any] = {key: value for key, value in stored.items() if key in _DEFINITION_KEYS}
    kept = (before.get(CALLBACK) or {}).get(SECRET)
    if wanted.callback_secret is not None:
        before = _with_callback_secret(before, None)
    changes = dict(changes_of(before, definition))
    sends = bool(wanted.secrets) and (send_secrets or "webhook.secretCount" in changes)
    # A stored secret is bound to the host of its callback.
    is_new = wanted.callback_secret is not None and (kept is None or send_secrets or f"{CALLBACK}.url" in changes)
    if wanted.callback_secret is not None:
        definition = _with_callback_secret(definition, wanted.callback_secret if is_new else kept)
    action: Action = "change" if changes or sends or is_new else "keep"
    return TriggerStep(action, wanted, stored, definition, sends or is_new, changes)


def _with_callback_secret(definition: Mapping[str, Any], secret: str | None) -> Mapping[str, Any]:
    """The definition with this secret of its callback; None: with none."""
    callback = definition.get(CALLBACK)
    if not isinstance(callback, Mapping):
        return definition
    told = {key: value for key, value in callback.items() if key != SECRET}
    return {**definition, CALLBACK: told if secret is None else {**told, SECRET: secret}}


def _switched_as(stored: Mapping[str, Any], definition: Mapping[str, Any]) -> Mapping[str, Any]:
    """The definition, enabled or not as what stands. Who disables a schedule leaves a note in it, which stays, too."""
    is_enabled, schedule = stored.get("enabled", True), definition.get("schedule")
    if is_enabled or not isinstance(schedule, Mapping):
        return {**definition, "enabled": is_enabled}
    note = (stored.get("schedule") or {}).get("note", "")
    return {**definition, "enabled": is_enabled, "schedule": {**schedule, "note": note}}


def _deletions(wanted: Wanted, triggers: Sequence[Mapping[str, Any]]) -> Iterator[TriggerStep]:
    named = {item.name for item in wanted.triggers}
    for item in triggers:
        if (item.get("labels") or {}).get(APPLIED_BY) == wanted.name and item["name"] not in named:
            yield TriggerStep("delete", None, item)


def changes_of(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Paths at which two values differ, as deep as both are objects; None where there is nothing."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys((*before, *after)):
            yield from changes_of(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
    elif before != after or isinstance(before, bool) != isinstance(after, bool):
        yield path, (before, after)
