"""Control of runs: pause and resume, approvals, external events."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field, with_config
from typing_extensions import TypeAliasType, TypedDict

from innkeeper.gateway.api.models.base import CLOSED, Count, FreeObject, JsonValue, Moment

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
    status: ApprovalStatus
    """`closed`: nobody answered in time, or the run ended."""
    until: Moment | None
    """When it closes by itself; null waits for ever."""
    form: list[FreeObject]
    """Fields that the answer may set in `values`, as interface slots."""
    data: JsonValue
    """What is to be approved; a large value is a preview with `url`."""
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
class EventBroadcast(TypedDict):
    success: bool
    """False when some run could not be told."""
    name: str
    runs: Count
    """How many runs were told."""
    promptIds: list[str]
    """The first 100 of them."""
    missed: NotRequired[list[str]]
    """The first 100 runs that could not be told."""
