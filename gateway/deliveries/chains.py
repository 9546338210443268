"""Ends of runs that start other runs: what comes next, and what looks after errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from innkeeper.gateway.deliveries.book import StoredTrigger, TriggerBook
from innkeeper.gateway.deliveries.intake import Arrival, Intake
from innkeeper.gateway.deliveries.run_ends import RunEnd
from innkeeper.gateway.library.lookup import DEFAULT_PROJECT
from innkeeper.gateway.moments import iso
from innkeeper.gateway.runs.origin import depth_of
from innkeeper.gateway.runs.view import is_stream_value
from innkeeper.gateway.store.models import RunRow
from innkeeper.gateway.store.runs import RunStore, json_of
from innkeeper.nodes.call import is_blob
from innkeeper.nodes.errors import ResourceError
from innkeeper.nodes.services.blobs import FolderBlobs

JsonObject = dict[str, Any]

MAX_OUTPUT_BYTES = 64_000
"""JSON of all outputs together; what does not fit is left out and named."""
JSON_MIME = "application/json"


class Chains:
    """Takes ends of runs to the triggers of the kind `run`. A listener of `RunEnds`."""

    def __init__(self, book: TriggerBook, intake: Intake, store: RunStore, blobs: FolderBlobs) -> None:
        self._book = book
        self._intake = intake
        self._store = store
        self._blobs = blobs

    def cares(self, row: RunRow, status: str) -> bool:
        """Will a trigger want this run, when it ends with this status?"""
        end = RunEnd(row, status, json_of(row.origin))
        return any(wants(trigger, end) for trigger in self._book.of_kind("run"))

    async def run_ended(self, end: RunEnd) -> None:
        """Start what the triggers want. Told again, it starts nothing again.

        Raises:
            TooManyDeliveries: Some trigger did not take it; it is to be told again.
        """
        wanting = [trigger for trigger in self._book.of_kind("run") if wants(trigger, end)]
        if not wanting:
            return
        arrival = Arrival(
            {"run": await self._told(end)},
            delivery_id=end.run,
            # Also for triggers that recognise their deliveries in another way, or not at all.
            replay_key=f"run {end.run}",
            depth=depth_of(end.row.origin) + 1,
        )
        for trigger in wanting:
            await self._intake.take(trigger, arrival)

    async def _told(self, end: RunEnd) -> JsonObject:
        result = await self._store.result(end.run)  # the row that is told of comes without it
        outputs, left_out = await self._outputs(result.get("outputs") or {})
        return told_of(end, result, outputs, left_out)

    async def _outputs(self, outputs: Mapping[str, Any]) -> tuple[JsonObject, list[str]]:
        """The values that fit, and the names of the others."""
        whole: JsonObject = {}
        left = MAX_OUTPUT_BYTES
        for key, shown in outputs.items():
            value = shown["text"] if is_stream_value(shown) else shown
            data = await self._read(value, left) if is_blob(value) else orjson.dumps(value)
            if data is not None and len(data) <= left:
                whole[key] = orjson.loads(data)
                left -= len(data)
        return whole, [key for key in outputs if key not in whole]

    async def _read(self, reference: Mapping[str, Any], most: int) -> bytes | None:
        """The JSON behind a reference; None when it is too large, gone, or no JSON."""
        size = reference.get("size")
        if reference.get("mime") != JSON_MIME or not isinstance(size, int) or size > most:
            return None
        try:
            return await self._blobs.get(reference["$blob"])
        except ResourceError:
            return None


def wants(trigger: StoredTrigger, end: RunEnd) -> bool:
    """Does the end of a run concern a trigger?

    A preview only shows what would happen, and a submission that was refused never ran. A run does not start again what
    started it.
    """
    part = trigger.definition.run
    row = end.row
    if part is None or trigger.user != row.user_id or end.status not in part.statuses:
        return False
    if row.preview or _was_refused(end) or end.origin.get("trigger") == trigger.id:
        return False
    if part.workflow is None:
        return True
    return (part.workflow.id, part.workflow.project or DEFAULT_PROJECT) == (row.workflow_id, row.project_id)


def _was_refused(end: RunEnd) -> bool:
    return end.status == "error" and end.row.started_at is None and not end.origin


def told_of(end: RunEnd, result: Mapping[str, Any], outputs: JsonObject, left_out: Sequence[str]) -> JsonObject:
    """A run that ended as triggers see it, without what it lacks.

    Args:
        result: Its full status.
        left_out: Names of outputs that are too large.
    """
    row = end.row
    told = {
        "id": end.run,
        "status": end.status,
        "workflowId": row.workflow_id,
        "workflowName": row.workflow_name,
        "projectId": row.project_id,
        "error": error_of(result.get("errorInfo")) if end.status == "error" else None,
        "outputs": outputs,
        "outputsLeftOut": list(left_out) or None,
        "labels": end.origin.get("labels") or {},
        "trigger": _trigger_of(end),
        **_times(row),
    }
    return {key: value for key, value in told.items() if value is not None}


def error_of(info: Any) -> JsonObject:
    """Message, code, and the node that failed first, as far as they are known. `nodes` are all that failed."""
    known = info if isinstance(info, Mapping) else {}
    found = known.get("nodes")
    nodes = [node for node in found if isinstance(node, Mapping)] if isinstance(found, list) else []
    paths = [str(node.get("nodeId")) for node in nodes]
    # A group fails with the node inside it, which is the one to look at.
    causes = [path for path in paths if not any(other.startswith(f"{path}/") for other in paths)]
    told = {
        "message": known.get("message", "the run failed"),
        "code": known.get("code"),
        "nodeId": causes[0] if causes else None,
        "nodes": nodes or None,
    }
    return {key: value for key, value in told.items() if value is not None}


def _trigger_of(end: RunEnd) -> JsonObject | None:
    origin = end.origin
    if not origin.get("trigger"):
        return None
    named = {"id": origin["trigger"], "name": origin.get("triggerName"), "kind": origin.get("kind")}
    return {**named, "depth": depth_of(end.row.origin)}


def _times(row: RunRow) -> JsonObject:
    began = row.started_at or row.submitted_at
    return {
        "submittedAt": iso(row.submitted_at),
        "startedAt": iso(row.started_at) if row.started_at else None,
        "endedAt": iso(row.ended_at) if row.ended_at else None,
        "durationMs": row.ended_at - began if row.ended_at else None,
    }
