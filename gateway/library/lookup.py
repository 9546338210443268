"""Finding stored workflows by id, and which of their versions counts: for runs, groups and whoever looks at them."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, ParamSpec, TypeVar

import orjson

from innkeeper.gateway.errors import NotFound, shown
from innkeeper.gateway.library.documents import JsonObject
from innkeeper.gateway.store.models import VersionRow, WorkflowRow
from innkeeper.gateway.store.workflows import LARGE_BYTES, WorkflowStore, unpack
from innkeeper.nodes.errors import InnkeeperError, InvalidWorkflow, Problem
from innkeeper.workflows.document.model import WorkflowDocument, load_json, parse_document

_READERS = ThreadPoolExecutor(8, thread_name_prefix="workflow-reader")
READ_TIMEOUT_S = 300.0
"""For one workflow that a thread asks for: it must not wait for a loop that has ended."""
DEFAULT_PROJECT = "default"
"""Holds what belongs to no project; ids are looked up here when the project of a run has none."""
MAX_NAMED = 5
P = ParamSpec("P")
T = TypeVar("T")
StoredRow = WorkflowRow
"""A stored workflow, for those who do not know the database."""
Which = int | Literal["published", "latest"] | None
"""A version by number or by role; None: the published one, else the newest that compiled when it was saved."""


class AmbiguousWorkflow(InnkeeperError):
    """Several projects, or several files, have a workflow of this id."""

    code = "duplicate_workflow_id"


class WorkflowDamaged(InnkeeperError):
    """What is stored cannot be read any more."""

    code = "workflow_damaged"


@dataclass(frozen=True)
class StoredVersion:
    """One version of a workflow, read: `data` is its JSON, `document` what that says. Nobody changes it."""

    row: WorkflowRow
    version: VersionRow
    data: bytes
    document: JsonObject


class WorkflowLookup:
    """The reading side of the library.

    Attributes:
        duplicates: Ids that several files of the folder of workflows have, with the sentence that says so.
        refresh: Takes in workflow files that have changed.
    """

    def __init__(self, store: WorkflowStore) -> None:
        self._store = store
        self.duplicates: Mapping[str, str] = {}
        self.refresh: Callable[[], Awaitable[None]] = _nothing

    async def row(self, user: str, workflow_id: str, project: str | None = None) -> WorkflowRow:
        """A workflow by its id: the one of the project, else of `default`, else the only one.

        Raises:
            NotFound: There is none.
            AmbiguousWorkflow: It cannot be told which is meant.
        """
        found = {row.project_id: row for row in await self._store.find(user, workflow_id)}
        if project in found and project != DEFAULT_PROJECT:
            return found[project]
        if workflow_id in self.duplicates:
            raise AmbiguousWorkflow(self.duplicates[workflow_id])
        if DEFAULT_PROJECT in found:
            return found[DEFAULT_PROJECT]
        if found and project is not None:
            raise NotFound(
                f"neither the project {shown(project)} nor {shown(DEFAULT_PROJECT)} has a workflow "
                f"{shown(workflow_id)}; GET /api/projects and GET /api/workflows list what there is",
                code="workflow_not_found",
            )
        if not found:
            raise NotFound(
                f"no stored workflow has the id {shown(workflow_id)}; GET /api/workflows lists them",
                code="workflow_not_found",
            )
        if len(found) > 1:
            names = ", ".join(sorted(found)[:MAX_NAMED]) + (", ..." if len(found) > MAX_NAMED else "")
            raise AmbiguousWorkflow(
                f"several projects have a workflow {shown(workflow_id)} ({names}): name the project"
            )
        (row,) = found.values()
        return row

    async def row_in(self, user: str, project: str, workflow_id: str) -> WorkflowRow:
        """A workflow of one project. Raises NotFound."""
        found = await self._store.find(user, workflow_id, project)
        if not found:
            raise NotFound(
                f"the project {shown(project)} has no workflow {shown(workflow_id)}", code="workflow_not_found"
            )
        return found[0]

    async def version(self, row: WorkflowRow, which: Which = None) -> StoredVersion:
        """A version of a workflow.

        Raises:
            NotFound: It has no such version (`version_not_found`).
            WorkflowDamaged
        """
        version = await self._version(row, which)
        if version is None:
            raise NotFound(_no_version(row, which), code="version_not_found")
        try:
            data = await unpack(version.document)
            document = await asyncio.to_thread(_object, data) if len(data) > LARGE_BYTES else _object(data)
        except (zlib.error, TypeError, ValueError):
            raise WorkflowDamaged(
                f"version {version.version} of the workflow {row.id!r} is damaged and cannot be read: name another "
                "version, or save the workflow again"
            ) from None
        return StoredVersion(row, version, data, document)

    async def _version(self, row: WorkflowRow, which: Which) -> VersionRow | None:
        if isinstance(which, int):
            return await self._store.version(row.number, which)
        if which != "latest" and row.published is not None:
            return await self._store.version(row.number, row.published)
        if which == "published":
            return None
        newest = None if which == "latest" or row.valid else await self._store.newest_valid(row.number)
        return newest or await self._store.version(row.number, row.version)

    def reader(self, user: str, project: str | None, *, beside: Mapping[str, bytes] | None = None) -> WorkflowReader:
        """Finds what nodes refer to, while a thread compiles. Call it in the event loop, after `refresh`: what takes
        changed files in compiles them, so a thread that compiles must never wait for it.

        Args:
            beside: Workflows that are about to be stored, by id: they are found first.
        """
        loop = asyncio.get_running_loop()
        return WorkflowReader(self, loop, user=user, project=project, beside=beside or {})


async def run_reading(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run work that reads with a `WorkflowReader` in a thread.

    Those of `asyncio.to_thread` would not do: the event loop needs some of them to find what the others wait for, and
    a few submissions at once would leave none.
    """
    call = partial(copy_context().run, partial(work, *args, **kwargs))
    return await asyncio.get_running_loop().run_in_executor(_READERS, call)


