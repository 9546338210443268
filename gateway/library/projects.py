"""Projects: workflows that belong together, and the folder `user://projects/{id}/` for what goes with them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from innkeeper.gateway.errors import BadRequest, NotFound, shown
from innkeeper.gateway.library.documents import MAX_NAME_CHARS, MAX_TEXT_CHARS, JsonObject
from innkeeper.gateway.library.library import Conflict
from innkeeper.gateway.library.lookup import DEFAULT_PROJECT
from innkeeper.gateway.store.models import ProjectRow
from innkeeper.gateway.store.runs import json_of, now_ms
from innkeeper.gateway.store.workflows import ProjectChange as StoreChange
from innkeeper.gateway.store.workflows import WorkflowStore
from innkeeper.nodes.json_values import encode_json

StoredProject = ProjectRow
"""A project, for those who do not know the database."""
MAX_ID_CHARS = 100
MAX_MORE_BYTES = 100_000
CHANGE_ATTEMPTS = 20
"""Somebody else may have changed the project meanwhile: her fields stay, and ours are set again."""
SERVER_FIELDS = frozenset({"id", "name", "description", "createdAt", "updatedAt"})
"""What we say of a project ourselves; other fields of a client are kept as they are."""
_TEXT_FIELDS = ("version", "schemaVersion")
"""Fields of clients that every client must be able to read as texts."""
_NOT_IN_IDS = re.compile(r"[^\w-]+")


class Projects:
    """The projects of this gateway. `default` holds the workflows that belong to none; it is always there."""

    def __init__(self, store: WorkflowStore) -> None:
        self._store = store

    async def live(self, user: str) -> Sequence[ProjectRow]:
        """All of them by name."""
        await self._ensure_default(user)
        return await self._store.projects(user)

    async def get(self, user: str, project: str) -> ProjectRow:
        """Raises NotFound."""
        if project == DEFAULT_PROJECT:
            await self._ensure_default(user)
        row = await self._store.project(user, project)
        if row is None:
            raise NotFound(
                f"there is no project {shown(project)}; GET /api/projects lists them", code="project_not_found"
            )
        return row

    async def create(self, user: str, body: Mapping[str, Any]) -> ProjectRow:
        """Make a project; its id is its name, cleaned.

        Raises:
            BadRequest: No name, or fields that are no texts.
            Conflict: It exists (`project_exists`).
        """
        name, description = _name(body.get("name")), _description(body.get("description"))
        project = _NOT_IN_IDS.sub("_", name).strip("_")[:MAX_ID_CHARS]
        if not project:
            raise BadRequest("'name' of a project needs a letter or a digit")
        if project == DEFAULT_PROJECT:
            await self._ensure_default(user)
        row = _new(user, project, name, description, _more(body))
        if not await self._store.add_project(row):
            raise Conflict(f"there is a project {shown(project)} already: choose another name", code="project_exists")
        return row

    async def change(self, user: str, project: str, body: Mapping[str, Any]) -> ProjectRow:
        """Change what a client sent of it; its id stays.

        Raises:
            NotFound
            BadRequest: Fields that are no texts.
            Conflict: Another project has the name (`project_exists`), or too many change it at once
                (`version_changed`).
        """
        for _ in range(CHANGE_ATTEMPTS):
            row = await self.get(user, project)
            values = _changed(row, body)
            taken = await self._store.change_project(StoreChange(row, row.updated_at, values))
            if taken is None:
                for name, value in values.items():
                    setattr(row, name, value)
                return row
            if taken.what == "name":
                raise Conflict(f"there is another project named {shown(values['name'])}", code="project_exists")
        raise Conflict(f"the project {shown(project)} is changed by many: repeat your change", code="version_changed")

    async def delete(self, user: str, project: str) -> None:
        """To the bin, with its workflows. Its files stay.

        Raises:
            NotFound
            Conflict: It is `default`.
        """
        row = await self.get(user, project)
        if row.id == DEFAULT_PROJECT:
            raise Conflict("the project 'default' stays: delete its workflows one by one", code="project_needed")
        await self._store.delete_project(row)

    async def _ensure_default(self, user: str) -> None:
        if await self._store.project(user, DEFAULT_PROJECT) is None:
            await self._store.add_project(_new(user, DEFAULT_PROJECT, DEFAULT_PROJECT, None, "{}"))


def _new(user: str, project: str, name: str, description: str | None, more: str) -> ProjectRow:
    now = now_ms()
    return ProjectRow(
        user_id=user,
        id=project,
        name=name,
        description=description,
        more=more,
        created_at=now,
        updated_at=now,
        deleted_at=0,
    )


def _changed(row: ProjectRow, body: Mapping[str, Any]) -> JsonObject:
    """The columns that change, by what a client sent. Raises BadRequest."""
    values: JsonObject = {"updated_at": max(now_ms(), row.updated_at + 1)}
    if "name" in body:
        values["name"] = _name(body["name"])
    if "description" in body:
        values["description"] = _description(body["description"])
    values["more"] = _more({**json_of(row.more), **{key: body[key] for key in body if key not in SERVER_FIELDS}})
    return values


def _name(name: Any) -> str:
    if not isinstance(name, str) or not 0 < len(name.strip()) <= MAX_NAME_CHARS:
        raise BadRequest(f"'name' of a project is a text of 1 to {MAX_NAME_CHARS} characters")
    return name.strip()


def _description(text: Any) -> str | None:
    if text is not None and (not isinstance(text, str) or len(text) > MAX_TEXT_CHARS):
        raise BadRequest(f"'description' is a text of at most {MAX_TEXT_CHARS} characters")
    return text or None


def _more(body: Mapping[str, Any]) -> str:
    more: JsonObject = {key: body[key] for key in body if key not in SERVER_FIELDS and body[key] is not None}
    if odd := [key for key in _TEXT_FIELDS if not isinstance(more.get(key, ""), str)]:
        raise BadRequest(f"{odd[0]!r} of a project is a text")
    data = encode_json(more).data
    if len(data) > MAX_MORE_BYTES:
        raise BadRequest(f"a project holds at most {MAX_MORE_BYTES} bytes of fields of its own, found {len(data)}")
    return data.decode()
