"""What changes in a user's list of runs, told to every socket that asked for it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from itertools import islice
from typing import Protocol

from innkeeper.gateway.events.activity import ENDS, WAITS
from innkeeper.gateway.events.fence import STATUS, Event, RunLogState
from innkeeper.gateway.realtime.event_frames import own_frame
from innkeeper.gateway.realtime.send_queue import SendQueue
from innkeeper.gateway.runs.view import JsonObject

logger = logging.getLogger("innkeeper.gateway.clients")

ROUND_S = 0.2
"""Changes gather for so long: a socket gets at most five lots of them a second, each run once in a lot."""
RUNS_PER_ROUND = 200
"""Reading more at once would hold up the event loop; what is left comes in the next round."""
MAX_PENDING = 10_000
"""Runs that changed while a client took nothing: beyond, it is sent away."""
RETRY_S = 1.0
_ALWAYS = frozenset({STATUS, "APPROVAL_ANSWERED", *WAITS})
_MAYBE = frozenset({"NODE_EXECUTING", "NODE_RETRY", *ENDS})
"""Events that change the list only when a wait begins or ends with them."""


class Lists(Protocol):
    """The list of runs (`runs.run_list.RunList`)."""

    async def items(self, user_id: str, runs: Collection[str]) -> list[JsonObject]:
        """Those of these runs that the user has."""

    async def open_approvals(self, user_id: str) -> dict[str, int]:
        """The user's runs that have not ended, and how many approvals of each are open."""


class RunsWatcher:
    """What one socket has not been sent yet: of each run only the newest.

    Attributes:
        is_lost: It took nothing for so long that it must load the list anew.
    """

    def __init__(self) -> None:
        self._pending: dict[str, bytes] = {}
        self._approvals: bytes | None = None
        self._filled = asyncio.Event()
        self.is_lost = False

    def put(self, frames: dict[str, bytes], approvals: bytes | None) -> None:
        """Have frames of runs sent, and how many approvals are open, if that is news."""
        self._pending.update(frames)
        self._approvals = approvals or self._approvals
        if len(self._pending) > MAX_PENDING:
            self._pending.clear()
            self.is_lost = True
        self._filled.set()

    async def send_all(self, queue: SendQueue) -> None:
        """Send what comes, until the client is lost."""
        while not self.is_lost:
            await self._filled.wait()
            self._filled.clear()
            # The number first: it is the shorter one, and whoever waits for it may have to answer.
            frames = [*([self._approvals] if self._approvals else []), *self._pending.values()]
            self._pending, self._approvals = {}, None
            if frames:
                await queue.put(frames)


class RunUpdates:
    """Gathers which runs of a user changed, reads them together, and hands the frames to all watchers.

    Args:
        state_of: The log's state of a run that is in memory, else None.
    """

    def __init__(self, user_id: str, lists: Lists, state_of: Callable[[str], RunLogState | None]) -> None:
        self._user_id = user_id
        self._lists = lists
        self._state_of = state_of
        self._watchers: set[RunsWatcher] = set()
        self._changed: dict[str, None] = {}
        self._deleted: set[str] = set()
        self._waits: dict[str, tuple[bool, int]] = {}
        self._approvals: dict[str, int] = {}
        self._told_approvals: int | None = None
        self._wake = asyncio.Event()

    # --- watchers -------------------------------------------------------------------------------------------------

    async def join(self, watcher: RunsWatcher) -> None:
        """Tell a watcher of all runs that are open, and from now on of every change."""
        self._watchers.add(watcher)
        for run, count in (await self._lists.open_approvals(self._user_id)).items():
            self._changed.setdefault(run)
            self._approvals.setdefault(run, count)  # what changed since is counted anew with the run
        self._told_approvals = None
        self._wake.set()

    def leave(self, watcher: RunsWatcher) -> None:
        self._watchers.discard(watcher)
        if not self._watchers:  # nobody keeps these up to date now
            for known in (self._changed, self._deleted, self._waits, self._approvals):
                known.clear()

    # --- changes --------------------------------------------------------------------------------------------------

    def changed(self, run: str) -> None:
        """Something that lists show of this run was written."""
        if self._watchers:
            self._changed.setdefault(run)
            self._wake.set()

    def deleted(self, run: str, user_id: str) -> None:
        if self._watchers and user_id == self._user_id:
            self._deleted.add(run)
            self.changed(run)

    def observe(self, events: Sequence[Event]) -> None:
        """Follow the events of one run in one commit."""
        if not self._watchers:
            return
        kinds = {event["type"] for event in events}
        is_change = not kinds.isdisjoint(_ALWAYS)
        if not is_change and kinds.isdisjoint(_MAYBE):
            return
        run = events[0]["payload"]["promptId"]
        if self._wait_changed(run) or is_change:
            self.changed(run)

    def _wait_changed(self, run: str) -> bool:
        state = self._state_of(run)
        if state is None or state.closed:
            self._waits.pop(run, None)
            return True
        waits = (state.activity.only_waits, len(state.activity.waiting))
        before, self._waits[run] = self._waits.get(run, (False, 0)), waits
        return waits != before

    # --- rounds ---------------------------------------------------------------------------------------------------

    async def keep_telling(self) -> None:
        """For ever: tell the watchers what changed."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            began = time.monotonic()
            runs = list(islice(self._changed, RUNS_PER_ROUND))
            # Before they are read: what changes meanwhile is a change of the next round.
            for run in runs:
                del self._changed[run]
            try:
                await self._tell(runs)
            except Exception:  # the store may be busy or away for a moment
                logger.exception("changes of runs could not be read", extra={"event": "run_updates_failed"})
                self._changed = {**dict.fromkeys(runs), **self._changed}
                await asyncio.sleep(RETRY_S)
            if self._changed:
                self._wake.set()
            await asyncio.sleep(max(0.0, began + ROUND_S - time.monotonic()))

    async def _tell(self, runs: Sequence[str]) -> None:
        items = await self._lists.items(self._user_id, runs)
        if not self._watchers:
            return
        frames = {item["promptId"]: _frame_of(item) for item in items if not item.get("isPreview")}
        for item in items:
            self._count_approvals(item["promptId"], item["openApprovals"])
        for run in self._deleted.intersection(runs):
            self._deleted.discard(run)
            self._count_approvals(run, 0)
            frames[run] = _frame_of({"promptId": run, "deleted": True})
        approvals = self._approvals_frame()
        for watcher in self._watchers:
            watcher.put(frames, approvals)

    def _count_approvals(self, run: str, count: int) -> None:
        self._approvals.pop(run, None)
        if count:
            self._approvals[run] = count

    def _approvals_frame(self) -> bytes | None:
        """None: all have heard of this number."""
        count = sum(self._approvals.values())
        if count == self._told_approvals:
            return None
        self._told_approvals = count
        return own_frame("APPROVALS_UPDATE", {"open": count})


def _frame_of(item: JsonObject) -> bytes:
    return own_frame("RUN_UPDATE", {"run": item})
