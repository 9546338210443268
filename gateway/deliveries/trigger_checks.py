"""What a trigger refers to, looked at before it is saved: workflows, their inputs and outputs, times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from innkeeper.gateway.deliveries.book import StoredTrigger
from innkeeper.gateway.errors import NotFound
from innkeeper.gateway.library.lookup import AmbiguousWorkflow, StoredVersion, Which, WorkflowDamaged, WorkflowLookup
from innkeeper.gateway.triggers.model import Target, Trigger, WorkflowRef
from innkeeper.gateway.triggers.reading import InvalidTrigger, TriggerProblem
from innkeeper.gateway.triggers.schedule import schedule_notes

MAX_NAMED = 20
"""Inputs or outputs of a workflow that a warning lists."""
JsonObject = dict[str, Any]


class SchedulePreviews(Protocol):
    """Times, as the server that keeps them sees them."""

    async def check(self, trigger: Trigger) -> None:
        """Raises InvalidTrigger with the server's reason."""

    async def preview(self, trigger: StoredTrigger, count: int) -> JsonObject:
        """`{"times": [ISO 8601], "notes": [text]}`."""


@dataclass
class Findings:
    """What was found. A trigger with problems is not saved; warnings are told with it."""

    problems: list[TriggerProblem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class TriggerChecks:
    """Looks at what triggers refer to.

    Args:
        schedules: None: times are not asked about.
    """

    def __init__(self, lookup: WorkflowLookup, schedules: SchedulePreviews | None = None) -> None:
        self._lookup = lookup
        self._schedules = schedules

    async def check(self, user: str, trigger: Trigger) -> list[str]:
        """The warnings for a trigger that may be saved.

        Raises:
            InvalidTrigger: With all that is wrong.
        """
        found = await self._look(user, trigger)
        if found.problems:
            raise InvalidTrigger(found.problems)
        if trigger.schedule is not None and self._schedules is not None:
            await self._schedules.check(trigger)
        return found.warnings

    async def warnings(self, user: str, trigger: Trigger) -> list[str]:
        """The same for one that was saved: what is wrong by now is a warning, too."""
        found = await self._look(user, trigger)
        return [*(problem.message for problem in found.problems), *found.warnings]

    async def _look(self, user: str, trigger: Trigger) -> Findings:
        found = Findings()
        await self._lookup.refresh()
        version = await self._target(user, trigger.workflow, found)
        if version is not None:
            found.warnings += interface_warnings(trigger, version.document)
        if trigger.run is not None and trigger.run.workflow is not None:
            found.warnings += await self._watched(user, trigger.run.workflow)
        if trigger.schedule is not None:
            found.warnings += schedule_notes(trigger.schedule)
        return found

    async def _target(self, user: str, target: Target, found: Findings) -> StoredVersion | None:
        try:
            row = await self._lookup.row(user, target.id, target.project)
        except (NotFound, AmbiguousWorkflow) as error:
            found.problems.append(TriggerProblem("workflow.id", error.message))
            return None
        which: Which = target.version or ("published" if target.published else None)
        try:
            return await self._lookup.version(row, which)
        except WorkflowDamaged as error:
            found.problems.append(TriggerProblem("workflow", error.message))
        except NotFound as error:
            if target.version is not None:
                found.problems.append(TriggerProblem("workflow.version", error.message))
            else:  # it may be published before anything happens
                found.warnings.append(f"{error.message}; until then every delivery fails")
        return None

    async def _watched(self, user: str, workflow: WorkflowRef) -> list[str]:
        try:
            await self._lookup.row(user, workflow.id, workflow.project)
        except (NotFound, AmbiguousWorkflow) as error:
            return [f"'run.workflow': {error.message}"]
        return []


def interface_warnings(trigger: Trigger, document: Mapping[str, Any]) -> list[str]:
    """Where a trigger and the interface of its workflow do not fit. The document may hold anything."""
    inputs, outputs = _slots(document.get("interfaceInputs")), _slots(document.get("interfaceOutputs"))
    given = {**trigger.inputs, **trigger.mapping}
    found = [_unknown("input", key, inputs) for key in given if key not in inputs]
    found += [
        f"nothing gives the workflow's input {key!r}, which it needs: deliveries fail"
        for key, slot in inputs.items()
        if key not in given and _is_needed(slot)
    ]
    if trigger.webhook is not None:
        found += _answer_warnings(trigger, outputs)
    return found


def _answer_warnings(trigger: Trigger, outputs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    assert trigger.webhook is not None
    answer = trigger.webhook.answer
    if answer.mode == "accepted":
        return []
    found = [_unknown("output", key, outputs) for key in answer.outputs if key not in outputs]
    if answer.mode == "stream" and not found and outputs[answer.outputs[0]].get("isStream") is not True:
        found.append(f"the workflow's output {answer.outputs[0]!r} is no stream: its text comes whole, at the end")
    return found


def _slots(slots: object) -> dict[str, Mapping[str, Any]]:
    if not isinstance(slots, Mapping):
        return {}
    return {key: slot for key, slot in slots.items() if isinstance(slot, Mapping)}


def _is_needed(slot: Mapping[str, Any]) -> bool:
    config = slot.get("config")
    return slot.get("required") is True and not (isinstance(config, Mapping) and "default" in config)


def _unknown(kind: str, key: str, known: Iterable[str]) -> str:
    names = sorted(known)
    listed = ", ".join(map(repr, names[:MAX_NAMED])) + (", ..." if len(names) > MAX_NAMED else "")
    return f"the workflow has no {kind} {key!r}; its {kind}s are {listed or 'none'}"
