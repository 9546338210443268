"""The activity that runs a segment: inline nodes one after the other, each with an outcome of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from innkeeper.activities.execution.attempt import Attempt
from innkeeper.activities.execution.errors import message_of
from innkeeper.activities.execution.execute_node import ExecuteNode, origin_of
from innkeeper.activities.execution.heartbeat import Heartbeat
from innkeeper.activities.execution.segment_progress import NodeEnd, SegmentProgress, Stay, Told, timestamp
from innkeeper.activities.link.gateway_link import GatewayLink
from innkeeper.activities.link.retry_notice import RetryKind, RetryNotice
from innkeeper.activities.placement.node_exit import node_exits_as_errors
from innkeeper.activities.sanitize import error_code
from innkeeper.nodes.call import EXECUTE_SEGMENT, SegmentCall, SegmentNode
from innkeeper.nodes.errors import BudgetReached, NodeMustWait
from innkeeper.nodes.feeds import Missing

PASS_ON_S = 0.02
"""How long what a node tells may wait for what the next ones tell: one message for all of them costs least."""


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
        segment = SegmentProgress(SegmentCall(**raw))
        heartbeat = Heartbeat()
        if not activity.info().is_local:
            heartbeat.start()
        try:
            while segment.left and not segment.is_used_up():
                await self._run_next(segment, heartbeat)
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

    async def _run_next(self, segment: SegmentProgress, heartbeat: Heartbeat) -> None:
        """Run those of the next nodes that belong to one place.

        Nodes of plugins go to their thread together: a hop for each would cost more than most of these nodes do.
        """

        def shares_thread(node: SegmentNode) -> bool:
            return self._execute.shares_thread(node.type, node.mode)

        in_thread = shares_thread(segment.left[0])
        nodes = tuple(takewhile(lambda node: shares_thread(node) == in_thread, segment.left))
        stay = Stay(segment, nodes)
        with self._passing_on(stay, segment):
            if not in_thread:
                await self._run_all(stay, heartbeat)
            elif (error := await self._in_thread(stay, segment, heartbeat)) is not None:
                self._break_off(stay, segment, error)
                return
        segment.left = segment.left[len(nodes) :]

    async def _in_thread(self, stay: Stay, segment: SegmentProgress, heartbeat: Heartbeat) -> Exception | None:
        """Gives what broke the stay off: a node that kept the thread to itself, this one or another."""
        home = asyncio.get_running_loop()

        def warn(code: str, message: str) -> None:
            self._pass_on(stay, segment)  # the log has to know the node first
            if stay.running is not None and (attempt := stay.running.attempt) is not None:
                attempt.warn(code, message)
                self._link.warning(attempt.key, code, message)

        work = self._run_all(stay, heartbeat, home)
        try:
            with node_exits_as_errors():
                await self._execute.in_shared_thread(
                    work, name=f"a segment of run {segment.call.run}", warn=warn, on_stop=stay.stop
                )
        except Exception as error:
            return error
        return None

    def _break_off(self, stay: Stay, segment: SegmentProgress, error: Exception) -> None:
        """The node that was running takes the blame; those after it go on in another thread."""
        stay.stop()
        self._pass_on(stay, segment)
        if stay.running is not None and stay.running.attempt is not None:
            self._note(segment, stay.running.ended(_failed(stay.running.attempt, error)))
        elif not isinstance(error, NodeMustWait):  # which harms nobody between two nodes
            raise error
        segment.left = [node for node in segment.left if node.id not in segment.outcomes]

    # --- on the worker's loop: what nodes told --------------------------------------------------------------------

    @contextlib.contextmanager
    def _passing_on(self, stay: Stay, segment: SegmentProgress) -> Iterator[None]:
        """Pass on what nodes tell, now and then and at the end."""
        loop = asyncio.get_running_loop()
        timers: list[asyncio.TimerHandle] = []

        def again() -> None:
            self._pass_on(stay, segment)
            timers[:] = [loop.call_later(PASS_ON_S, again)]

        timers.append(loop.call_later(PASS_ON_S, again))
        try:
            yield
        finally:
            timers.pop().cancel()
            stay.stop()
            self._pass_on(stay, segment)

    def _pass_on(self, stay: Stay, segment: SegmentProgress) -> None:
        for told in stay.take():
            self._note(segment, told)

    def _note(self, segment: SegmentProgress, told: Told) -> None:
        """Put down the end of a node; tell the log of its begin or end."""
        attempt, end = told.attempt, told.end
        if end is not None:
            segment.record(told.node, end)
        if attempt is None:
            return
        if end is None:
            self._link.open(attempt.key, attempt.call.type)
        elif end.notice is not None:
            self._link.retry(attempt.key, end.notice)
        elif "outputs" in end.outcome:
            outputs, warnings = end.outcome["outputs"], end.outcome.get("warnings", ())
            segment.last_message = (
                self._link.send_complete(attempt.key, outputs, warnings=warnings) or segment.last_message
            )

    # --- where the nodes run, which may be another thread ----------------------------------------------------------

    async def _run_all(self, stay: Stay, heartbeat: Heartbeat, home: asyncio.AbstractEventLoop | None = None) -> None:
        """Run nodes one after the other. `home`: the worker's loop, when this is another one."""
        for node in stay.nodes:
            if stay.is_over or stay.progress.is_used_up():
                return
            if (values := stay.progress.values(node)) is not None:
                await self._run(stay, node, values, heartbeat, home)
            await stay.progress.yield_to_loop()

    async def _run(
        self,
        stay: Stay,
        node: SegmentNode,
        values: dict[str, Any] | Missing,
        heartbeat: Heartbeat,
        home: asyncio.AbstractEventLoop | None,
    ) -> None:
        begun = timestamp()
        if isinstance(values, Missing):
            error = {"message": values.of(node.id), "code": "missing_input", "retryable": False}
            stay.tell(Told(node, None, begun).ended(NodeEnd({"error": error})))
            return
        call = stay.progress.node_call(node, values)
        services = self._execute.services_for(origin_of(call, activity.info().attempt))
        attempt = Attempt(call, heartbeat, *services)
        told = Told(node, attempt, begun)
        stay.tell(told)
        try:
            outputs = await self._execute.run_plain(attempt, home)
            end = _completed(stay.progress, attempt, outputs)
        except Exception as error:
            end = _failed(attempt, error)
        stay.tell(told.ended(end))


