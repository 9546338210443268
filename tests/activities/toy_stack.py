"""A worker of a test's own: toy nodes, the real workflow and activities, a real socket to the test's gateway."""

from __future__ import annotations

import asyncio
import inspect
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from innkeeper.activities.engine_activities import EngineActivities
from innkeeper.activities.execution.execute_node import ExecuteNode
from innkeeper.activities.execution.execute_segment import ExecuteSegment
from innkeeper.activities.execution.values import Values
from innkeeper.activities.link.gateway_link import GatewayLink
from innkeeper.activities.placement.node_host import NodeHost
from innkeeper.activities.services import RunSecrets
from innkeeper.nodes.definition import Input, NodeDefinition, Output
from innkeeper.nodes.node import NodeContext, Services
from innkeeper.nodes.services.blobs import FolderBlobs
from innkeeper.nodes.services.llm.call_gate import CallOrigin
from innkeeper.nodes.services.secrets import SecretStore, UserSecrets
from innkeeper.workflows.engine.graph_workflow import GraphWorkflow, RunStart
from innkeeper.workflows.payload_converter import DATA_CONVERTER
from innkeeper.workflows.plan import PlannedNode, PlannedOutput, RunPlan
from tests.activities.fake_gateway import TOKEN, FakeGateway

Execute = Callable[[dict[str, Any], NodeContext], Any]
USER = "default_user"


@dataclass
class Toys:
    """A catalogue of toy node types. `calls` holds the attempt of every execution, by node.

    `file_path`: where those that are added from now on come from; a plugin's run off the worker's loop.
    """

    file_path: str | None = None
    definitions: dict[str, NodeDefinition] = field(default_factory=dict)
    calls: dict[str, list[int]] = field(default_factory=dict)

    def add(
        self,
        name: str,
        execute: Execute,
        inputs: Mapping[str, Input] | None = None,
        *,
        outputs: Iterable[str] = ("out",),
    ) -> None:
        """`outputs`: those beside the stream `live`."""

        def count(context: NodeContext) -> None:
            self.calls.setdefault(context.node_id, []).append(context.attempt)

        async def counted(given: dict[str, Any], context: NodeContext) -> Any:
            count(context)
            return await execute(given, context)

        async def counted_stream(given: dict[str, Any], context: NodeContext) -> AsyncIterator[Any]:
            count(context)
            async with aclosing(execute(given, context)) as items:
                async for item in items:
                    yield item

        self.definitions[f"toy:{name}"] = NodeDefinition(
            name,
            "toys",
            name,
            name,
            namespace="toy",
            inputs=inputs or {},
            outputs={
                **{key: Output("WILDCARD") for key in outputs},
                "live": Output("STRING", is_stream=True),
            },
            execute=counted_stream if inspect.isasyncgenfunction(execute) else counted,
            file_path=self.file_path,
        )

    def get_node(self, full_type: str) -> NodeDefinition | None:
        return self.definitions.get(full_type)


def batch(node_id: str, type: str, **fields: Any) -> PlannedNode:
    """A planned node with the output `out`, tried again after 50 ms."""
    outputs: Any = {"out": PlannedOutput()}
    return PlannedNode(node_id, f"toy:{type}", **{"outputs": outputs, "initial_s": 0.05, **fields})  # type: ignore[arg-type]


def stream(node_id: str, type: str, **fields: Any) -> PlannedNode:
    """As `batch`, with a stream output `live`."""
    outputs: Any = {"out": PlannedOutput(), "live": PlannedOutput(stream=True)}
    return batch(node_id, type, outputs=outputs, **fields)


@dataclass
class Stack:
    """Everything one test runs on."""

    client: Client
    gateway: FakeGateway
    toys: Toys
    folder: Path
    store: SecretStore
    host: NodeHost = field(default_factory=NodeHost.of)
    queue: str = field(default_factory=lambda: f"q-{uuid.uuid4()}")

    def services_for(self, origin: CallOrigin) -> tuple[Services, RunSecrets]:
        secrets = RunSecrets(UserSecrets(self.store, origin.user, {}), self.store, origin.user)
        blobs = FolderBlobs(self.folder / "blobs")
        others: Any = dict.fromkeys(("llm", "resources", "channels", "http", "scripts", "events"))
        return Services(secrets=secrets, blobs=blobs, **others), secrets

    def execute(self, link: GatewayLink) -> ExecuteNode:
        return ExecuteNode(self.toys, self.services_for, link, self.values, host=self.host)

    @property
    def address(self) -> str:
        return self.client.service_client.config.target_host

    @property
    def values(self) -> Values:
        return Values(FolderBlobs(self.folder / "blobs"))

    @asynccontextmanager
    async def worker(self, *, grace_s: float = 0, flush_timeout_s: float = 30) -> AsyncIterator[Worker]:
        """A worker with a socket of its own; leaving hands back what runs, as the worker process does."""
        link = GatewayLink(self.gateway.url, TOKEN, f"w-{uuid.uuid4()}", flush_timeout_s=flush_timeout_s)
        link.start()
        # A connection of its own: one client has one worker per queue.
        client = await Client.connect(self.address, namespace=self.client.namespace, data_converter=DATA_CONVERTER)
        execute = self.execute(link)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(link.stop, 0.5)
            stack.push_async_callback(self.host.aclose)
            yield await stack.enter_async_context(
                Worker(
                    client,
                    task_queue=self.queue,
                    workflows=[GraphWorkflow],
                    activities=[
                        execute.execute_node,
                        ExecuteSegment(execute, link).execute_segment,
                        *EngineActivities(self.values, client).activities(),
                    ],
                    max_heartbeat_throttle_interval=timedelta(seconds=1),
                    default_heartbeat_throttle_interval=timedelta(seconds=1),
                    graceful_shutdown_timeout=timedelta(seconds=grace_s),
                )
            )

    async def start(self, *nodes: PlannedNode, **plan: Any) -> WorkflowHandle[Any, dict[str, Any]]:
        return await self.client.start_workflow(
            "GraphWorkflow",
            args=[RunPlan(nodes, **plan).encode(), RunStart(USER)],
            id=f"r-{uuid.uuid4()}",
            task_queue=self.queue,
            task_timeout=timedelta(seconds=5),
        )

    async def run(self, *nodes: PlannedNode, **plan: Any) -> dict[str, Any]:
        """The node table of a run of these nodes."""
        async with asyncio.timeout(30):
            result = await (await self.start(*nodes, **plan)).result()
        table: dict[str, Any] = result["nodes"]
        return table
