"""Workflow documents as clients send and store them."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field, with_config
from typing_extensions import TypeAliasType, TypedDict

from innkeeper.gateway.api.models.base import CLOSED, OPEN, FreeObject, JsonValue
from innkeeper.gateway.api.models.callbacks import CallbackRequest
from innkeeper.gateway.api.models.errors import Problem
from innkeeper.gateway.api.models.usage import BudgetRequest

DataFlowType = TypeAliasType(
    "DataFlowType",
    Literal[
        "STRING", "INTEGER", "FLOAT", "BOOLEAN", "OBJECT", "ARRAY", "BINARY", "WILDCARD", "CONVERTIBLE_ANY"
    ],
)  # fmt: skip


@with_config(OPEN)
class RetryPolicy(TypedDict, total=False):
    """How often and how fast a node is tried again."""

    maximumAttempts: Annotated[int, Field(ge=1)]
    initialSeconds: float
    backoff: float
    maximumSeconds: float
    nonRetryable: list[str]
    """Error codes that are never tried again."""


@with_config(OPEN)
class WorkflowNode(TypedDict):
    """One node of a graph. Either `fullType` (payload) or `type` (stored workflow) is required."""

    id: str
    fullType: NotRequired[str]
    """`namespace:type`."""
    type: NotRequired[str]
    """`namespace:type`, as stored workflows name it."""
    inputs: NotRequired[FreeObject]
    """Input slot to value, where it differs from the slot's default."""
    inputValues: NotRequired[FreeObject]
    """`inputs`, as stored workflows name it."""
    configValues: NotRequired[FreeObject]
    inputConnectionOrders: NotRequired[dict[str, list[str]]]
    """Multi slot to edge ids, in the order of the list that the node gets."""
    displayName: NotRequired[str | None]
    bypassed: NotRequired[bool]
    retry: NotRequired[RetryPolicy | None]
    timeoutSeconds: NotRequired[float | None]
    """Time for one attempt; of a model's stream, of its silence."""
    totalTimeoutSeconds: NotRequired[float | None]
    """Time for all attempts together."""
    queue: NotRequired[str | None]
    """The task queue whose workers run the node."""
    continueOnError: NotRequired[bool]
    cache: NotRequired[bool | None]
    """May the result cache give its outputs? Absent: the node type decides."""


@with_config(OPEN)
class WorkflowEdge(TypedDict, total=False):
    """From an output slot to an input slot. `source` and `target` are what stored workflows write."""

    id: str | None
    sourceNodeId: str
    source: str
    sourceHandle: str | None
    """Key of the output slot."""
    targetNodeId: str
    target: str
    targetHandle: str | None
    """Key of the input slot; `slot__0`, `slot__1`, ... for a slot that takes several edges."""


@with_config(OPEN)
class InterfaceSlot(TypedDict):
    """A named input or output of the whole workflow. An input's default is `config.default`."""

    key: NotRequired[str]
    dataFlowType: str
    displayName: NotRequired[str | None]
    required: NotRequired[bool]
    multi: NotRequired[bool]
    isStream: NotRequired[bool]
    matchCategories: NotRequired[list[str]]
    config: NotRequired[FreeObject]
    min: NotRequired[float | None]
    max: NotRequired[float | None]


@with_config(OPEN)
class InterfaceMapping(TypedDict):
    """Which output slot gives one of the workflow's outputs."""

    sourceNodeId: str
    sourceSlotKey: str


@with_config(OPEN)
class Workflow(TypedDict, total=False):
    """A workflow document: a stored workflow, or an execution payload. Keys that are not listed are kept, not read."""

    id: str | None
    name: str | None
    description: str | None
    nodes: list[WorkflowNode]
    edges: list[WorkflowEdge]
    interfaceInputs: dict[str, InterfaceSlot]
    interfaceOutputs: dict[str, InterfaceSlot]
    outputInterfaceMappings: dict[str, InterfaceMapping] | None
    """Absent in stored workflows: there the edges into `core:GroupOutput` say it."""
    metadata: FreeObject
    """`workflowName` in it names the run. `isPreviewRun: true` makes it a preview without `baseRun`: all nodes run that
    do nothing outside, and their inputs may be whole slots (`{value, dataFlowType, ...}`)."""
    callback: CallbackRequest | None
    """Whom each run of it tells how it goes."""
    budget: BudgetRequest | None
    """The most that each run of it may spend on models."""
    workflowId: str | None
    """Without `nodes`: the id of the stored workflow to run. Beside them: the id of the document."""


@with_config(OPEN)
class RunRequest(Workflow, total=False):
    """A graph (a document, or `workflowId` of a stored one, or the graph of `baseRun`) and how to run it."""

    inputs: FreeObject
    """Interface input to value."""
    projectId: str | None
    """Ids of workflows are looked up in this project first, then in `default`."""
    version: JsonValue
    """With `workflowId` and without `nodes`: number of a version, `published` or `latest`; without it the published
    one, else the newest that compiles. Of a document it is the editor's, and not read."""
    wait: bool | Annotated[float, Field(ge=0, le=600)]
    """Answer with the full status once the run has ended, or after so many seconds. `true` waits up to 600."""
    requestId: str
    """Any text of the client's own; ignored here, echoed over the WebSocket."""
    baseRun: str
    """Take over from this run what it has finished and what is the same. Without a document its own graph runs."""
    fromNode: str | list[str]
    """Run these nodes, and all behind them, in any case. Needs `baseRun`."""
    targets: str | list[str]
    """Run only these nodes and what they need."""
    preview: bool
    """Run what `changed` affects, without side effects. Needs `baseRun` and `changed`."""
    changed: str | list[str]
    """For previews: the nodes that were changed."""
    noCache: bool
    """Run every node, even where the result cache holds its outputs."""
    dryRun: bool
    """Start nothing: tell what would run and what would be taken over. Only here, not over a socket."""


@with_config(CLOSED)
class Validation(TypedDict):
    """What the compiler says of a document."""

    valid: bool
    problems: list[Problem]
    """Every problem; of a valid document its warnings."""
