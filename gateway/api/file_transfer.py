"""The files of users over HTTP: what a logical path may be, lists, uploads that appear whole or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import heapq
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from innkeeper.gateway.errors import BadRequest, NotFound
from innkeeper.nodes.errors import ResourceError
from innkeeper.nodes.services.files import TEMPORARY_PREFIX, cannot_write
from innkeeper.nodes.services.resources import FileInfo, FolderResources

SCHEMES = ("user", "shared", "system")
WRITABLE = frozenset({"user", "shared"})
"""`system://` is what the operator put there: it is read only."""
MAX_LISTED = 10_000


class FileExists(ResourceError):
    """A file that must not be overwritten is there already."""

    code = "file_exists"


@dataclass(frozen=True)
class ListedFile:
    """A file in a list. `size` is in bytes."""

    path: str
    size: int
    modified_at: str

    def to_json(self) -> dict[str, Any]:
        return {"path": self.path, "size": self.size, "modifiedAt": self.modified_at}


@dataclass(frozen=True)
class Written:
    """What an upload became."""

    path: str
    size: int
    sha256: str
    created: bool

    def to_json(self) -> dict[str, Any]:
        return {"path": self.path, "size": self.size, "sha256": self.sha256, "created": self.created}


def logical_path(scheme: str, inner: str) -> str:
    """The logical path that a URL means.

    Raises:
        NotFound: There is no such scheme.
        ResourceError: The path has a hidden or empty name, a control character, or leaves its folder.
    """
    if scheme not in SCHEMES:
        raise NotFound(f"there are no files {scheme[:40]!r}: the schemes are {', '.join(SCHEMES)}")
    path = f"{scheme}://{inner}"
    names = inner.removesuffix("/").split("/") if inner else []
    if any(name.startswith(".") or not name for name in names):
        raise ResourceError(
            f"the path {path[:200]!r} is refused: names are not empty and do not begin with a dot",
            code="resource_refused",
        )
    if "\\" in inner or any(character < " " or "\x7f" <= character < "\xa0" for character in inner):
        raise ResourceError(
            f"the path {path[:200]!r} is refused: it holds a backslash or a control character", code="resource_refused"
        )
    return path


class UserFiles(FolderResources):
    """The files that one user may list, read, write and delete over HTTP. Blocking methods: call them in a thread."""

    def __init__(self, data_dir: Path, user: str, max_bytes: int) -> None:
        super().__init__(data_dir, user, max_bytes, writable=WRITABLE)

    def open(self, path: str) -> tuple[BinaryIO, FileInfo]:
        """A file for reading, of any size; the caller closes it.

        Raises:
            BadRequest: It is a folder.
            ResourceError: Out of bounds, not there, or unreadable.
        """
        # os.path: a name that the system does not take is no folder either; opening it says why.
        if os.path.isdir(self._real_path(path)):
            raise BadRequest(f"{path!r} is a folder: with '/' behind it, it is listed", code="is_folder")
        with contextlib.ExitStack() as stack:
            stream, info = stack.enter_context(self._opened(path))
            # The context would close it: another handle of the same file lives on.
            return os.fdopen(os.dup(stream.fileno()), "rb"), info

    def list_page(self, folder: str, limit: int, after: str = "") -> tuple[list[ListedFile], str | None]:
        """The first `limit` files below a folder whose paths come after `after`, sorted. A missing one has none.

        Beside them the path to go on after; None when there are no more.

        Raises:
            ResourceError: Out of bounds.
        """
        root = self._real_path(folder, may_be_root=True)
        paths = (path for path in _paths_below(root, folder) if path > after)
        found = heapq.nsmallest(limit + 1, paths)
        return list(self._listed(found[:limit])), found[limit - 1] if len(found) > limit else None

    def _listed(self, paths: list[str]) -> Iterator[ListedFile]:
        for path in paths:
            with contextlib.suppress(ResourceError):  # gone since, or no longer ours to read
                info = self.stat_sync(path)
                modified = datetime.fromtimestamp(info.modified, UTC).isoformat(timespec="milliseconds")
                yield ListedFile(path, info.size, modified.replace("+00:00", "Z"))

    @contextlib.contextmanager
    def draft(self, path: str) -> Iterator[Draft]:
        """Begin to write a file. What is not finished leaves nothing behind.

        Raises:
            ResourceError: Out of bounds, not writable, or the disk refuses.
        """
        target = self._writable_path(path)
        draft = Draft(path, target, self._roots[path.partition(":")[0]])
        try:
            yield draft
        finally:
            draft.discard()


class Draft:
    """A file on its way: written beside all others, then put in its place."""

    def __init__(self, path: str, target: Path, root: Path) -> None:
        self._path = path
        self._target = target
        self._hash = hashlib.sha256()
        self._size = 0
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=root, prefix=TEMPORARY_PREFIX)
        except OSError as error:
            raise cannot_write(error) from None
        self._stream = os.fdopen(handle, "wb")
        self._draft = Path(name)

    def write(self, data: bytes) -> None:
        """Append. Raises ResourceError when the disk refuses."""
        try:
            self._stream.write(data)
        except OSError as error:
            raise cannot_write(error) from None
        self._hash.update(data)
        self._size += len(data)

    def finish(self, *, may_replace: bool) -> Written:
        """Put the file in its place, after the disk has it.

        Raises:
            FileExists: There is one, and it must not be replaced.
            ResourceError: The place is taken by a folder, or the disk refuses.
        """
        try:
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._make_folder()
            created = self._put(may_replace)
        except OSError as error:
            raise cannot_write(error) from None
        return Written(self._path, self._size, self._hash.hexdigest(), created)

    def _make_folder(self) -> None:
        try:
            self._target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            is_folder = self._target.is_dir()
        except (FileExistsError, NotADirectoryError):
            raise _in_the_way(self._path, "a file stands where a folder must be") from None
        if is_folder:
            raise _in_the_way(self._path, "it is a folder")

    def _put(self, may_replace: bool) -> bool:
        if may_replace:
            is_new = not self._target.exists()
            os.replace(self._draft, self._target)
            return is_new
        try:
            # A link to a name that is taken fails: of two that would create one file, one is told that it is there.
            os.link(self._draft, self._target)
        except FileExistsError:
            raise FileExists(f"there is a file {self._path!r} already; it is left as it is") from None
        return True

    def discard(self) -> None:
        """Forget what is not in its place."""
        self._stream.close()
        self._draft.unlink(missing_ok=True)


async def pieces(stream: BinaryIO, length: int) -> AsyncIterator[bytes]:
    """The next `length` bytes of a file, read in threads; closes it."""
    with stream:
        while length > 0:
            piece = await asyncio.to_thread(stream.read, min(length, 256 * 1024))
            if not piece:  # it was cut short since: the client sees that bytes are missing
                return
            length -= len(piece)
            yield piece


def _in_the_way(path: str, why: str) -> ResourceError:
    return ResourceError(f"{path!r} cannot be written: {why}", code="resource_unwritable")


def _paths_below(root: Path, folder: str) -> Iterator[str]:
    start = folder if folder.endswith("/") else f"{folder}/"
    for place, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inner = Path(place).relative_to(root).as_posix()
        before = start if inner == "." else f"{start}{inner}/"
        yield from (before + name for name in names if _is_listed(Path(place, name), root))


def _is_listed(file: Path, root: Path) -> bool:
    """Not hidden, not a link that leads out, and with a name that is text: others are bytes that no JSON can tell."""
    name = file.name
    if name.startswith(".") or any("\ud800" <= character <= "\udfff" for character in name):
        return False
    return not file.is_symlink() or Path(os.path.realpath(file)).is_relative_to(root)
