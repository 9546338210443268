"""What is measured: the workloads, as our documents and as arguments of the handwritten workflows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.benchmarks import handwritten

Document = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Load:
    """One piece of work that both sides do.

    Attributes:
        workflow: Type of the handwritten workflow; `size` is its argument and our number of nodes.
        at_once: Runs that go on at the same time.
        times: Repetitions one after the other that give one sample, their median.
    """

    document: Document
    workflow: str
    size: int
    at_once: int = 1
    times: int = 1


@dataclass(frozen=True)
class Row:
    """One line of the table. `side`: `off` is the engine alone, `on` the whole way through the gateway.

    `limit` is the ratio to hold; None is reported only.
    """

    key: str
    title: str
    load: str
    side: str
    limit: float | None


def chain(length: int) -> Document:
    """Nodes in a row, each with the text of the one before."""
    edges = [_edge(number, number + 1) for number in range(length - 1)]
    return {"nodes": [_node(number) for number in range(length)], "edges": edges}


def fan_out(width: int) -> Document:
    """Independent nodes."""
    return {"nodes": [_node(number) for number in range(width)], "edges": []}


def _node(number: int) -> Document:
    return {"id": f"n{number}", "fullType": "bench:Step"}


def _edge(source: int, target: int) -> Document:
    ends = {"sourceNodeId": f"n{source}", "sourceHandle": "text", "targetNodeId": f"n{target}", "targetHandle": "text"}
    return {"id": f"e{target}", **ends}


LOADS = {
    "chain": Load(chain(50), handwritten.CHAIN, 50),
    "fanout": Load(fan_out(100), handwritten.FAN_OUT, 100),
    "runs": Load(chain(5), handwritten.CHAIN, 5, at_once=50),
    "empty": Load(fan_out(0), handwritten.EMPTY, 0, times=20),
}
ROWS = (
    Row("chain-on", "chain of 50 activity nodes, events on", "chain", "on", 1.3),
    Row("chain-off", "chain of 50 activity nodes, events off", "chain", "off", 1.1),
    Row("fanout-on", "fan-out of 100 activity nodes, events on", "fanout", "on", 1.5),
    Row("fanout-off", "fan-out of 100 activity nodes, events off", "fanout", "off", 1.2),
    Row("runs-on", "50 concurrent runs of 5 nodes, events on", "runs", "on", 1.3),
    Row("empty", "empty workflow, median of 20", "empty", "off", 1.2),
    Row("empty-on", "empty workflow through the gateway", "empty", "on", None),
)
