"""Queries over stored workflows, their versions and projects. A change names the version that it replaces: of two
writers who saw the same one, the second changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Table, delete, func, insert, or_, select, update
from sqlalchemy.orm import defer

from innkeeper.gateway.store.engine import StoreEngine
from innkeeper.gateway.store.models import ProjectRow, VersionRow, WorkflowRow
from innkeeper.gateway.store.runs import now_ms
from innkeeper.gateway.store.write_batcher import WriteBatcher, one_by_one

LARGE_BYTES = 64_000
"""A larger document is packed and unpacked in a thread."""
MAX_VERSIONS = 1_000
"""Of one workflow. The oldest that is not published goes when one more comes."""
PURGED_AT_ONCE = 100
READ_AT_ONCE = 20
_WORKFLOWS: Table = WorkflowRow.__table__  # type: ignore[assignment]  # typed as any FROM clause
_VERSIONS: Table = VersionRow.__table__  # type: ignore[assignment]
_PROJECTS: Table = ProjectRow.__table__  # type: ignore[assignment]
_LIVE = WorkflowRow.deleted_at == 0


@dataclass(frozen=True)
class NewVersion:
    """A version about to be written down. `document`: JSON, packed."""

    hash: str
    document: bytes
    author: str
    note: str
    problems: str
    valid: bool


@dataclass(frozen=True)
class Creation:
    """A workflow about to be written down, with its first version.

    Attributes:
        values: Of the columns that lists show: `name`, `interface`, ...
        unique_name: No other workflow of the project may have its name.
    """

    user: str
    project: str
    id: str
    values: Mapping[str, Any]
    version: NewVersion
    unique_name: bool


@dataclass(frozen=True)
class Saving:
    """A next version of the workflow `number`, in place of the version `replaces`. Else as in `Creation`."""

    number: int
    replaces: int
    values: Mapping[str, Any]
    version: NewVersion
    unique_name: bool


@dataclass(frozen=True)
class Taken:
    """Nothing was written: there is one already. `what`: `id`, `name`, `version` (somebody saved meanwhile), `gone`."""

    what: str


@dataclass(frozen=True)
class Change:
    """Columns of a live workflow that change, while it has this version."""

    number: int
    version: int
    values: Mapping[str, Any]


@dataclass(frozen=True)
class ProjectChange:
    """Columns of a live project that change, while nobody has changed it since `seen_at`."""

    row: ProjectRow
    seen_at: int
    values: Mapping[str, Any]


class WorkflowStore:
    """Stored workflows.

    Args:
        writes: The only writer of this database.
    """

    def __init__(self, engine: StoreEngine, writes: WriteBatcher) -> None:
        self._engine = engine
        self._writes = writes

    # --- workflows ------------------------------------------------------------------------------------------------

    async def create(self, new: Creation) -> WorkflowRow | Taken:
        """Write a workflow down as version 1, unless its id or name is taken."""
        return await self._writes.write(_create, new)

    async def save(self, saving: Saving) -> WorkflowRow | Taken:
        """Write a next version down, if the workflow still has the one that it replaces."""
        return await self._writes.write(_save, saving)

    async def change(self, change: Change) -> bool:
        """Change columns of a workflow; False when it is gone or has another version by now."""
        return await self._writes.write(_change, change)

    async def find(self, user: str, workflow_id: str, project: str | None = None) -> Sequence[WorkflowRow]:
        """The live workflows of an id, in one project or in all; by project."""
        conditions = [WorkflowRow.user_id == user, WorkflowRow.id == workflow_id, _LIVE]
        if project is not None:
            conditions.append(WorkflowRow.project_id == project)
        return await self._rows(*conditions, order=(WorkflowRow.project_id,))

    async def live(
        self, user: str, project: str | None = None, *, limit: int | None = None, offset: int = 0
    ) -> Sequence[WorkflowRow]:
        """The live workflows by name, or a page of them."""
        conditions = [WorkflowRow.user_id == user, _LIVE]
        if project is not None:
            conditions.append(WorkflowRow.project_id == project)
        order = (func.lower(WorkflowRow.name), WorkflowRow.id, WorkflowRow.number)
        return await self._rows(*conditions, order=order, limit=limit, offset=offset)

    async def by_number(self, number: int) -> WorkflowRow | None:
        """A workflow, also one in the bin."""
        return next(iter(await self._rows(WorkflowRow.number == number, order=())), None)

    async def users_of(self, user: str, workflow_id: str, project: str | None) -> Sequence[WorkflowRow]:
        """The live workflows that run a workflow of this id as a group, of one project or of all; by number."""
        name = orjson.dumps(workflow_id).decode()
        names_it = [column.contains(name, autoescape=True) for column in (WorkflowRow.references, WorkflowRow.groups)]
        conditions = [WorkflowRow.user_id == user, _LIVE, or_(*names_it)]
        if project is not None:
            conditions.append(WorkflowRow.project_id == project)
        return await self._rows(*conditions, order=(WorkflowRow.number,))

    async def with_groups(self, after: int, limit: int) -> Sequence[WorkflowRow]:
        """Some live workflows of any user that run others as groups, above a number."""
        has_groups = or_(WorkflowRow.references != "[]", func.coalesce(WorkflowRow.groups, "{}") != "{}")
        query = select(WorkflowRow).where(WorkflowRow.number > after, _LIVE, has_groups)
        return await self._engine.scalars(query.order_by(WorkflowRow.number).limit(limit))

    async def deleted(self, user: str, workflow_id: str | None = None) -> Sequence[WorkflowRow]:
        """The workflows in the bin, the last one first."""
        conditions = [WorkflowRow.user_id == user, WorkflowRow.deleted_at > 0]
        if workflow_id is not None:
            conditions.append(WorkflowRow.id == workflow_id)
        return await self._rows(*conditions, order=(WorkflowRow.deleted_at.desc(), WorkflowRow.number.desc()))

    async def delete(self, number: int, version: int) -> bool:
        """To the bin; False when the workflow is gone or has another version by now."""
        return await self._writes.write(_delete, (number, version))

    async def restore(self, number: int) -> WorkflowRow | Taken:
        """Take a workflow out of the bin, with its project if that is there, too."""
        return await self._writes.write(_restore, number)

    async def purge(self, before: int) -> int:
        """Forget for good what went to the bin before a moment; gives how many workflows."""
        count = 0
        while purged := await self._writes.write(_purge, before):
            count += purged
        return count

    async def _rows(
        self, *conditions: ColumnElement[bool], order: Sequence[Any], limit: int | None = None, offset: int = 0
    ) -> Sequence[WorkflowRow]:
        query = select(WorkflowRow).where(*conditions).order_by(*order).limit(limit).offset(offset)
        return await self._engine.scalars(query)

    # --- versions -------------------------------------------------------------------------------------------------

    async def version(self, workflow: int, version: int) -> VersionRow | None:
        return await self._version(VersionRow.workflow == workflow, VersionRow.version == version)

    async def newest_valid(self, workflow: int) -> VersionRow | None:
        """The newest version that compiled when it was saved."""
        return await self._version(VersionRow.workflow == workflow, VersionRow.valid.is_(True))

    async def _version(self, *conditions: ColumnElement[bool]) -> VersionRow | None:
        query = select(VersionRow).where(*conditions).order_by(VersionRow.version.desc()).limit(1)
        return await self._engine.first(query)

    async def versions(self, workflow: int, before: int | None, limit: int) -> Sequence[VersionRow]:
        """Versions below a number, the newest first, without their documents."""
        query = select(VersionRow).where(VersionRow.workflow == workflow)
        if before is not None:
            query = query.where(VersionRow.version < before)
        query = query.order_by(VersionRow.version.desc()).limit(limit).options(defer(VersionRow.document))
        return await self._engine.scalars(query)

    async def all_documents(self) -> AsyncIterator[bytes]:
        """JSON of all versions, those in the bin too. One that is damaged says nothing to anybody: it is left out."""
        after = 0
        while True:
            query = select(VersionRow.number, VersionRow.document).where(VersionRow.number > after)
            rows = await self._engine.rows(query.order_by(VersionRow.number).limit(READ_AT_ONCE))
            if not rows:
                return
            after = rows[-1][0]
            for _, document in rows:
                with contextlib.suppress(zlib.error):
                    yield await unpack(document)

    # --- projects -------------------------------------------------------------------------------------------------

    async def add_project(self, row: ProjectRow) -> bool:
        """Write a project down; False when its id is taken."""
        values = {column.name: getattr(row, column.name) for column in _PROJECTS.columns if column.name != "number"}
        return await self._writes.write(_add_project, values)

    async def project(self, user: str, project: str) -> ProjectRow | None:
        query = select(ProjectRow).where(
            ProjectRow.user_id == user, ProjectRow.id == project, ProjectRow.deleted_at == 0
        )
        return await self._engine.first(query)

    async def projects(self, user: str) -> Sequence[ProjectRow]:
        """The live projects by name."""
        query = select(ProjectRow).where(ProjectRow.user_id == user, ProjectRow.deleted_at == 0)
        return await self._engine.scalars(query.order_by(func.lower(ProjectRow.name), ProjectRow.id))

    async def change_project(self, change: ProjectChange) -> Taken | None:
        """Change columns of a project, unless it was changed meanwhile (`version`), or its new `name` is taken."""
        return await self._writes.write(_change_project, change)

    async def delete_project(self, row: ProjectRow) -> None:
        """To the bin, with its workflows."""
        await self._writes.write(_delete_project, row)


async def pack(document: bytes) -> bytes:
    """JSON as it is stored."""
    if len(document) > LARGE_BYTES:
        return await asyncio.to_thread(zlib.compress, document, 6)
    return zlib.compress(document, 6)


async def unpack(packed: bytes) -> bytes:
    """Raises zlib.error, TypeError: it is damaged."""
    if len(packed) > LARGE_BYTES // 8:
        return await asyncio.to_thread(zlib.decompress, packed)
    return zlib.decompress(packed)


# --- writes -----------------------------------------------------------------------------------------------------------


@one_by_one
def _create(connection: Connection, new: Creation) -> WorkflowRow | Taken:
    live = (_WORKFLOWS.c.user_id == new.user, _WORKFLOWS.c.project_id == new.project, _WORKFLOWS.c.deleted_at == 0)
    if _exists(connection, *live, _WORKFLOWS.c.id == new.id):
        return Taken("id")
    if new.unique_name and _exists(connection, *live, _WORKFLOWS.c.name == new.values["name"]):
        return Taken("name")
    now = now_ms()
    values = {
        **{"user_id": new.user, "project_id": new.project, "id": new.id, "version": 1, "valid": new.version.valid},
        **{"created_at": now, "updated_at": now, "deleted_at": 0, "published": None, "file": None, "file_hash": None},
        "reason": None,
        **new.values,
    }
    query = insert(_WORKFLOWS).values(**_named(values)).returning(_WORKFLOWS.c.number)
    number = connection.execute(query).scalar_one()
    _add_version(connection, number, 1, new.version, now)
    return WorkflowRow(number=number, **values)


@one_by_one
def _save(connection: Connection, saving: Saving) -> WorkflowRow | Taken:
    row = _live(connection, saving.number)
    if row is None:
        return Taken("gone")
    if saving.unique_name and saving.values["name"] != row.name and _has_name(connection, row, saving.values):
        return Taken("name")
    now = max(now_ms(), row.updated_at + 1)
    values = {
        **{"version": saving.replaces + 1, "valid": saving.version.valid, "reason": None, "updated_at": now},
        **saving.values,
    }
    if not _update(connection, saving.number, saving.replaces, values):
        return Taken("version")
    _add_version(connection, saving.number, saving.replaces + 1, saving.version, now)
    _drop_oldest(connection, saving.number, row.published)
    for name, value in values.items():
        setattr(row, name, value)
    return row


def _has_name(connection: Connection, row: WorkflowRow, values: Mapping[str, Any]) -> bool:
    table = _WORKFLOWS.c
    siblings = (table.user_id == row.user_id, table.project_id == row.project_id, table.number != row.number)
    return _exists(connection, *siblings, table.deleted_at == 0, table.name == values["name"])


@one_by_one
def _change(connection: Connection, change: Change) -> bool:
    return _update(connection, change.number, change.version, change.values)


def _update(connection: Connection, number: int, version: int, values: Mapping[str, Any]) -> bool:
    table = _WORKFLOWS.c
    query = update(_WORKFLOWS).where(table.number == number, table.version == version, table.deleted_at == 0)
    return connection.execute(query.values(**_named(values))).rowcount > 0


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of a row by the names of their columns: `references` is a word of SQL."""
    return {"refers_to" if name == "references" else name: value for name, value in values.items()}


