"""Starting runs on the connection that this worker polls with: Temporal then hands it the first task in its answer."""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta

from temporalio.api.enums.v1 import WorkflowIdConflictPolicy, WorkflowIdReusePolicy
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

log = logging.getLogger("innkeeper.worker")

START_TIMEOUT = timedelta(seconds=10)
FIELDS = frozenset(
    (
        *("namespace", "workflow_id", "workflow_type", "task_queue", "input", "header"),
        *("workflow_execution_timeout", "workflow_task_timeout"),
        *("workflow_id_reuse_policy", "workflow_id_conflict_policy"),
        *("search_attributes", "user_metadata"),
    )
)
"""What the start of a run consists of. Others have Temporal call addresses, or start it again and again."""


class RunStarter:
    """Starts runs for the gateway.

    Args:
        client: The one that this process' worker polls with: only then is the first task given to that worker.
        workflow_type, task_queue: All that it starts.
    """

    def __init__(self, client: Client, workflow_type: str, task_queue: str) -> None:
        self._client = client
        self._workflow_type = workflow_type
        self._task_queue = task_queue

    async def start(self, run: str, data: bytes) -> bool:
        """Start a run; gives whether Temporal has it then. The gateway has signed the request: nothing is signed here.

        Args:
            data: The StartWorkflowExecutionRequest, serialized.

        Raises:
            DecodeError: It is none.
        """
        request = StartWorkflowExecutionRequest.FromString(data)
        request.DiscardUnknownFields()
        if not self._is_start_of(run, request):
            log.warning("refused to start a workflow that is no run of this worker's queue")
            return False
        request.identity, request.request_id = self._client.identity, str(uuid.uuid4())
        request.request_eager_execution = True
        try:
            # Without `retry` the SDK asks for the first task without a slot for it, and drops it: it would come back
            # only after its timeout.
            await self._client.workflow_service.start_workflow_execution(request, retry=True, timeout=START_TIMEOUT)
        except RPCError as error:
            return error.status == RPCStatusCode.ALREADY_EXISTS
        return True

    def _is_start_of(self, run: str, request: StartWorkflowExecutionRequest) -> bool:
        return (
            {field.name for field, _ in request.ListFields()} <= FIELDS
            and request.namespace == self._client.namespace
            and request.workflow_id == run
            and request.workflow_type.name == self._workflow_type
            and request.task_queue == TaskQueue(name=self._task_queue)
            and request.workflow_id_reuse_policy == WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE
            and request.workflow_id_conflict_policy == WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING
        )
