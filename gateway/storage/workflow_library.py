"""Stored workflows: `shared://library/workflows/*.json`, found by the id inside the file."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from innkeeper.gateway.errors import NotFound
from innkeeper.nodes.errors import InnkeeperError, InvalidWorkflow, Problem
from innkeeper.workflows.document.limits import MAX_READ_DEPTH
from innkeeper.workflows.document.model import DEFAULT_LIMITS, WorkflowDocument, load_json, parse_document

logger = logging.getLogger("innkeeper.gateway.workflows")

MAX_NAMED = 5
_LISTED = replace(DEFAULT_LIMITS, max_depth=MAX_READ_DEPTH)
"""A file that is nested too deeply to run is listed: who wants it is told why it cannot run."""


class DuplicateWorkflow(InnkeeperError):
    """Two stored files have one id inside."""

    code = "duplicate_workflow_id"


@dataclass(frozen=True)
class StoredWorkflow:
    """What a listing needs to know of one file."""

    id: str
    name: str
    description: str | None
    updated_at: str
    path: Path

    def to_json(self) -> dict[str, Any]:
        data = {"id": self.id, "name": self.name, "updatedAt": self.updated_at}
        return data if self.description is None else {**data, "description": self.description}


class WorkflowFiles:
    """The stored workflows of one folder. Files are read again only when they changed. Blocking: call in a thread."""

    @classmethod
    def of(cls, data_dir: Path) -> WorkflowFiles:
        """Those of a data directory."""
        return cls(data_dir / "shared" / "library" / "workflows", DEFAULT_LIMITS.max_bytes)

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._known: dict[Path, tuple[tuple[int, int], StoredWorkflow | None]] = {}

    def list(self) -> tuple[StoredWorkflow, ...]:
        """Every readable workflow by name; of two files with one id the first by file name counts."""
        found: dict[str, StoredWorkflow] = {}
        for stored in self._all():
            found.setdefault(stored.id, stored)
        return tuple(sorted(found.values(), key=lambda item: (item.name.lower(), item.id)))

    def _all(self) -> Iterator[StoredWorkflow]:
        """Every readable workflow by file name."""
        looked_at = map(self._look, sorted(self._folder.glob("*.json")))
        return (stored for stored in looked_at if stored is not None)

    def load(self, workflow_id: str) -> WorkflowDocument | None:
        """A stored workflow that a node refers to; None when there is none.

        Raises:
            InvalidWorkflow: The file is no workflow, or another file has the same id.
        """
        try:
            return parse_document(load_json(self.read(workflow_id)))
        except (NotFound, OSError):
            return None
        except DuplicateWorkflow as error:
            raise InvalidWorkflow([Problem(error.code, error.message)]) from None

    def read(self, workflow_id: str) -> bytes:
        """The file of a workflow.

        Raises:
            NotFound: No file holds this id.
            DuplicateWorkflow: Several files do. To take one of them could run what its user never meant.
        """
        found = [stored.path for stored in self._all() if stored.id == workflow_id]
        if len(found) > 1:
            names = " and ".join(repr(path.name) for path in found[:MAX_NAMED])
            more = f" and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
            message = f"the stored workflows {names}{more} have the same id {workflow_id!r}; give each an id of its own"
            raise DuplicateWorkflow(f"{message}, or move one away")
        if not found:
            message = f"no stored workflow has the id {workflow_id!r}; GET /api/workflows lists them"
            raise NotFound(message, code="workflow_not_found")
        return found[0].read_bytes()

    def _look(self, path: Path) -> StoredWorkflow | None:
        try:
            # A link could lead out of the library.
            if path.is_symlink() or not path.is_file():
                return None
            stat = path.stat()
            mark = (stat.st_mtime_ns, stat.st_size)
            if self._known.get(path, (None, None))[0] != mark:
                fits = stat.st_size <= self._max_bytes
                self._known[path] = (mark, self._parse(path, stat.st_mtime) if fits else None)
                if self._known[path][1] is None:
                    logger.warning("%s is left out: it is damaged, too large, or no workflow with an id", path.name)
            return self._known[path][1]
        except OSError:
            return None

    def _parse(self, path: Path, changed: float) -> StoredWorkflow | None:
        try:
            document = load_json(path.read_bytes(), _LISTED)
        except InvalidWorkflow:
            return None
        if not isinstance(document, dict) or not isinstance(document.get("id"), str) or not document["id"]:
            return None
        name, description = document.get("name"), document.get("description")
        moment = datetime.datetime.fromtimestamp(changed, datetime.UTC)
        return StoredWorkflow(
            id=document["id"],
            name=name if isinstance(name, str) and name else path.stem,
            description=description if isinstance(description, str) else None,
            updated_at=moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            path=path,
        )
