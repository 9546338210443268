"""Stored workflows, versions and projects as clients see them."""

from __future__ import annotations

import contextlib
from typing import Any

import orjson

from innkeeper.gateway.library.documents import JsonObject
from innkeeper.gateway.moments import iso
from innkeeper.gateway.store.models import ProjectRow, VersionRow, WorkflowRow
from innkeeper.gateway.store.runs import json_of

SCHEMA_VERSION = "1.0.0"
"""Of projects, as ComfyTavern's editor reads them."""


def etag(row: WorkflowRow, version: int | None = None) -> str:
    """Of a version of a workflow, the newest unless another one is named."""
    return f'"{row.number}.{version or row.version}"'


def workflow_to_json(row: WorkflowRow) -> JsonObject:
    """A workflow in a list."""
    told = {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "tags": tags_of(row),
        "projectId": row.project_id,
        "version": row.version,
        "published": row.published,
        "valid": row.valid,
        "reason": row.reason,
        "interface": json_of(row.interface),
        "createdAt": iso(row.created_at),
        "updatedAt": iso(row.updated_at),
        "deletedAt": iso(row.deleted_at) if row.deleted_at else None,
        "etag": etag(row),
    }
    optional = ("description", "reason", "deletedAt")
    return {key: value for key, value in told.items() if value is not None or key not in optional}


def document_to_json(document: JsonObject, row: WorkflowRow) -> JsonObject:
    """A document with what the server says of it; what is null is left out, as the schema of ComfyTavern's editor
    wants it."""
    told: dict[str, Any] = {**document, "id": row.id, "name": row.name}
    told |= {"createdAt": iso(row.created_at), "updatedAt": iso(row.updated_at)}
    return {key: value for key, value in told.items() if value is not None or key == "previewTarget"}


def project_workflow_to_json(row: WorkflowRow) -> JsonObject:
    """A workflow in the list of its project."""
    told = {"id": row.id, "name": row.name, "description": row.description, "updatedAt": iso(row.updated_at)}
    references = _texts(row.references)
    return {key: value for key, value in {**told, "referencedWorkflows": references}.items() if value is not None}


def version_to_json(version: VersionRow, row: WorkflowRow) -> JsonObject:
    """A version in a list."""
    return {
        "version": version.version,
        "etag": etag(row, version.version),
        "hash": version.hash,
        "author": version.author,
        "savedAt": iso(version.saved_at),
        "note": version.note,
        "valid": version.valid,
        "published": row.published == version.version,
    }


def project_to_json(row: ProjectRow) -> JsonObject:
    """As ComfyTavern's editor reads it: what is not set is left out."""
    told = {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "version": SCHEMA_VERSION,
        "schemaVersion": SCHEMA_VERSION,
        **json_of(row.more),
        "createdAt": iso(row.created_at),
        "updatedAt": iso(row.updated_at),
    }
    return {key: value for key, value in told.items() if value is not None}


def tags_of(row: WorkflowRow) -> list[str]:
    return _texts(row.tags)


def _texts(column: str) -> list[str]:
    """The texts in a column of JSON; none where it is damaged."""
    with contextlib.suppress(ValueError):
        if isinstance(found := orjson.loads(column), list):
            return [item for item in found if isinstance(item, str)]
    return []
