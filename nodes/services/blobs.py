"""Large values by content hash, in a folder."""

from __future__ import annotations

import asyncio
import hashlib
import re
from pathlib import Path

from nodes.errors import ResourceError
from nodes.services.files import write_atomic

MAX_BLOB_BYTES = 256 * 1024 * 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")


class FolderBlobs:
    """A content-addressed store: `<root>/<first two digits>/<sha256>`. Safe for many processes at once."""

    def __init__(self, root: Path, max_bytes: int = MAX_BLOB_BYTES) -> None:
        self._root = root
        self._max_bytes = max_bytes

    async def put(self, data: bytes) -> str:
        """Store bytes, give back their sha256 in hex. Storing the same bytes again is cheap and harmless.

        Raises:
            ResourceError: Larger than the limit (`blob_too_large`), or the disk refuses (`storage_failed`).
        """
        return await asyncio.to_thread(self.put_sync, data)

    async def get(self, sha256: str) -> bytes:
        """The bytes of a hash, checked against it.

        Raises:
            ResourceError: Not a hash (`invalid_blob`), not there (`blob_not_found`) or damaged (`blob_damaged`).
        """
        return await asyncio.to_thread(self.get_sync, sha256)

    def has(self, sha256: str) -> bool:
        """Is there something of this hash? Does not look at its content."""
        return _SHA256.fullmatch(sha256) is not None and self._path(sha256).is_file()

    def put_sync(self, data: bytes) -> str:
        if len(data) > self._max_bytes:
            raise ResourceError(
                f"a value of {len(data)} bytes is over the limit of {self._max_bytes} bytes", code="blob_too_large"
            )
        sha256 = hashlib.sha256(data).hexdigest()
        path = self._path(sha256)
        # A file that is there but damaged (power loss) is written anew.
        if not _holds(path, data):
            write_atomic(path, data)
        return sha256

    def get_sync(self, sha256: str) -> bytes:
        path = self._path(sha256)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise ResourceError(f"there is no stored value {sha256}", code="blob_not_found") from None
        except OSError as error:
            raise ResourceError(f"the stored value {sha256} cannot be read", code="blob_damaged") from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ResourceError(f"the stored value {sha256} is damaged on disk", code="blob_damaged")
        return data

    def _path(self, sha256: str) -> Path:
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            raise ResourceError("a stored value is named by 64 hex digits (sha256)", code="invalid_blob")
        return self._root / sha256[:2] / sha256


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False
