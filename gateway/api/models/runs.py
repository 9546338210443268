"""Runs: accepted, listed, and in full."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field, with_config
from typing_extensions import TypeAliasType, TypedDict

from innkeeper.gateway.api.models.base import CLOSED, Count, FreeObject, JsonValue, Moment
from innkeeper.gateway.api.models.callbacks import RunCallback
from innkeeper.gateway.api.models.errors import Problem
from innkeeper.gateway.api.models.usage import Money, RunUsage, UsageSums

RunStatus = TypeAliasType(
    "RunStatus", Literal["queued", "running", "paused", "waiting", "interrupting", "complete", "error", "interrupted"]
)
NodeStatus = TypeAliasType(
    "NodeStatus", Literal["running", "waiting", "complete", "error", "skipped", "interrupted"]
)  # fmt: skip
WaitKind = TypeAliasType("WaitKind", Literal["delay", "until", "approval", "budget", "event"])


@with_config(CLOSED)
class RerunCounts(TypedDict, total=False):
    """How many nodes each list has, also where the list is cut after 1,000."""

    reused: Count
    stale: Count
    leftOut: Count
    runs: Count


@with_config(CLOSED)
class RunAccepted(TypedDict):
    """The answer to a submission. A rerun also says what it takes over; each list holds at most 1,000 node ids."""

    promptId: str
    """The run's id."""
    baseRun: NotRequired[str]
    reused: NotRequired[list[str]]
    """Nodes whose outputs are taken over."""
    stale: NotRequired[list[str]]
    """Nodes of a preview whose outputs are taken over although they may be out of date."""
    leftOut: NotRequired[list[str]]
    """Nodes that are not needed."""
    runs: NotRequired[list[str]]
    """Nodes that run."""
    counts: NotRequired[RerunCounts]
    warnings: NotRequired[list[Problem]]
    """What the compiler found odd in a graph that can run."""


@with_config(CLOSED)
class DryRun(TypedDict):
    """What a submission would run and take over; no run was made. Each list holds at most 1,000 node ids."""

    dryRun: Literal[True]
    warnings: list[Problem]
    """What the compiler found odd in a graph that can run."""
    reused: list[str]
    """Nodes whose outputs would be taken over."""
    runs: list[str]
    """Nodes that would run."""
    stale: list[str]
    """Nodes of a preview whose outputs would be taken over although they may be out of date."""
    leftOut: NotRequired[list[str]]
    """Nodes that are not needed."""
    counts: RerunCounts
    baseRun: NotRequired[str]


@with_config(CLOSED)
class Progress(TypedDict):
    value: float
    max: float


@with_config(CLOSED)
class Wait(TypedDict):
    """What a waiting node waits for."""

    kind: WaitKind
    until: Moment | None
    """When the wait ends by itself; null waits for ever."""
    name: NotRequired[str]
    """Of the event."""
    approvalId: NotRequired[str]
    form: NotRequired[list[FreeObject]]
    """Fields that an approval asks for, as interface slots."""
    data: NotRequired[JsonValue]
    """What is to be approved."""
    scope: NotRequired[str]
    """Of a budget that is used up: whose it is."""
    limit: NotRequired[FreeObject]
    used: NotRequired[FreeObject]
    attempt: NotRequired[Count]
    message: NotRequired[str]


@with_config(CLOSED)
class LastError(TypedDict):
    """Why the last attempt of a node has ended."""

    code: str
    message: str


@with_config(CLOSED)
class NodeError(TypedDict):
    """Why a node failed."""

    message: str
    code: str
    retryable: NotRequired[bool]
    """Would another attempt have been allowed?"""
    details: NotRequired[FreeObject]


@with_config(CLOSED)
class NodeWarning(TypedDict):
    code: str
    message: str


@with_config(CLOSED)
class NodeState(TypedDict):
    """One node of a run."""

    status: NodeStatus
    output: NotRequired[FreeObject]
    """Output slot to value. A large value is `{"$blob", "size", "mime", "preview", "url"}`: `url` gives it whole. A
    stream is `{"text", "chunks"}`."""
    error: NotRequired[NodeError]
    attempts: NotRequired[Count]
    startedAt: NotRequired[Moment]
    endedAt: NotRequired[Moment]
    reason: NotRequired[str | None]
    """Of a skipped node: why. Of a node that is tried again: why it waits."""
    retryAt: NotRequired[Moment]
    """The next attempt begins then."""
    nextAttemptAt: NotRequired[Moment]
    """`retryAt`."""
    lastError: NotRequired[LastError]
    cause: NotRequired[str | None]
    """Of a skipped node: the node that it was skipped for."""
    progress: NotRequired[Progress]
    wait: NotRequired[Wait]
    dead: NotRequired[list[str]]
    """Outputs that will never come."""
    reused: NotRequired[bool]
    """Taken over from another run."""
    stale: NotRequired[bool]
    """Taken over from a run of another graph."""
    cached: NotRequired[bool]
    """From the result cache."""
    warnings: NotRequired[list[NodeWarning]]
    """What the node told its user, and what was odd about its outputs."""
    text: NotRequired[str]
    """What its stream has said so far, while it is open: up to the event `lastSeq`."""
    textCut: NotRequired[Literal[True]]
    """Of a long text only the end is there."""
    usage: NotRequired[UsageSums]
    """What its requests to models took; of the first 2,000 nodes, the most expensive ones."""


