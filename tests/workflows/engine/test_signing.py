"""A worker with keys runs what the gateway asked for, and nothing that a stranger sends through Temporal's port."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import (
    Client,
    Interceptor,
    OutboundInterceptor,
    StartWorkflowInput,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateFailedError,
)
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.service import RPCError
from temporalio.worker import Interceptor as WorkerInterceptor
from temporalio.worker import StartActivityInput, UnsandboxedWorkflowRunner, Worker, WorkflowInboundInterceptor
from temporalio.worker import WorkflowOutboundInterceptor as WorkflowOutbound

from innkeeper.gateway.runs.signing_client import SigningClient
from innkeeper.nodes.call import EXECUTE_NODE
from innkeeper.nodes.node import NodeContext
from innkeeper.nodes.services.key_ring import RECHECK_S
from innkeeper.nodes.services.signing_keys import (
    SIGNING_FILE,
    SigningKeys,
    add_signing_key,
    create_signing_keys,
)
from innkeeper.workflows.engine import activation
from innkeeper.workflows.engine.graph_workflow import RunStart
from innkeeper.workflows.engine.signature_check import install_signer
from innkeeper.workflows.plan import RunPlan
from innkeeper.workflows.signing import HEADER, Signer
from tests.workflows.engine.test_control_runs import REFERENCE, Bench, echo, until_waiting, wait
from tests.workflows.replaying import replay
from tests.workflows.toy_graphs import document
from tests.workflows.toy_graphs import node as typed
from tests.workflows.toys import Toys, ToyWorker, node, toy_worker, until_called

SECRET = b"s" * 32
Handle = WorkflowHandle[Any, dict[str, Any]]


@pytest.fixture
def toys() -> Toys:
    return Toys()


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / SIGNING_FILE
    create_signing_keys(path, SECRET, ())
    return path


@pytest.fixture
def signer(keys: Path) -> Iterator[Signer]:
    """What this process signs and checks with; the tests themselves only sign through `owner`."""
    signer = Signer(SigningKeys(keys, SECRET))
    install_signer(signer)
    yield signer
    install_signer(None)


def client_with(client: Client, *interceptors: Interceptor) -> Client:
    config = client.config()
    config["interceptors"] = interceptors
    return Client(**config)


@pytest.fixture
def owner(temporal: Client, signer: Signer) -> Client:
    """Signs, as the gateway does."""
    return client_with(temporal, SigningClient(signer))


@pytest.fixture
async def worker(temporal: Client, signer: Signer, toys: Toys, tmp_path: Path) -> AsyncIterator[ToyWorker]:
    async with toy_worker(temporal, toys, tmp_path) as worker:
        yield worker


async def start(client: Client, worker: ToyWorker, *nodes: Any, run: str = "", **start: Any) -> Handle:
    return await client.start_workflow(
        "GraphWorkflow",
        args=[RunPlan(nodes).encode(), RunStart(**start)],
        id=run or f"r-{uuid.uuid4()}",
        task_queue=worker.queue,
        task_timeout=timedelta(seconds=5),
    )


async def code_of(work: Awaitable[Any]) -> str | None:
    """The code that a run fails with."""
    with pytest.raises(WorkflowFailureError) as failed:
        async with asyncio.timeout(30):
            await work
    assert isinstance(failed.value.cause, ApplicationError)
    return failed.value.cause.type


# --- what is ours ---------------------------------------------------------------------------------------------------


async def test_groups_and_continued_histories_are_signed_by_the_worker(
    owner: Client, worker: ToyWorker, toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activation, "DRAIN_EVENTS", 40)
    bench = Bench(worker, toys, owner)
    names = [f"c{index}" for index in range(20)]
    inner = [echo(name) for name in names]
    bench.library["inner"] = document(inner, *(f"{before}.out -> {after}.value" for before, after in pairwise(names)))
    plan = bench.compile([typed("g", "core:NodeGroup", configValues={REFERENCE: "inner"})])
    handle = await owner.start_workflow(
        "GraphWorkflow",
        args=[plan.encode(), RunStart()],
        id=f"r-{uuid.uuid4()}",
        task_queue=worker.queue,
        task_timeout=timedelta(seconds=5),
    )
    async with asyncio.timeout(60):
        result = await handle.result()
    assert result["status"] == "complete"
    assert sorted(toys.calls) == sorted(f"g/{name}" for name in names)
    last = await owner.get_workflow_handle(f"{handle.id}/g").fetch_history()
    assert last.events[0].workflow_execution_started_event_attributes.continued_execution_run_id


async def test_a_history_replays_with_other_keys(owner: Client, worker: ToyWorker, keys: Path) -> None:
    handle = await start(owner, worker, node("a"), node("b", "echo", "a"))
    await handle.result()
    add_signing_key(keys)  # so what a replay signs differs
    await replay(await handle.fetch_history())


async def test_a_key_that_is_added_signs_and_the_old_one_still_counts(
    owner: Client, worker: ToyWorker, keys: Path, toys: Toys
) -> None:
    before = await start(owner, worker, node("w", "sleep"))
    await until_called(toys, "w")
    assert add_signing_key(keys) == 2
    assert (await (await start(owner, worker, node("a"))).result())["status"] == "complete"
    await before.cancel()
    assert (await before.result())["status"] == "interrupted"


async def test_a_run_with_an_unknown_key_waits_until_the_key_is_there(
    owner: Client, worker: ToyWorker, keys: Path, toys: Toys
) -> None:
    right = keys.read_bytes()
    keys.unlink()
    create_signing_keys(keys, SECRET, ())
    wrong = keys.read_bytes()
    keys.write_bytes(right)
    starting = await start(owner, ToyWorkerQueue(f"q-{uuid.uuid4()}"), node("a"))  # type: ignore[arg-type]
    keys.write_bytes(wrong)
    await asyncio.sleep(RECHECK_S)
    other = ToyWorker(worker.client, toys, keys.parent, (await starting.describe()).task_queue)
    async with other.worker:
        await asyncio.sleep(1)
        assert toys.calls == []
        assert (await starting.describe()).close_time is None
        keys.write_bytes(right)
        async with asyncio.timeout(40):
            assert (await starting.result())["status"] == "complete"


class ToyWorkerQueue:
    def __init__(self, queue: str) -> None:
        self.queue = queue


# --- starts by others -----------------------------------------------------------------------------------------------


async def test_an_unsigned_start_fails_at_once_and_runs_nothing(
    temporal: Client, worker: ToyWorker, toys: Toys
) -> None:
    handle = await start(temporal, worker, node("a"))
    assert await code_of(handle.result()) == "not_started_here"
    assert toys.calls == []
    assert (await handle.query("status"))["nodes"] == {}
    # Not even decoded.
    broken = await temporal.start_workflow(
        "GraphWorkflow", args=[b"no plan", RunStart()], id=f"r-{uuid.uuid4()}", task_queue=worker.queue
    )
    assert await code_of(broken.result()) == "not_started_here"


class Copying(Interceptor):
    """Starts everything with headers that were seen in a history."""

    def __init__(self, headers: dict[str, Any]) -> None:
        self._headers = headers

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        headers = self._headers

        class Outbound(OutboundInterceptor):
            async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
                return await super().start_workflow(replace(input, headers=headers))

        return Outbound(next)


@pytest.mark.parametrize("changed", ["id", "plan", "user", "mac", "no_ascii"])
async def test_a_signature_from_a_history_is_worth_nothing_elsewhere(
    temporal: Client, owner: Client, worker: ToyWorker, toys: Toys, changed: str
) -> None:
    handle = await start(owner, worker, node("a"))
    await handle.result()
    begun = (await handle.fetch_history()).events[0].workflow_execution_started_event_attributes
    headers = dict(begun.header.fields)
    if changed in ("mac", "no_ascii"):
        data = headers[HEADER].data
        headers[HEADER].data = data[:-1] + (b"\xff" if changed == "no_ascii" else b"0" if data[-1:] != b"0" else b"1")
    stranger = client_with(temporal, Copying(headers))
    nodes = [node("b" if changed == "plan" else "a")]
    user = {"user_id": "somebody"} if changed == "user" else {}
    forged = await start(stranger, worker, *nodes, run=f"r-{uuid.uuid4()}" if changed == "id" else handle.id, **user)
    assert await code_of(forged.result()) == "not_started_here"
    assert toys.calls == ["a"]


async def test_a_groups_start_cannot_be_repeated_as_a_run_of_its_own(
    temporal: Client, owner: Client, worker: ToyWorker, toys: Toys
) -> None:
    bench = Bench(worker, toys, owner)
    bench.library["inner"] = document([echo("x")])
    plan = bench.compile([typed("g", "core:NodeGroup", configValues={REFERENCE: "inner"})])
    run = f"r-{uuid.uuid4()}"
    handle = await owner.start_workflow(
        "GraphWorkflow", args=[plan.encode(), RunStart()], id=run, task_queue=worker.queue
    )
    await handle.result()
    child = temporal.get_workflow_handle(f"{run}/g")
    begun = (await child.fetch_history()).events[0].workflow_execution_started_event_attributes
    args = await temporal.data_converter.decode(begun.input.payloads, [bytes, RunStart])
    stranger = client_with(temporal, Copying(dict(begun.header.fields)))
    forged: Handle = await stranger.start_workflow(
        "GraphWorkflow", args=args, id=child.id, task_queue=worker.queue, result_type=dict
    )
    assert await code_of(forged.result()) == "not_started_here"
    assert toys.calls == ["g/x"]


# --- activities by others -------------------------------------------------------------------------------------------

_header: dict[str, Any] = {}


class _WithHeader(WorkerInterceptor):
    def workflow_interceptor_class(self, input: Any) -> type[WorkflowInboundInterceptor]:
        class Outbound(WorkflowOutbound):
            def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
                return super().start_activity(replace(input, headers=dict(_header)))

        class Inbound(WorkflowInboundInterceptor):
            def init(self, outbound: WorkflowOutbound) -> None:
                super().init(Outbound(outbound))

        return Inbound


@workflow.defn(name="GraphWorkflow", sandboxed=False)
class Thief:
    """A workflow of a stranger, of the same name, on a queue of his own: schedules an activity on ours."""

    @workflow.run
    async def run(self, queue: str, name: str, arg: Any) -> Any:
        return await workflow.execute_activity(
            name,
            arg,
            task_queue=queue,
            start_to_close_timeout=timedelta(seconds=10),
            retry_policy=RetryPolicy(maximum_attempts=2),
        )


@asynccontextmanager
async def thief(client: Client) -> AsyncIterator[str]:
    queue = f"thief-{uuid.uuid4()}"
    async with Worker(
        client,
        task_queue=queue,
        workflows=[Thief],
        interceptors=[_WithHeader()],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        yield queue


async def refused_activity(handle: Handle) -> str | None:
    with pytest.raises(WorkflowFailureError) as failed:
        await handle.result()
    assert isinstance(failed.value.cause, ActivityError)
    assert isinstance(failed.value.cause.cause, ApplicationError)
    return failed.value.cause.cause.type


async def scheduled(handle: Handle) -> Any:
    """The first activity that a run has scheduled."""
    events = (await handle.fetch_history()).events
    return next(
        event.activity_task_scheduled_event_attributes
        for event in events
        if event.HasField("activity_task_scheduled_event_attributes")
    )


async def test_another_workflow_cannot_have_our_activities_run(
    temporal: Client, owner: Client, worker: ToyWorker, toys: Toys
) -> None:
    handle = await start(owner, worker, node("a"))
    await handle.result()
    genuine = await scheduled(handle)
    call = (await temporal.data_converter.decode(genuine.input.payloads))[0]
    async with thief(temporal) as queue:
        for headers, run in (({}, ""), (genuine.header.fields, ""), (genuine.header.fields, handle.id)):
            _header.clear()
            _header.update(headers)
            forged: Handle = await temporal.start_workflow(
                "GraphWorkflow",
                args=[worker.queue, EXECUTE_NODE, call],
                id=run or f"r-{uuid.uuid4()}",
                task_queue=queue,
            )
            assert await refused_activity(forged) == "not_signed"
    assert toys.calls == ["a"]


async def test_another_workflow_cannot_read_stored_values(temporal: Client, worker: ToyWorker) -> None:
    ref = await worker.values.store(b'"a story"', "application/json", "")
    async with thief(temporal) as queue:
        _header.clear()
        forged: Handle = await temporal.start_workflow(
            "GraphWorkflow", args=[worker.queue, "load_value", ref], id=f"r-{uuid.uuid4()}", task_queue=queue
        )
        assert await refused_activity(forged) == "not_signed"


# --- signals and updates by others ----------------------------------------------------------------------------------


async def test_only_the_gateway_can_answer_signal_and_pause(
    temporal: Client, owner: Client, worker: ToyWorker, toys: Toys
) -> None:
    bench = Bench(ToyWorkerOf(worker, owner), toys, owner)  # type: ignore[arg-type]
    handle = await bench.start([wait("ask", "Approval"), wait("hear", "WaitForEvent", name="go")])
    await until_waiting(handle, 2)
    strange = temporal.get_workflow_handle(handle.id)
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await strange.execute_update("answer", args=["ask", {"approved": True}])
    assert isinstance(refused.value.cause, ApplicationError)
    assert refused.value.cause.type == "not_signed"
    await strange.signal("event", args=["go", {"n": 666}])
    await strange.signal("pause", True)
    page: Any = await strange.query("status")
    assert page["status"] == "running"
    assert page["counts"] == {"waiting": 2}
    ours = owner.get_workflow_handle(handle.id)
    await ours.execute_update("answer", args=["ask", {"approved": True}])
    await ours.signal("event", args=["go", {"n": 1}])
    async with asyncio.timeout(30):
        result = await handle.result()
    assert result["counts"] == {"complete": 2}


class ToyWorkerOf:
    """Starts with another client on a worker's queue."""

    def __init__(self, worker: ToyWorker, client: Client) -> None:
        self._worker = worker
        self._client = client

    async def start(self, *nodes: Any, **plan: Any) -> Handle:
        return await self._client.start_workflow(
            "GraphWorkflow",
            args=[RunPlan(nodes, **plan).encode(), RunStart()],
            id=f"r-{uuid.uuid4()}",
            task_queue=self._worker.queue,
        )


