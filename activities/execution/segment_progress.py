"""How far a segment is, and what its nodes tell on the way: nothing here knows of the link or of the server."""

from __future__ import annotations

import asyncio
import copy
import time
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from innkeeper.activities.execution.attempt import Attempt
from innkeeper.activities.link.retry_notice import RetryNotice, iso
from innkeeper.nodes.call import NodeCall, SegmentCall, SegmentNode
from innkeeper.nodes.feeds import Missing, PlannedInput, SlotKey, values_of
from innkeeper.nodes.json_values import json_size

YIELD_TO_LOOP_MS = 10.0
"""How long nodes that never wait may keep a loop to themselves."""

Outcome = dict[str, Any]


class NodeEnd(NamedTuple):
    """How a node has ended.

    Attributes:
        size: Bytes of the outcome as JSON; 0 when it holds no outputs.
        notice: It runs by itself as soon as the segment has ended, and this says why.
    """

    outcome: Outcome
    size: int = 0
    notice: RetryNotice | None = None


class Told(NamedTuple):
    """A node has begun, or ended.

    Attributes:
        attempt: None of a node that lacks an input, so that it never begins.
        begun: When that was.
    """

    node: SegmentNode
    attempt: Attempt | None
    begun: str
    end: NodeEnd | None = None

    def ended(self, end: NodeEnd) -> Told:
        """The end of what has begun, now."""
        number = self.attempt.number if self.attempt is not None else 0
        about = {"attempt": number, "startedAt": self.begun, "endedAt": timestamp()}
        return self._replace(end=end._replace(outcome={**end.outcome, **about}))


class SegmentProgress:
    """How far a segment is.

    Attributes:
        left: The nodes whose turn has not come yet.
        outcomes: Of the nodes that have ended, by id.
        last_message: The number of the last message that was sent of them.
    """

    def __init__(self, call: SegmentCall) -> None:
        self.call = call
        self.left = [SegmentNode(**node) for node in call.nodes]
        self.outcomes: dict[str, Outcome] = {}
        self.last_message = 0
        self._outputs: dict[Any, dict[str, Any]] = {**call.outputs}
        self._inside = {node.id for node in self.left}
        self._bytes = 0
        self._began = self._yielded_at = time.monotonic()

    def copy(self) -> SegmentProgress:
        """The same, for another thread to go on with."""
        twin = copy.copy(self)
        twin.outcomes, twin._outputs = {**self.outcomes}, {**self._outputs}
        return twin

    @property
    def ms(self) -> float:
        return (time.monotonic() - self._began) * 1_000

    def is_used_up(self) -> bool:
        """Is the time or the room for outputs used up? Never before the first node has run."""
        is_over = self.ms >= self.call.budget_ms or self._bytes >= self.call.budget_bytes
        return bool(self.outcomes) and is_over

    def values(self, node: SegmentNode) -> dict[str, Any] | Missing | None:
        """The inputs of a node; None when something in this segment that it hangs on gave nothing."""
        slots = {SlotKey(key): PlannedInput.from_wire(slot) for key, slot in node.inputs.items()}
        sources = _sources(slots.values())
        if any(source in self._inside and source not in self._outputs for source in sources):
            return None
        return values_of(slots, self._outputs)

    def record(self, node: SegmentNode, end: NodeEnd) -> None:
        self.outcomes[node.id] = end.outcome
        self._bytes += end.size
        if "outputs" in end.outcome:
            self._outputs[node.id] = end.outcome["outputs"]

    def size_of(self, outcome: Outcome) -> int | None:
        """Bytes of what one node gave; None when that is too much for a segment."""
        size = json_size(outcome)
        return size if size <= self.call.budget_bytes else None

    def node_call(self, node: SegmentNode, values: dict[str, Any]) -> NodeCall:
        call = self.call
        return NodeCall(
            run=call.run,
            path=f"{call.place}/{node.id}" if call.place else node.id,
            type=node.type,
            inputs=values,
            mode=node.mode,
            config=node.config,
            multi=[key for key, slot in node.inputs.items() if slot.get("multi")],
            seal=node.seal,
            max_failures=1 if node.is_last else 2,
            non_retryable=node.non_retryable,
            run_user=call.run_user,
        )

    async def yield_to_loop(self) -> None:
        if (time.monotonic() - self._yielded_at) * 1_000 > YIELD_TO_LOOP_MS:
            await asyncio.sleep(0)
            self._yielded_at = time.monotonic()


class Stay:
    """Nodes that run one after the other in one place, which may be another thread than that of who waits for them.

    Whoever runs them works on a copy of the segment's progress and tells what happens; the worker's loop takes that.
    So nothing that a thread still does after it was given up can reach the segment.

    Attributes:
        progress: For who runs the nodes, and nobody else.
        running: The node that has begun and not ended, as far as it was taken.
        is_over: No further node may begin here.
    """

    def __init__(self, progress: SegmentProgress, nodes: tuple[SegmentNode, ...]) -> None:
        self.progress = progress.copy()
        self.nodes = nodes
        self.running: Told | None = None
        self.is_over = False
        self._told: deque[Told] = deque()

    def tell(self, told: Told) -> None:
        if told.end is not None and not self.is_over:
            self.progress.record(told.node, told.end)
        self._told.append(told)

    def take(self) -> Iterator[Told]:
        """What was told since the last time."""
        while self._told:
            told = self._told.popleft()
            self.running = told if told.end is None else None
            yield told

    def stop(self) -> None:
        self.is_over = True


def timestamp() -> str:
    return iso(datetime.now(UTC))


def _sources(slots: Iterable[PlannedInput]) -> set[str]:
    return {feed.node for slot in slots for feed in slot.feeds}
