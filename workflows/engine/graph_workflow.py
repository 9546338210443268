"""The one Temporal workflow: a run, a group, or a repetition. It takes signals and updates, and returns the result."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError

from innkeeper.nodes.call import LOAD_VALUE, MERGE_VALUES
from innkeeper.nodes.json_values import json_size
from innkeeper.workflows.engine import answers, parking, waiting
from innkeeper.workflows.engine.activation import History
from innkeeper.workflows.engine.engine_activities import (
    engine_activity,
    failure_of,
    if_possible,
    lightened,
    pieces_of,
    shielded,
    stored_pieces,
)
from innkeeper.workflows.engine.for_each import ForEach
from innkeeper.workflows.engine.interpreter import Interpreter
from innkeeper.workflows.engine.iteration_runner import IterationRunner
from innkeeper.workflows.engine.iteration_state import IterationState
from innkeeper.workflows.engine.loop import Loop
from innkeeper.workflows.engine.node_runs import MAX_INLINE_INPUTS
from innkeeper.workflows.engine.node_table import NodeTable
from innkeeper.workflows.engine.signature_check import start_refusal
from innkeeper.workflows.engine.state import FINAL
from innkeeper.workflows.engine.workflow_context import GraphLocation, RunStart, WorkflowContext
from innkeeper.workflows.plan import NodeId, RunPlan
from innkeeper.workflows.sdk_errors import worded

__all__ = ["TASK_QUEUE", "GraphWorkflow", "RunStart"]

TASK_QUEUE = "innkeeper"
TENANT_ID = SearchAttributeKey.for_keyword("TenantId")
RUN_STATUS = SearchAttributeKey.for_keyword("RunStatus")
ANSWERS_WITHOUT_TIMER = "answers-without-timer"
EVENTS_IN_REPETITIONS = "events-in-repetitions"
ANSWERS_KEPT_FIRST = "answers-kept-first"
"""Changes that histories from before them do not know (`workflow.patched`)."""
KEPT_S = 0.001
"""A timer never fires in the workflow task that begins it."""
MAX_INLINE_NODES = 200
MAX_INLINE_BELOW = 32_000
"""Bytes of JSON of a group's node table that its parent keeps in its own history."""


