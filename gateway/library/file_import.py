"""Workflow files of `shared://library/workflows/` in the library: each change of a file is a version."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from innkeeper.gateway.library.documents import JsonObject
from innkeeper.gateway.library.library import Library, SaveOptions
from innkeeper.gateway.library.lookup import DEFAULT_PROJECT, WorkflowLookup
from innkeeper.gateway.storage.workflow_library import FileMark, StoredFile, WorkflowFiles
from innkeeper.gateway.store.models import WorkflowRow
from innkeeper.gateway.store.workflows import WorkflowStore
from innkeeper.nodes.errors import InnkeeperError

logger = logging.getLogger("innkeeper.gateway.library")

FILE_AUTHOR = "file"
AT_ONCE = 20
"""Files whose versions share a transaction."""


class FileImport:
    """Takes files in when they are new or have changed. The library stays right whatever becomes of a file later."""

    def __init__(
        self, files: WorkflowFiles, library: Library, store: WorkflowStore, lookup: WorkflowLookup, *, user: str
    ) -> None:
        self._files = files
        self._library = library
        self._store = store
        self._lookup = lookup
        self._user = user
        self._seen: dict[Path, FileMark] = {}
        self._one_at_a_time = asyncio.Lock()

    async def take_in(self) -> None:
        """Bring the library up to the files. Costs one look at the folder when nothing has changed."""
        async with self._one_at_a_time:
            files = await asyncio.to_thread(self._files.scan)
            self._lookup.duplicates = self._files.duplicates(files)
            new = [
                file
                for file in files
                if self._seen.get(file.path) != file.mark and file.id not in self._lookup.duplicates
            ]
            if new:
                await self._take(new)

    async def first_look(self) -> None:
        """The first look, while the gateway starts."""
        try:
            await self.take_in()
        except Exception:
            logger.exception("workflow files could not be read", extra={"event": "import_failed"})

    async def _take(self, files: Sequence[StoredFile]) -> None:
        data = await asyncio.to_thread(lambda: {file: content for file in files if (content := _read(file))})
        # Groups among them are found wherever they stand in the order.
        beside = {file.id: content for file, content in data.items()}
        with self._library.saves_together():
            for start in range(0, len(data), AT_ONCE):
                some = list(data)[start : start + AT_ONCE]
                await asyncio.gather(*(self._take_one(file, data[file], beside) for file in some))

    async def _take_one(self, file: StoredFile, data: bytes, beside: dict[str, bytes]) -> None:
        try:
            await self._store_one(file, data, beside)
        except InnkeeperError as error:
            logger.warning("%s is not taken into the library: %s", file.path.name, error.message)
        except SQLAlchemyError:
            raise
        except Exception:
            # One file must not keep everybody from all other workflows.
            logger.exception("%s is not taken into the library", file.path.name, extra={"event": "import_failed"})
        self._seen[file.path] = file.mark

    async def _store_one(self, file: StoredFile, data: bytes, beside: dict[str, bytes]) -> None:
        sha256 = hashlib.sha256(data).hexdigest()
        found = await self._store.find(self._user, file.id, DEFAULT_PROJECT)
        known = found or [row for row in await self._store.deleted(self._user, file.id) if _stays_away(row, file)]
        if any(row.file_hash == sha256 for row in known[:1]):
            return
        document: JsonObject = await asyncio.to_thread(self._files.document, data)
        columns = {"file": file.path.name, "file_hash": sha256, "name": file.name}
        options = SaveOptions(file.path.name, FILE_AUTHOR, unique_name=False, columns=columns, beside=beside)
        if found:
            await self._library.save(found[0], document, options)
        else:
            await self._library.create(document, self._user, options=options)


def _stays_away(row: WorkflowRow, file: StoredFile) -> bool:
    """What was deleted from the library stays deleted, unless its file was written after that."""
    return row.project_id == DEFAULT_PROJECT and file.mark[0] <= row.deleted_at * 1_000_000


def _read(file: StoredFile) -> bytes | None:
    try:
        return file.path.read_bytes()
    except OSError:
        return None
