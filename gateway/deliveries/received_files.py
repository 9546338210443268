"""Files that come with a webhook: binary bodies and files of forms, kept among the files of their user.

A node gets such a file in one of two ways: an image slot takes `dataUri` as it is, and what reads resources takes
`path`. The name of a file is that of its content, so a delivery that comes again writes nothing new.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import mimetypes
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from innkeeper.gateway.deliveries.book import StoredTrigger
from innkeeper.gateway.triggers.payload import Payload, PayloadError, PayloadErrorKind, ReceivedFile
from innkeeper.nodes.errors import ResourceError
from innkeeper.nodes.services.resources import FolderResources

MAX_FILES = 20
"""With one delivery."""
MAX_DATA_URI_BYTES = 700_000
"""Of a file that is also given as `dataUri`: as base64 it still fits into the result of an expression."""
MAX_NAME_CHARS = 200
FOLDER = "webhooks"
_MIME = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}/[a-z0-9][a-z0-9.+-]{0,60}")
_ENDINGS = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "audio/mpeg": ".mp3",
    "audio/wav": ".wav",
    "audio/ogg": ".ogg",
    "application/json": ".json",
    "text/plain": ".txt",
}
"""The others as the system knows them, which differs from one to the next."""
_NO_TYPE = "application/octet-stream"


class ReceivedFiles:
    """Keeps files below `user://webhooks/<trigger>/`.

    Args:
        resources_of: The files of a user.
    """

    def __init__(self, resources_of: Callable[[str], FolderResources]) -> None:
        self._resources_of = resources_of

    @staticmethod
    def objection(payload: Payload) -> PayloadError | None:
        """Why the files of a request are not taken."""
        if len(payload.files) <= MAX_FILES:
            return None
        message = f"the request has {len(payload.files)} files; at most {MAX_FILES} are allowed"
        return PayloadError(PayloadErrorKind.TOO_LARGE, message)

    @staticmethod
    def described(trigger: StoredTrigger, files: Sequence[ReceivedFile]) -> list[dict[str, Any]]:
        """What a mapping sees of the files, whether they are stored already or not."""
        return [describe(trigger.id, file) for file in files]

    async def store(self, user: str, files: Mapping[str, bytes]) -> None:
        """Write the files, by path, that are not there yet.

        Raises:
            ResourceError: The disk refuses (`storage_failed`).
        """
        await asyncio.to_thread(self._store, user, files)

    def _store(self, user: str, files: Mapping[str, bytes]) -> None:
        resources = self._resources_of(user)
        for path, data in files.items():
            if not _is_there(resources, path, len(data)):
                resources.write_sync(path, data)


def describe(trigger_id: str, file: ReceivedFile) -> dict[str, Any]:
    """`{field, filename, mime, size, sha256, path}`, and `dataUri` of a file that is small enough.

    `filename` is what the sender calls it: a text for people, never a path.
    """
    mime, sha256 = mime_of(file), hashlib.sha256(file.data).hexdigest()
    described: dict[str, Any] = {
        "field": file.field,
        "filename": None if file.filename is None else file.filename[:MAX_NAME_CHARS],
        "mime": mime,
        "size": len(file.data),
        "sha256": sha256,
        # Made of the content alone: the sender's name could be anything.
        "path": f"user://{FOLDER}/{trigger_id}/{sha256[:32]}{_ending(mime)}",
    }
    if len(file.data) <= MAX_DATA_URI_BYTES:
        described["dataUri"] = f"data:{mime};base64,{base64.b64encode(file.data).decode()}"
    return described


def _ending(mime: str) -> str:
    return _ENDINGS.get(mime) or mimetypes.guess_extension(mime) or ".bin"


def mime_of(file: ReceivedFile) -> str:
    """The media type without parameters; of no type what is none."""
    mime = file.mime.partition(";")[0].strip().lower()
    return mime if _MIME.fullmatch(mime) else _NO_TYPE


def _is_there(resources: FolderResources, path: str, size: int) -> bool:
    try:
        return resources.stat_sync(path).size == size
    except ResourceError:
        return False
