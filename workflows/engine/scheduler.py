"""What is ready, what will never run, and how many may start at once: pure questions about a plan and its progress."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from innkeeper.workflows.plan import ERROR_SLOT, NodeId, PlannedNode, RunPlan

MAX_IN_FLIGHT = 500
MAX_CONSUMERS = 100
"""Stream consumers of one run at a time; they hold slots while they wait."""
MAX_NEW = 100
MAX_NEW_BYTES = 1_000_000

UPSTREAM_ERROR: Final = "upstream_error"
NOT_TAKEN: Final = "branch_not_taken"
NO_ERROR: Final = "no_error"
NO_VALUE: Final = "no_value"
NOT_NEEDED: Final = "not_needed"
"""Why a node is skipped. Others come with the node that chose (`End.reason`)."""


@dataclass
class Progress:
    """How far a run is: for each node that has not begun the sources it waits for; what runs; outcomes of the rest.

    `parked`: nodes that have begun and wait, although they are no control nodes.
    """

    waiting: dict[NodeId, int]
    outcome: dict[NodeId, str] = field(default_factory=dict)
    running: set[NodeId] = field(default_factory=set)
    parked: set[NodeId] = field(default_factory=set)


@dataclass(frozen=True)
class End:
    """How a node ended.

    Attributes:
        outcome: `complete`, `bypassed`, `error` or `skipped`.
        dead: Output slots of a node that chose others, with the `reason`: they will never have a value.
        given: Output slots that have a value; None: not known, all of them count.
    """

    outcome: str
    dead: Collection[str] = ()
    reason: str = ""
    given: Collection[str] | None = None


@dataclass(frozen=True)
class Settled:
    """What the end of a node leads to: nodes now ready, and nodes that will never run, each with its reason."""

    ready: tuple[NodeId, ...] = ()
    reasons: Mapping[NodeId, str] = field(default_factory=dict)

    @property
    def skipped(self) -> tuple[NodeId, ...]:
        return tuple(self.reasons)


def begin(plan: RunPlan) -> tuple[Progress, tuple[NodeId, ...]]:
    """A fresh progress and the nodes that are ready at once, in order."""
    progress = Progress({link.id: len(link.after) + len(link.beside) for link in plan.links})
    return progress, tuple(node for node, count in progress.waiting.items() if count == 0)


def started(plan: RunPlan, progress: Progress, node_id: NodeId) -> tuple[NodeId, ...]:
    """Record that a node runs; gives the consumers of its streams that are ready with it."""
    progress.running.add(node_id)
    progress.waiting.pop(node_id, None)
    return _in_order(plan, _released(plan, progress, plan.consumers.get(node_id, ())))


def settle(plan: RunPlan, progress: Progress, node_id: NodeId, end: End | str) -> Settled:
    """Record that a node ended (an outcome alone for a node that gave everything) and return what follows. Touches its
    neighbours only.

    What hangs on an output that will never come does not run: one that a branch did not choose, `$error` of a node
    that did not fail, the others of one that failed. An error that nothing handles leaves all outputs dead. What is
    behind a node that will not run will not run either; a join (core:Merge) does as long as one of its sources may
    still give something. A node that already runs (it consumes a stream) gets the error from the stream, and what is
    behind it waits for its own end. Independent branches are not concerned.
    """
    end = End(end) if isinstance(end, str) else end
    node = plan.by_id[node_id]
    # A node that never streamed has released none of its consumers yet; of one that has run they are on their way.
    has_run = node_id in progress.running
    progress.outcome[node_id] = end.outcome
    progress.running.discard(node_id)
    progress.waiting.pop(node_id, None)
    after, beside = plan.successors[node_id], plan.consumers.get(node_id, ())
    if end.outcome == "error" and not node.continue_on_error and not node.catches:
        return Settled(
            reasons=_skip_downstream(plan, progress, ((other, UPSTREAM_ERROR) for other in (*after, *beside)))
        )
    lost = [(other, why) for other in (*after, *beside) if (why := _skip_reason(plan.by_id[other], node, end))]
    gone = {other for other, _ in lost}
    behind = (*after, *(() if has_run else beside))
    ready = _released(plan, progress, (other for other in behind if other not in gone))
    skipped = _skip_downstream(plan, progress, lost)
    if node.joins:
        skipped.update(dict.fromkeys(leave_out_unneeded(plan, progress, node_id), NOT_NEEDED))
    return Settled(_in_order(plan, ready), skipped)


def leave_out_unneeded(plan: RunPlan, progress: Progress, join: NodeId) -> tuple[NodeId, ...]:
    """Take out what can change nothing any more now that a join has ended, and give it: nodes that have not begun, and
    nodes that wait, of which nobody who could read them is left.

    Activities that run go on: they are paid for, and what they do outside cannot be taken back halfway.
    """
    found: dict[NodeId, None] = {}
    queue = list(plan.by_id[join].after)
    for node in queue:
        if _is_unneeded(plan, progress, node):
            found[node] = None
            progress.outcome[node] = "skipped"
            progress.running.discard(node)
            progress.waiting.pop(node, None)
            queue += plan.by_id[node].after
    return _in_order(plan, found)


def _is_unneeded(plan: RunPlan, progress: Progress, node_id: NodeId) -> bool:
    node = plan.by_id[node_id]
    if not node.spare or node_id in progress.outcome:
        return False
    # What is ready may be on its way to an activity already; a node that waits, or may wait, is not.
    may_wait = node.placement == "workflow" or node_id in progress.parked
    if not may_wait and (node_id in progress.running or not progress.waiting.get(node_id)):
        return False
    return all(reader in progress.outcome for reader in plan.successors[node_id])


def leave_out(plan: RunPlan, progress: Progress, node_id: NodeId, reason: str) -> Mapping[NodeId, str]:
    """Take a node out of a run that has not begun; gives what is behind it and will not run either."""
    progress.outcome[node_id] = "skipped"
    progress.waiting.pop(node_id, None)
    behind = (*plan.successors[node_id], *plan.consumers.get(node_id, ()))
    return _skip_downstream(plan, progress, ((other, reason) for other in behind))


def resumed(plan: RunPlan, ends: Mapping[NodeId, End]) -> tuple[Progress, tuple[NodeId, ...]]:
    """The progress of a run of which these nodes are over, and what is ready now, in order."""
    progress = Progress({}, {node: end.outcome for node, end in ends.items()})
    ready = []
    for link in plan.links:
        if link.id in ends:
            continue
        sources = (*link.after, *link.beside)
        waiting = sum(1 for source in sources if source not in ends)
        if link.joins:
            join = plan.by_id[link.id]
            if any(_has_given(plan.by_id[source], join, ends.get(source)) for source in sources):
                waiting = 0
        progress.waiting[link.id] = waiting
        if waiting == 0:
            ready.append(link.id)
    return progress, tuple(ready)


def _has_given(source: PlannedNode, join: PlannedNode, end: End | None) -> bool:
    if end is None or end.outcome == "skipped":
        return False
    if end.outcome == "error" and not (source.continue_on_error or source.catches):
        return False
    return not _skip_reason(join, source, end)


def _skip_reason(node: PlannedNode, source: PlannedNode, end: End) -> str:
    """Why a node will never get what it takes from an ended `source`; "" when it does."""
    reasons = [_dead_reason(source, slot, end, node.joins) for slot in node.gates.get(source.id, ())]
    if node.joins:
        return reasons[-1] if reasons and all(reasons) else ""
    return next(filter(None, reasons), "")


def _dead_reason(source: PlannedNode, slot: str, end: End, joins: bool) -> str:
    """Why nothing comes from one output; "" when something may. Only a join minds that an output is empty."""
    failed = end.outcome == "error"
    if slot in end.dead:
        return end.reason or NOT_TAKEN
    if source.catches and slot == ERROR_SLOT:
        return "" if failed else NO_ERROR
    if source.catches and failed and not source.continue_on_error:
        return UPSTREAM_ERROR
    return NO_VALUE if joins and end.given is not None and slot not in end.given else ""


def _released(plan: RunPlan, progress: Progress, nodes: Iterable[NodeId]) -> list[NodeId]:
    """One source less to wait for; gives the nodes that wait for none any more. A join waits for one only."""
    ready = []
    for node in nodes:
        left = progress.waiting.get(node, 0)
        if left > 0:
            progress.waiting[node] = 0 if plan.by_id[node].joins else left - 1
            if progress.waiting[node] == 0:
                ready.append(node)
    return ready


def _skip_downstream(plan: RunPlan, progress: Progress, first: Iterable[tuple[NodeId, str]]) -> dict[NodeId, str]:
    """Skip these nodes and everything behind them, breadth first, each once; gives the reason of each."""
    queue = list(first)
    reasons: dict[NodeId, str] = {}
    for node, reason in queue:
        if node in progress.running or node in progress.outcome:
            continue
        if plan.by_id[node].joins and not _is_last_source(progress, node):
            continue
        progress.outcome[node] = "skipped"
        progress.waiting.pop(node, None)
        reasons[node] = reason
        queue += ((behind, reason) for behind in (*plan.successors[node], *plan.consumers.get(node, ())))
    return reasons


def _is_last_source(progress: Progress, node: NodeId) -> bool:
    """A join lost a source: was it the last one that could still have given something?"""
    left = progress.waiting.get(node, 0)
    if left > 0:
        progress.waiting[node] = left - 1
    return left == 1


def _in_order(plan: RunPlan, nodes: Iterable[NodeId]) -> tuple[NodeId, ...]:
    return tuple(sorted(nodes, key=plan.order.__getitem__))


def run_status(plan: RunPlan, outcome: Mapping[NodeId, str], interrupted: bool) -> str:
    """`interrupted`, `error` (a node failed that may not) or `complete`."""
    if interrupted:
        return "interrupted"
    return "error" if unhandled(plan, outcome) else "complete"


def unhandled(plan: RunPlan, outcome: Mapping[NodeId, str]) -> tuple[NodeId, ...]:
    """The failed nodes that fail the run.

    A node that follows the stream of one whose failure is handled (or may be) fails with it: that is the same failure.
    """
    if "error" not in outcome.values():
        return ()
    handled: set[NodeId] = set()
    found = []
    for node_id in plan.order:
        if outcome.get(node_id) != "error":
            continue
        node = plan.by_id[node_id]
        if node.continue_on_error or node.catches or not handled.isdisjoint(node.beside):
            handled.add(node.id)
        else:
            found.append(node.id)
    return tuple(found)


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