def _add_version(connection: Connection, workflow: int, version: int, new: NewVersion, now: int) -> None:
    values = {**vars(new), "workflow": workflow, "version": version, "saved_at": now}
    connection.execute(insert(_VERSIONS).values(**values))


def _drop_oldest(connection: Connection, workflow: int, published: int | None) -> None:
    table = _VERSIONS.c
    count = connection.scalar(select(func.count()).where(table.workflow == workflow))
    if (count or 0) > MAX_VERSIONS:
        oldest = select(func.min(table.version)).where(table.workflow == workflow, table.version != (published or 0))
        goes = (table.workflow == workflow, table.version == oldest.scalar_subquery())
        connection.execute(delete(_VERSIONS).where(*goes))


@one_by_one
def _restore(connection: Connection, number: int) -> WorkflowRow | Taken:
    row = _row(connection, _WORKFLOWS.c.number == number, _WORKFLOWS.c.deleted_at > 0)
    if row is None:
        return Taken("gone")
    table = _WORKFLOWS.c
    same = (table.user_id == row.user_id, table.project_id == row.project_id, table.id == row.id)
    if _exists(connection, *same, table.deleted_at == 0):
        return Taken("id")
    connection.execute(update(_WORKFLOWS).where(table.number == number).values(deleted_at=0))
    _revive_project(connection, row)
    row.deleted_at = 0
    return row


