"""A document compiled for running, and the pure questions the interpreter asks of it.

A plan is plain data, frozen into the run's input: what a run does never depends on what a worker or a file says later.
"""

from __future__ import annotations

import zlib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from functools import cached_property
from math import isfinite
from typing import Any, Final, Literal, NewType

import orjson

PLAN_VERSION = 1
MAX_PLAN_BYTES = 1_000_000
"""Compressed size of a plan: two arguments of 1 MiB were measured to wedge a run."""

NodeId = NewType("NodeId", str)
SlotKey = NewType("SlotKey", str)


class _Undefined:
    """A slot that got nothing; unlike None, which is a value."""

    def __repr__(self) -> str:
        return "UNDEFINED"


UNDEFINED: Final = _Undefined()
STREAMED: Final = object()
"""A slot whose value comes as a stream, while the node runs."""
LIVE: Final = frozenset({"stream", "no_stream"})


@dataclass(frozen=True)
class Feed:
    """One edge into a slot.

    `convert` is a `nodes.definition.Conversion`, `stream` (the consumer follows the producer's stream while it comes)
    or `no_stream` (a stream that never has a chunk).
    """

    node: NodeId
    slot: SlotKey
    convert: str = ""


@dataclass(frozen=True)
class PlannedInput:
    """Where one input slot gets its value: the feeds first, then `value`, if there is one (`has_value`).

    A single slot listens to its last feed only; a multi slot gathers all of them in this order.
    `value` is JSON, a `{"$blob": ...}` reference, or holds `{"$secret": id}`.
    """

    feeds: tuple[Feed, ...] = ()
    value: Any = None
    has_value: bool = False
    multi: bool = False
    required: bool = False


@dataclass(frozen=True)
class PlannedOutput:
    """One output slot. `seal` lists inner keys (`""`: the whole value) that must leave as secret references."""

    stream: bool = False
    seal: tuple[str, ...] = ()


@dataclass(frozen=True)
class BypassSource:
    """What one output of a bypassed node gives: the first unused, present input of `inputs`, else `empty`.

    `shared`: the input may serve other outputs as well (a declared pass-through).
    """

    inputs: tuple[SlotKey, ...] = ()
    empty: Any = None
    has_empty: bool = True
    shared: bool = False


@dataclass(frozen=True)
class PlannedNode:
    """One node, ready to run. Times in seconds.

    Attributes:
        after: Nodes that must have ended first: the sources of the feeds and of edges without a value (GroupOutput).
        beside: Nodes that must have begun first: the producers of the streams it consumes.
        max_attempts: Failures after which the node has failed for good; waits are not counted.
    """

    id: NodeId
    type: str
    title: str = ""
    version: str = "1"
    placement: Literal["activity", "inline", "workflow"] = "activity"
    queue: str | None = None
    mode: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[SlotKey, PlannedInput] = field(default_factory=dict)
    outputs: Mapping[SlotKey, PlannedOutput] = field(default_factory=dict)
    after: tuple[NodeId, ...] = ()
    beside: tuple[NodeId, ...] = ()
    bypass: Mapping[SlotKey, BypassSource] | None = None
    continue_on_error: bool = False
    collect_chunks: bool = False
    interface_values: bool = False
    max_attempts: int = 4
    initial_s: float = 1.0
    backoff: float = 2.0
    maximum_s: float = 30.0
    non_retryable: tuple[str, ...] = ()
    timeout_s: float = 300.0
    total_timeout_s: float = 900.0


@dataclass(frozen=True)
class InterfaceOutput:
    """A named output of the workflow. `stream`: its chunks also go out as WORKFLOW_INTERFACE_YIELD.

    `convert` is a `nodes.definition.Conversion` of the slot's value, such as a finished stream to its text.
    """

    node: NodeId
    slot: SlotKey
    stream: bool = False
    display_name: str | None = None
    convert: str = ""


