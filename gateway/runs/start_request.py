"""The request that starts a run, whoever sends it: the gateway, or a worker that is asked to."""

from __future__ import annotations

import uuid
from datetime import timedelta

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import WorkflowIdConflictPolicy, WorkflowIdReusePolicy
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.converter import encode_search_attributes
from temporalio.service import RPCError, RPCStatusCode

from innkeeper.gateway.runs.reruns import is_uncached, seeds_of
from innkeeper.gateway.settings import Settings
from innkeeper.gateway.store.models import RunRow
from innkeeper.workflows.engine.all_workflows import RUN_TYPE
from innkeeper.workflows.engine.graph_workflow import RunStart
from innkeeper.workflows.signing import Origin, Signer, start_message

TASK_TIMEOUT = timedelta(seconds=5)
START_TIMEOUT = timedelta(seconds=10)
"""Others wait for their turn meanwhile. Who asks again finds what has started."""
GRAPH_ID = SearchAttributeKey.for_keyword("GraphId")
TENANT_ID = SearchAttributeKey.for_keyword("TenantId")
MAX_SUMMARY_CHARS = 100


class StartRequests:
    """Makes the requests that start runs.

    Args:
        signer: Workers run only what it has signed.
    """

    def __init__(self, settings: Settings, signer: Signer) -> None:
        self._settings = settings
        self._signer = signer

    async def build(
        self, client: Client, row: RunRow, plan: bytes, *, has_search_attributes: bool
    ) -> StartWorkflowExecutionRequest:
        """What `Client.start_workflow` would send, but for the sender's identity and the id of the request."""
        start = _start_of(row)
        limit_s, summary = self._settings.run_timeout_s, (row.workflow_name or "")[:MAX_SUMMARY_CHARS]
        request = StartWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_id=row.id,
            workflow_id_reuse_policy=WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
            workflow_id_conflict_policy=WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
        )
        request.workflow_task_timeout.FromTimedelta(TASK_TIMEOUT)
        if limit_s is not None:
            request.workflow_execution_timeout.FromTimedelta(timedelta(seconds=limit_s))
        request.workflow_type.name = RUN_TYPE
        request.task_queue.name = self._settings.task_queue
        request.input.payloads.extend(await client.data_converter.encode([plan, start]))
        if summary:
            request.user_metadata.summary.CopyFrom((await client.data_converter.encode([summary]))[0])
        if has_search_attributes:
            encode_search_attributes(_search_attributes(row), request.search_attributes)
        for name, payload in self._signature(row.id, plan, start).items():
            request.header.fields[name].CopyFrom(payload)
        return request

    def _signature(self, run: str, plan: bytes, start: RunStart) -> dict[str, Payload]:
        return self._signer.signed({}, start_message(Origin(run), plan, start))


async def send_start(client: Client, request: StartWorkflowExecutionRequest) -> None:
    """Start a run, unless it is there. Raises RPCError."""
    request.identity, request.request_id = client.identity, str(uuid.uuid4())
    try:
        await client.workflow_service.start_workflow_execution(request, retry=True, timeout=START_TIMEOUT)
    except RPCError as error:
        # An earlier process may have been killed between starting the run and writing that down.
        if error.status != RPCStatusCode.ALREADY_EXISTS:
            raise


def _start_of(row: RunRow) -> RunStart:
    return RunStart(
        user_id=row.user_id,
        state_refs=list(seeds_of(row)),
        paused=bool(row.paused),
        no_cache=is_uncached(row),
    )


def _search_attributes(row: RunRow) -> TypedSearchAttributes:
    pairs: list[SearchAttributePair[str]] = [SearchAttributePair(TENANT_ID, row.user_id)]
    if row.workflow_id:
        pairs.append(SearchAttributePair(GRAPH_ID, row.workflow_id))
    return TypedSearchAttributes(pairs)
