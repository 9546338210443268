"""The documents that runs run: kept as blobs beside their plans, and collected with the runs.

Equal submissions share one blob, and so do a run and those that run its plan again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from innkeeper.gateway.errors import NotFound, shown
from innkeeper.nodes.errors import ResourceError
from innkeeper.nodes.services.blobs import FolderBlobs, hashes_in
from innkeeper.workflows.compiler.resolve import REFERENCE
from innkeeper.workflows.document.model import DocumentNode, read_draft

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class RunDocument:
    """What a run runs, without secrets.

    Attributes:
        groups: Id to JSON of the stored workflows that its groups and repetitions run, in the versions that count.
    """

    document: JsonObject
    groups: Mapping[str, bytes] = field(default_factory=dict)


class RunDocuments:
    """Keeps and finds documents of runs."""

    def __init__(self, blobs: FolderBlobs) -> None:
        self._blobs = blobs

    async def keep(self, kept: RunDocument) -> str:
        """Store a document with its groups. Gives the hash of the blob."""
        groups = {id: await self._put(data) for id, data in kept.groups.items()}
        return await self._blobs.put(orjson.dumps({"document": kept.document, "groups": groups}))

    async def keep_again(self, sha256: str | None) -> str | None:
        """The document of one run for another one, even if the first is deleted meanwhile; None when it is gone."""
        return sha256 if sha256 is not None and await asyncio.to_thread(self._keep_all, sha256) else None

    async def find(self, sha256: str | None, path: str, is_repeated: Callable[[str], bool]) -> JsonObject:
        """The document, or that of the group at a path; of a repetition with or without the number behind it.

        Args:
            is_repeated: Does a node of this type run its workflow several times?

        Raises:
            NotFound: It is not kept (`document_not_kept`), or there is no such group (`node_not_found`).
        """
        kept = await self._json(sha256)
        document: JsonObject = kept["document"]
        left = path.split("/") if path else []
        while left:
            node = await asyncio.to_thread(node_of, document, left.pop(0))
            group = None if node is None else kept["groups"].get(str(node.config.get(REFERENCE)))
            if node is None or group is None:
                raise NotFound(f"the run has no group {shown(path)}", code="node_not_found")
            if left and left[0].isdecimal() and is_repeated(node.type):
                left.pop(0)
            document = await self._json(group["$blob"])
        return document

    async def _json(self, sha256: str | None) -> JsonObject:
        with contextlib.suppress(ResourceError):
            if isinstance(sha256, str):  # the row may be damaged
                found: JsonObject = orjson.loads(await self._blobs.get(sha256))
                return found
        raise NotFound(
            "what this run ran is not kept: it is from an earlier version, was refused, or its values were lost; runs "
            "that are submitted now keep it",
            code="document_not_kept",
        )

    def _keep_all(self, sha256: str) -> bool:
        try:
            inside = [*hashes_in(self._blobs.get_sync(sha256))]
        except ResourceError:
            return False
        for sha in inside:
            self._blobs.keep(sha)
        return self._blobs.keep(sha256)

    async def _put(self, data: bytes) -> JsonObject:
        return {"$blob": await self._blobs.put(data), "size": len(data), "mime": "application/json", "preview": ""}


def node_of(document: JsonObject, node_id: str) -> DocumentNode | None:
    """A node of a document; None when there is none of this id."""
    return next((node for node in read_draft(document).nodes if node.id == node_id), None)
