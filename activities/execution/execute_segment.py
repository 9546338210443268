"""The activity that runs a segment: inline nodes one after the other, each with an outcome of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from innkeeper.activities.execution.attempt import Attempt
from innkeeper.activities.execution.errors import message_of
from innkeeper.activities.execution.execute_node import ExecuteNode
from innkeeper.activities.execution.heartbeat import Heartbeat
from innkeeper.activities.link.gateway_link import GatewayLink
from innkeeper.activities.link.retry_notice import RetryKind, RetryNotice, iso
from innkeeper.activities.sanitize import error_code
from innkeeper.nodes.call import EXECUTE_SEGMENT, NodeCall, SegmentCall, SegmentNode
from innkeeper.nodes.errors import NodeMustWait
from innkeeper.nodes.feeds import Missing, PlannedInput, SlotKey, values_of
from innkeeper.nodes.json_values import json_size

YIELD_TO_LOOP_MS = 10.0
"""How long nodes that never wait may keep the worker's loop to themselves."""

Outcome = dict[str, Any]


class ExecuteSegment:
    """Runs segments with the nodes and services of `execute`. Holds no state between calls.

    A segment may run twice, when its worker dies: its nodes are pure, so what they say the second time is what they
    said the first time, and the log drops it.
    """

    def __init__(self, execute: ExecuteNode, link: GatewayLink) -> None:
        self._execute = execute
        self._link = link

    @activity.defn(name=EXECUTE_SEGMENT)
    async def execute_segment(self, raw: dict[str, Any]) -> dict[str, Any]:
        segment = _Segment(SegmentCall(**raw))
        heartbeat = Heartbeat()
        if not activity.info().is_local:
            heartbeat.start()
        try:
            for node in segment.nodes:
                if segment.is_used_up():
                    break
                if (values := segment.values(node)) is not None:
                    segment.record(node, await self._run(segment, node, values, heartbeat))
                await segment.yield_to_loop()
            # Where it goes by the server, the few ms until all is logged do not matter. What a local one says last may
            # die with this worker: the replay in another one says it again.
            if not activity.info().is_local:
                await self._link.acknowledged(segment.last_message)
        except asyncio.CancelledError:
            # What has been done and told stays; the interpreter knows what is left. Without anything done, another
            # worker may as well begin.
            if not segment.outcomes:
                raise
        finally:
            heartbeat.stop()
        return {"nodes": segment.outcomes, "ms": round(segment.ms, 1)}

    async def _run(
        self, segment: _Segment, node: SegmentNode, values: dict[str, Any] | Missing, heartbeat: Heartbeat
    ) -> Outcome:
        begun = _now()
        if isinstance(values, Missing):
            error = {"message": values.of(node.id), "code": "missing_input", "retryable": False}
            return {"error": error, "attempt": 0, "startedAt": begun, "endedAt": begun}
        attempt = Attempt(
            segment.node_call(node, values), heartbeat, *self._execute.services_for(segment.call.run_user)
        )
        self._link.open(attempt.key, attempt.call.type)
        outcome = await self._outcome(attempt)
        if "outputs" in outcome and not segment.has_room_for(outcome):
            # By itself, where the server refuses what is too large.
            outcome = self._again(attempt, "outputs_too_large", "its outputs are too large for a segment", "wait")
        if "outputs" in outcome:
            warnings = outcome.get("warnings", ())
            sent = self._link.send_complete(attempt.key, outcome["outputs"], warnings=warnings)
            segment.last_message = sent or segment.last_message
        return {**outcome, "attempt": attempt.number, "startedAt": begun, "endedAt": _now()}

    async def _outcome(self, attempt: Attempt) -> Outcome:
        try:
            outputs = await self._execute.run_plain(attempt)
            return {"outputs": outputs, **({"warnings": warnings} if (warnings := attempt.warnings) else {})}
        except NodeMustWait as wait:
            message = message_of(wait.message, attempt.secrets.revealed)
            return self._again(attempt, error_code(wait.code), message, "wait")
        except Exception as error:
            found = attempt.failed(error)
            if found.non_retryable:
                return {"error": _described(found)}
            return self._again(attempt, found.type or "node_failed", found.message, "retry")

    def _again(self, attempt: Attempt, code: str, message: str, kind: RetryKind) -> Outcome:
        """The node runs by itself as soon as the segment has ended."""
        self._link.retry(attempt.key, RetryNotice(code, message, _now(), kind))
        return {"again": True}


class _Segment:
    """How far a segment is."""

    def __init__(self, call: SegmentCall) -> None:
        self.call = call
        self.nodes = [SegmentNode(**node) for node in call.nodes]
        self.outcomes: dict[str, Outcome] = {}
        self.last_message = 0
        self._outputs: dict[Any, dict[str, Any]] = {**call.outputs}
        self._inside = {node.id for node in self.nodes}
        self._bytes = 0
        self._began = self._yielded_at = time.monotonic()

    @property
    def ms(self) -> float:
        return (time.monotonic() - self._began) * 1_000

    def is_used_up(self) -> bool:
        """Is the time or the room for outputs used up? Never before the first node has run."""
        is_over = self.ms >= self.call.budget_ms or self._bytes >= self.call.budget_bytes
        return bool(self.outcomes) and is_over

    def values(self, node: SegmentNode) -> dict[str, Any] | Missing | None:
        """The inputs of a node; None when something in this segment that it hangs on gave nothing."""
        slots = {SlotKey(key): PlannedInput.from_wire(slot) for key, slot in node.inputs.items()}
        sources = _sources(slots.values())
        if any(source in self._inside and source not in self._outputs for source in sources):
            return None
        return values_of(slots, self._outputs)

    def record(self, node: SegmentNode, outcome: Outcome) -> None:
        self.outcomes[node.id] = outcome
        if "outputs" in outcome:
            self._outputs[node.id] = outcome["outputs"]

    def has_room_for(self, outcome: Outcome) -> bool:
        """Is what one node gave little enough? Then it is counted."""
        size = json_size(outcome)
        if size > self.call.budget_bytes:
            return False
        self._bytes += size
        return True

    def node_call(self, node: SegmentNode, values: dict[str, Any]) -> NodeCall:
        call = self.call
        return NodeCall(
            run=call.run,
            path=f"{call.place}/{node.id}" if call.place else node.id,
            type=node.type,
            inputs=values,
            mode=node.mode,
            config=node.config,
            multi=[key for key, slot in node.inputs.items() if slot.get("multi")],
            seal=node.seal,
            max_failures=1 if node.is_last else 2,
            non_retryable=node.non_retryable,
            run_user=call.run_user,
        )

    async def yield_to_loop(self) -> None:
        if (time.monotonic() - self._yielded_at) * 1_000 > YIELD_TO_LOOP_MS:
            await asyncio.sleep(0)
            self._yielded_at = time.monotonic()


def _sources(slots: Iterable[PlannedInput]) -> set[str]:
    return {feed.node for slot in slots for feed in slot.feeds}


def _described(found: ApplicationError) -> dict[str, Any]:
    """A final failure as the run's table holds it."""
    info = found.details[0] if found.details else {}
    details = {"details": info["details"]} if info.get("details") else {}
    return {"message": found.message, "code": found.type, "retryable": bool(info.get("retryable")), **details}


def _now() -> str:
    return iso(datetime.now(UTC))
