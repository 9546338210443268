"""What a run is doing now, by its events: which nodes work, and which wait for what. Kept small: it stays in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

WAITS = frozenset({"NODE_WAITING", "APPROVAL_REQUIRED", "BUDGET_REACHED"})
ENDS = frozenset({"NODE_COMPLETE", "NODE_ERROR", "NODE_SKIPPED", "NODE_BYPASSED", "NODE_INTERRUPTED"})


@dataclass
class Activity:
    """The nodes of a run that have begun and not ended.

    Attributes:
        working: Paths of nodes that do something. A group whose inner nodes were heard of is left out: it does what
            they do.
        waiting: Path to kind (`delay`, `until`, `approval`, `budget`, `event`; `wait` for a provider or another node,
            `parked` when that takes long) and the event's name, of nodes that wait. A node that is tried again after a
            failure works.
    """

    working: set[str] = field(default_factory=set)
    waiting: dict[str, tuple[str, str]] = field(default_factory=dict)
    _groups: set[str] = field(default_factory=set, compare=False)

    @property
    def only_waits(self) -> bool:
        """Does the run wait, and nothing else?"""
        return bool(self.waiting) and not self.working

    def apply(self, path: str, kind: str, payload: Mapping[str, Any]) -> None:
        """Follow one event of the node at `path`."""
        if kind == "NODE_EXECUTING":
            self._leave_to_inner(path)
            # What a group says and what its inner nodes say may come from two workers, in any order.
            if path not in self._groups:
                self.working.add(path)
                self.waiting.pop(path, None)
        elif kind == "NODE_RETRY" and (payload.get("kind") == "wait" or payload.get("parked")):
            self.working.discard(path)
            self.waiting[path] = ("parked" if payload.get("parked") else "wait", "")
        elif kind in WAITS:
            self.working.discard(path)
            self.waiting[path] = (str(payload.get("kind")), str(payload.get("name") or ""))
        elif kind == "APPROVAL_ANSWERED":
            if self.waiting.pop(path, None):
                self.working.add(path)
        elif kind in ENDS:
            self.working.discard(path)
            self.waiting.pop(path, None)

    def _leave_to_inner(self, path: str) -> None:
        while (path := path.rpartition("/")[0]) and path not in self._groups:
            self._groups.add(path)
            self.working.discard(path)

    def waits_for(self, event: str) -> int:
        """How many nodes wait for an event of this name."""
        return sum(wait == ("event", event) for wait in self.waiting.values())

    @property
    def approvals(self) -> int:
        """How many nodes wait for somebody's answer."""
        return sum(kind in ("approval", "budget") for kind, _ in self.waiting.values())
