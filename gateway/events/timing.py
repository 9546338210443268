"""What the messages of one commit tell about time. Collected while they are decided, observed after the commit."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from innkeeper.gateway.events.fence import INTERPRETED, Message, RunLogState
from innkeeper.gateway.metrics import Metrics


@dataclass
class CommitTiming:
    """Moments are those of `time.perf_counter()`.

    Attributes:
        received: When the submission that is decided now had come.
        oldest_chunk: When the first chunk of the commit had come.
        began: Runs in which a node began.
        ended: Type (None: not known) and seconds of nodes that ended.
    """

    received: float = 0.0
    oldest_chunk: float | None = None
    began: set[str] = field(default_factory=set)
    ended: list[tuple[str | None, float]] = field(default_factory=list)

    def take(self, message: Message, state: RunLogState) -> None:
        """Note a message that gave events; the state has followed them already."""
        kind = message["t"]
        if kind == "chunk":
            self.chunk()
        elif kind == "open":
            self._open(message, state)
        elif kind in ("complete", "fact"):
            self._end(message, state)

    def chunk(self) -> None:
        """Note a chunk."""
        if self.oldest_chunk is None:
            self.oldest_chunk = self.received

    def _open(self, message: Message, state: RunLogState) -> None:
        self.began.add(message["run"])
        node_type = message.get("type")
        # The log does not keep it, as nobody else needs it: a state that is read again does not have it.
        state.nodes[message["path"]].node_type = node_type if isinstance(node_type, str) else None

    def _end(self, message: Message, state: RunLogState) -> None:
        node = state.nodes.get(message["path"])  # None: the payload of a fact named another node
        if node is None:
            return
        if node.terminal is None:
            if node.epoch == INTERPRETED:
                self.began.add(message["run"])
        elif node.epoch not in (None, INTERPRETED):
            # What the interpreter runs mostly waits, and what never began has no duration.
            self.ended.append((node.node_type, max(0, node.ended_ms - node.started_ms) / 1000))

    def observe(self, metrics: Metrics, commit_began: float) -> None:
        """Count everything, now that it is committed."""
        now = time.perf_counter()
        metrics.commit.observe(now - commit_began)
        if self.oldest_chunk is not None:
            metrics.chunk_lag.observe(now - self.oldest_chunk)
        for run in self.began:
            metrics.runs.node_began(run)
        for node_type, seconds in self.ended:
            metrics.node_ended(node_type, seconds)
