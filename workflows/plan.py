"""A document compiled for running.

A plan is plain data, frozen into the run's input: what a run does never depends on a worker or a file.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple, overload

import orjson

from innkeeper.nodes.feeds import LIVE, STREAMED, UNDEFINED, Feed, NodeId, PlannedInput, SlotKey

__all__ = [
    "ERROR_SLOT",
    "LIVE",
    "STREAMED",
    "UNDEFINED",
    "BypassSource",
    "Feed",
    "InterfaceOutput",
    "Link",
    "NodeId",
    "PlannedInput",
    "PlannedNode",
    "PlannedOutput",
    "RunPlan",
    "SlotKey",
]

ERROR_SLOT: Final = "$error"
"""Every node has this output: what it failed with. Connected, the failure is handled and does not fail the run."""
PLAN_VERSION = 2
"""1: each inline node runs as an activity of its own. 2: they run in segments."""
MAX_PLAN_BYTES = 1_000_000
"""Compressed size of a plan: two arguments of 1 MiB were measured to wedge a run."""


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
        max_timeouts: Those of them that may be attempts which took all their time.
        counts_silence: `timeout_s` is for the time without a chunk, not for all of an attempt.
        gates: Source to the output slots this node hangs on, for sources that may leave outputs dead (a branch, a
            node whose failure is handled).
        joins: Runs as soon as one of its sources has given something (core:Merge).
        catches: Somebody handles its failure: its output `$error` is connected.
        group: Hash of the plan that it runs (`RunPlan.groups`); `""` for plain nodes.
        origins: Of a group: stream output to the producer inside, a path relative to the group.
        kept, lists: Of a group: producers inside whose chunks, or chunk lists, nodes of this graph want.
        cached: The result cache may know its outputs.
        spare: It may be left out when all that reads it is over: that can only be so behind a join.
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
    counts_silence: bool = False
    max_timeouts: int = 2
    gates: Mapping[NodeId, tuple[SlotKey, ...]] = field(default_factory=dict)
    joins: bool = False
    catches: bool = False
    group: str = ""
    origins: Mapping[SlotKey, str] = field(default_factory=dict)
    kept: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    cached: bool = False
    spare: bool = False


class Link(NamedTuple):
    """What of a node must be known before it runs: `PlannedNode` says what the fields mean."""

    id: NodeId
    after: Sequence[NodeId]
    beside: Sequence[NodeId]
    joins: bool
    is_gate: bool
    """It gives the graph's interface inputs."""
    follows: bool
    """It reads a stream while it comes."""

    @classmethod
    def of(cls, node: PlannedNode) -> Link:
        follows = bool(node.beside) or (node.interface_values and bool(node.inputs))
        return cls(
            node.id,
            after=node.after,
            beside=node.beside,
            joins=node.joins,
            is_gate=node.interface_values,
            follows=follows,
        )


class LazyNodes(Sequence[PlannedNode]):
    """Nodes of a plan on the wire, each read when it is asked for: reading 10,000 at once would hold up a worker."""

    def __init__(self, raw: Sequence[dict[str, Any]]) -> None:
        self._raw: list[dict[str, Any] | None] = list(raw)
        self._read: list[PlannedNode | None] = [None] * len(raw)
        self._links = [_link(item) for item in raw]

    def links(self) -> Sequence[Link]:
        return self._links

    @overload
    def __getitem__(self, index: int) -> PlannedNode: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[PlannedNode]: ...
    def __getitem__(self, index: int | slice) -> PlannedNode | Sequence[PlannedNode]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        node = self._read[index]
        if node is None:
            node = self._read[index] = _node(self._raw[index] or {})
            self._raw[index] = None
        return node

    def __len__(self) -> int:
        return len(self._read)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]  # as of any list


class _ById(Mapping[NodeId, PlannedNode]):
    def __init__(self, nodes: Sequence[PlannedNode], order: Mapping[NodeId, int]) -> None:
        self._nodes = nodes
        self._order = order

    def __getitem__(self, id: NodeId) -> PlannedNode:
        return self._nodes[self._order[id]]

    def __iter__(self) -> Iterator[NodeId]:
        return iter(self._order)

    def __len__(self) -> int:
        return len(self._order)


@dataclass(frozen=True)
class InterfaceOutput:
    """A named output of the workflow. `stream`: its chunks also go out as WORKFLOW_INTERFACE_YIELD.

    `convert` is a `nodes.definition.Conversion` of the slot's value, such as a finished stream to its text.
    `path` is the producer of a stream that comes out of a group.
    """

    node: NodeId
    slot: SlotKey
    stream: bool = False
    display_name: str | None = None
    convert: str = ""
    path: str | None = None

    @property
    def producer(self) -> str:
        """Path of the node whose stream this is."""
        return self.path or self.node


