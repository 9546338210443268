"""The request that starts a run is the SDK's own, field by field."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)

from innkeeper.gateway.runs.start_request import GRAPH_ID, TENANT_ID, StartRequests, send_start
from innkeeper.gateway.settings import Settings
from innkeeper.gateway.store.models import RunRow
from innkeeper.nodes.services.payload_keys import open_payload_keys
from innkeeper.workflows.engine.graph_workflow import RunStart
from innkeeper.workflows.payload_codec import EncryptionCodec, data_converter
from innkeeper.workflows.signing import HEADER, Origin, start_message
from tests.signing import signer_of, signing_client

PLAN = b"a plan"
QUEUE = "nobody-polls-it"


def row_of(**fields: object) -> RunRow:
    return RunRow(**{"id": f"r-{uuid.uuid4().hex}", "user_id": "mara", "paused": False, "rerun": None, **fields})


async def started(client: Client, run: str) -> HistoryEvent:
    async for event in client.get_workflow_handle(run).fetch_history_events():
        return event
    raise AssertionError("a workflow has a first event")


def same_for_each_run(event: HistoryEvent) -> HistoryEvent:
    """The event without what differs between two runs, and without the empty priority that the SDK sends along."""
    fields = event.workflow_execution_started_event_attributes
    del fields.header.fields[HEADER]
    assert not fields.priority.ListFields()
    for name in ("workflow_id", "original_execution_run_id", "first_execution_run_id", "priority"):
        fields.ClearField(name)  # type: ignore[arg-type]  # the names are fields
    fields.ClearField("workflow_execution_expiration_time")
    for name in ("event_time", "task_id"):
        event.ClearField(name)  # type: ignore[arg-type]
    return event


@pytest.mark.parametrize("run_timeout_s", [None, 90.0])
async def test_server_records_what_the_sdk_would_have_sent(
    temporal: Client, tmp_path: Path, run_timeout_s: float | None
) -> None:
    settings = Settings(data_dir=tmp_path, task_queue=QUEUE, run_timeout_s=run_timeout_s)
    signer = signer_of(tmp_path)
    row = row_of(workflow_id="w", workflow_name="n" * 150, paused=True)
    request = await StartRequests(settings, signer).build(temporal, row, PLAN, has_search_attributes=True)
    await send_start(temporal, request)
    ours, start = await started(temporal, row.id), RunStart(user_id="mara", paused=True)
    handle = await signing_client(temporal, tmp_path).start_workflow(
        "GraphWorkflow",
        args=[PLAN, start],
        id=f"sdk-{row.id}",
        task_queue=QUEUE,
        task_timeout=timedelta(seconds=5),
        execution_timeout=None if run_timeout_s is None else timedelta(seconds=run_timeout_s),
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        search_attributes=TypedSearchAttributes(
            [SearchAttributePair(TENANT_ID, "mara"), SearchAttributePair(GRAPH_ID, "w")]
        ),
        static_summary="n" * 100,
    )
    sdk = await started(temporal, handle.id)
    message, began_at = start_message(Origin(row.id), PLAN, start), datetime.now(UTC)
    signed = ours.workflow_execution_started_event_attributes.header.fields
    assert signer.is_genuine(signed, message, workflow_id=row.id, began_at=began_at)
    assert same_for_each_run(ours) == same_for_each_run(sdk)
    for run in (row.id, handle.id):
        await temporal.get_workflow_handle(run).terminate()


async def test_run_that_was_started_before_is_no_error_whether_it_goes_on_or_has_ended(
    temporal: Client, tmp_path: Path
) -> None:
    requests = StartRequests(Settings(data_dir=tmp_path, task_queue=QUEUE), signer_of(tmp_path))
    row = row_of()
    request = await requests.build(temporal, row, PLAN, has_search_attributes=False)
    await send_start(temporal, request)
    first = await temporal.get_workflow_handle(row.id).describe()
    await send_start(temporal, request)
    await temporal.get_workflow_handle(row.id).terminate()
    await send_start(temporal, request)
    last = await temporal.get_workflow_handle(row.id).describe()
    assert last.run_id == first.run_id


async def test_plan_and_name_are_encrypted_where_payloads_are(temporal: Client, tmp_path: Path) -> None:
    keys = open_payload_keys(tmp_path, b"k" * 32, encrypts=True, may_create=True)
    assert keys is not None
    config = temporal.config()
    config["data_converter"] = data_converter(EncryptionCodec(keys))
    requests = StartRequests(Settings(data_dir=tmp_path), signer_of(tmp_path))
    request = await requests.build(Client(**config), row_of(workflow_name="a name"), PLAN, has_search_attributes=True)
    assert PLAN not in request.SerializeToString()
    assert b"a name" not in request.SerializeToString()
