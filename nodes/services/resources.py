"""Files by logical path: `user://`, `shared://` and `system://`, each below a folder of its own."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from innkeeper.nodes.errors import ResourceError
from innkeeper.nodes.services.files import cannot_write, write_atomic

MAX_RESOURCE_BYTES = 32 * 1024 * 1024
MAX_LISTED = 10_000
_PATH = re.compile(r"(user|shared|system)://(.*)", re.DOTALL)
_MAX_PATH_BYTES = 1024
_MAX_NAME_BYTES = 255
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,127}")


@dataclass(frozen=True)
class FileInfo:
    """A file. `size` is in bytes, `modified` in seconds since 1970."""

    size: int
    modified: float


class FolderResources:
    """The files one user may read, and those of `writable` schemes that may be written. Safe for many processes.

    Errors name logical paths, never those of the server.

    Args:
        data_dir: Holds `users/<user>/`, `shared/` and `system/`; none of them has to exist.
        user: Whose files `user://` means.
        max_bytes: Larger files are neither read nor written.
        writable: Schemes that `write_bytes` and `delete` accept.
    """

    def __init__(
        self,
        data_dir: Path,
        user: str,
        max_bytes: int = MAX_RESOURCE_BYTES,
        *,
        writable: frozenset[str] = frozenset({"user"}),
    ) -> None:
        if not _USER.fullmatch(user):
            raise ResourceError(f"the user id {user!r} cannot name a folder", code="resource_refused")
        self._roots = {
            "user": data_dir / "users" / user,
            "shared": data_dir / "shared",
            "system": data_dir / "system",
        }
        self._max_bytes = max_bytes
        self._writable = writable

    async def read_bytes(self, path: str, *, max_bytes: int | None = None) -> bytes:
        """The content of a file.

        Raises:
            ResourceError: Out of bounds (`resource_refused`), not there (`resource_not_found`),
                too large (`resource_too_large`) or not a readable file (`resource_unreadable`).
        """
        return await asyncio.to_thread(self.read_sync, path, max_bytes=max_bytes)

    def read_sync(self, path: str, *, max_bytes: int | None = None) -> bytes:
        limit = self._max_bytes if max_bytes is None else min(max_bytes, self._max_bytes)
        with self._opened(path) as (stream, _):
            data = stream.read(limit + 1)
        if len(data) > limit:
            raise _too_large(path, limit)
        return data

    async def read_range(self, path: str, start: int, length: int) -> bytes:
        """At most `length` bytes from `start` on, whatever the size of the file; none beyond its end.

        Raises:
            ResourceError: As `read_bytes`; `resource_too_large` when `length` is over the limit.
        """
        return await asyncio.to_thread(self.read_range_sync, path, start, length)

    def read_range_sync(self, path: str, start: int, length: int) -> bytes:
        if start < 0 or length < 0:
            raise ResourceError(f"{path!r}: a range is neither negative nor before the file", code="invalid_range")
        if length > self._max_bytes:
            raise _too_large(path, self._max_bytes)
        with self._opened(path) as (stream, info):
            stream.seek(min(start, info.size))
            return stream.read(length)

    async def stat(self, path: str) -> FileInfo:
        """Size and age of a file. Raises ResourceError as `read_bytes` does."""
        return await asyncio.to_thread(self.stat_sync, path)

    def stat_sync(self, path: str) -> FileInfo:
        with self._opened(path) as (_, info):
            return info

    async def write_bytes(self, path: str, data: bytes) -> None:
        """Write a file whole or not at all; folders on the way are made.

        A symbolic link in the last place is written through when it leads to a place below the same root.

        Raises:
            ResourceError: Out of bounds or not writable here (`resource_refused`), too large (`resource_too_large`),
                in the way of another file (`resource_unwritable`), or the disk refuses (`storage_failed`, retryable).
        """
        await asyncio.to_thread(self.write_sync, path, data)

    def write_sync(self, path: str, data: bytes) -> None:
        if len(data) > self._max_bytes:
            raise _too_large(path, self._max_bytes)
        real = self._writable_path(path)
        try:
            # Before the write, whose errors tell of the disk: these tell of the path.
            real.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if real.is_dir():
                raise _unwritable(path, "it is a folder")
        except (FileExistsError, NotADirectoryError):
            raise _unwritable(path, "a file stands where a folder must be") from None
        except OSError as error:
            raise _path_or_disk(path, error) from None
        write_atomic(real, data, durable=True)

    async def delete(self, path: str) -> None:
        """Remove a file; of a symbolic link the link. Folders stay.

        Raises:
            ResourceError: As `write_bytes`; not there (`resource_not_found`).
        """
        await asyncio.to_thread(self.delete_sync, path)

    def delete_sync(self, path: str) -> None:
        real = self._writable_path(path, follow=False)
        try:
            real.unlink()
        except (FileNotFoundError, NotADirectoryError):
            raise _not_found(path) from None
        except OSError as error:
            # A folder is EISDIR on Linux, EPERM elsewhere.
            raise (_unwritable(path, "it is a folder") if real.is_dir() else _path_or_disk(path, error)) from None

    async def list_files(self, prefix: str, *, suffix: str = "", limit: int = MAX_LISTED) -> tuple[str, ...]:
        """Logical paths of all files below a folder (`shared://library/workflows`), sorted; a missing one has none.

        Hidden files are left out.

        Raises:
            ResourceError: Out of bounds (`resource_refused`), or more than `limit` files (`too_many_files`).
        """
        return await asyncio.to_thread(self.list_files_sync, prefix, suffix=suffix, limit=limit)

    def list_files_sync(self, prefix: str, *, suffix: str = "", limit: int = MAX_LISTED) -> tuple[str, ...]:
        folder = self._real_path(prefix, may_be_root=True)
        start = prefix if prefix.endswith("/") else f"{prefix}/"
        found: list[str] = []
        for inner in _files_below(folder):
            if not inner.endswith(suffix):
                continue
            if len(found) == limit:
                raise ResourceError(f"{prefix!r} holds more than {limit} files", code="too_many_files")
            found.append(start + inner)
        return tuple(sorted(found))

    @contextmanager
    def _opened(self, path: str) -> Iterator[tuple[BinaryIO, FileInfo]]:
        real = self._real_path(path)
        try:
            with _open(real) as stream:
                found = os.fstat(stream.fileno())
                yield stream, FileInfo(found.st_size, found.st_mtime)
        except FileNotFoundError:
            raise _not_found(path) from None
        except OSError as error:
            raise ResourceError(f"{path!r} cannot be read: {error.strerror}", code="resource_unreadable") from None

    def _writable_path(self, path: str, follow: bool = True) -> Path:
        real = self._real_path(path, follow=follow)
        scheme, inner = _split_logical(path)
        if scheme not in self._writable:
            can = ", ".join(f"{name}://" for name in sorted(self._writable)) or "nothing"
            raise _refused(path, f"{scheme}:// cannot be written here; {can} can")
        if any(part.startswith(".") for part in inner.split("/")) or _CONTROL.search(inner):
            raise _refused(path, "no name may begin with a dot or hold a control character: no list would tell of it")
        if len(path.encode()) > _MAX_PATH_BYTES or any(
            len(part.encode()) > _MAX_NAME_BYTES for part in inner.split("/")
        ):
            raise _refused(path[:100], f"a name has at most {_MAX_NAME_BYTES} bytes, a path {_MAX_PATH_BYTES}")
        if inner.endswith("/"):
            raise _refused(path, "it names no file")
        return real

    def _real_path(self, path: str, may_be_root: bool = False, follow: bool = True) -> Path:
        """The file of a logical path, symbolic links resolved, certainly below its root.

        Without `follow` a link in the last place stays one.
        """
        scheme, inner = _split_logical(path)
        _check_inner(path, inner, may_be_root)
        root = Path(os.path.realpath(self._roots[scheme]))
        asked = root / inner
        real = Path(os.path.realpath(asked)) if follow else Path(os.path.realpath(asked.parent), asked.name)
        if not real.is_relative_to(root):
            raise _refused(path, "a symbolic link leads out of its folder")
        return real


def _split_logical(path: str) -> tuple[str, str]:
    match = _PATH.fullmatch(path) if isinstance(path, str) else None
    if match is None:
        raise _refused(path, "it must begin with user://, shared:// or system://")
    return match[1], match[2]


def _check_inner(path: str, inner: str, may_be_root: bool) -> None:
    if not inner and not may_be_root:
        raise _refused(path, "it names no file")
    if inner.startswith("/") or "\\" in inner or "\0" in inner or ".." in inner.split("/"):
        raise _refused(path, "it must be relative, without '..', backslashes and NUL")
    try:
        inner.encode()
    except UnicodeEncodeError:
        raise _refused(path, "it is not valid text") from None


def _refused(path: object, why: str) -> ResourceError:
    return ResourceError(f"the resource path {path!r} is refused: {why}", code="resource_refused")


def _not_found(path: str) -> ResourceError:
    return ResourceError(f"there is no file {path!r}", code="resource_not_found")


def _too_large(path: str, limit: int) -> ResourceError:
    return ResourceError(f"{path!r} is over the limit of {limit} bytes", code="resource_too_large")


def _unwritable(path: str, why: str) -> ResourceError:
    return ResourceError(f"{path!r} cannot be written: {why}", code="resource_unwritable")


def _path_or_disk(path: str, error: OSError) -> ResourceError:
    if error.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.EILSEQ):
        return _unwritable(path, "the system does not take such a path")
    return cannot_write(error)


def _open(path: Path) -> BinaryIO:
    # The path is resolved: a link in its last place was put there since. A pipe must not make us wait for a writer.
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    stream = os.fdopen(handle, "rb")
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        stream.close()
        raise OSError(errno.EINVAL, "it is not a file")
    return stream


def _files_below(folder: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            file = Path(place, name)
            if not name.startswith(".") and file.is_file() and Path(os.path.realpath(file)).is_relative_to(folder):
                yield file.relative_to(folder).as_posix()