@with_config(CLOSED)
class FailedNode(TypedDict):
    nodeId: str
    """Path of the node: ids from the outermost group to the node, joined by `/`."""
    code: str | None
    message: str | None


@with_config(CLOSED)
class RunErrorInfo(TypedDict):
    """Why a run failed."""

    message: str
    code: str
    nodes: NotRequired[list[FailedNode]]
    """The first 100 failed nodes."""
    problems: NotRequired[list[Problem]]
    """Of a graph that was refused over a socket: the first 100."""


@with_config(CLOSED)
class StuckRun(TypedDict):
    """Why a run cannot go on."""

    code: Literal["workflow_task_failing", "engine_activity_failing", "no_worker"]
    message: str
    """The reason, and what to do."""
    since: Moment


@with_config(CLOSED)
class StartedBy(TypedDict):
    """What started a run, where nobody did it by hand."""

    id: str
    """Of the trigger."""
    name: str
    kind: NotRequired[str]
    deliveryId: NotRequired[str]
    """Of what came for it."""


@with_config(CLOSED)
class RunSummary(TypedDict):
    """A run in a list."""

    promptId: str
    status: RunStatus
    openApprovals: NotRequired[Annotated[int, Field(ge=1)]]
    """How many nodes wait for an approval."""
    stuck: NotRequired[StuckRun]
    """Of a run that cannot go on. Found out a few seconds after its last event."""
    workflowId: NotRequired[str]
    workflowName: NotRequired[str]
    baseRun: NotRequired[str]
    """The run from which it took over finished nodes."""
    isPreview: NotRequired[bool]
    projectId: NotRequired[str]
    """Where the workflows that it names were looked up first."""
    workflowVersion: NotRequired[Annotated[int, Field(ge=1)]]
    """Of the stored workflow that it runs."""
    workflowVersions: NotRequired[dict[str, Annotated[int, Field(ge=1)]]]
    """Id to version of the stored workflows that its groups named."""
    trigger: NotRequired[StartedBy]
    """The trigger that started it."""
    labels: NotRequired[dict[str, str]]
    """Of that trigger."""
    submittedAt: Moment
    startedAt: NotRequired[Moment]
    completedAt: NotRequired[Moment]
    durationMs: NotRequired[Count]


@with_config(CLOSED)
class RunWaits(TypedDict):
    """Nodes of a run that wait for the same."""

    kind: Literal["delay", "until", "approval", "budget", "event", "wait", "parked"]
    """`wait`: for a provider or another node; `parked`: that takes long."""
    nodes: Annotated[int, Field(ge=1)]
    """How many nodes."""
    nodeId: str
    """Path of one of them."""
    name: NotRequired[str]
    """Of the event."""


@with_config(CLOSED)
class RunListItem(TypedDict):
    """A run in the list of all runs, and in RUN_UPDATE."""

    promptId: str
    status: RunStatus
    openApprovals: Count
    """How many nodes wait for an approval."""
    waiting: NotRequired[list[RunWaits]]
    """What its nodes wait for; at most 10 kinds of waits."""
    stuck: NotRequired[StuckRun]
    workflowId: NotRequired[str]
    workflowName: NotRequired[str]
    baseRun: NotRequired[str]
    isPreview: NotRequired[bool]
    projectId: NotRequired[str]
    workflowVersion: NotRequired[Annotated[int, Field(ge=1)]]
    workflowVersions: NotRequired[dict[str, Annotated[int, Field(ge=1)]]]
    trigger: NotRequired[StartedBy]
    labels: NotRequired[dict[str, str]]
    submittedAt: Moment
    startedAt: NotRequired[Moment]
    completedAt: NotRequired[Moment]
    durationMs: NotRequired[Count]
    errorInfo: NotRequired[RunErrorInfo]
    """Why it failed, with the first three failed nodes. Absent of runs of versions before 0013 of the store."""
    cost: NotRequired[Money]
    """What its requests to models cost so far, in units of `currency`. Absent: none, or no price is known."""
    currency: NotRequired[str]


@with_config(CLOSED)
class RunPage(TypedDict):
    """A page of runs, newest first."""

    runs: list[RunListItem]
    nextCursor: int | None
    """`cursor` of the next page; null on the last one."""


