"""Control of runs: pause and resume, approvals, external events."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field, with_config
from typing_extensions import TypeAliasType, TypedDict

from innkeeper.gateway.api.models.base import CLOSED, Count, FreeObject, JsonValue, Moment

ApprovalKind = TypeAliasType("ApprovalKind", Literal["approval", "budget"])
ApprovalStatus = TypeAliasType("ApprovalStatus", Literal["open", "answered", "closed"])


@with_config(CLOSED)
class Paused(TypedDict):
    success: Literal[True]
    promptId: str
    status: Literal["paused"]
    message: str


@with_config(CLOSED)
class Resumed(TypedDict):
    success: Literal[True]
    promptId: str
    message: str


@with_config(CLOSED)
class ApprovalAnswer(TypedDict):
    """The answer to an approval."""

    approved: bool
    values: NotRequired[FreeObject | None]
    """Form field to value."""
    comment: NotRequired[Annotated[str, Field(max_length=10_000)] | None]
    by: NotRequired[Annotated[str, Field(max_length=200)] | None]
    """Who answered."""


@with_config(CLOSED)
class Approval(TypedDict):
    """An approval that a node asked for."""

    promptId: str
    nodeId: str
    approvalId: str
    """Path of the node."""
    kind: ApprovalKind
    """`budget`: the node would go past what may be spent. Approved, the answer holds the new limit; else it fails."""
    status: ApprovalStatus
    """`closed`: nobody answered in time, or the run ended."""
    until: Moment | None
    """When it closes by itself; null waits for ever."""
    form: list[FreeObject]
    """Fields that the answer may set in `values`, as interface slots."""
    data: JsonValue
    """What is to be approved; a large value is a preview with `url`."""
    scope: NotRequired[Literal["run", "workflow", "user", "day"]]
    """Of a budget: whose it is."""
    limit: NotRequired[FreeObject]
    """What may be spent: `tokens`, `money` or both."""
    used: NotRequired[FreeObject]
    attempt: NotRequired[Count]
    """Of the node that asked for more."""
    message: NotRequired[str]
    requiredAt: Moment
    answer: NotRequired[ApprovalAnswer | None]
    answeredAt: NotRequired[Moment]
    closedAt: NotRequired[Moment]
    workflowName: NotRequired[str | None]
    """Only in the list of all runs."""


@with_config(CLOSED)
class RunApprovals(TypedDict):
    """A page of one run's approvals, in the order they were asked for."""

    approvals: list[Approval]
    nextCursor: int | None
    """`cursor` of the next page; null on the last one."""


@with_config(CLOSED)
class OpenApprovals(TypedDict):
    """A page of the open approvals of all runs."""

    approvals: list[Approval]
    nextCursor: str | None
    """`cursor` of the next page; null on the last one."""


@with_config(CLOSED)
class Answered(TypedDict):
    success: Literal[True]
    promptId: str
    approvalId: str
    answer: ApprovalAnswer
    """The answer that counts."""


@with_config(CLOSED)
class ExternalEvent(TypedDict):
    """Something that happened outside."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    """The name that nodes wait for."""
    data: NotRequired[JsonValue]
    """What they get: at most 256,000 bytes of JSON."""


@with_config(CLOSED)
class EventDelivered(TypedDict):
    success: Literal[True]
    promptId: str
    name: str
    waiting: Count
    """How many nodes of the run waited for an event of this name."""
    message: NotRequired[str]
    """Only when none did."""


@with_config(CLOSED)
class PostedEvent(TypedDict):
    """Something that happened outside, for triggers and for all runs that wait for it."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    """The name that triggers and nodes look for."""
    data: NotRequired[JsonValue]
    """What they get: at most 256,000 bytes of JSON."""
    id: NotRequired[Annotated[str, Field(min_length=1, max_length=1_000)] | None]
    """The same when the event is sent again, which then does nothing again. Without it each request is a new event."""
    source: NotRequired[Annotated[str, Field(min_length=1, max_length=1_000)] | None]
    """Where it happened. `id` is unique within it."""


@with_config(CLOSED)
class TriggeredByEvent(TypedDict):
    """What a trigger made of an event."""

    triggerId: str
    name: str
    """Of the trigger."""
    outcome: Literal["fired", "queued", "filtered", "duplicate", "skipped", "refused", "failed"]
    runId: NotRequired[str]
    """The run that it starts; of a duplicate the run of the first delivery."""
    reason: NotRequired[str]
    """Why no run starts now."""


@with_config(CLOSED)
class EventBroadcast(TypedDict):
    """What an event has done."""

    success: bool
    """False when some run could not be told."""
    name: str
    runs: Count
    """How many runs that waited for it were told."""
    promptIds: list[str]
    """The first 100 of them."""
    triggers: list[TriggeredByEvent]
    """Every trigger that wants events of this name and source."""
    missed: NotRequired[list[str]]
    """The first 100 runs that could not be told."""
    pending: NotRequired[list[str]]
    """The first 100 runs that will be told when Temporal answers."""
    duplicate: NotRequired[Literal[True]]
    """An event with this `id` and `source` came before; the runs are those that were told then."""


@with_config(CLOSED)
class EventResult(TypedDict):
    """What one event of a batch has done, or why it was refused."""

    success: bool
    status: int
    """Status that the event would have got by itself."""
    error: NotRequired[str]
    code: NotRequired[str]
    details: NotRequired[FreeObject]
    name: NotRequired[str]
    runs: NotRequired[Count]
    promptIds: NotRequired[list[str]]
    triggers: NotRequired[list[TriggeredByEvent]]
    missed: NotRequired[list[str]]
    pending: NotRequired[list[str]]
    duplicate: NotRequired[Literal[True]]


@with_config(CLOSED)
class EventBatch(TypedDict):
    """What the events of a batch have done, in their order."""

    success: bool
    """False when one of them was refused, or some run could not be told."""
    results: list[EventResult]
