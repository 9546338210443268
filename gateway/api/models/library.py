"""Stored workflows, their versions, and projects."""

from __future__ import annotations

from typing import Annotated, NotRequired

from pydantic import Field, with_config
from typing_extensions import TypedDict

from innkeeper.gateway.api.models.base import CLOSED, OPEN, FreeObject, JsonValue, Moment
from innkeeper.gateway.api.models.errors import Problem

VersionNumber = Annotated[int, Field(ge=1)]


@with_config(CLOSED)
class SlotGlance(TypedDict, total=False):
    """An input or output of a workflow, in short."""

    dataFlowType: str
    displayName: str
    customDescription: str
    required: bool
    isStream: bool
    multi: bool


@with_config(CLOSED)
class InterfaceGlance(TypedDict, total=False):
    """Inputs and outputs of a workflow by their keys."""

    inputs: dict[str, SlotGlance]
    outputs: dict[str, SlotGlance]


@with_config(CLOSED)
class StoredWorkflow(TypedDict):
    """A stored workflow in a list."""

    id: str
    name: str
    description: NotRequired[str]
    tags: list[str]
    projectId: str
    version: VersionNumber
    """The newest."""
    published: VersionNumber | None
    """The one that runs by id take; null: the newest that compiles."""
    valid: bool
    """The newest version compiles, and so does the published one: when it was saved, and with its groups since."""
    reason: NotRequired[str]
    """Why it is not valid, where a change of a group is to blame."""
    interface: InterfaceGlance
    createdAt: Moment
    updatedAt: Moment
    deletedAt: NotRequired[Moment]
    """Only of what is in the bin."""
    etag: str
    """For `If-Match`."""


@with_config(CLOSED)
class FollowingWorkflow(TypedDict):
    """A workflow that runs another one as a group and follows its new interface."""

    id: str
    projectId: str
    name: str


@with_config(CLOSED)
class SavedWorkflow(StoredWorkflow):
    """The answer to a save."""

    isNewVersion: bool
    """False: the content is what was stored already."""
    problems: list[Problem]
    """Errors keep it from being run and published, not from being stored."""
    updates: list[FollowingWorkflow]
    """The first 20 of the workflows that are brought up to its new interface, in the background."""
    updateCount: Annotated[int, Field(ge=0)]
    """How many there are."""


@with_config(CLOSED)
class WorkflowVersion(TypedDict):
    """A version of a workflow, in a list."""

    version: VersionNumber
    etag: str
    hash: str
    """sha256 of the content."""
    author: str
    savedAt: Moment
    note: str
    valid: bool
    published: bool


@with_config(CLOSED)
class Publication(TypedDict, total=False):
    """Which version is published."""

    version: VersionNumber | None
    """Absent: the newest."""


@with_config(CLOSED)
class ChangedPart(TypedDict):
    """A part that both versions have. `changes`: path inside it to `{from, to}`."""

    id: str
    changes: FreeObject


@with_config(CLOSED)
class PartsDiff(TypedDict):
    """Parts of one kind, by their ids; edges by what they join."""

    added: list[str]
    removed: list[str]
    changed: list[ChangedPart]


WorkflowDiff = TypedDict(
    "WorkflowDiff",
    {
        "from": VersionNumber,
        "to": VersionNumber,
        "nodes": PartsDiff,
        "edges": PartsDiff,
        "inputs": PartsDiff,
        "outputs": PartsDiff,
        "document": FreeObject,
    },
)
"""What differs between two versions. Positions do not count."""
WorkflowDiff.__pydantic_config__ = CLOSED  # type: ignore[attr-defined]


@with_config(OPEN)
class Project(TypedDict):
    """A project. Fields of its clients that are not listed are kept, not read."""

    id: str
    name: str
    description: NotRequired[str]
    version: str
    schemaVersion: str
    createdAt: Moment
    updatedAt: Moment
    preferredView: NotRequired[JsonValue]


@with_config(OPEN)
class NewProject(TypedDict):
    """A project to be made. Its id is its name, cleaned."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    description: NotRequired[str | None]


@with_config(OPEN)
class ProjectChange(TypedDict, total=False):
    """Fields of a project that change."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    description: str | None


@with_config(CLOSED)
class ProjectWorkflow(TypedDict):
    """A workflow of a project, in a list."""

    id: str
    name: str
    description: NotRequired[str]
    updatedAt: Moment
    referencedWorkflows: NotRequired[list[str]]
