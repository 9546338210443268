"""Files by logical path: `user://`, `shared://` and `system://`, each below a folder of its own."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from nodes.errors import ResourceError

MAX_RESOURCE_BYTES = 32 * 1024 * 1024
MAX_LISTED = 10_000
_PATH = re.compile(r"(user|shared|system)://(.*)", re.DOTALL)
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,127}")


class FolderResources:
    """The files one user's node runs may read. Errors name logical paths, never those of the server.

    Args:
        data_dir: Holds `users/<user>/`, `shared/` and `system/`; none of them has to exist.
        user: Whose files `user://` means.
        max_bytes: Larger files are refused.
    """

    def __init__(self, data_dir: Path, user: str, max_bytes: int = MAX_RESOURCE_BYTES) -> None:
        if not _USER.fullmatch(user):
            raise ResourceError(f"the user id {user!r} cannot name a folder", code="resource_refused")
        self._roots = {
            "user": data_dir / "users" / user,
            "shared": data_dir / "shared",
            "system": data_dir / "system",
        }
        self._max_bytes = max_bytes

    async def read_bytes(self, path: str, *, max_bytes: int | None = None) -> bytes:
        """The content of a file.

        Raises:
            ResourceError: Out of bounds (`resource_refused`), not there (`resource_not_found`),
                too large (`resource_too_large`) or not a readable file (`resource_unreadable`).
        """
        return await asyncio.to_thread(self.read_sync, path, max_bytes=max_bytes)

    def read_sync(self, path: str, *, max_bytes: int | None = None) -> bytes:
        limit = self._max_bytes if max_bytes is None else min(max_bytes, self._max_bytes)
        real = self._real_path(path)
        try:
            data = _read(real, limit + 1)
        except FileNotFoundError:
            raise ResourceError(f"there is no file {path!r}", code="resource_not_found") from None
        except OSError as error:
            raise ResourceError(f"{path!r} cannot be read: {error.strerror}", code="resource_unreadable") from None
        if len(data) > limit:
            raise ResourceError(f"{path!r} is over the limit of {limit} bytes", code="resource_too_large")
        return data

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

    def _real_path(self, path: str, may_be_root: bool = False) -> Path:
        """The file of a logical path, symbolic links resolved, certainly below its root."""
        match = _PATH.fullmatch(path) if isinstance(path, str) else None
        if match is None:
            raise _refused(path, "it must begin with user://, shared:// or system://")
        scheme, inner = match.groups()
        _check_inner(path, inner, may_be_root)
        root = Path(os.path.realpath(self._roots[scheme]))
        real = Path(os.path.realpath(root / inner))
        if not real.is_relative_to(root):
            raise _refused(path, "a symbolic link leads out of its folder")
        return real


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


def _read(path: Path, count: int) -> bytes:
    # The path is resolved: a link in its last place was put there since. A pipe must not make us wait for a writer.
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is not a file")
        return stream.read(count)


def _files_below(folder: Path) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            file = Path(place, name)
            if not name.startswith(".") and file.is_file() and Path(os.path.realpath(file)).is_relative_to(folder):
                yield file.relative_to(folder).as_posix()