@workflow.defn(name="GraphWorkflow", sandboxed=False)
class GraphWorkflow:
    """Runs one plan. Always returns a result (docs/engine.md), for failed and interrupted runs too."""

    @workflow.init
    def __init__(self, plan: bytes, start: RunStart) -> None:
        self._refusal = start_refusal(plan, start)
        if self._refusal is not None:
            # Nothing of it is read. Queries and signals, which may come before `run` fails, find an empty graph.
            plan, start = RunPlan(()).encode(), RunStart()
        self._plan_bytes = plan
        self._start = start
        self._plan = RunPlan.decode(plan)
        self._context = WorkflowContext(start.run or workflow.info().workflow_id, start.user_id)
        self._context.paused = start.paused
        self._context.no_cache = start.no_cache
        self._context.received_events = list(start.received_events)
        self._is_loaded = not (start.state_refs or (start.repeat or {}).get("open"))
        self._has_begun = False
        self._graph: Interpreter | None = None
        self._iteration_runner: IterationRunner | None = None
        if start.repeat is None:
            streams = start.streams if start.run else None
            location = GraphLocation(start.path, start.inputs, frozenset(start.kept), frozenset(start.lists))
            self._graph = Interpreter(self._context, self._plan, location, streams)
        else:
            self._iteration_runner = self._make_iteration_runner(IterationState(**start.repeat))

    def _make_iteration_runner(self, repeat: IterationState) -> IterationRunner:
        return (ForEach if repeat.kind == "each" else Loop)(
            self._context,
            self._start.path,
            repeat,
            lambda location: Interpreter(self._context, self._plan, location, repeated=True),
            size=len(self._plan.nodes),
            must_drain=lambda: History.now().is_full(is_busy=lambda: False),
        )

    @workflow.run
    async def run(self, plan: bytes, start: RunStart) -> dict[str, Any]:
        if self._refusal is not None:
            raise self._refusal
        self._has_begun = True
        try:
            result = await (self._run_graph(self._graph) if self._graph else self._run_repetition())
            await self._context.until_handled()
            return result
        except (asyncio.CancelledError, CancelledError, workflow.ContinueAsNewError):
            raise
        except Exception as bug:
            # A plain exception would be retried as a task failure for ever; non-determinism never comes through here.
            # A workflow that ended beside a segment of its own would never be done with it.
            await workflow.wait_condition(lambda: self._context.activation.is_still)
            failure = failure_of(bug) if isinstance(bug, ActivityError) else bug
            reason = type(bug).__name__
            if isinstance(failure, ApplicationError):
                reason, _ = worded(failure.message, failure.type or "")
            raise ApplicationError(
                f"the interpreter failed: {reason}", type="internal_error", non_retryable=True
            ) from bug

    # --- queries, signals and updates -----------------------------------------------------------------------------

    @workflow.query
    def status(self, offset: int = 0, limit: int = 200) -> dict[str, Any]:
        """One page of the node table, in plan order of their beginning.

        Who asks for no node (`limit` 0) wants the event log to be told again of the waits that are open.
        """
        if limit == 0:
            self._context.announce_waits()
        table = self._node_table().flat_table()[0]
        counts: dict[str, int] = {}
        for entry in table.values():
            counts[entry["status"]] = counts.get(entry["status"], 0) + 1
        return {
            "status": "interrupting" if self._context.interrupted else "paused" if self._context.paused else "running",
            "counts": counts,
            "nodes": dict(list(table.items())[offset : offset + limit]),
            "total": len(self._plan.nodes),
        }

    @workflow.signal
    async def pause(self, paused: bool) -> None:
        """Start no new node, or go on. What runs is not concerned."""
        self._context.activation.look()
        self._context.paused = paused
        self._context.wake_all()
        await self._context.signal_children("pause", paused)

    @workflow.signal
    async def event(self, name: str, data: Any, event_id: str = "") -> None:
        """Something happened that nodes may wait for.

        Args:
            event_id: One that was received already is the same event: a gateway that died while it told many runs
                tells them all again. Empty: it is not sent again.
        """
        self._context.activation.look()
        if event_id and not self._context.is_new_event(event_id):
            return
        if not self._is_loaded and (self._start.repeat is None or workflow.patched(EVENTS_IN_REPETITIONS)):
            await self._until_loaded()
        if not [wait for wait in self._context.waits.values() if waiting.receive_event(wait, name, data)]:
            self._context.receive_event(name, data)
        self._context.wake_all()  # events that nobody waits for fill the history too
        await self._context.signal_children("event", name, data)

    async def _until_loaded(self) -> None:
        """Until it is known who waits: a signal may be the first thing that comes to a new history."""
        if not self._is_loaded:
            await workflow.wait_condition(lambda: self._is_loaded)

    @workflow.update
    async def answer(self, approval: str, answer: Any) -> dict[str, Any]:
        """Answer an approval: `{"approved", "values"?, "comment"?, "by"?}`."""
        self._context.activation.look()
        is_new = workflow.patched(ANSWERS_WITHOUT_TIMER)
        if is_new:
            await self._until_begun()
        else:
            if self._start.repeat is None:
                await self._until_loaded()
            if self._may_ask_soon(approval):
                await workflow.sleep(0.05)
        answers.check(self._context, approval, answer)
        wait = self._context.waits[approval]
        wait.answer = answers.normal(answers.with_defaults(answer, wait) if is_new else answer)
        self._context.answered.add(approval)
        if wait.kind == parking.BUDGET:
            await self._answer_budget(approval, wait.answer)
            return wait.answer
        if workflow.patched(ANSWERS_KEPT_FIRST):
            await self._until_kept(approval)
        self._context.emit(approval, "APPROVAL_ANSWERED", {"approvalId": approval, "answer": wait.answer})
        return wait.answer

    @answer.validator
    def _check_answer(self, approval: str, answer: Any) -> None:
        if self._has_begun and self._is_loaded:
            answers.check(self._context, approval, answer)

    async def _answer_budget(self, approval: str, answer: dict[str, Any]) -> None:
        """What one node may spend all may that wait here for the same budget: they are answered together."""
        asked = {path: payload for path, (_, payload) in self._context.announcements.items()}
        scope = asked[approval]["scope"]
        # A node that was refused before this answer may come to ask after it.
        self._context.budget_answers[scope] = (workflow.now().timestamp(), answer)
        waits = self._context.waits
        others = [
            path
            for path, wait in waits.items()
            if wait.kind == parking.BUDGET and wait.answer is None and asked[path]["scope"] == scope
        ]
        for path in others:
            waits[path].answer = answer
        self._context.answered.update(others)
        await self._until_kept(approval, *others)
        for path in (approval, *others):
            self._context.emit(path, *parking.answered(asked[path], answer))

    async def _until_kept(self, *approvals: str) -> None:
        """Until the server has kept an answer: nobody may see what follows from it before.

        An update is in no history before the workflow task that accepts it is complete. When its worker dies in it,
        another worker may be given another answer first, and the viewers would have seen the one that does not count.
        """
        self._context.unkept.update(approvals)
        try:
            await workflow.sleep(KEPT_S)
        finally:
            self._context.unkept.difference_update(approvals)

    async def _until_begun(self) -> None:
        """Until everything that waits has begun to.

        A worker that does not have the workflow in its cache is given all tasks that left no command as one, so an
        answer may come to a node before it asks. In a later replay it comes afterwards: it must lead to the same
        commands, so no timer will do. The SDK looks at a condition when nothing else is left to run.
        """
        await workflow.wait_condition(lambda: self._has_begun and self._is_loaded)

    def _may_ask_soon(self, approval: str) -> bool:
        """May the node begin in this very workflow task? Only histories before ANSWERS_WITHOUT_TIMER ask."""
        node = self._plan.by_id.get(NodeId(str(approval).rpartition("/")[2]))
        if (
            node is None
            or node.type != waiting.APPROVAL
            or {approval} & (self._context.waits.keys() | self._context.answered)
        ):
            return False
        return self._graph is None or self._graph.nodes.entry(node.id).get("status") not in FINAL

    # --- a graph, or a repetition ---------------------------------------------------------------------------------

    async def _run_graph(self, graph: Interpreter) -> dict[str, Any]:
        if self._start.state_refs:
            table: dict[Any, Any] = {}
            for ref in self._start.state_refs:
                loading = shielded(self._context, engine_activity(LOAD_VALUE, ref, dict))
                table.update(await if_possible(self._context, loading, {}))
            graph.resume(table)
            self._is_loaded = True
        await graph.run()
        while graph.drained:
            storing = stored_pieces(self._context, list(graph.nodes.state.pieces()))
            refs = await if_possible(self._context, storing, [])
            await self._context.until_handled()
            if graph.is_still:
                self._continue_as_new(state_refs=refs)
            await graph.run()  # meanwhile somebody answered, or wants it to end
        nodes = graph.nodes
        error = nodes.failure if nodes.status == "error" and self._start.run else None
        return await self._result(nodes.status, nodes.outputs, error)

    async def _run_repetition(self) -> dict[str, Any]:
        iteration_runner = self._iteration_runner
        assert iteration_runner is not None
        try:
            await iteration_runner.resume()
            self._is_loaded = True
            outputs = await iteration_runner.run()
        except (ApplicationError, ActivityError) as failure:
            if self._context.interrupted:
                return await self._result("interrupted", {}, None)
            error = failure_of(failure) if isinstance(failure, ActivityError) else failure
            details = error.details[0].get("details", {}) if error.details else {}
            return await self._result("error", {}, {**details, "message": error.message, "code": error.type})
        if iteration_runner.drained:
            self._continue_as_new(repeat=iteration_runner.repeat.to_json())
        return await self._result("interrupted" if self._context.interrupted else "complete", outputs, None)

    def _continue_as_new(self, **changes: Any) -> None:
        fields = {**self._start.__dict__, **changes, "paused": self._context.paused}
        fields["received_events"] = self._context.received_events
        workflow.continue_as_new(args=[self._plan_bytes, RunStart(**fields)])

    # --- the end --------------------------------------------------------------------------------------------------

    def _node_table(self) -> NodeTable | IterationRunner:
        """What knows the nodes of this workflow."""
        if self._graph is not None:
            return self._graph.nodes
        assert self._iteration_runner is not None
        return self._iteration_runner

    async def _result(self, status: str, outputs: dict[str, Any], error: dict[str, Any] | None) -> dict[str, Any]:
        outputs = await if_possible(self._context, lightened(self._context, outputs), {})
        table, refs = self._node_table().flat_table()
        limit = MAX_INLINE_BELOW if self._start.run else MAX_INLINE_INPUTS
        inline = not refs and len(table) <= MAX_INLINE_NODES and json_size(table) <= limit
        nodes_ref = None if inline else await self._table_blob(table, refs)
        # Temporal shows a run that completed; only what it would wrongly call completed is marked. A server
        # that knows TenantId, which the run was started with, knows RunStatus too.
        if status != "complete" and workflow.info().typed_search_attributes.get(TENANT_ID) is not None:
            workflow.upsert_search_attributes([RUN_STATUS.value_set(status)])
        return {
            "status": status,
            "outputs": outputs,
            "counts": self._node_table().counts(),
            "nodes": table if inline else None,
            "nodes_ref": nodes_ref,
            **({"error": error} if error else {}),
        }

    async def _table_blob(self, table: dict[str, dict[str, Any]], refs: list[dict[str, Any]]) -> dict[str, Any] | None:
        """The node table as one blob; None when it cannot be stored: the event log knows the nodes too."""
        try:
            stored = await stored_pieces(self._context, [dict(piece) for piece in pieces_of(list(table.items()))])
            return await shielded(self._context, engine_activity(MERGE_VALUES, [*stored, *refs], dict))
        except (ActivityError, ApplicationError):
            return None
