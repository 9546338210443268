"""Stored workflows: `shared://library/workflows/*.json`, found by the id inside the file."""

from __future__ import annotations

import logging
from collections.abc import Sequence
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


FileMark = tuple[int, int]
"""When a file was changed (ns since 1970), and its size."""


@dataclass(frozen=True)
class StoredFile:
    """A readable workflow file. `name`: the one inside, else the file's."""

    id: str
    name: str
    path: Path
    mark: FileMark


class WorkflowFiles:
    """The stored workflows of one folder. Files are read again only when they changed. Blocking: call in a thread."""

    @classmethod
    def of(cls, data_dir: Path) -> WorkflowFiles:
        """Those of a data directory."""
        return cls(data_dir / "shared" / "library" / "workflows", DEFAULT_LIMITS.max_bytes)

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._known: dict[Path, tuple[FileMark, StoredFile | None]] = {}

    def scan(self) -> tuple[StoredFile, ...]:
        """Every readable workflow by file name."""
        looked_at = map(self._look, sorted(self._folder.glob("*.json")))
        return tuple(stored for stored in looked_at if stored is not None)

    @staticmethod
    def duplicates(files: Sequence[StoredFile]) -> dict[str, str]:
        """Ids that several files have, each with a sentence for its user. To take one of them could run what its user
        never meant."""
        by_id: dict[str, list[StoredFile]] = {}
        for file in files:
            by_id.setdefault(file.id, []).append(file)
        return {workflow_id: _told(workflow_id, found) for workflow_id, found in by_id.items() if len(found) > 1}

    @staticmethod
    def document(data: bytes) -> dict[str, Any]:
        """The content of a readable file. Raises InvalidWorkflow."""
        document: dict[str, Any] = load_json(data, _LISTED)
        return document

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
            DuplicateWorkflow: Several files do.
        """
        files = self.scan()
        if (told := self.duplicates(files).get(workflow_id)) is not None:
            raise DuplicateWorkflow(told)
        for file in files:
            if file.id == workflow_id:
                return file.path.read_bytes()
        message = f"no stored workflow has the id {workflow_id!r}; GET /api/workflows lists them"
        raise NotFound(message, code="workflow_not_found")

    def _look(self, path: Path) -> StoredFile | None:
        try:
            # A link could lead out of the library.
            if path.is_symlink() or not path.is_file():
                return None
            stat = path.stat()
            mark = (stat.st_mtime_ns, stat.st_size)
            if self._known.get(path, (None, None))[0] != mark:
                fits = stat.st_size <= self._max_bytes
                self._known[path] = (mark, self._parse(path, mark) if fits else None)
                if self._known[path][1] is None:
                    logger.warning("%s is left out: it is damaged, too large, or no workflow with an id", path.name)
            return self._known[path][1]
        except OSError:
            return None

    def _parse(self, path: Path, mark: FileMark) -> StoredFile | None:
        try:
            document = load_json(path.read_bytes(), _LISTED)
        except InvalidWorkflow:
            return None
        if not isinstance(document, dict) or not isinstance(document.get("id"), str) or not document["id"]:
            return None
        name = document.get("name")
        return StoredFile(document["id"], name if isinstance(name, str) and name else path.stem, path, mark)


def _told(workflow_id: str, files: Sequence[StoredFile]) -> str:
    names = " and ".join(repr(file.path.name) for file in files[:MAX_NAMED])
    more = f" and {len(files) - MAX_NAMED} more" if len(files) > MAX_NAMED else ""
    message = f"the stored workflows {names}{more} have the same id {workflow_id!r}; give each an id of its own"
    return f"{message}, or move one away"
