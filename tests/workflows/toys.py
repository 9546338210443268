"""Toy node types and a worker of a test's own, for tests of the interpreter against the real server."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.worker import Worker

from innkeeper.activities.engine_activities import EngineActivities
from innkeeper.activities.execution.execute_node import ExecuteNode
from innkeeper.activities.execution.execute_segment import ExecuteSegment
from innkeeper.activities.execution.values import Values
from innkeeper.activities.link.gateway_link import NullLink
from innkeeper.nodes.definition import NodeDefinition, Output
from innkeeper.nodes.errors import BudgetReached, NodeError, NodeMustWait
from innkeeper.nodes.node import NodeContext, SecretRef
from innkeeper.nodes.services.blobs import FolderBlobs
from innkeeper.workflows.engine.graph_workflow import GraphWorkflow, RunStart
from innkeeper.workflows.engine.signing_interceptors import SigningInterceptor
from innkeeper.workflows.plan import Feed, PlannedInput, PlannedNode, PlannedOutput, RunPlan

CACHED = 1_000
CACHES = [pytest.param(CACHED, id="cached"), pytest.param(1, id="evicted", marks=pytest.mark.slow)]
"""For fixtures: each test once more with a worker that evicts all workflows but one, in the long form."""
Execute = Callable[[dict[str, Any], NodeContext], Any]


class NoSecrets:
    def __init__(self) -> None:
        self.revealed: set[str] = set()

    async def seal(self, value: str) -> SecretRef:
        return SecretRef("sealed")


@dataclass
class Toys:
    """A catalogue of toy node types and the calls they got."""

    definitions: dict[str, NodeDefinition] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, execute in {
            **{"echo": self._echo, "fail": self._fail, "sleep": self._sleep},
            **{"rest": self._rest, "spend": self._spend},
        }.items():
            self.add(name, execute)

    def add(self, name: str, execute: Execute, outputs: Mapping[str, Output] | None = None) -> None:
        self.definitions[f"toy:{name}"] = NodeDefinition(
            name, "toys", name, name, outputs=outputs or {"out": Output("WILDCARD")}, execute=execute, namespace="toy"
        )

    def get_node(self, full_type: str) -> NodeDefinition | None:
        return self.definitions.get(full_type)

    async def _echo(self, inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        self.calls.append(context.node_id)
        return {"out": inputs.get("value", context.node_id)}

    async def _fail(self, inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        self.calls.append(context.node_id)
        raise NodeError("no luck", retryable=False)

    async def _rest(self, inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        """Must wait before it does anything."""
        self.calls.append(context.node_id)
        if context.attempt == 1:
            raise NodeMustWait("full", delay_s=0.3)
        return {"out": inputs.get("value", context.node_id)}

    async def _spend(self, inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        """Needs more than it may spend at first."""
        self.calls.append(context.node_id)
        if context.attempt == 1:
            about = {"scope": "run", "limit": {"tokens": 100}, "used": {"tokens": 90}}
            raise BudgetReached("it may spend 100 tokens", details=about)
        return {"out": "spent"}

    async def _sleep(self, inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        self.calls.append(context.node_id)
        await asyncio.sleep(30)
        return {"out": "slept"}


def node(id: str, type: str = "echo", /, *sources: str, **fields: Any) -> PlannedNode:
    """A planned node whose multi slot `in` gathers the output `out` of each source."""
    feeds = tuple(Feed(source, "out") for source in sources)  # type: ignore[arg-type]
    inputs = {"in": PlannedInput(feeds, multi=True)} if sources else {}
    values = {"inputs": inputs, "outputs": {"out": PlannedOutput()}, "after": sources, **fields}
    return PlannedNode(id, f"toy:{type}", **values)  # type: ignore[arg-type]


class ToyWorker:
    """A worker on a queue of its own, or of another one before it; events are off.

    Args:
        cached: Workflows that stay in memory; any further one is evicted, and replayed when it goes on.
    """

    def __init__(self, client: Client, toys: Toys, folder: Path, queue: str = "", *, cached: int = CACHED) -> None:
        self.client = client
        self.queue = queue or f"q-{uuid.uuid4()}"
        self.values = Values(FolderBlobs(folder / "blobs"))
        link = NullLink()
        link.start()
        execute = ExecuteNode(toys, lambda user: (None, NoSecrets()), link, self.values)  # type: ignore[arg-type, return-value]
        self.worker = Worker(
            client,
            task_queue=self.queue,
            workflows=[GraphWorkflow],
            activities=[
                execute.execute_node,
                ExecuteSegment(execute, link).execute_segment,
                *EngineActivities(self.values, client).activities(),
            ],
            interceptors=[SigningInterceptor()],
            max_cached_workflows=cached,
            max_heartbeat_throttle_interval=timedelta(seconds=1),
            default_heartbeat_throttle_interval=timedelta(seconds=1),
        )

    async def start(
        self, *nodes: PlannedNode, begun: RunStart | None = None, **plan: Any
    ) -> WorkflowHandle[Any, dict[str, Any]]:
        """Start a run of these nodes, as the gateway would. `begun`: what it takes over."""
        tenant = SearchAttributePair(SearchAttributeKey.for_keyword("TenantId"), "default_user")
        return await self.client.start_workflow(
            "GraphWorkflow",
            args=[RunPlan(nodes, **plan).encode(), begun or RunStart()],
            id=f"r-{uuid.uuid4()}",
            task_queue=self.queue,
            task_timeout=timedelta(seconds=5),
            search_attributes=TypedSearchAttributes([tenant]),
        )


@asynccontextmanager
async def toy_worker(client: Client, toys: Toys, folder: Path, *, cached: int = CACHED) -> AsyncIterator[ToyWorker]:
    toy = ToyWorker(client, toys, folder, cached=cached)
    async with toy.worker:
        yield toy


async def until_called(toys: Toys, name: str) -> None:
    """Wait until a node has begun."""
    async with asyncio.timeout(30):
        while name not in toys.calls:
            await asyncio.sleep(0.02)