@dataclass
class WorkflowReader:
    """Reads stored workflows for one document, each once, and remembers which versions it gave.

    Attributes:
        versions: Id to version of what groups refer to.
        documents: Id to JSON of those versions.
    """

    lookup: WorkflowLookup
    loop: asyncio.AbstractEventLoop
    user: str
    project: str | None
    beside: Mapping[str, bytes]
    versions: dict[str, int] = field(default_factory=dict)
    documents: dict[str, bytes] = field(default_factory=dict)
    _read: dict[str, WorkflowDocument | None] = field(default_factory=dict)

    def load(self, workflow_id: str) -> WorkflowDocument | None:
        """A workflow that a node refers to; None when there is none. Blocking: only in a thread of `run_reading`.

        Raises:
            InvalidWorkflow: It is no workflow, or it cannot be told which one is meant.
        """
        if workflow_id not in self._read:
            self._read[workflow_id] = self._load(workflow_id)
        return self._read[workflow_id]

    def _load(self, workflow_id: str) -> WorkflowDocument | None:
        if workflow_id in self.beside:
            return parse_document(load_json(self.beside[workflow_id]))
        try:
            stored = asyncio.run_coroutine_threadsafe(self._find(workflow_id), self.loop).result(READ_TIMEOUT_S)
        except NotFound:
            return None
        except (AmbiguousWorkflow, WorkflowDamaged) as error:
            raise InvalidWorkflow([Problem(error.code, error.message)]) from None
        self.versions[workflow_id] = stored.version.version
        self.documents[workflow_id] = stored.data
        return parse_document(load_json(stored.data))

    async def _find(self, workflow_id: str) -> StoredVersion:
        return await self.lookup.version(await self.lookup.row(self.user, workflow_id, self.project))


async def _nothing() -> None:
    """There are no files."""


def _object(data: bytes) -> JsonObject:
    """Raises ValueError: it is no JSON, or no object. A column may be damaged in a way that still unpacks."""
    found = orjson.loads(data)
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


def _no_version(row: WorkflowRow, which: Which) -> str:
    if which == "published":
        return f"no version of the workflow {row.id!r} is published; POST /api/workflows/{row.id}/publish does it"
    return f"the workflow {row.id!r} has no version {which}; its newest is {row.version}"