@dataclass(frozen=True)
class RunPlan:
    """A whole run. `nodes` stand in `order`: Kahn, FIFO, payload order; ready nodes start in that order.

    Attributes:
        interface_inputs: Interface key to value, for `core:GroupInput` nodes; keys without a value are absent.
    """

    nodes: tuple[PlannedNode, ...]
    workflow_id: str | None = None
    workflow_name: str | None = None
    interface_inputs: Mapping[str, Any] = field(default_factory=dict)
    interface_outputs: Mapping[str, InterfaceOutput] = field(default_factory=dict)
    plan_version: int = PLAN_VERSION

    @cached_property
    def by_id(self) -> Mapping[NodeId, PlannedNode]:
        return {node.id: node for node in self.nodes}

    @cached_property
    def order(self) -> Mapping[NodeId, int]:
        return {node.id: index for index, node in enumerate(self.nodes)}

    @cached_property
    def successors(self) -> Mapping[NodeId, tuple[NodeId, ...]]:
        found: dict[NodeId, list[NodeId]] = {node.id: [] for node in self.nodes}
        for node in self.nodes:
            for source in node.after:
                found[source].append(node.id)
        return {key: tuple(value) for key, value in found.items()}

    @cached_property
    def consumers(self) -> Mapping[NodeId, tuple[NodeId, ...]]:
        """Producer to the nodes that consume its streams while they come."""
        found: dict[NodeId, list[NodeId]] = {}
        for node in self.nodes:
            for source in node.beside:
                found.setdefault(source, []).append(node.id)
        return {key: tuple(value) for key, value in found.items()}

    @property
    def kept_streams(self) -> tuple[str, ...]:
        """Nodes whose streams another node consumes: none of their chunks may be dropped."""
        return tuple(self.consumers)

    def encode(self) -> bytes:
        """The plan as one compressed argument."""
        return zlib.compress(orjson.dumps(_pack(self)), 6)

    @classmethod
    def decode(cls, data: bytes) -> RunPlan:
        raw = orjson.loads(zlib.decompress(data))
        nodes = tuple(_node(item) for item in raw.get("nodes", ()))
        outputs = {key: InterfaceOutput(**item) for key, item in raw.get("interface_outputs", {}).items()}
        return cls(**{**raw, "nodes": nodes, "interface_outputs": outputs})


def _node(raw: dict[str, Any]) -> PlannedNode:
    inputs = {
        SlotKey(key): PlannedInput(
            **{**item, "feeds": tuple(Feed(NodeId(f[0]), SlotKey(f[1]), f[2]) for f in item.get("feeds", ()))}
        )
        for key, item in raw.get("inputs", {}).items()
    }
    outputs = {
        SlotKey(key): PlannedOutput(**{**item, "seal": tuple(item.get("seal", ()))})
        for key, item in raw.get("outputs", {}).items()
    }
    bypass = raw.get("bypass")
    if bypass is not None:
        bypass = {
            SlotKey(key): BypassSource(**{**item, "inputs": tuple(item.get("inputs", ()))})
            for key, item in bypass.items()
        }
    return PlannedNode(
        **{
            **raw,
            "inputs": inputs,
            "outputs": outputs,
            "bypass": bypass,
            "after": tuple(raw.get("after", ())),
            "beside": tuple(raw.get("beside", ())),
            "non_retryable": tuple(raw.get("non_retryable", ())),
        }
    )


# Values of the user stay as they are: they hold no dataclasses and may be deep.
_VALUES = frozenset({"value", "empty", "config", "interface_inputs"})
# An empty object as a value, or as the bypass of a node without outputs, is not the same as none.
_EMPTY_COUNTS = frozenset({"value", "empty", "bypass"})


_SPECS: dict[type, tuple[tuple[str, Any], ...]] = {
    kind: tuple((spec.name, spec.default) for spec in fields(kind))
    for kind in (RunPlan, PlannedNode, PlannedInput, PlannedOutput, BypassSource, InterfaceOutput)
}


def _pack(item: Any) -> Any:
    """Dataclasses to objects without their default values: a plan of 10,000 nodes stays small."""
    if isinstance(item, Feed):
        return [item.node, item.slot, item.convert]
    specs = _SPECS.get(type(item))
    if specs is not None:
        return {name: _packed(name, getattr(item, name)) for name, default in specs if _tells(item, name, default)}
    if isinstance(item, Mapping):
        return {key: _pack(value) for key, value in item.items()}
    if isinstance(item, tuple | list):
        return [_pack(value) for value in item]
    return item


def _packed(name: str, value: Any) -> Any:
    return value if name in _VALUES else _pack(value)


def _tells(item: Any, name: str, default: Any) -> bool:
    """Would decoding without this field give another plan?"""
    value = getattr(item, name)
    if value == default and type(value) is type(default):
        return name == "plan_version"
    return bool(value) or not isinstance(value, dict | tuple) or name in _EMPTY_COUNTS


