"""What a new run may take over from an old one, and what it runs itself. Pure: plans and node tables in, seeds out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from innkeeper.nodes.errors import InvalidWorkflow, Problem
from innkeeper.workflows.compiler.fingerprint import fingerprints
from innkeeper.workflows.engine import scheduler
from innkeeper.workflows.engine.state import end_of
from innkeeper.workflows.plan import NodeId, PlannedNode, RunPlan

NOT_TARGETED = "not_targeted"
PREVIEW = "preview"
"""Why a node is skipped that a partial run, or a preview, leaves out."""
MAX_NAMED = 20

Entry = Mapping[str, Any]
IsUnsafe = Callable[[PlannedNode], bool]


@dataclass(frozen=True)
class Base:
    """An old run: its plan, and its node table by path, with plain references. An entry whose values are gone, or that
    a preview took over from a graph before, is absent or has lost its output."""

    plan: RunPlan
    entries: Mapping[str, Entry]


@dataclass(frozen=True)
class RerunRequest:
    """What somebody asks of a run beside its graph.

    Attributes:
        from_nodes: These, and everything behind them, run in any case.
        targets: Only these and what they need run; empty: everything.
        preview: Only what `from_nodes` change runs, and nothing that can be felt outside.
    """

    from_nodes: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    preview: bool = False


class NodeDisposition(StrEnum):
    """How a node gets into the new run."""

    REUSED = "reused"
    STALE = "stale"
    SKIPPED = "skipped"
    LEFT_OUT = "left_out"
    RUNS = "runs"


@dataclass(frozen=True)
class ReusePlan:
    """What a run begins with.

    Attributes:
        dispositions: Each node's disposition, in plan order.
        seeds: Rows of the node table (`RunState.table`) for all nodes that do not run.
        origins: Taken over node to the node of the base that it comes from.
    """

    dispositions: Mapping[NodeId, NodeDisposition]
    seeds: Mapping[NodeId, dict[str, Any]]
    origins: Mapping[NodeId, NodeId]

    def of(self, disposition: NodeDisposition) -> list[str]:
        return [node for node, found in self.dispositions.items() if found == disposition]


def plan_reuse(
    plan: RunPlan, base: Base | None, request: RerunRequest, is_unsafe: IsUnsafe = lambda node: False
) -> ReusePlan:
    """Decide for every node of `plan`.

    A node is taken over when the base has finished one with the same fingerprint and everything before it is settled
    in the same way; so nothing behind a node that runs is ever taken over. Whoever is read as a stream by a node that
    runs, runs too: its chunks are not kept.

    Args:
        is_unsafe: Does running this node, in a preview, do something outside? Asked of previews only.

    Raises:
        InvalidWorkflow: `request` names nodes that do not exist.
    """
    forced = _behind(plan, _named(plan, request.from_nodes, "changed" if request.preview else "fromNode"))
    wanted: set[NodeId] | None = None
    if request.preview:
        wanted = _before(plan, forced)
    elif request.targets:
        wanted = _before(plan, _named(plan, request.targets, "targets", outputs=True))
    decision = _Decision(
        plan,
        base or Base(RunPlan(()), {}),
        forced=forced,
        wanted=wanted,
        is_unsafe=is_unsafe if request.preview else None,
    )
    return decision.made()


# --- the graph ------------------------------------------------------------------------------------------------------


def _named(plan: RunPlan, names: Sequence[str], key: str, *, outputs: bool = False) -> set[NodeId]:
    """The nodes of these names. A path into a group means the group; `outputs`: names of interface outputs will do."""
    found, problems = set(), []
    for name in names:
        top = NodeId(name if name in plan.by_id else name.partition("/")[0])
        if top in plan.by_id:
            found.add(top)
        elif outputs and name in plan.interface_outputs:
            found.add(plan.interface_outputs[name].node)
        else:
            problems.append(_unknown(plan, name, key, outputs))
    if problems:
        raise InvalidWorkflow(problems)
    return found


def _unknown(plan: RunPlan, name: str, key: str, outputs: bool) -> Problem:
    known = [*plan.by_id, *(plan.interface_outputs if outputs else ())]
    listed = ", ".join(repr(str(one)) for one in known[:MAX_NAMED]) or "none"
    more = f" and {len(known) - MAX_NAMED} more" if len(known) > MAX_NAMED else ""
    message = f"{key!r} names {name[:80]!r}, which the workflow does not have; it has {listed}{more}"
    return Problem("unknown_node", message)


def _behind(plan: RunPlan, nodes: Iterable[NodeId]) -> set[NodeId]:
    """These nodes and everything that comes after them."""
    found, queue = set(nodes), list(nodes)
    for node in queue:
        for other in (*plan.successors[node], *plan.consumers.get(node, ())):
            if other not in found:
                found.add(other)
                queue.append(other)
    return found


def _before(plan: RunPlan, nodes: Iterable[NodeId]) -> set[NodeId]:
    """These nodes and everything they need."""
    found, queue = set(nodes), list(nodes)
    for node in queue:
        for other in (*plan.by_id[node].after, *plan.by_id[node].beside):
            if other not in found:
                found.add(other)
                queue.append(other)
    return found


# --- matching -------------------------------------------------------------------------------------------------------


def matches(plan: RunPlan, base: Base) -> dict[NodeId, NodeId]:
    """Node to the finished node of the base with the same fingerprint: the one of the same id, else another that no
    node has yet, so that a copy of a node is a node of its own."""
    mine, theirs = fingerprints(plan), fingerprints(base.plan)
    usable = {node for node in theirs if is_finished(base.entries.get(node, {}))}
    found = {node: node for node, mark in mine.items() if node in usable and theirs[node] == mark}
    free: dict[str, list[NodeId]] = {}
    for node in base.plan.order:
        if node in usable and node not in found:
            free.setdefault(theirs[node], []).append(node)
    for node, mark in mine.items():
        if node not in found and free.get(mark):
            found[node] = free[mark].pop(0)
    return found


def is_finished(entry: Entry) -> bool:
    """Has a node given what it has to give? One that failed, though it was allowed to, has not."""
    return entry.get("status") in ("complete", "bypassed") and "output" in entry and not entry.get("stale")


def _has_lists(node: PlannedNode, entry: Entry) -> bool:
    """Are the chunk lists there that somebody wants of its streams?"""
    wanted = [key for key, slot in node.outputs.items() if slot.stream and node.collect_chunks]
    wanted += [key for key, path in node.origins.items() if path in node.lists]
    output = entry["output"]
    return all("items" in output[key] for key in wanted if isinstance(output.get(key), Mapping))


# --- deciding -------------------------------------------------------------------------------------------------------


@dataclass
class _Decision:
    """Goes through the plan in order, as the scheduler would if everything taken over had just ended."""

    plan: RunPlan
    base: Base
    forced: set[NodeId]
    wanted: set[NodeId] | None
    is_unsafe: IsUnsafe | None
    dispositions: dict[NodeId, NodeDisposition] = field(default_factory=dict)
    seeds: dict[NodeId, dict[str, Any]] = field(default_factory=dict)
    origins: dict[NodeId, NodeId] = field(default_factory=dict)

    def made(self) -> ReusePlan:
        self._matches = matches(self.plan, self.base)
        self._reasons = _reasons(self.base)
        self._go_through()
        while must_run := self._producers_of_running():
            # They, and what is behind them, run as well, which may need further producers.
            self.forced |= must_run
            self._go_through()
        dispositions = {node.id: self.dispositions[node.id] for node in self.plan.nodes}
        return ReusePlan(dispositions, self.seeds, self.origins)

    def _go_through(self) -> None:
        self.dispositions, self.seeds, self.origins = {}, {}, {}
        self._progress = scheduler.begin(self.plan)[0]
        for node in self.plan.nodes:
            if node.id not in self.dispositions:
                self._decide(node)

    def _decide(self, node: PlannedNode) -> None:
        origin = self._matches.get(node.id)
        if origin is not None and self._may_take(node, origin):
            self._take(node, origin, NodeDisposition.REUSED)
        elif self.wanted is not None and node.id not in self.wanted:
            self._leave_out(node)
        elif self.is_unsafe is not None and node.bypass is None and self._may_not_run(node):
            self._go_without(node)
        else:
            self.dispositions[node.id] = NodeDisposition.RUNS

    def _may_take(self, node: PlannedNode, origin: NodeId) -> bool:
        sources = (*node.after, *node.beside)
        return (
            node.id not in self.forced
            and all(self._is_settled(source) for source in sources)
            and _has_lists(node, self.base.entries[origin])
        )

    def _is_settled(self, source: NodeId) -> bool:
        # What came from core:GroupInput is in the fingerprint of the node itself, value by value.
        settled = self.dispositions[source] in (NodeDisposition.REUSED, NodeDisposition.SKIPPED)
        return settled or (self.plan.by_id[source].interface_values and source not in self.forced)

    def _take(self, node: PlannedNode, origin: NodeId, disposition: NodeDisposition) -> None:
        seed = _seed(self.base.entries[origin], stale=disposition == NodeDisposition.STALE)
        self.dispositions[node.id], self.seeds[node.id], self.origins[node.id] = disposition, seed, origin
        end = end_of(seed, self._reasons.get(origin, ""))
        settled = scheduler.settle(self.plan, self._progress, node.id, end)
        self._skip(settled.reasons, node.id, NodeDisposition.SKIPPED)

    def _leave_out(self, node: PlannedNode) -> None:
        reason = NOT_TARGETED if self.is_unsafe is None else PREVIEW
        self._skip({node.id: reason}, None, NodeDisposition.LEFT_OUT)
        self._skip(scheduler.leave_out(self.plan, self._progress, node.id, reason), node.id, NodeDisposition.LEFT_OUT)

    def _go_without(self, node: PlannedNode) -> None:
        """A node that a preview may not run: what it gave last, whatever that was for, or nothing."""
        entry = self.base.entries.get(node.id, {})
        before = self.base.plan.by_id.get(node.id)
        same = before is not None and (before.type, before.mode) == (node.type, node.mode)
        if same and entry.get("status") == "complete" and "output" in entry and _has_lists(node, entry):
            self._take(node, node.id, NodeDisposition.STALE)
        else:
            self._leave_out(node)

    def _skip(self, reasons: Mapping[NodeId, str], cause: NodeId | None, disposition: NodeDisposition) -> None:
        for node, reason in reasons.items():
            self.dispositions[node] = disposition
            self.seeds[node] = {"status": "skipped", "reason": reason, **({"cause": cause} if cause else {})}

    def _may_not_run(self, node: PlannedNode) -> bool:
        """In a preview: is it unsafe, or does it follow the stream of one that is?"""
        assert self.is_unsafe is not None
        return self.is_unsafe(node) or any(
            self.dispositions[producer] == NodeDisposition.STALE
            or (self.dispositions[producer] == NodeDisposition.REUSED and self.is_unsafe(self.plan.by_id[producer]))
            for producer in node.beside
        )

    def _producers_of_running(self) -> set[NodeId]:
        running = (node for node in self.plan.nodes if self.dispositions[node.id] == NodeDisposition.RUNS)
        producers = {producer for node in running for producer in node.beside}
        return _behind(self.plan, [node for node in producers if self.dispositions[node] == NodeDisposition.REUSED])


def _seed(entry: Entry, *, stale: bool) -> dict[str, Any]:
    seed = {key: entry[key] for key in ("status", "output", "attempts", "dead", "warnings") if key in entry}
    return {**seed, "reused": True, **({"stale": True} if stale else {})}


def _reasons(base: Base) -> dict[NodeId, str]:
    """Of nodes with dead outputs: why what hung on these did not run."""
    return {
        NodeId(entry["cause"]): str(entry["reason"])
        for entry in base.entries.values()
        if entry.get("status") == "skipped" and entry.get("cause") and entry.get("reason")
    }
