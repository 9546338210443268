"""How a segment runs: as a local activity when nothing else is under way, else as a regular one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy

from innkeeper.nodes.call import EXECUTE_SEGMENT, SegmentCall, SegmentNode
from innkeeper.nodes.feeds import Outputs
from innkeeper.workflows.engine import segments
from innkeeper.workflows.engine.engine_activities import HEARTBEAT_TIMEOUT
from innkeeper.workflows.engine.workflow_context import GraphLocation, WorkflowContext
from innkeeper.workflows.plan import PlannedNode

MAX_ATTEMPTS = 3
"""Of a segment by the server; then its nodes run one by one, each with attempts of its own."""
REGULAR_MS = 2_000.0


class SegmentRuns:
    """Starts the activities that run the segments of one graph.

    Args:
        context: The run and its user, for the calls.
        location: Gives the nodes their paths in the run.
    """

    def __init__(self, context: WorkflowContext, location: GraphLocation) -> None:
        self._context = context
        self._location = location

    def call(self, nodes: Sequence[PlannedNode], outputs: Outputs, budget_ms: float) -> dict[str, Any]:
        """The activity's message. `outputs`: of all nodes that have ended; `budget_ms`: when it stops early."""
        return SegmentCall(
            run=self._context.run,
            place=self._location.path,
            nodes=[_on_wire(node) for node in nodes],
            outputs=segments.given_from_outside(nodes, outputs),
            run_user=self._context.user_id,
            budget_ms=budget_ms,
        ).to_wire()

    def start_local(self, call: dict[str, Any]) -> workflow.ActivityHandle[dict[str, Any]]:
        """As a local activity of the workflow's own worker: no round trip, but the workflow task stays open."""
        return workflow.start_local_activity(
            EXECUTE_SEGMENT,
            call,
            result_type=dict,
            activity_id=self._name(call),
            start_to_close_timeout=timedelta(seconds=5),
            schedule_to_close_timeout=timedelta(seconds=10),
            retry_policy=RetryPolicy(maximum_attempts=1),
        )

    def start_regular(self, call: dict[str, Any]) -> workflow.ActivityHandle[dict[str, Any]]:
        """As a regular activity, on any worker."""
        return workflow.start_activity(
            EXECUTE_SEGMENT,
            call,
            result_type=dict,
            activity_id=self._name(call),
            start_to_close_timeout=timedelta(seconds=60),
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=RetryPolicy(
                initial_interval=timedelta(milliseconds=200),
                maximum_attempts=MAX_ATTEMPTS,
                non_retryable_error_types=["PayloadsTooLarge"],
            ),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=f"{len(call['nodes'])} inline nodes",
        )

    def _name(self, call: dict[str, Any]) -> str:
        nodes = call["nodes"]
        return f"{self._location.of(nodes[0]['id'])} +{len(nodes) - 1}"


def _on_wire(node: PlannedNode) -> dict[str, Any]:
    return SegmentNode(
        id=node.id,
        type=node.type,
        mode=node.mode,
        config=dict(node.config),
        inputs={key: slot.to_wire() for key, slot in node.inputs.items()},
        seal={key: list(slot.seal) for key, slot in node.outputs.items() if slot.seal},
        non_retryable=list(node.non_retryable),
        is_last=node.max_attempts <= 1,
    ).to_wire()
