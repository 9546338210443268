"""Stored workflows that nodes repeat, compiled as the gateway does and run by a worker of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from temporalio.client import WorkflowHandle

from innkeeper.nodes.catalogue.plugins import load_catalogue
from innkeeper.nodes.definition import Input, NodeDefinition, Output
from innkeeper.nodes.errors import NodeError
from innkeeper.nodes.node import NodeContext
from innkeeper.workflows.compiler.compile import Compiled, compile_document
from innkeeper.workflows.engine.workflow_context import RunStart
from tests.workflows.toy_graphs import document, node
from tests.workflows.toys import Toys, ToyWorker

ANY = "WILDCARD"
IN = {"item": {"key": "item", "dataFlowType": ANY}}

Json = dict[str, Any]


@dataclass
class Bench(Toys):
    """The built-in nodes and toys: `Work` gives its item on after a while, fails when told to, counts itself.

    `at_once`, `most`: how many ran at a time. `seconds`: item to how long it takes, `*` is any. `fails`: items.
    `behind`: item to the item whose end it waits for. `ended`: items in the order of their ends. All wait for `gate`,
    which is open.
    """

    at_once: int = 0
    most: int = 0
    seconds: Mapping[Any, float] = field(default_factory=dict)
    fails: frozenset[Any] = frozenset()
    behind: Mapping[Any, Any] = field(default_factory=dict)
    ended: list[Any] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.gate.set()
        self._library = load_catalogue()
        inputs = {key: Input(ANY) for key in ("item", "index", "extra")}
        outputs = {"out": Output(ANY), "all": Output("OBJECT")}
        for name, execute in {"Work": self._work, "Minus": self._minus, "Bytes": self._bytes}.items():
            self.definitions[f"toy:{name}"] = NodeDefinition(
                name, "toys", name, "", inputs, outputs, execute, namespace="toy"
            )

    def get_node(self, full_type: str) -> NodeDefinition | None:
        return self.definitions.get(full_type) or self._library.get_node(full_type)

    def get_definitions(self) -> list[NodeDefinition]:
        return [*self._library.get_definitions(), *self.definitions.values()]

    async def _work(self, inputs: Json, context: NodeContext) -> Json:
        self.calls.append(context.node_id)
        item = inputs.get("item")
        key = item if isinstance(item, int | str) else None
        if key in self.fails:
            raise NodeError("no luck", retryable=False)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await self.gate.wait()
            await asyncio.sleep(self.seconds.get(key, self.seconds.get("*", 0)))
            while key in self.behind and self.behind[key] not in self.ended:
                await asyncio.sleep(0.01)
        finally:
            self.at_once -= 1
            self.ended.append(item)
        return {"out": item, "all": dict(inputs)}

    async def _minus(self, inputs: Json, context: NodeContext) -> Json:
        return {"out": inputs["item"] - 1}

    async def _bytes(self, inputs: Json, context: NodeContext) -> Json:
        return {"out": b"raw"}


def stored(
    nodes: list[Json], *ends: str, inputs: Json | None = None, outputs: Mapping[str, str] | None = None, **more: Any
) -> Any:
    """A workflow for others to run. `outputs`: interface key to `node.slot`."""
    mapped = {}
    for key, end in (outputs or {}).items():
        source, slot = end.split(".")
        mapped[key] = {"sourceNodeId": source, "sourceSlotKey": slot}
    declared = {key: {"key": key, "dataFlowType": ANY} for key in mapped}
    return document(
        nodes, *ends, interfaceInputs=inputs or {}, interfaceOutputs=declared, outputInterfaceMappings=mapped, **more
    )


WORK = stored(
    [node("in", "core:GroupInput"), node("w", "toy:Work")], "in.item > w.item", inputs=IN, outputs={"out": "w.out"}
)


def each(id: str = "each", workflow: str = "work", items: Any = None, /, **config: Any) -> Json:
    inputs = {} if items is None else {"items": items}
    return node(id, "core:ForEach", inputs, configValues={"referencedWorkflowId": workflow, **config})


def loop(id: str = "loop", workflow: str = "work", state: Any = None, /, **config: Any) -> Json:
    inputs = {} if state is None else {"state": state}
    return node(id, "core:Loop", inputs, configValues={"referencedWorkflowId": workflow, **config})


def plan_of(bench: Bench, outer: Any, **library: Any) -> Compiled:
    return compile_document(outer, bench, {"work": WORK, **library}.get, secret_id=str)


@dataclass
class Player:
    worker: ToyWorker
    bench: Bench

    async def start(self, outer: Any, begun: RunStart | None = None, **library: Any) -> WorkflowHandle[Any, Json]:
        compiled = plan_of(self.bench, outer, **library)
        for data in compiled.blobs.values():
            await self.worker.values.store(data, "application/json", "")
        plan = compiled.plan
        return await self.worker.start(
            *plan.nodes, begun=begun, groups=plan.groups, interface_outputs=plan.interface_outputs
        )

    async def play(self, outer: Any, **library: Any) -> Json:
        """Run to the end; values and the node table are whole in what it gives."""
        async with asyncio.timeout(60):
            return await self.whole(await (await self.start(outer, **library)).result())

    async def whole(self, result: Json) -> Json:
        nodes = result["nodes"] if result["nodes_ref"] is None else await self.value(result["nodes_ref"])
        return {**result, "nodes": nodes}

    async def value(self, value: Any) -> Any:
        return await self.worker.values.resolve(value)

    async def output(self, result: Json, node: str, slot: str) -> Any:
        return await self.value(result["nodes"][node]["output"][slot])
