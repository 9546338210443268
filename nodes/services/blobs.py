"""Large values by content hash, in a folder."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from innkeeper.nodes.errors import ResourceError
from innkeeper.nodes.services.deletion_hold import deletion
from innkeeper.nodes.services.files import write_atomic

MAX_BLOB_BYTES = 256 * 1024 * 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PIECE = 1024 * 1024
# Any text that is a hash counts: a node may hand on what `blobs.put` gave it under a name of its own, or in JSON as
# text. Too much that is kept is a little room on the disk, too little is a lost run.
_HASH = re.compile(rb'"(?:\$secret:)?([0-9a-f]{64})["\\]')
HASH_BYTES = 74
"""Bytes that are looked at together to see a hash."""


def hashes_in(text: bytes) -> Iterator[str]:
    """All that JSON, whole or a part of it, may mean as a reference to a stored value."""
    return (found.decode() for found in _HASH.findall(text))


class StoredBlob(NamedTuple):
    """A value that is there. `written` (seconds since 1970) is when it was put, or kept, last."""

    sha256: str
    size: int
    written: float


class FolderBlobs:
    """A content-addressed store: `<root>/<first two digits>/<sha256>`. Safe for many processes at once.

    Values that nothing refers to are deleted some time after they were written last (by the gateway's garbage
    collector). So whoever is about to write a reference down puts the value, or keeps it, before.
    """

    def __init__(self, root: Path, max_bytes: int = MAX_BLOB_BYTES) -> None:
        self._root = root
        self._max_bytes = max_bytes

    async def put(self, data: bytes) -> str:
        """Store bytes, give back their sha256 in hex. Storing the same bytes again is cheap and makes them new.

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

    def keep(self, sha256: str) -> bool:
        """Is there something of this hash? Then it counts as written now. Does not look at its content."""
        if not _SHA256.fullmatch(sha256):
            return False
        try:
            with self._locked(fcntl.LOCK_SH):
                os.utime(self._path(sha256))
        except OSError:
            return False
        return True

    def put_sync(self, data: bytes) -> str:
        if len(data) > self._max_bytes:
            raise ResourceError(
                f"a value of {len(data)} bytes is over the limit of {self._max_bytes} bytes", code="blob_too_large"
            )
        sha256 = hashlib.sha256(data).hexdigest()
        path = self._path(sha256)
        # A file that is there but damaged (power loss) is written anew; so is one that is deleted in this moment.
        if not (_holds(path, data) and self.keep(sha256)):
            write_atomic(path, data, rename_in=self._locked(fcntl.LOCK_SH))
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

    # --- for who collects what is not needed any more ---------------------------------------------------------------

    def folders(self) -> list[Path]:
        """The folders that hold values: at most 256, each with an equal share of them."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(path for path in self._root.iterdir() if len(path.name) == 2 and path.is_dir())
        return []

    def stored(self, folder: Path) -> Iterator[StoredBlob]:
        """The values in one of the folders."""
        with os.scandir(folder) as entries:
            for entry in entries:
                if _SHA256.fullmatch(entry.name):
                    with contextlib.suppress(FileNotFoundError):
                        stat = entry.stat()
                        yield StoredBlob(entry.name, stat.st_size, stat.st_mtime)

    def pieces(self, sha256: str, overlap: int) -> Iterator[bytes]:
        """A value in pieces of about 1 MB, each beginning with the last `overlap` bytes of the one before. Nothing of
        one that is not there."""
        with contextlib.suppress(FileNotFoundError), self._path(sha256).open("rb") as file:
            piece = b""
            while more := file.read(_PIECE):
                piece = piece[-overlap:] + more
                yield piece

    def delete(self, sha256: str, before: float) -> bool:
        """Delete a value, unless it was written at `before` or later (seconds since 1970), even a moment ago, or
        somebody copies the values (`deletions_held`)."""
        path = self._path(sha256)
        with contextlib.suppress(FileNotFoundError), self._locked(fcntl.LOCK_EX), deletion(self._root) as allowed:
            if allowed and path.stat().st_mtime < before:
                path.unlink()
                return True
        return False

    @contextlib.contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        """Making a value new and deleting an old one exclude each other, in all processes. Held for microseconds."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A descriptor of its own each time: the lock belongs to it, not to the process, and dies with it.
        lock = os.open(self._root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, kind)
            yield
        finally:
            os.close(lock)

    def _path(self, sha256: str) -> Path:
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            raise ResourceError("a stored value is named by 64 hex digits (sha256)", code="invalid_blob")
        return self._root / sha256[:2] / sha256


def _holds(path: Path, data: bytes) -> bool:
    """Is this what the file holds? Compared piece by piece: a value is large, and there is a copy of it already."""
    view = memoryview(data)
    try:
        with path.open("rb", buffering=0) as file:
            if os.fstat(file.fileno()).st_size != len(data):
                return False
            return all(file.read(_PIECE) == view[at : at + _PIECE] for at in range(0, len(data), _PIECE))
    except OSError:
        return False
