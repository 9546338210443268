"""Stored workflows and projects, as `GatewayClient.workflows` and `GatewayClient.projects`."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from innkeeper.gateway.client.transport import InvalidAddress, Transport, content_of

ANY_VERSION = "*"
"""As an ETag: change the workflow whatever version it has by now."""
Version = int | Literal["latest", "published"]
_PAGE = 5_000


@dataclass(frozen=True)
class StoredDocument:
    """A version of a stored workflow.

    Attributes:
        etag: Names the version: who changes the workflow sends it, and changes nothing that she has not seen.
    """

    document: dict[str, Any]
    etag: str


class Workflows:
    """The workflow library. Ids are unique in a project; without `project` the workflow of `default` is meant, else
    the only one.

    Methods that change a workflow raise PreconditionRequired without an `etag`, and VersionMismatch when it is not
    that of the newest version: somebody saved meanwhile. After an outage in the middle of the call this somebody may
    have been the call itself.

    Raises of all methods:
        GatewayRefused: There is no such workflow (`workflow_not_found`), version (`version_not_found`) or project
            (`project_not_found`).
        LibraryConflict: Several projects have a workflow of this id (`duplicate_workflow_id`).
        GatewayAway.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def find(
        self, *, project: str | None = None, tag: str | None = None, deleted: bool = False
    ) -> list[dict[str, Any]]:
        """Stored workflows by name: `{id, name, projectId, version, published, valid, etag, ...}` each.

        Args:
            deleted: Those in the bin instead, the last one first.
        """
        params = {**_named(project=project, tag=tag), "deleted": str(deleted).lower(), "limit": str(_PAGE)}
        found: list[dict[str, Any]] = []
        while True:
            page = await self._transport.call("GET", "/api/workflows", params={**params, "offset": str(len(found))})
            found += page
            if len(page) < _PAGE:
                return found

    async def get(self, workflow_id: str, version: Version = "latest", *, project: str | None = None) -> StoredDocument:
        """The document of a version, as it was stored."""
        params = _named(project=project, version=str(version))
        response = await self._transport.answer("GET", _path(workflow_id), params=params)
        return StoredDocument(content_of(response), response.headers.get("etag", ""))

    async def create(
        self, document: Mapping[str, Any], *, project: str | None = None, note: str = ""
    ) -> dict[str, Any]:
        """Store a new workflow as version 1; gives what `find` tells of it, with its `problems`.

        A document without an id gets one. One that does not compile is stored, too.

        Raises:
            LibraryConflict: Its id (`id_taken`) or name (`name_taken`) is taken in the project. After an outage in
                the middle of the call it may have been this call that took the id.
        """
        # The id makes this call, which may have to be repeated, one workflow.
        body = document if document.get("id") is not None else {"id": secrets.token_hex(8), **document}
        params = _named(project=project, note=note)
        saved: dict[str, Any] = await self._transport.call("POST", "/api/workflows", params=params, **_json(body))
        return saved

    async def save(
        self, document: Mapping[str, Any], *, etag: str | None = None, project: str | None = None, note: str = ""
    ) -> dict[str, Any]:
        """Store the next version of the workflow that has the document's id; gives what `find` tells of it, with
        `isNewVersion` (identical content makes none) and its `problems`.

        Args:
            etag: Of the version that was read; ANY_VERSION saves on top of any.

        Raises:
            PreconditionRequired, VersionMismatch.
            LibraryConflict: Another workflow has its name (`name_taken`).
        """
        saved: dict[str, Any] = await self._transport.call(
            "PUT",
            _path(str(document.get("id") or "")),
            params=_named(project=project, note=note),
            **_json(document, _match(etag)),
        )
        return saved

    async def delete(self, workflow_id: str, *, etag: str | None = None, project: str | None = None) -> None:
        """Move a workflow to the bin, where it stays for 30 days. Raises PreconditionRequired, VersionMismatch."""
        params = _named(project=project)
        await self._transport.call("DELETE", _path(workflow_id), params=params, headers=_match(etag))

    async def restore(self, workflow_id: str, *, project: str | None = None) -> dict[str, Any]:
        """Take what was deleted last under this id out of the bin. Raises LibraryConflict: the id is taken again."""
        path = _path(workflow_id, "/restore")
        found: dict[str, Any] = await self._transport.call("POST", path, params=_named(project=project))
        return found

    async def versions(
        self, workflow_id: str, *, project: str | None = None, limit: int = 100, before: int | None = None
    ) -> list[dict[str, Any]]:
        """Versions, the newest first: `{version, etag, hash, author, savedAt, note, valid, published}` each.

        Args:
            before: Only versions before this one, for the next page.
        """
        params = _named(project=project, limit=str(limit), before=str(before) if before is not None else None)
        found: list[dict[str, Any]] = await self._transport.call("GET", _path(workflow_id, "/versions"), params=params)
        return found

    async def publish(
        self, workflow_id: str, version: int | None = None, *, etag: str | None = None, project: str | None = None
    ) -> dict[str, Any]:
        """Publish a version, the newest without a number: runs by id take it.

        Raises:
            InvalidWorkflow: It does not compile.
            PreconditionRequired, VersionMismatch.
        """
        path, body = _path(workflow_id, "/publish"), {} if version is None else {"version": version}
        found: dict[str, Any] = await self._transport.call(
            "POST", path, params=_named(project=project), **_json(body, _match(etag))
        )
        return found

    async def unpublish(
        self, workflow_id: str, *, etag: str | None = None, project: str | None = None
    ) -> dict[str, Any]:
        """Publish nothing: runs by id take the newest version that compiles.

        Raises:
            PreconditionRequired, VersionMismatch.
        """
        path, params = _path(workflow_id, "/publish"), _named(project=project)
        found: dict[str, Any] = await self._transport.call("DELETE", path, params=params, headers=_match(etag))
        return found

    async def diff(
        self,
        workflow_id: str,
        before: Version = "published",
        after: Version = "latest",
        *,
        project: str | None = None,
    ) -> dict[str, Any]:
        """What differs between two versions: `{from, to, nodes, edges, inputs, outputs, document}`."""
        params = _named(**{"from": str(before), "to": str(after)}, project=project)
        found: dict[str, Any] = await self._transport.call("GET", _path(workflow_id, "/diff"), params=params)
        return found


