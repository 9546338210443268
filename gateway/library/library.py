"""Stored workflows: saved in versions, published, compared, deleted and restored."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from innkeeper.gateway.errors import BadRequest, NotFound, shown
from innkeeper.gateway.library.documents import JsonObject, checked_document, content_hash, glance, with_id
from innkeeper.gateway.library.group_watch import GroupWatch, Updates
from innkeeper.gateway.library.lookup import DEFAULT_PROJECT, WorkflowDamaged, WorkflowLookup
from innkeeper.gateway.store.models import VersionRow, WorkflowRow
from innkeeper.gateway.store.runs import now_ms
from innkeeper.gateway.store.workflows import Change, Creation, NewVersion, Saving, Taken, WorkflowStore, pack
from innkeeper.nodes.errors import InnkeeperError, InvalidWorkflow, Problem
from innkeeper.nodes.json_values import NotJsonData, encode_json

logger = logging.getLogger("innkeeper.gateway.library")

BIN_DAYS = 30
MAX_PROBLEMS = 50
"""Of one version, as they are kept."""


class Conflict(InnkeeperError):
    """Somebody else was faster, or the name or id is taken."""

    code = "conflict"


class DocumentChecker(Protocol):
    """Knows what is wrong with a document, and seals the secrets in it."""

    async def problems_of(
        self, document: JsonObject, user: str, project: str | None, beside: Mapping[str, bytes] | None = None
    ) -> Sequence[Problem]:
        """Every problem; `beside`: workflows by id that are about to be stored with it."""

    async def sealed_and_checked(
        self, document: JsonObject, user: str, project: str | None, beside: Mapping[str, bytes] | None = None
    ) -> tuple[JsonObject, Sequence[Problem]]:
        """The document with references in place of the secrets that were typed into it, which are stored; and every
        problem of it. `beside`: as in `problems_of`."""


@dataclass(frozen=True)
class SaveOptions:
    """How a workflow is saved.

    Attributes:
        note: What the version is for.
        author: None: its user.
        unique_name: No other workflow of the project may have its name.
        columns: Further columns of its row.
        beside: Workflows that are about to be stored with it, by id.
    """

    note: str = ""
    author: str | None = None
    unique_name: bool = True
    columns: Mapping[str, Any] = field(default_factory=dict)
    beside: Mapping[str, bytes] = field(default_factory=dict)


PLAIN = SaveOptions()


@dataclass(frozen=True)
class Saved:
    """What became of a save.

    Attributes:
        is_new: It made a version; identical content makes none.
        updates: The workflows that run it as a group and follow its new interface.
    """

    row: WorkflowRow
    is_new: bool
    problems: Sequence[Problem]
    updates: Updates = field(default_factory=Updates)


class Library:
    """The workflows of this gateway.

    Args:
        lookup: The reading side.
        groups: Is told of every workflow that changes.
    """

    def __init__(
        self, store: WorkflowStore, lookup: WorkflowLookup, checker: DocumentChecker, groups: GroupWatch
    ) -> None:
        self._store = store
        self._lookup = lookup
        self._checker = checker
        self._groups = groups

    # --- saving ---------------------------------------------------------------------------------------------------

    async def create(
        self, body: JsonObject, user: str, project: str = DEFAULT_PROJECT, options: SaveOptions = PLAIN
    ) -> Saved:
        """Store a workflow as version 1, sound or not.

        Raises:
            BadRequest: It is no workflow at all.
            Conflict: Its id (`id_taken`) or name (`name_taken`) is taken.
        """
        document = checked_document(body)
        workflow_id = document.get("id") or secrets.token_hex(8)
        version, problems, seen = await self._version(with_id(document, workflow_id), user, project, options)
        references = orjson.loads(seen["references"])
        groups = await self._groups.record(references, user, project, beside=options.beside)
        values = {**seen, "groups": groups, **options.columns}
        made = await self._store.create(Creation(user, project, workflow_id, values, version, options.unique_name))
        if isinstance(made, Taken):
            raise _taken(made, workflow_id, str(values["name"]), project)
        return Saved(made, True, problems, await self._told(made))

    async def save(self, row: WorkflowRow, body: JsonObject, options: SaveOptions = PLAIN) -> Saved:
        """Store a next version, in place of the version that `row` has.

        Raises:
            BadRequest: It is no workflow at all.
            Conflict: Somebody saved meanwhile (`version_changed`), or the name is taken (`name_taken`).
            NotFound: It was deleted meanwhile.
        """
        document, columns = with_id(checked_document(body), row.id), options.columns
        version, problems, seen = await self._version(document, row.user_id, row.project_id, options)
        if await self._is_stored(row, version):
            if columns and not await self._store.change(Change(row.number, row.version, columns)):
                raise _taken(Taken("version"), row.id, row.name, row.project_id)
            return Saved(row, False, problems)
        groups = await self._groups.record(
            orjson.loads(seen["references"]), row.user_id, row.project_id, known=row.groups, beside=options.beside
        )
        values = {**seen, "groups": groups, **columns}
        saved = await self._store.save(Saving(row.number, row.version, values, version, options.unique_name))
        if isinstance(saved, Taken):
            raise _taken(saved, row.id, str(values["name"]), row.project_id)
        return Saved(saved, True, problems, await self._told(saved))

    async def _is_stored(self, row: WorkflowRow, new: NewVersion) -> bool:
        """Is the newest version the same? One that cannot be read any more is stored again as a next one."""
        current = await self._store.version(row.number, row.version)
        if current is None or current.hash != new.hash:
            return False
        try:
            await self._lookup.version(row, row.version)
        except WorkflowDamaged:
            return False
        return True

    async def _version(
        self, document: JsonObject, user: str, project: str, options: SaveOptions
    ) -> tuple[NewVersion, Sequence[Problem], JsonObject]:
        document, problems = await self._checker.sealed_and_checked(document, user, project, options.beside)
        told = orjson.dumps([problem.to_json() for problem in problems[:MAX_PROBLEMS]]).decode()
        data, sha256, seen = await asyncio.to_thread(_written, document)
        author = options.author or user
        version = NewVersion(sha256, await pack(data), author, options.note, told, is_valid(problems))
        return version, problems, seen

    def saves_together(self) -> contextlib.AbstractContextManager[None]:
        """While many workflows are saved that run each other: none follows its groups before all are there."""
        return self._groups.hold()

    async def _told(self, row: WorkflowRow) -> Updates:
        """Who follows a save. They are looked for before they are told, or they might have done it already."""
        try:
            return await self._groups.updates(row)
        except Exception:
            # It is saved, whatever else cannot be told.
            logger.exception("cannot tell who follows the workflow %r", row.id, extra={"event": "groups"})
            return Updates()
        finally:
            self._groups.note(row)

    # --- publishing -----------------------------------------------------------------------------------------------

    async def publish(self, row: WorkflowRow, number: int | None) -> WorkflowRow:
        """Point `published` at a version; None: at the newest one.

        Raises:
            NotFound: There is no such version.
            InvalidWorkflow: It does not compile.
            Conflict: Somebody saved meanwhile.
        """
        stored = await self._lookup.version(row, number if number is not None else row.version)
        problems = await self._checker.problems_of(stored.document, row.user_id, row.project_id)
        if not is_valid(problems):
            raise InvalidWorkflow(problems)
        return await self._point(row, stored.version.version)

    async def unpublish(self, row: WorkflowRow) -> WorkflowRow:
        """From now on runs take the newest version that compiles. Raises Conflict."""
        return await self._point(row, None)

    async def _point(self, row: WorkflowRow, version: int | None) -> WorkflowRow:
        if not await self._store.change(Change(row.number, row.version, {"published": version})):
            raise _taken(Taken("version"), row.id, row.name, row.project_id)
        row.published = version
        self._groups.note(row)
        return row

    # --- deleting -------------------------------------------------------------------------------------------------

    async def delete(self, row: WorkflowRow) -> None:
        """To the bin, for `BIN_DAYS`. Raises Conflict: somebody saved meanwhile."""
        if not await self._store.delete(row.number, row.version):
            raise _taken(Taken("version"), row.id, row.name, row.project_id)
        self._groups.note(row)

    async def bin(self, user: str) -> Sequence[WorkflowRow]:
        """What was deleted, the last first."""
        return await self._store.deleted(user)

    async def restore(self, user: str, workflow_id: str, project: str | None = None) -> WorkflowRow:
        """Take what was deleted last under this id out of the bin.

        Raises:
            NotFound: Nothing of it is there.
            Conflict: Its id is taken again.
        """
        found = [row for row in await self._store.deleted(user, workflow_id) if project in (None, row.project_id)]
        if not found:
            raise NotFound(f"no workflow {shown(workflow_id)} is in the bin", code="workflow_not_found")
        row = await self._store.restore(found[0].number)
        if isinstance(row, Taken):
            raise _taken(row, workflow_id, found[0].name, found[0].project_id)
        self._groups.note(row)
        return row

    async def purge(self) -> int:
        """Forget what has been in the bin for `BIN_DAYS`; gives how many workflows."""
        return await self._store.purge(now_ms() - BIN_DAYS * 86_400_000)

    # --- looking --------------------------------------------------------------------------------------------------

    async def live(
        self, user: str, project: str | None = None, *, limit: int | None = None, offset: int = 0
    ) -> Sequence[WorkflowRow]:
        """The workflows by name, or a page of them."""
        return await self._store.live(user, project, limit=limit, offset=offset)

    async def versions(self, row: WorkflowRow, before: int | None, limit: int) -> Sequence[VersionRow]:
        """Its versions, the newest first, without their documents."""
        return await self._store.versions(row.number, before, limit)


def _written(document: JsonObject) -> tuple[bytes, str, JsonObject]:
    """JSON of a document, its hash, and the columns that lists show. Blocking: megabytes take a while.

    Raises:
        BadRequest: It is nested too deeply. A body cannot be; a file can.
    """
    try:
        return encode_json(document).data, content_hash(document), glance(document, document["id"]).columns()
    except NotJsonData as error:
        raise BadRequest(f"the workflow {shown(document['id'])} {error}") from None


def is_valid(problems: Sequence[Problem]) -> bool:
    return all(problem.level != "error" for problem in problems)


def _taken(taken: Taken, workflow_id: str, name: str, project: str) -> InnkeeperError:
    where = f"the project {shown(project)}"
    if taken.what == "id":
        return Conflict(f"{where} has a workflow with the id {shown(workflow_id)} already", code="id_taken")
    if taken.what == "name":
        return Conflict(f"{where} has another workflow named {shown(name)}: choose another name", code="name_taken")
    if taken.what == "gone":
        return NotFound(f"the workflow {shown(workflow_id)} was deleted meanwhile", code="workflow_not_found")
    message = f"the workflow {shown(workflow_id)} was changed meanwhile: read it again and repeat your change"
    return Conflict(message, code="version_changed")