@with_config(CLOSED)
class KeptDocument(TypedDict):
    """What a run ran."""

    promptId: str
    path: str
    document: FreeObject
    """As it was submitted or stored; a secret is the text `$secret:` with its id."""


@with_config(CLOSED)
class OutputSlotRef(TypedDict):
    """An output that an input is connected to."""

    nodeId: str
    """Path of the node."""
    slot: str


InputOrigin = TypeAliasType("InputOrigin", Literal["edge", "value", "default", "none"])
# One of its keys is a word of the language.
NodeInput = TypedDict(
    "NodeInput",
    {
        "from": Annotated[InputOrigin, Field(description="`value`: the document has it; `default`: its type has.")],
        "source": NotRequired[
            Annotated[OutputSlotRef, Field(description="Of an edge: where it comes from; of several, the last one.")]
        ],
        "sources": NotRequired[
            Annotated[list[OutputSlotRef], Field(description="Of an input that takes several edges: all, in order.")]
        ],
        "value": NotRequired[
            Annotated[
                JsonValue,
                Field(description="As far as it is known; large values and streams as in `nodeStatus`, secrets `***`."),
            ]
        ],
        "secret": NotRequired[Annotated[Literal[True], Field(description="It is a secret, or holds some.")]],
        "missing": NotRequired[Annotated[Literal[True], Field(description="It must have a value, and got none.")]],
    },
)
"""One input of a node."""
NodeInput.__pydantic_config__ = CLOSED  # type: ignore[attr-defined]


@with_config(CLOSED)
class NodeInputs(TypedDict):
    """The inputs of a node of a run."""

    promptId: str
    path: str
    inputs: dict[str, NodeInput]


@with_config(CLOSED)
class Run(RunSummary):
    """A run in full."""

    outputs: FreeObject
    """Interface output to value; large values and streams as in `nodeStatus`."""
    nodeStatus: dict[str, NodeState]
    """Node path to state. Nodes that have not begun are absent."""
    errorInfo: NotRequired[RunErrorInfo]
    """Also of a run that was interrupted by force."""
    usage: NotRequired[RunUsage]
    """What its requests to models took so far. Absent: it made none, and has no budget."""
    callbacks: NotRequired[list[RunCallback]]
    """Whom it tells how it goes: the submission's own first, then the workflow's."""
    lastSeq: NotRequired[Count]
    """The last event of its log that counts here: events go on behind it. Absent: the log is gone."""
    logId: NotRequired[str]
    """Of the log, for SUBSCRIBE."""
    differs: NotRequired[list[str]]
    """Nodes of which the event log tells something else than the engine; the engine's word is what this answer has."""


@with_config(CLOSED)
class SubmittedRun(Run):
    """A run in full, with what the submission was told: the answer to a submission with `wait`."""

    reused: NotRequired[list[str]]
    stale: NotRequired[list[str]]
    leftOut: NotRequired[list[str]]
    runs: NotRequired[list[str]]
    counts: NotRequired[RerunCounts]
    warnings: NotRequired[list[Problem]]


@with_config(CLOSED)
class Executions(TypedDict):
    """Runs that have not ended."""

    running: list[RunSummary]
    pending: list[RunSummary]
    """Runs that wait in the queue, next first."""


@with_config(CLOSED)
class History(TypedDict):
    """A page of ended runs, newest first."""

    history: list[RunSummary]
    nextCursor: int | None
    """`cursor` of the next page; null on the last one."""


@with_config(CLOSED)
class Interrupted(TypedDict):
    """A run that is being interrupted."""

    success: Literal[True]
    message: str


@with_config(CLOSED)
class RunEvent(TypedDict):
    """One event of a run, as SSE and the WebSocket send it.

    Types: EXECUTION_STATUS_UPDATE, NODE_EXECUTING, NODE_PROGRESS, NODE_WARNING, NODE_YIELD, NODE_STREAM_RESET,
    NODE_RETRY, NODE_WAITING, APPROVAL_REQUIRED, APPROVAL_ANSWERED, BUDGET_REACHED, NODE_COMPLETE, NODE_ERROR,
    NODE_SKIPPED, NODE_BYPASSED, NODE_INTERRUPTED, WORKFLOW_INTERFACE_YIELD, WORKFLOW_INTERFACE_RESET. A NODE_COMPLETE
    of `__WORKFLOW_INTERFACE_OUTPUTS__` holds the outputs of the run.
    """

    seq: Annotated[int, Field(ge=1)]
    """Number in the run, from 1 without gaps."""
    ts: Count
    """Milliseconds since 1970."""
    type: str
    payload: FreeObject
    """Always with `promptId`; with `nodeId` or `sourceNodeId` where it is about a node."""