class Projects:
    """Projects: workflows that belong together. `default` holds those that belong to none."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def find(self) -> list[dict[str, Any]]:
        """All projects by name: `{id, name, description?, ...}` each. Raises GatewayAway."""
        found: list[dict[str, Any]] = await self._transport.call("GET", "/api/projects")
        return found

    async def create(self, name: str, *, description: str | None = None) -> dict[str, Any]:
        """Make a project; its id is its name, cleaned.

        Raises:
            LibraryConflict: There is one (`project_exists`), which after an outage this call may have made.
            GatewayRefused: The name has no letter or digit.
        """
        body = {"name": name, **_named(description=description)}
        found: dict[str, Any] = await self._transport.call("POST", "/api/projects", **_json(body))
        return found


def run_of_stored(
    workflow_id: str,
    *,
    version: Version | None = None,
    project: str | None = None,
    inputs: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The submission that runs a stored workflow; without `version` the published one, else the newest that
    compiles."""
    told = {"workflowId": workflow_id, "projectId": project, "version": version, "inputs": inputs}
    return {key: value for key, value in told.items() if value is not None}


def _path(workflow_id: str, below: str = "") -> str:
    # An empty segment would be the whole list; a browser's rules for dots would lead elsewhere.
    if workflow_id in ("", ".", "..") or not _is_text(workflow_id):
        raise InvalidAddress(f"{workflow_id[:200]!r} is no id of a workflow: a text of letters, digits and signs is")
    return f"/api/workflows/{quote(workflow_id, safe='')}{below}"


def _is_text(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _named(**params: str | None) -> dict[str, str]:
    return {key: value for key, value in params.items() if value}


def _match(etag: str | None) -> dict[str, str]:
    return {} if etag is None else {"If-Match": etag}


def _json(body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    # Written in ASCII: a text of a document may hold half a character, which no UTF-8 has.
    return {"content": json.dumps(body).encode(), "headers": {"Content-Type": "application/json", **(headers or {})}}
