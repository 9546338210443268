"""A worker starts a run on the connection that it polls with, and is given the first task; nothing but runs."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.message import DecodeError
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

from innkeeper.activities.run_starter import RunStarter
from innkeeper.gateway.runs.start_request import StartRequests, send_start
from innkeeper.gateway.settings import Settings
from innkeeper.gateway.store.models import RunRow
from innkeeper.workflows.engine.all_workflows import RUN_TYPE
from innkeeper.workflows.engine.graph_workflow import GraphWorkflow
from innkeeper.workflows.payload_converter import DATA_CONVERTER
from innkeeper.workflows.plan import RunPlan
from tests.signing import signer_of

TIMED_OUT = EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT


@pytest.fixture
async def client(temporal: Client) -> Client:
    """A connection of the test's own: the first task is given to a worker of the same connection."""
    address = temporal.service_client.config.target_host
    return await Client.connect(address, namespace=temporal.namespace, data_converter=DATA_CONVERTER)


@pytest.fixture
def queue() -> str:
    return f"q-{uuid.uuid4().hex}"


async def request_of(client: Client, queue: str, folder: Path) -> StartWorkflowExecutionRequest:
    """The gateway's own request for a run without nodes."""
    row = RunRow(id=f"r-{uuid.uuid4().hex}", user_id="mara", paused=False, rerun=None, workflow_name="a name")
    requests = StartRequests(Settings(data_dir=folder, task_queue=queue, run_timeout_s=60), signer_of(folder))
    return await requests.build(client, row, RunPlan(()).encode(), has_search_attributes=True)


async def history(client: Client, run: str) -> list[HistoryEvent]:
    return [event async for event in client.get_workflow_handle(run).fetch_history_events()]


async def until_given(client: Client, queue: str, folder: Path, *, within: int = 20) -> str:
    """Start runs until the first task of one came with the answer: a worker has no slot for it before it polls."""
    starter = RunStarter(client, RUN_TYPE, queue)
    for _ in range(within):
        request = await request_of(client, queue, folder)
        assert await starter.start(request.workflow_id, request.SerializeToString())
        await client.get_workflow_handle(request.workflow_id).result()
        began = (await history(client, request.workflow_id))[0].workflow_execution_started_event_attributes
        if began.eager_execution_accepted:
            return request.workflow_id
        await asyncio.sleep(0.05)
    raise AssertionError("no first task came with the answer")


async def test_first_task_comes_with_the_answer_and_is_done(client: Client, queue: str, tmp_path: Path) -> None:
    async with Worker(client, task_queue=queue, workflows=[GraphWorkflow]):
        run = await until_given(client, queue, tmp_path)
    assert TIMED_OUT not in [event.event_type for event in await history(client, run)]


async def test_worker_without_a_free_slot_asks_for_no_task_and_none_is_lost(
    client: Client, queue: str, tmp_path: Path
) -> None:
    """Polls hold all of the few slots: the task goes the ordinary way, at once and not after its timeout."""
    async with Worker(client, task_queue=queue, workflows=[GraphWorkflow], max_concurrent_workflow_tasks=2):
        await asyncio.sleep(0.5)
        request = await request_of(client, queue, tmp_path)
        assert await RunStarter(client, RUN_TYPE, queue).start(request.workflow_id, request.SerializeToString())
        await client.get_workflow_handle(request.workflow_id).result()
    events = await history(client, request.workflow_id)
    assert not events[0].workflow_execution_started_event_attributes.eager_execution_accepted
    assert TIMED_OUT not in [event.event_type for event in events]


async def test_run_that_the_gateway_has_started_meanwhile_counts_as_started(
    client: Client, temporal: Client, queue: str, tmp_path: Path
) -> None:
    starter, request = RunStarter(client, RUN_TYPE, queue), await request_of(client, queue, tmp_path)
    run, data = request.workflow_id, request.SerializeToString()
    await send_start(temporal, request)
    assert await starter.start(run, data)
    await temporal.get_workflow_handle(run).terminate()
    assert await starter.start(run, data)
    events = await history(client, run)
    assert [event.event_type for event in events[-1:]] == [EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED]


ODD: dict[str, Callable[[StartWorkflowExecutionRequest], object]] = {
    "another type": lambda request: setattr(request.workflow_type, "name", "CallbackWorkflow"),
    "another queue": lambda request: setattr(request.task_queue, "name", "another"),
    "another kind of queue": lambda request: setattr(request.task_queue, "kind", 2),
    "another namespace": lambda request: setattr(request, "namespace", "another"),
    "another run": lambda request: setattr(request, "workflow_id", "another"),
    "a second run of the same id": lambda request: setattr(request, "workflow_id_reuse_policy", 1),
    "in place of a run": lambda request: setattr(request, "workflow_id_conflict_policy", 3),
    "again and again": lambda request: setattr(request, "cron_schedule", "* * * * *"),
    "a call to somebody": lambda request: request.completion_callbacks.add(),
    "memo": lambda request: request.memo.fields["a"].metadata.update(encoding=b"x"),
}


@pytest.mark.parametrize("change", ODD.values(), ids=ODD)
async def test_what_is_no_run_of_this_queue_is_not_started(
    client: Client, queue: str, tmp_path: Path, change: Callable[[StartWorkflowExecutionRequest], object]
) -> None:
    request = await request_of(client, queue, tmp_path)
    run = request.workflow_id
    change(request)
    assert not await RunStarter(client, RUN_TYPE, queue).start(run, request.SerializeToString())
    for id in (run, request.workflow_id):
        with pytest.raises(RPCError) as error:
            await client.get_workflow_handle(id).describe()
        assert error.value.status == RPCStatusCode.NOT_FOUND


async def test_bytes_that_are_no_request_are_refused(client: Client, queue: str) -> None:
    with pytest.raises(DecodeError):
        await RunStarter(client, RUN_TYPE, queue).start("r", b"\xff\xff\xff")