def _completed(progress: SegmentProgress, attempt: Attempt, outputs: dict[str, Any]) -> NodeEnd:
    outcome = {"outputs": outputs, **({"warnings": warnings} if (warnings := attempt.warnings) else {})}
    if (size := progress.size_of(outcome)) is None:
        # By itself, where the server refuses what is too large.
        return _again("outputs_too_large", "its outputs are too large for a segment", "wait")
    return NodeEnd(outcome, size)


def _failed(attempt: Attempt, error: Exception) -> NodeEnd:
    if isinstance(error, NodeMustWait | BudgetReached):
        message = message_of(error.message, attempt.secrets.revealed)
        return _again(error_code(error.code), message, "wait")
    found = attempt.failed(error)
    if found.non_retryable:
        return NodeEnd({"error": _described(found)})
    return _again(found.type or "node_failed", found.message, "retry")


def _again(code: str, message: str, kind: RetryKind) -> NodeEnd:
    return NodeEnd({"again": True}, notice=RetryNotice(code, message, timestamp(), kind))


def _described(found: ApplicationError) -> dict[str, Any]:
    """A final failure as the run's table holds it."""
    info = found.details[0] if found.details else {}
    details = {"details": info["details"]} if info.get("details") else {}
    return {"message": found.message, "code": found.type, "retryable": bool(info.get("retryable")), **details}