def _revive_project(connection: Connection, row: WorkflowRow) -> None:
    table = _PROJECTS.c
    same = (table.user_id == row.user_id, table.id == row.project_id)
    if connection.execute(select(table.number).where(*same, table.deleted_at == 0)).first() is None:
        last = select(func.max(table.number)).where(*same).scalar_subquery()
        connection.execute(update(_PROJECTS).where(table.number == last).values(deleted_at=0))


@one_by_one
def _purge(connection: Connection, before: int) -> int:
    table = _WORKFLOWS.c
    old = select(table.number).where(table.deleted_at > 0, table.deleted_at < before).limit(PURGED_AT_ONCE)
    numbers = list(connection.scalars(old).all())
    if numbers:
        connection.execute(delete(_VERSIONS).where(_VERSIONS.c.workflow.in_(numbers)))
        connection.execute(delete(_WORKFLOWS).where(table.number.in_(numbers)))
    else:
        is_old = (_PROJECTS.c.deleted_at > 0, _PROJECTS.c.deleted_at < before)
        connection.execute(delete(_PROJECTS).where(*is_old))
    return len(numbers)


@one_by_one
def _add_project(connection: Connection, row: Mapping[str, Any]) -> bool:
    table = _PROJECTS.c
    same = (table.user_id == row["user_id"], table.id == row["id"], table.deleted_at == 0)
    if connection.execute(select(table.number).where(*same)).first() is not None:
        return False
    connection.execute(insert(_PROJECTS).values(**row))
    return True


