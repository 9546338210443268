"""`innkeeper replay`: histories of runs, replayed with the code that is installed."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowHistory
from temporalio.worker import Worker

from innkeeper.gateway.process.replay_check import (
    HistoryUnreadable,
    check,
    histories_in,
    histories_since,
    read_history,
    signing_as,
)
from innkeeper.gateway.runs.signing_client import SigningClient
from innkeeper.nodes.services.payload_keys import open_payload_keys
from innkeeper.nodes.services.secrets import load_or_create_key
from innkeeper.workflows.engine.graph_workflow import GraphWorkflow, RunStart
from innkeeper.workflows.engine.interpreter import Interpreter
from innkeeper.workflows.engine.signature_check import install_signer
from innkeeper.workflows.engine.signing_interceptors import SigningInterceptor
from innkeeper.workflows.payload_codec import EncryptionCodec, data_converter
from innkeeper.workflows.plan import RunPlan
from tests.histories.shapes import control
from tests.signing import signer_of

HISTORIES = Path(__file__).parents[2] / "histories"
FILES = [HISTORIES / f"{name}.json" for name in ("chain", "approval", "for_each")]


async def test_recorded_histories_replay_with_the_installed_code() -> None:
    report = await check(histories_in(FILES), limit=10)
    assert (report.replayed, report.broken, report.more) == (3, [], False)


async def test_changed_interpreter_is_reported_with_run_and_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    order = Interpreter.run

    async def changed(self: Interpreter) -> None:
        from temporalio import workflow

        await workflow.sleep(1)  # a timer that no history knows
        await order(self)

    monkeypatch.setattr(Interpreter, "run", changed)
    report = await check(histories_in(FILES[:2]), limit=10)
    assert [found.workflow_id for found in report.broken] == [read_history(file).workflow_id for file in FILES[:2]]
    assert all("ondeterminism" in found.reason and "TMPRL" not in found.reason for found in report.broken)


async def test_histories_of_schedules_are_known_too() -> None:
    files = sorted(HISTORIES.glob("launcher*.json"))
    assert len(files) == 3
    report = await check(histories_in(files), limit=10)
    assert (report.replayed, report.broken) == (3, [])


async def test_check_is_bounded_and_says_that_there_is_more() -> None:
    report = await check(histories_in(FILES), limit=2)
    assert (report.replayed, report.more) == (2, True)


@pytest.mark.parametrize("content", ["", "{}", '{"events": []}', "[1]", '{"events": [{"eventId": "1"}]}'])
async def test_file_without_a_history_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "h.json").write_text(content)
    with pytest.raises(HistoryUnreadable, match="temporal workflow show"):
        read_history(tmp_path / "h.json")
    with pytest.raises(HistoryUnreadable, match="cannot be read: No such file"):
        read_history(tmp_path / "none.json")


async def test_runs_of_a_server_are_replayed_encrypted_and_signed(temporal: Client, tmp_path: Path) -> None:
    """As they are on a server of one's own; without the keys each is told as unreadable, not as changed."""
    secret = load_or_create_key(tmp_path, {})
    keys = open_payload_keys(tmp_path, secret, encrypts=True, may_create=True)
    assert keys is not None
    codec = EncryptionCodec(keys)
    client = await Client.connect(
        temporal.service_client.config.target_host,
        namespace=temporal.namespace,
        data_converter=data_converter(codec),
        interceptors=[SigningClient(signer_of(tmp_path))],
    )
    queue, run = f"q-{uuid.uuid4()}", f"r-{uuid.uuid4()}"
    plan = RunPlan((control("wait", "Delay", inputs={"seconds": 0.1}),)).encode()
    install_signer(signer_of(tmp_path))
    try:
        async with Worker(client, task_queue=queue, workflows=[GraphWorkflow], interceptors=[SigningInterceptor()]):
            await client.execute_workflow("GraphWorkflow", args=[plan, RunStart("user")], id=run, task_queue=queue)
    finally:
        install_signer(None)

    async def ours(histories: AsyncIterator[WorkflowHistory]) -> AsyncIterator[WorkflowHistory]:
        async for history in histories:
            if history.workflow_id == run:
                yield history

    with signing_as(tmp_path, {}):
        report = await check(ours(histories_since(client, timedelta(minutes=5))), codec, limit=10_000)
    assert (report.replayed, report.broken) == (1, [])

    unreadable = await check(ours(histories_since(client, timedelta(minutes=5))), limit=10_000)
    assert [found.workflow_id for found in unreadable.broken] == [run]
    assert "ondeterminism" not in json.dumps(unreadable.to_json())