# --- what one node gets and gives -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Missing:
    """Required slots that got no value at run time."""

    slots: tuple[SlotKey, ...]


Outputs = Mapping[NodeId, Mapping[str, Any]]


def inputs_for(node: PlannedNode, outputs: Outputs) -> dict[str, Any] | Missing:
    """The values of a node whose sources have all ended. A slot that got nothing is absent.

    A bypassed node has no required slots.
    """
    values: dict[str, Any] = {}
    missing: list[SlotKey] = []
    for key, planned in node.inputs.items():
        value = _slot_value(planned, outputs)
        if value is STREAMED:
            continue
        if value is not UNDEFINED:
            values[key] = value
        elif planned.required and node.bypass is None:
            missing.append(key)
    return Missing(tuple(missing)) if missing else values


def _slot_value(planned: PlannedInput, outputs: Outputs) -> Any:
    if planned.feeds and planned.multi:
        gathered = [_feed_value(feed, outputs) for feed in planned.feeds]
        return [None if value is UNDEFINED or value is STREAMED else value for value in gathered]
    if planned.feeds:
        value = _feed_value(planned.feeds[-1], outputs)
        if value is not UNDEFINED:
            return value
    return planned.value if planned.has_value else UNDEFINED


def _feed_value(feed: Feed, outputs: Outputs) -> Any:
    if feed.convert in LIVE:
        return STREAMED
    value = outputs.get(feed.node, {}).get(feed.slot, UNDEFINED)
    return value if value is UNDEFINED else convert(value, feed.convert)


def stream_inputs(node: PlannedNode) -> dict[str, list[str | None]]:
    """Where each stream input comes from, feed by feed: a producer's path, `""` (no chunks), None (the batch value)."""
    found: dict[str, list[str | None]] = {}
    for key, planned in node.inputs.items():
        feeds = planned.feeds if planned.multi else planned.feeds[-1:]
        if any(feed.convert in LIVE or feed.convert == "one_chunk" for feed in feeds):
            found[key] = [_source_of(feed) for feed in feeds]
    return found


def _source_of(feed: Feed) -> str | None:
    if feed.convert == "stream":
        return feed.node
    return "" if feed.convert == "no_stream" else None


def convert(value: Any, conversion: str) -> Any:
    """Apply an edge's conversion. Text of numbers is JavaScript's (`1.0` is "1"), as the editor's users expect."""
    if conversion == "collect_text":
        return value.get("text", "") if isinstance(value, Mapping) else value
    if conversion == "collect_chunks":
        return value.get("items", []) if isinstance(value, Mapping) else value
    if isinstance(value, bool):
        return ("true" if value else "false") if conversion == "text" else value
    if conversion == "text" and isinstance(value, int | float):
        return _number_text(value)
    if conversion == "float" and isinstance(value, int):
        return float(value)
    return value


def _number_text(value: float) -> str:
    if isinstance(value, int) or not isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    if 1e-6 <= abs(value) < 1e21:
        text = f"{Decimal(repr(value)):f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    mantissa, _, exponent = repr(value).partition("e")
    return f"{mantissa}e{int(exponent):+d}"