@one_by_one
def _change_project(connection: Connection, change: ProjectChange) -> Taken | None:
    table, row = _PROJECTS.c, change.row
    if "name" in change.values:
        others = (table.user_id == row.user_id, table.number != row.number, table.deleted_at == 0)
        query = select(table.number).where(*others, table.name == change.values["name"]).limit(1)
        if connection.execute(query).first() is not None:
            return Taken("name")
    seen = (table.number == row.number, table.updated_at == change.seen_at, table.deleted_at == 0)
    changed = connection.execute(update(_PROJECTS).where(*seen).values(**change.values))
    return None if changed.rowcount > 0 else Taken("version")


@one_by_one
def _delete_project(connection: Connection, row: ProjectRow) -> None:
    table = _WORKFLOWS.c
    its = (table.user_id == row.user_id, table.project_id == row.id, table.deleted_at == 0)
    _to_the_bin(connection, _WORKFLOWS, *its)
    _to_the_bin(connection, _PROJECTS, _PROJECTS.c.number == row.number)


@one_by_one
def _delete(connection: Connection, workflow: tuple[int, int]) -> bool:
    number, version = workflow
    row = _live(connection, number)
    if row is None or row.version != version:
        return False
    _to_the_bin(connection, _WORKFLOWS, _WORKFLOWS.c.number == number)
    return True


def _to_the_bin(connection: Connection, table: Table, *which: ColumnElement[bool]) -> None:
    """Two of one id may go within a millisecond, and a clock may be set back: no two of them have the same moment.
    Those that go together have different ids."""
    latest = connection.scalar(select(func.max(table.c.deleted_at)))
    moment = max(now_ms(), (latest or 0) + 1)
    connection.execute(update(table).where(*which).values(deleted_at=moment))


def _exists(connection: Connection, *conditions: ColumnElement[bool]) -> bool:
    return connection.execute(select(_WORKFLOWS.c.number).where(*conditions).limit(1)).first() is not None


def _live(connection: Connection, number: int) -> WorkflowRow | None:
    return _row(connection, _WORKFLOWS.c.number == number, _WORKFLOWS.c.deleted_at == 0)


def _row(connection: Connection, *conditions: ColumnElement[bool]) -> WorkflowRow | None:
    found = connection.execute(select(_WORKFLOWS).where(*conditions)).first()
    if found is None:
        return None
    values = dict(found._mapping)
    values["references"] = values.pop("refers_to")
    return WorkflowRow(**values)
