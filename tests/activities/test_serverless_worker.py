"""The worker as a function: real invocations, with a context as AWS Lambda gives it, against a real Temporal server."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.workflowservice.v1 import SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError
from temporalio.worker import Worker

from innkeeper.activities.engine_activities import EngineActivities
from innkeeper.activities.execution.values import Values
from innkeeper.activities.serverless_worker import CLOSING_S, function_handler
from innkeeper.nodes.call import SERVERLESS_QUEUE
from innkeeper.nodes.services.blobs import FolderBlobs
from innkeeper.workflows.engine.graph_workflow import GraphWorkflow, RunStart
from innkeeper.workflows.engine.signature_check import install_signer
from innkeeper.workflows.engine.signing_interceptors import SigningInterceptor
from innkeeper.workflows.plan import InterfaceOutput, PlannedInput, PlannedNode, PlannedOutput, RunPlan
from tests.signing import signer_of, signing_client

PLUGIN = """
import asyncio

from innkeeper.nodes.definition import Input, NodeDefinition, Output


async def work(inputs, context):
    await asyncio.sleep(inputs.get("seconds") or 0)
    return {"out": "x" * int(inputs.get("size") or 1)}


definition = NodeDefinition(
    type="Work", category="test", display_name="Work", description="Works.", serverless=True,
    inputs={"seconds": Input("FLOAT"), "size": Input("INTEGER"), "text": Input("STRING")},
    outputs={"out": Output("STRING")}, execute=work,
)
"""
MANIFEST = "name: toys\ndisplayName: Toys\nversion: 1.0.0\nnodes:\n  entry: nodes\n"
ATTEMPT_S = 3.0
SERVERLESS = Path(__file__).parents[2] / "deploy" / "serverless"


class Context:
    """What Lambda hands to a handler, of an invocation that has `seconds`."""

    aws_request_id = "request"
    invoked_function_arn = "arn:aws:lambda:eu-central-1:1:function:innkeeper"

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(1000 * (self._end - time.monotonic()))


def planned(**inputs: Any) -> RunPlan:
    node = PlannedNode(
        "n",  # type: ignore[arg-type]
        "toys:Work",
        queue=SERVERLESS_QUEUE,
        inputs={key: PlannedInput(value=value, has_value=True) for key, value in inputs.items()},  # type: ignore[misc]
        outputs={"out": PlannedOutput()},  # type: ignore[dict-item]
        timeout_s=ATTEMPT_S,
    )
    return RunPlan((node,), interface_outputs={"out": InterfaceOutput("n", "out")})  # type: ignore[arg-type]


@pytest.fixture
def environ(temporal: Client, tmp_path: Path) -> dict[str, str]:
    """The variables of a function that has the gateway's keys, and no folder in common with it."""
    gateway, function = tmp_path / "gateway", tmp_path / "function"
    signer_of(gateway)
    function.mkdir(mode=0o700)
    for name in ("secret.key", "signing.json"):
        (function / name).write_bytes((gateway / name).read_bytes())
    plugin = tmp_path / "plugins" / "toys"
    (plugin / "nodes").mkdir(parents=True)
    (plugin / "plugin.yaml").write_text(MANIFEST)
    (plugin / "nodes" / "work.py").write_text(PLUGIN)
    return {
        "INNKEEPER_TEMPORAL_ADDRESS": temporal.service_client.config.target_host,
        "INNKEEPER_NAMESPACE": temporal.namespace,
        "INNKEEPER_PAYLOAD_ENCRYPTION": "off",  # clients of these tests have no keys
        "INNKEEPER_DATA_DIR": str(function),
        "INNKEEPER_PLUGINS": str(tmp_path / "plugins"),
        "INNKEEPER_DEPLOYMENT": f"functions-{uuid.uuid4().hex[:8]}",
        "INNKEEPER_BUILD_ID": "one",
        "INNKEEPER_TEMPORAL_EMBEDDED": "1",  # nothing is encrypted there
    }


@pytest.fixture
async def start(temporal: Client, tmp_path: Path) -> AsyncIterator[Callable[[RunPlan], Any]]:
    """Starts a run, whose workflow has a worker of the usual kind."""
    client, queue = signing_client(temporal, tmp_path / "gateway"), f"q-{uuid.uuid4().hex}"
    engine = EngineActivities(Values(FolderBlobs(tmp_path / "gateway" / "blobs")), client)
    worker = Worker(
        client,
        task_queue=queue,
        workflows=[GraphWorkflow],
        activities=engine.activities(),
        interceptors=[SigningInterceptor()],
    )

    async def start(plan: RunPlan) -> WorkflowHandle[Any, dict[str, Any]]:
        args = [plan.encode(), RunStart()]
        return await client.start_workflow(
            "GraphWorkflow", args=args, id=f"r-{uuid.uuid4()}", task_queue=queue, task_timeout=timedelta(seconds=5)
        )

    install_signer(signer_of(tmp_path / "gateway"))
    async with worker:
        yield start
    install_signer(None)