@dataclass(frozen=True)
class RunPlan:
    """A whole run. `nodes` stand in `order`: Kahn, FIFO, payload order; ready nodes start in that order.

    Attributes:
        interface_inputs: Interface key to value, for `core:GroupInput` nodes; keys without a value are absent.
        interface_keys: Inputs that an instance of this group may be given.
        groups: Hash to plan, as `pack` gives it, of every group below, however deep.
        kept: Producers inside groups whose streams are consumed; paths, a `*` stands for the number of a repetition.
    """

    nodes: Sequence[PlannedNode]
    workflow_id: str | None = None
    workflow_name: str | None = None
    interface_inputs: Mapping[str, Any] = field(default_factory=dict)
    interface_outputs: Mapping[str, InterfaceOutput] = field(default_factory=dict)
    plan_version: int = PLAN_VERSION
    interface_keys: tuple[str, ...] = ()
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    kept: tuple[str, ...] = ()

    @cached_property
    def links(self) -> Sequence[Link]:
        """How the nodes hang together, in their order; no node is read for it."""
        return self.nodes.links() if isinstance(self.nodes, LazyNodes) else [Link.of(node) for node in self.nodes]

    @cached_property
    def by_id(self) -> Mapping[NodeId, PlannedNode]:
        return _ById(self.nodes, self.order)

    @cached_property
    def order(self) -> Mapping[NodeId, int]:
        return {link.id: index for index, link in enumerate(self.links)}

    @cached_property
    def successors(self) -> Mapping[NodeId, Sequence[NodeId]]:
        found: dict[NodeId, list[NodeId]] = {link.id: [] for link in self.links}
        for link in self.links:
            for source in link.after:
                found[source].append(link.id)
        return found

    @cached_property
    def consumers(self) -> Mapping[NodeId, tuple[NodeId, ...]]:
        """Producer to the nodes that consume its streams while they come."""
        found: dict[NodeId, list[NodeId]] = {}
        for link in self.links:
            for source in link.beside:
                found.setdefault(source, []).append(link.id)
        return {key: tuple(value) for key, value in found.items()}

    @property
    def kept_streams(self) -> tuple[str, ...]:
        """Nodes whose streams another node consumes: none of their chunks may be dropped."""
        own = (node for node in self.consumers if not (self.by_id[node].group or self.by_id[node].interface_values))
        return tuple(dict.fromkeys((*own, *self.kept)))

    def pack(self) -> dict[str, Any]:
        """The plan as plain JSON data, default values left out."""
        packed: dict[str, Any] = _pack(self)
        return packed

    def encode(self) -> bytes:
        """The plan as one compressed argument."""
        return _compress(self.pack())

    @classmethod
    def decode(cls, data: bytes) -> RunPlan:
        raw = orjson.loads(zlib.decompress(data))
        nodes = LazyNodes(raw.get("nodes", []))
        outputs = {key: InterfaceOutput(**item) for key, item in raw.get("interface_outputs", {}).items()}
        lists = {key: tuple(raw[key]) for key in ("interface_keys", "kept") if key in raw}
        return cls(**{**raw, **lists, "nodes": nodes, "interface_outputs": outputs})

    def group_bytes(self, group: str) -> bytes:
        """The plan of one group, encoded, with the plans of the groups inside it."""
        if group not in self._encoded_groups:
            self._encoded_groups[group] = self._encoded_group(group)
        return self._encoded_groups[group]

    @cached_property
    def _encoded_groups(self) -> dict[str, bytes]:
        return {}

    def _encoded_group(self, group: str) -> bytes:
        needed = {name: self.groups[name] for name in self._groups_below(group)}
        return _compress({**self.groups[group], **({"groups": needed} if needed else {})})

    def _groups_below(self, group: str) -> Iterator[str]:
        seen: set[str] = set()
        queue = [group]
        for current in queue:
            for node in self.groups[current].get("nodes", ()):
                inner = node.get("group")
                if inner and inner not in seen:
                    seen.add(inner)
                    queue.append(inner)
                    yield inner


def _compress(data: Any) -> bytes:
    return zlib.compress(orjson.dumps(data), 6)


def _link(raw: dict[str, Any]) -> Link:
    beside = raw.get("beside", ())
    is_gate = bool(raw.get("interface_values"))
    return Link(
        raw["id"],
        after=raw.get("after", ()),
        beside=beside,
        joins=bool(raw.get("joins")),
        is_gate=is_gate,
        follows=bool(beside) or (is_gate and "inputs" in raw),
    )


def _node(raw: dict[str, Any]) -> PlannedNode:
    inputs = {SlotKey(key): PlannedInput.from_wire(item) for key, item in raw.get("inputs", {}).items()}
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
            "gates": {NodeId(key): tuple(slots) for key, slots in raw.get("gates", {}).items()},
            "kept": tuple(raw.get("kept", ())),
            "lists": tuple(raw.get("lists", ())),
        }
    )


# Values of the user stay as they are: they hold no dataclasses and may be deep.
_VALUES = frozenset({"empty", "config", "interface_inputs", "groups"})
# An empty object as a value, or as the bypass of a node without outputs, is not the same as none.
_EMPTY_COUNTS = frozenset({"empty", "bypass"})


_SPECS: dict[type, tuple[tuple[str, Any], ...]] = {
    kind: tuple((spec.name, spec.default) for spec in fields(kind))
    for kind in (RunPlan, PlannedNode, PlannedOutput, BypassSource, InterfaceOutput)
}


def _pack(item: Any) -> Any:
    """Dataclasses to objects without their default values: a plan of 10,000 nodes stays small."""
    if isinstance(item, PlannedInput):
        return item.to_wire()
    specs = _SPECS.get(type(item))
    if specs is not None:
        return {name: _packed(name, getattr(item, name)) for name, default in specs if _is_needed(item, name, default)}
    if isinstance(item, Mapping):
        return {key: _pack(value) for key, value in item.items()}
    if isinstance(item, tuple | list | LazyNodes):
        return [_pack(value) for value in item]
    return item


def _packed(name: str, value: Any) -> Any:
    return value if name in _VALUES else _pack(value)


def _is_needed(item: Any, name: str, default: Any) -> bool:
    """Would decoding without this field give another plan?"""
    value = getattr(item, name)
    if value == default and type(value) is type(default):
        return name == "plan_version"
    return bool(value) or not isinstance(value, dict | tuple) or name in _EMPTY_COUNTS
