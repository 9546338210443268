"""What all graphs that run in one Temporal workflow share, and how one of them was begun."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from temporalio import workflow

from innkeeper.nodes.json_values import json_size
from innkeeper.workflows.engine import scheduler
from innkeeper.workflows.engine.activation import Activation
from innkeeper.workflows.engine.event_sink import emit

MAX_SIGNALS_AT_ONCE = 100
"""To child workflows. 2,000 that are pending wedge a run."""
MAX_RECEIVED_EVENTS = 200
"""Ids that are kept, 20 characters each. An event is sent again within moments of the first time."""
SIGNALS_AT_ONCE = "signals-at-once"
"""The patch since which they are not sent one after the other."""

CANCEL_BY_ID = "cancel-children-by-id"
"""The patch since which child workflows that went on in a new history are cancelled too."""


@dataclass(frozen=True)
class RunStart:
    """What a workflow is started with beside its plan. Only `user_id` (and seeds in `state_refs`) for a whole run.

    Attributes:
        state_refs: Blobs of the node table so far: before continue-as-new, or results that are taken over.
        run: Id of the run that this group belongs to; `""`: this workflow is the run.
        path: Path of the group node, `outer/inner`.
        inputs: Interface inputs of the group.
        streams: Interface inputs that are streams: producers' paths in the run, `""` (no chunks), None (in `inputs`).
        kept, lists: Producers inside whose chunks, or chunk lists, are wanted outside; paths in the group.
        repeat: The plan is run once for each item, or again and again (`iteration_state.IterationState` as an object).
        paused: Nothing may begin until the run is resumed.
        no_cache: Every node runs, whatever the result cache knows.
        received_events: Ids of events that were received before continue-as-new, the newest last.
    """

    user_id: str = "default_user"
    state_refs: list[dict[str, Any]] = field(default_factory=list)
    run: str = ""
    path: str = ""
    inputs: dict[str, Any] = field(default_factory=dict)
    streams: dict[str, list[str | None]] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    lists: list[str] = field(default_factory=list)
    repeat: dict[str, Any] | None = None
    paused: bool = False
    no_cache: bool = False
    received_events: list[str] = field(default_factory=list)


@dataclass
class Wait:
    """What a node waits for. `deadline` in seconds since 1970; None waits for ever. `answer` ends the wait.

    `present`: of an approval the fields of its form that the data has a value for.
    """

    path: str
    kind: str
    deadline: float | None = None
    name: str = ""
    filter: dict[str, Any] = field(default_factory=dict)
    form: list[dict[str, Any]] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    answer: dict[str, Any] | None = None


async def signal_child(child: workflow.ChildWorkflowHandle[Any, Any], signal: str, *args: Any) -> None:
    with contextlib.suppress(Exception):  # it has ended already: that is what counts
        await child.signal(signal, args=list(args))


async def cancel_by_id(workflow_id: str) -> None:
    with contextlib.suppress(Exception):  # it has ended already, or knows: that is what counts
        await workflow.get_external_workflow_handle(workflow_id).cancel()


class WorkflowContext:
    """One Temporal workflow: its run, the signals it received, and what is under way in it.

    Attributes:
        run: Id of the run, of which this workflow may be a group.
        in_flight: Activities and child workflows under way, of all graphs in this workflow; waiting nodes are not.
        interrupted: The run is to end early; nothing begins any more.
        paused: Nothing begins until the run is resumed.
        no_cache: Every node runs, whatever the result cache knows.
        received_events: Ids of the newest events that were received, the newest last.
        waits: Path of a waiting node to what it waits for.
        announcements: Path of a waiting node to the event that told of it: type and payload.
        answered: Paths of approvals that were answered.
        unkept: Those of them whose answer the server has not kept yet.
        budget_answers: Scope of a budget to when it was answered, in seconds since 1970, and how.
        children: Path to the child workflow that runs there.
        activation: What began in the current workflow task.
        held_back: A graph of several in this workflow has more to start than one workflow task may.
    """

    def __init__(self, run: str, user_id: str) -> None:
        self.run = run
        self.user_id = user_id
        self.in_flight = 0
        self.interrupted = False
        self.paused = False
        self.no_cache = False
        self.received_events: list[str] = []
        self.waits: dict[str, Wait] = {}
        self.announcements: dict[str, tuple[str, dict[str, Any]]] = {}
        self.answered: set[str] = set()
        self.unkept: set[str] = set()
        self.budget_answers: dict[str, tuple[float, dict[str, Any]]] = {}
        self._unclaimed: tuple[int, list[tuple[str, Any]]] = (-1, [])
        self.children: dict[str, workflow.ChildWorkflowHandle[Any, dict[str, Any]]] = {}
        self.activation = Activation()
        self.held_back = False
        self._listeners: dict[int, Callable[[], None]] = {}
        self._next = 0
        self._cancelling: asyncio.Task[None] | None = None

    @property
    def has_room(self) -> bool:
        """May one more activity or child workflow be under way?"""
        return self.in_flight < scheduler.MAX_IN_FLIGHT

    def has_budget_for(self, size: int) -> bool:
        """May one more command with so many bytes of JSON leave in this workflow task?"""
        return bool(scheduler.budget([size], self.in_flight, self.activation.started, self.activation.spent))

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` at every signal to the whole run. Returns the function that unsubscribes."""
        key, self._next = self._next, self._next + 1
        self._listeners[key] = wake
        return lambda: self._listeners.pop(key, None) and None

    def receive_event(self, name: str, data: Any) -> None:
        """Keep an event that nobody waited for, for the rest of this workflow task."""
        self._unclaimed = (self.activation.look().number, [*self.unclaimed_events, (name, data)])

    def is_new_event(self, event_id: str) -> bool:
        """Was no event of this id received before? Notes that it is now."""
        if event_id in self.received_events:
            return False
        self.received_events = [*self.received_events, event_id][-MAX_RECEIVED_EVENTS:]
        return True

    @property
    def unclaimed_events(self) -> list[tuple[str, Any]]:
        """The events of this workflow task that no node waited for.

        A workflow task that is done anew, since its worker died, receives them before the waits begin that were
        announced already.
        """
        number, events = self._unclaimed
        return events if number == self.activation.look().number else []

    def take_interruption(self) -> bool:
        """Was a task cancelled because somebody interrupts the run? Asked where a CancelledError is caught.

        False: the caller must raise the error on. The SDK also cancels all tasks of a workflow that a worker evicts
        from its cache; whoever goes on then records ends that never came, and keeps the worker from stopping.
        """
        # The server delivers a cancel request once: of a run that is interrupted already, the next one is an eviction.
        if self.interrupted or workflow.cancellation_reason() is None:
            return False
        self.interrupted = True
        self.wake_all()
        if self.children and workflow.patched(CANCEL_BY_ID):
            self._cancelling = asyncio.create_task(self._cancel_children())
        return True

    async def _cancel_children(self) -> None:
        # Whoever cancels the task that awaits a child workflow cancels its first history alone: one that has
        # continued as new never hears of it, and its parent would wait for it for ever.
        children = list(self.children.values())
        for start in range(0, len(children), MAX_SIGNALS_AT_ONCE):
            await asyncio.gather(*(cancel_by_id(child.id) for child in children[start : start + MAX_SIGNALS_AT_ONCE]))

    async def until_handled(self) -> None:
        """Let signals and updates be handled to their end, which a workflow that is closed cannot do: an answer that
        came too late is refused, and what goes on in a new history has received all events of the old one."""
        while not workflow.all_handlers_finished():
            try:
                await workflow.wait_condition(workflow.all_handlers_finished)
            except asyncio.CancelledError:
                if not self.take_interruption():
                    raise

    async def signal_children(self, signal: str, *args: Any) -> None:
        """Signal all child workflows, many at a time: each signal takes a round trip to the server."""
        children = list(self.children.values())
        at_once = 1
        if len(children) > 1 and workflow.patched(SIGNALS_AT_ONCE):
            # What leaves in one workflow task travels in one message.
            at_once = max(1, min(MAX_SIGNALS_AT_ONCE, scheduler.MAX_NEW_BYTES // json_size(args)))
        for start in range(0, len(children), at_once):
            await asyncio.gather(*(signal_child(child, signal, *args) for child in children[start : start + at_once]))

    def wake_all(self) -> None:
        for wake in list(self._listeners.values()):
            wake()

    def emit(self, path: str, type: str, payload: dict[str, Any]) -> None:
        emit(self.run, path, type, payload)

    def announce_waits(self) -> None:
        """Tell again of the waits that have no answer: what was told once may be lost. The log takes what it lacks."""
        for path, announcement in self.announcements.items():
            if (wait := self.waits.get(path)) is not None and wait.answer is None:
                self.emit(path, *announcement)


@dataclass(frozen=True)
class GraphLocation:
    """Where a graph runs: its own path in the run (`""` for the run itself) and what came in there."""

    path: str = ""
    inputs: dict[str, Any] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()
    lists: frozenset[str] = frozenset()

    def of(self, node: str) -> str:
        """A node's path in the run; a path that begins with `/` is one already."""
        if node.startswith("/"):
            return node[1:]
        return f"{self.path}/{node}" if self.path else node

    def below(self, node: str, names: frozenset[str]) -> list[str]:
        """The part of `names` that lies inside a group node, relative to it."""
        start = f"{node}/"
        return [name.removeprefix(start) for name in sorted(names) if name.startswith(start)]
