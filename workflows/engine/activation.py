"""What one workflow task has begun, and how full the history was: the same answers live and in every replay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from temporalio import workflow

from innkeeper.workflows.engine import segments

MAX_NODES_BEGUN = 5_000
DRAIN_EVENTS = 20_000
DRAIN_BYTES = 20_000_000
"""A history that is longer, or larger, begins nothing new: the server ends a run at about twice that."""


@dataclass(frozen=True)
class History:
    """How full a history is, as the server reported when a workflow task began."""

    events: int = 0
    bytes: int = 0
    is_long: bool = False

    @classmethod
    def now(cls) -> History:
        info = workflow.info()
        length, size = info.get_current_history_length(), info.get_current_history_size()
        return cls(length, size, info.is_continue_as_new_suggested())

    def is_full(self, is_busy: Callable[[], bool]) -> bool:
        """May nothing new start in it? Already when a new one is suggested, if nothing is under way."""
        if self.is_long and not is_busy():
            return True
        return self.events > DRAIN_EVENTS or self.bytes > DRAIN_BYTES


class Activation:
    """What this workflow task has begun so far, in all graphs together: each command of it travels in one message.

    A local segment keeps the workflow task open, and the server continues one that lasts in a new workflow task. A
    replay sees the two tasks as one, so the decision what to begin must not depend on the difference: the end of a
    segment begins no new count, and `history` is taken only from tasks that ended without a local segment.
    `may_run_locally` sees to it that there are such tasks.

    Attributes:
        number: Rises with each workflow task that brought something.
        started: Commands that left in this workflow task.
        spent: Bytes of JSON that they carry.
        history: As it was at the last task of which that is certain.
    """

    def __init__(self) -> None:
        self.number = 0
        self.started = 0
        self.spent = 0
        self.history = History()
        self._nodes = 0
        self._at = -1
        self._seen = History()
        self._segment: asyncio.Future[Any] | None = None
        self._segment_runs = False
        self._is_open = False  # a segment runs in this task, or did
        self._in_a_row = 0
        self._local_ms = 0.0
        self._local_bytes = 0

    def look(self) -> Activation:
        """Itself, counted anew when another workflow task has begun."""
        at = workflow.info().get_current_history_length()
        if at != self._at:
            if not self._is_open:
                self.history, self._in_a_row = self._seen, 0
            self._seen, self._is_open = History.now(), self._segment_runs
            self._at, self.number = at, self.number + 1
            self.started, self.spent, self._nodes = 0, 0, 0
            self._local_ms, self._local_bytes = 0.0, 0
        return self

    def spend(self, commands: int, size: int) -> None:
        """Count commands, and the bytes of JSON that they carry."""
        self.started += commands
        self.spent += size

    def take(self, nodes: int) -> bool:
        """May a graph of so many nodes begin in it? It blocks the worker meanwhile, which may last 2 s at most."""
        self.look()
        if self._nodes and self._nodes + nodes > MAX_NODES_BEGUN:
            return False
        self._nodes += nodes
        return True

    # --- local segments -------------------------------------------------------------------------------------------

    @property
    def segment_runs(self) -> bool:
        """Does a local segment run right now? Then nothing else may begin before it ends."""
        return self._segment_runs

    @property
    def is_still(self) -> bool:
        """Is no local segment under way, whether or not its end was recorded?"""
        return self._segment is None or self._segment.done()

    @property
    def left_ms(self) -> float:
        """How much longer local segments may keep this workflow task open."""
        return max(0.0, segments.LOCAL_MS - self._local_ms)

    def may_run_locally(self) -> bool:
        """May another local segment keep this workflow task open?"""
        has_room = self.left_ms > 0 and self._local_bytes < segments.LOCAL_BYTES
        return has_room and self._in_a_row < segments.MAX_IN_A_ROW

    def begin_segment(self, task: asyncio.Future[Any]) -> None:
        self._segment = task
        self._segment_runs = self._is_open = True
        self._in_a_row += 1

    def end_segment(self, ms: float, size: int) -> None:
        """Count the ms and the bytes of results of a local segment. The first thing to do at its end."""
        self._segment_runs = False
        self._at = workflow.info().get_current_history_length()
        self._local_ms += ms
        self._local_bytes += size
