"""The processes that are measured, all on one Temporal server and all gone when the block ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path

import httpx
from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import GrpcCompression, RPCError

from innkeeper.gateway.process.data_dir import DataDir
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from innkeeper.gateway.process.supervisor import ChildSpec, Supervisor
from innkeeper.gateway.process.temporal_server import NAMESPACE, TemporalServer, free_port
from innkeeper.nodes.catalogue.plugins import load_catalogue
from innkeeper.nodes.services.blobs import FolderBlobs
from innkeeper.workflows.engine.graph_workflow import TASK_QUEUE
from tests.benchmarks import handwritten, recorded_hand
from tests.benchmarks.sides import EventsOff, EventsOn, Handwritten, Recorded, Side
from tests.signing import signing_client

HERE = Path(__file__).resolve().parent
PLUGINS = HERE / "plugins"
OFF_NAMESPACE = "events-off"
"""Our two workers poll queues of one name, so the one without a gateway gets a namespace of its own."""
READY_S = 60.0


@contextlib.asynccontextmanager
async def sides(folder: Path, *, gateway: bool) -> AsyncIterator[dict[str, Side]]:
    """Start everything below `folder`; gives the sides by name: `hand`, `off` and, with a gateway, `on` and `recorded`.

    Without a gateway the server runs alone, beside the two workers that need none.
    """
    async with contextlib.AsyncExitStack() as stack:
        url, ours = "", dict[str, int]()
        if gateway:
            whole = await stack.enter_async_context(LocalStack(StackOptions(folder / "data", plugins=(PLUGINS,))))
            address, url, ours = whole.temporal_address, whole.url, whole.pids()
            server = {"temporal": ours["temporal"]}
        else:
            address, server = await stack.enter_async_context(_server(folder / "data"))
        client = await _connect(address, NAMESPACE)
        off = signing_client(await _namespace(client, OFF_NAMESPACE), folder / "off")
        workers = pids_of(await stack.enter_async_context(children(folder, _workers(address, folder))))
        async with asyncio.timeout(READY_S):
            await polled(client, handwritten.TASK_QUEUE)
            await polled(off, TASK_QUEUE)
        found: dict[str, Side] = {
            "hand": Handwritten(client, {**server, "worker": workers["worker-handwritten"]}),
            "off": EventsOff(
                off,
                load_catalogue((PLUGINS,)),
                FolderBlobs(folder / "off" / "blobs"),
                {**server, "worker": workers["worker-off"]},
            ),
        }
        if gateway:
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, trust_env=False, timeout=60))
            found["on"] = EventsOn(client, http, ours)
            found["recorded"] = await _recorded(stack, folder, client, server)
        yield found


async def _recorded(
    stack: contextlib.AsyncExitStack, folder: Path, client: Client, server: Mapping[str, int]
) -> Recorded:
    """The recorder and its worker, until the stack closes."""
    address, port = client.service_client.config.target_host, free_port()
    python = (sys.executable, "-m", "tests.benchmarks.recorded_hand")
    specs = {
        "recorder": (*python, "recorder", address, NAMESPACE, str(port), str(folder / "recorded.db")),
        "worker": (*python, "worker", address, NAMESPACE, str(port)),
    }
    running = await stack.enter_async_context(
        children(folder, {name: ChildSpec(f"recorded-{name}", command) for name, command in specs.items()})
    )
    pids = {name: pids_of(running)[f"recorded-{name}"] for name in specs}
    async with asyncio.timeout(READY_S):
        await polled(client, recorded_hand.TASK_QUEUE)
    url = f"http://127.0.0.1:{port}"
    http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, trust_env=False, timeout=60))
    return Recorded(client, http, {**server, **pids})


@contextlib.asynccontextmanager
async def _server(folder: Path) -> AsyncIterator[tuple[str, dict[str, int]]]:
    """A Temporal server alone, with the flags and the file of the embedded one; gives its address and its process."""
    server = TemporalServer(DataDir.open(folder))
    async with children(server.logs, {"temporal": server.spec()}) as supervisor:
        async with asyncio.timeout(READY_S):
            await server.ready()
        yield server.address, pids_of(supervisor)


@contextlib.asynccontextmanager
async def children(logs: Path, specs: Mapping[str, ChildSpec]) -> AsyncIterator[Supervisor]:
    """Processes that run for as long as the block lasts, and end with us in whatever way we end."""
    supervisor = Supervisor(logs)
    try:
        await supervisor.start(list(specs.values()))
        yield supervisor
    finally:
        await supervisor.stop()


def pids_of(supervisor: Supervisor) -> dict[str, int]:
    """Process ids of the children that run now, by their names."""
    return {child.spec.name: child.pid for child in supervisor.children.values() if child.pid is not None}


def _workers(address: str, folder: Path) -> dict[str, ChildSpec]:
    # Somebody's own Temporal cluster must not be what is measured.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TEMPORAL_")}
    environment |= {
        "INNKEEPER_DATA_DIR": str(folder / "off"),
        "INNKEEPER_GATEWAY_URL": "",
        "INNKEEPER_TEMPORAL_ADDRESS": address,
        "INNKEEPER_TEMPORAL_EMBEDDED": "1",  # measured as the embedded form, which encrypts nothing
        "INNKEEPER_NAMESPACE": OFF_NAMESPACE,
        "INNKEEPER_PLUGINS": str(PLUGINS),
    }
    yardstick = (sys.executable, str(HERE / "handwritten.py"), address, NAMESPACE)
    return {
        "off": ChildSpec("worker-off", (sys.executable, "-P", "-m", "innkeeper.activities.worker"), environment),
        "hand": ChildSpec("worker-handwritten", yardstick),
    }


async def _connect(address: str, namespace: str) -> Client:
    return await Client.connect(address, namespace=namespace, grpc_compression=GrpcCompression.NONE)


async def _namespace(client: Client, name: str) -> Client:
    """A new namespace on the same server, and a client of it."""
    retention = Duration(seconds=int(timedelta(days=1).total_seconds()))
    request = RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=retention)
    await client.workflow_service.register_namespace(request)
    return await _connect(client.service_client.config.target_host, name)


async def polled(client: Client, queue: str) -> None:
    """Wait until a worker asks for the workflow tasks of a queue."""
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    while True:
        with contextlib.suppress(RPCError):  # the server learns of a new namespace within seconds
            if (await client.workflow_service.describe_task_queue(request)).pollers:
                return
        await asyncio.sleep(0.1)