# --- runs from before -----------------------------------------------------------------------------------------------


async def test_a_run_from_before_signatures_goes_on_with_its_groups_and_activities(
    temporal: Client, toys: Toys, tmp_path: Path
) -> None:
    async def once(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        toys.calls.append(context.node_id)
        if toys.calls == ["a"]:
            await asyncio.sleep(30)
        return {"out": 1}

    toys.add("once", once)
    before = ToyWorker(temporal, toys, tmp_path)
    bench = Bench(before, toys, temporal)
    bench.library["inner"] = document([wait("hear", "WaitForEvent", name="go"), echo("b")], "hear.data > b.value")
    group = typed("g", "core:NodeGroup", configValues={REFERENCE: "inner"})
    async with before.worker:
        handle = await bench.start([group, typed("a", "once")])
        await until_called(toys, "a")
        await until_waiting(await child_of(temporal, handle, "g"))
    keys = tmp_path / SIGNING_FILE
    create_signing_keys(keys, SECRET, [handle.id])
    signer = Signer(SigningKeys(keys, SECRET))
    install_signer(signer)
    try:
        async with ToyWorker(temporal, toys, tmp_path, before.queue).worker, asyncio.timeout(60):
            owner = client_with(temporal, SigningClient(signer))
            await owner.get_workflow_handle(handle.id).signal("event", args=["go", 1])
            result = await handle.result()
    finally:
        install_signer(None)
    assert result["status"] == "complete"
    assert sorted(toys.calls) == ["a", "a", "g/b"]


async def child_of(client: Client, handle: Handle, path: str) -> Handle:
    """The workflow of a group, as soon as there is one."""
    child = client.get_workflow_handle(f"{handle.id}/{path}", result_type=dict)
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(RPCError):
                await child.describe()
                return child
            await asyncio.sleep(0.05)