async def make_current(temporal: Client, environ: dict[str, str]) -> None:
    """Tell Temporal that this build gets work from now on; it must have polled once."""
    name = environ["INNKEEPER_DEPLOYMENT"]
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace=temporal.namespace, deployment_name=name, build_id="one", identity="test"
    )
    async with asyncio.timeout(20):
        while True:
            try:
                await temporal.workflow_service.set_worker_deployment_current_version(request)
                return
            except RPCError:
                await asyncio.sleep(0.2)


async def invoked(environ: dict[str, str], work_s: float = 6.0) -> None:
    """One invocation that takes work for so long."""
    handler = function_handler(environ, attempt_s=ATTEMPT_S)
    await asyncio.to_thread(handler, {}, Context(work_s + ATTEMPT_S + CLOSING_S))


async def test_function_completes_a_node_that_fits(
    temporal: Client, environ: dict[str, str], start: Callable[[RunPlan], Any]
) -> None:
    run = await start(planned(seconds=0.1, size=20_000))
    await asyncio.gather(invoked(environ), make_current(temporal, environ))
    result = await run.result()
    assert result["status"] == "complete"
    assert result["outputs"]["out"] == "x" * 20_000  # over what is stored elsewhere


async def test_node_that_begins_late_ends_before_its_invocation_does(
    temporal: Client, environ: dict[str, str], start: Callable[[RunPlan], Any]
) -> None:
    async def late() -> WorkflowHandle[Any, dict[str, Any]]:
        await make_current(temporal, environ)
        return await start(planned(seconds=ATTEMPT_S - 1.0))

    _, run = await asyncio.gather(invoked(environ, work_s=2.0), late())
    result = await run.result()
    assert result["status"] == "complete"
    history = [event async for event in run.fetch_history_events()]
    began = [event for event in history if event.HasField("activity_task_started_event_attributes")]
    assert [event.activity_task_started_event_attributes.attempt for event in began] == [1]


async def test_output_that_would_have_to_be_stored_fails_the_node_and_says_what_to_do(
    temporal: Client, environ: dict[str, str], start: Callable[[RunPlan], Any]
) -> None:
    run = await start(planned(size=70_000))
    await asyncio.gather(invoked(environ), make_current(temporal, environ))
    result = await run.result()
    error = result["nodes"]["n"]["error"]
    assert error["code"] == "value_too_large"
    assert "remove 'queue' from the node" in error["message"]


def test_invocation_that_is_too_short_for_one_attempt_is_refused(environ: dict[str, str]) -> None:
    handler = function_handler(environ, attempt_s=60.0)
    try:
        with pytest.raises(RuntimeError, match="too short"):
            handler({}, Context(30.0))
    finally:
        install_signer(None)


def test_entry_point_lays_out_the_keys_and_hides_them(tmp_path: Path) -> None:
    code = "import os, handler; print(callable(handler.handler), 'KEY_FILES' in os.environ)"
    env = {key: value for key, value in os.environ.items() if not key.startswith("INNKEEPER_")}
    env |= {"KEY_FILES": '{"signing.json": "{}", "../outside": "x"}', "INNKEEPER_SECRET_KEY": "k" * 32}
    env |= {"INNKEEPER_DATA_DIR": str(tmp_path / "data"), "PYTHONPATH": str(SERVERLESS / "aws-lambda")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["True", "False"], done.stderr
    assert (tmp_path / "data" / "signing.json").stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in tmp_path.rglob("outside")) == ["outside"]
    assert (tmp_path / "data" / "outside").exists()  # a name leads nowhere else


async def test_pool_serves_until_it_is_told_to_stop(
    temporal: Client, environ: dict[str, str], start: Callable[[RunPlan], Any]
) -> None:
    command = [sys.executable, str(SERVERLESS / "cloud-run" / "pool.py")]
    pool = await asyncio.create_subprocess_exec(*command, env={**os.environ, **environ})
    try:
        run = await start(planned(seconds=0.1))
        await make_current(temporal, environ)
        async with asyncio.timeout(60):
            result = await run.result()
        assert result["status"] == "complete"
        pool.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            assert await pool.wait() == 0
    finally:
        if pool.returncode is None:
            pool.kill()
