"""What is measured: the workloads, as our documents and as arguments of the handwritten workflows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks import handwritten

Document = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Load:
    """One piece of work that both sides do.

    Attributes:
        workflow: Type of the handwritten workflow; `size` is its argument.
        nodes: How many of our nodes complete, those in groups and items included; by default those of the document.
        library: Stored workflows that the document runs.
        at_once: Runs that go on at the same time.
        times: Repetitions one after the other that give one sample, their median.
    """

    document: Document
    workflow: str
    size: int
    at_once: int = 1
    times: int = 1
    nodes: int | None = None
    library: Mapping[str, Document] = field(default_factory=dict)

    @property
    def node_count(self) -> int:
        """How many of our nodes complete in one run."""
        return len(self.document["nodes"]) if self.nodes is None else self.nodes


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        side: `off` is the engine alone, `on` the whole way through the gateway.
        limit: The ratio of times to hold; None is reported only.
        each_ms: What one of `Load.size` pieces may take.
        cpu: The ratio of processor time to hold.
        base: The side that it stands beside: `hand`, or `recorded`, which keeps what we keep.
    """

    key: str
    title: str
    load: str
    side: str
    limit: float | None
    each_ms: float | None = None
    cpu: float | None = None
    base: str = "hand"


STEP, INLINE = "bench:Step", "bench:Inline"
"""The same node, placed as an activity of its own and inline."""


def chain(length: int, full_type: str = STEP, prefix: str = "n") -> Document:
    """Nodes in a row, each with the text of the one before; `prefix` begins their ids."""
    edges = [_edge(number, number + 1, prefix) for number in range(length - 1)]
    return {"nodes": [_node(number, full_type, prefix) for number in range(length)], "edges": edges}


def fan_out(width: int, full_type: str = STEP) -> Document:
    """Independent nodes."""
    return {"nodes": [_node(number, full_type) for number in range(width)], "edges": []}


def groups(count: int) -> Document:
    """Groups in a row, each with the text of the one before."""
    config = {"referencedWorkflowId": "step"}
    nodes = [{"id": f"n{number}", "fullType": "core:NodeGroup", "configValues": config} for number in range(count)]
    return {"nodes": nodes, "edges": [_edge(number, number + 1) for number in range(count - 1)]}


def for_each(count: int) -> Document:
    config = {"referencedWorkflowId": "step", "itemKey": "text", "concurrency": handwritten.AT_ONCE}
    items = [f"item {number}" for number in range(count)]
    node = {"id": "each", "fullType": "core:ForEach", "inputs": {"items": items}, "configValues": config}
    return {"nodes": [node], "edges": []}


def _stored_step() -> Document:
    """One step as a workflow for others to run: text in, text out."""
    slot = {"text": {"key": "text", "dataFlowType": "STRING"}}
    edge = {"sourceNodeId": "in", "sourceHandle": "text", "targetNodeId": "n0", "targetHandle": "text", "id": "e0"}
    mapped = {"text": {"sourceNodeId": "n0", "sourceSlotKey": "text"}}
    nodes = [{"id": "in", "fullType": "core:GroupInput"}, _node(0)]
    interface = {"interfaceInputs": slot, "interfaceOutputs": slot, "outputInterfaceMappings": mapped}
    return {"id": "step", "nodes": nodes, "edges": [edge], **interface}


def _node(number: int, full_type: str = STEP, prefix: str = "n") -> Document:
    return {"id": f"{prefix}{number}", "fullType": full_type}


def _edge(source: int, target: int, prefix: str = "n") -> Document:
    ends = {"sourceNodeId": f"{prefix}{source}", "targetNodeId": f"{prefix}{target}"}
    return {"id": f"{prefix}-e{target}", **ends, "sourceHandle": "text", "targetHandle": "text"}


LOADS = {
    "chain": Load(chain(50), handwritten.CHAIN, 50),
    "inline": Load(chain(50, INLINE), handwritten.CHAIN, 50),
    "inline-local": Load(chain(50, INLINE), handwritten.LOCAL, 50),
    "inline-1000": Load(chain(1_000, INLINE), handwritten.LOCAL, 1_000),
    "fanout": Load(fan_out(100), handwritten.FAN_OUT, 100),
    "runs": Load(chain(5), handwritten.CHAIN, 5, at_once=50),
    "runs-inline": Load(chain(5, INLINE), handwritten.CHAIN, 5, at_once=50),
    "groups": Load(groups(20), handwritten.CHILDREN, 20, nodes=60, library={"step": _stored_step()}),
    "each": Load(for_each(2_000), handwritten.ITEMS, 2_000, nodes=4_001, library={"step": _stored_step()}),
    "empty": Load(fan_out(0), handwritten.EMPTY, 0, times=20),
}
ROWS = (
    Row("chain-on", "chain of 50 activity nodes, events on", "chain", "on", 1.2),
    Row("chain-off", "chain of 50 activity nodes, events off", "chain", "off", 1.1),
    Row("chain-inline", "chain of 50 inline nodes, events on; by hand 50 activities", "inline", "on", None),
    Row("chain-inline-off", "the same, events off", "inline", "off", None),
    Row("chain-inline-local", "the same, events on; by hand one local activity", "inline-local", "on", None),
    Row(
        "chain-inline-1000",
        "chain of 1,000 inline nodes, events on; by hand one local activity",
        "inline-1000",
        "on",
        None,
    ),
    Row("fanout-on", "fan-out of 100 activity nodes, events on", "fanout", "on", 1.2, cpu=1.2),
    Row("fanout-off", "fan-out of 100 activity nodes, events off", "fanout", "off", 1.2),
    Row("runs-on", "50 concurrent runs of 5 activity nodes, events on", "runs", "on", 1.15, cpu=1.15),
    Row("runs-off", "50 concurrent runs of 5 activity nodes, events off", "runs", "off", None),
    Row(
        "runs-inline",
        "50 concurrent runs of 5 inline nodes, events on; by hand 5 activities",
        "runs-inline",
        "on",
        None,
    ),
    Row("groups", "20 groups of one node in a row, events off", "groups", "off", 1.3, each_ms=100),
    Row("each", "ForEach of 2,000 items of one node, events off", "each", "off", 1.5),
    Row("empty", "empty workflow, median of 20", "empty", "off", 1.2),
    Row("empty-on", "empty workflow through the gateway", "empty", "on", 1.3),
    *(
        row
        for load, title in (
            ("chain", "chain of 50 activities"),
            ("fanout", "fan-out of 100 activities"),
            ("runs", "50 concurrent runs of 5 activities"),
            ("empty", "empty workflow"),
        )
        for row in (
            Row(f"{load}-floor", f"{title} by hand, recorded; by hand not recorded", load, "recorded", None),
            Row(f"{load}-recorded", f"{title}, events on; by hand, recorded", load, "on", None, base="recorded"),
        )
    ),
)