def bypass_outputs(bypass: Mapping[SlotKey, BypassSource], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What a bypassed node gives instead of running; each input serves one output, unless it is shared."""
    used: set[str] = set()
    given: dict[str, Any] = {}
    for key, source in bypass.items():
        free = (slot for slot in source.inputs if slot in inputs and (source.shared or slot not in used))
        chosen = next(free, None)
        if chosen is not None:
            used.add(chosen)
            given[key] = inputs[chosen]
        elif source.has_empty:
            given[key] = source.empty
    return given


# --- the scheduler ------------------------------------------------------------------------------------------------


@dataclass
class Progress:
    """How far a run is: for each node that has not begun the sources it waits for; what runs; outcomes of the rest."""

    waiting: dict[NodeId, int]
    outcome: dict[NodeId, str] = field(default_factory=dict)
    running: set[NodeId] = field(default_factory=set)


@dataclass(frozen=True)
class Settled:
    """What the end of a node leads to: nodes now ready, and nodes that will never run."""

    ready: tuple[NodeId, ...] = ()
    skipped: tuple[NodeId, ...] = ()


def begin(plan: RunPlan) -> tuple[Progress, tuple[NodeId, ...]]:
    """A fresh progress and the nodes that are ready at once, in order."""
    progress = Progress({node.id: len(node.after) + len(node.beside) for node in plan.nodes})
    return progress, tuple(node for node, count in progress.waiting.items() if count == 0)


def started(plan: RunPlan, progress: Progress, node_id: NodeId) -> tuple[NodeId, ...]:
    """Record that a node runs; gives the consumers of its streams that are ready with it."""
    progress.running.add(node_id)
    progress.waiting.pop(node_id, None)
    return _released(plan, progress, plan.consumers.get(node_id, ()))


def settle(plan: RunPlan, progress: Progress, node_id: NodeId, outcome: str) -> Settled:
    """Record that a node ended (`complete`, `bypassed`, `error`) and say what follows. Touches its neighbours only.

    An error without `continue_on_error` skips every descendant that has not begun; one that runs (it consumes a
    stream) hears of the error there, and what is behind it waits for its own end. Independent branches are not
    concerned.
    """
    has_run = node_id in progress.running
    progress.outcome[node_id] = outcome
    progress.running.discard(node_id)
    progress.waiting.pop(node_id, None)
    if outcome == "error" and not plan.by_id[node_id].continue_on_error:
        skipped = tuple(descendants(plan, node_id, passing_by=progress.running))
        fresh = tuple(node for node in skipped if node not in progress.outcome)
        for node in fresh:
            progress.outcome[node] = "skipped"
            progress.waiting.pop(node, None)
        return Settled(skipped=fresh)
    unfed = () if has_run else plan.consumers.get(node_id, ())  # it never streamed, so nobody was released yet
    return Settled(ready=_released(plan, progress, (*plan.successors[node_id], *unfed)))


def _released(plan: RunPlan, progress: Progress, nodes: Iterable[NodeId]) -> tuple[NodeId, ...]:
    """One source less to wait for; gives the nodes that wait for none any more, in order."""
    ready = []
    for node in nodes:
        if node in progress.waiting:
            progress.waiting[node] -= 1
            if progress.waiting[node] == 0:
                ready.append(node)
    return tuple(sorted(ready, key=plan.order.__getitem__))


def descendants(plan: RunPlan, node_id: NodeId, passing_by: Container[NodeId] = ()) -> Iterator[NodeId]:
    """Every node behind this one, breadth first, each once; not those in `passing_by`, nor what is only behind them."""
    seen = {node_id}
    queue: list[NodeId] = [node_id]
    for current in queue:
        for successor in (*plan.successors[current], *plan.consumers.get(current, ())):
            if successor not in seen and successor not in passing_by:
                seen.add(successor)
                queue.append(successor)
                yield successor


def run_status(plan: RunPlan, outcome: Mapping[NodeId, str], interrupted: bool) -> str:
    """`interrupted`, `error` (a node failed that may not) or `complete`."""
    if interrupted:
        return "interrupted"
    failed = (node for node, end in outcome.items() if end == "error")
    return "error" if any(not plan.by_id[node].continue_on_error for node in failed) else "complete"


def interface_values(plan: RunPlan, outputs: Outputs) -> dict[str, Any]:
    """The workflow's outputs; a key whose node gave nothing is absent."""
    found: dict[str, Any] = {}
    for key, source in plan.interface_outputs.items():
        value = outputs.get(source.node, {}).get(source.slot, UNDEFINED)
        if value is not UNDEFINED:
            found[key] = convert(value, source.convert)
    return found


def budget(sizes: Sequence[int], in_flight: int, started: int, spent: int) -> int:
    """How many of the next nodes (their encoded input `sizes`) may start in this activation.

    At most 500 in flight, 100 new and 1 MB of inputs per activation: past 4 MB the server ends the run, past
    2,000 pending it wedges it.
    """
    allowed = 0
    for size in sizes:
        too_many = in_flight + allowed >= MAX_IN_FLIGHT or started + allowed >= MAX_NEW
        too_large = spent + size > MAX_NEW_BYTES and started + allowed > 0
        if too_many or too_large:
            break
        spent += size
        allowed += 1
    return allowed


MAX_IN_FLIGHT = 500
MAX_CONSUMERS = 100
"""Stream consumers of one run at a time; they hold slots while they wait."""
MAX_NEW = 100
MAX_NEW_BYTES = 1_000_000
