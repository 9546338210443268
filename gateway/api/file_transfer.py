"""The files of users over HTTP: logical paths, lists, conditions, and writes that happen whole or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import heapq
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from innkeeper.gateway.api.file_conditions import UNCONDITIONAL, Condition, etag_of, version_at
from innkeeper.gateway.api.file_moves import Move, all_or_none, disk_errors, in_the_way, missing, taken
from innkeeper.gateway.errors import BadRequest, NotFound
from innkeeper.gateway.moments import iso_of
from innkeeper.nodes.errors import ResourceError
from innkeeper.nodes.services.files import TEMPORARY_PREFIX, cannot_write
from innkeeper.nodes.services.resources import FileInfo, FolderResources

SCHEMES = ("user", "shared", "system")
WRITABLE = frozenset({"user", "shared"})
"""`system://` is what the operator put there: it is read only."""
MAX_LISTED = 10_000
TRASH = ".deleted"
"""A hidden folder in each root: what is deleted goes there in one step, then disappears piece by piece."""


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
class FolderItem:
    """A file, or a folder (whose path ends in '/'), in its folder. `size` in bytes, `modified` in s since 1970."""

    path: str
    is_folder: bool
    size: int
    modified: float

    @property
    def name(self) -> str:
        return name_of(self.path)


@dataclass(frozen=True)
class Written:
    """What an upload became. `etag` names the version."""

    path: str
    size: int
    sha256: str
    created: bool
    etag: str

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


def parse_path(text: str) -> str:
    """The logical path that a text like `user://cards/a.png` means, checked as `logical_path` does.

    Raises:
        BadRequest: It is no logical path.
        NotFound: There is no such scheme.
        ResourceError: As `logical_path`.
    """
    scheme, mark, inner = text.partition("://")
    if not mark:
        raise BadRequest(f"{text[:200]!r} is no logical path: one begins with user://, shared:// or system://")
    return logical_path(scheme, inner)


def without_slash(path: str) -> str:
    """The path of a folder as that of a file would be written."""
    return path if path.endswith("://") else path.removesuffix("/")


def name_of(path: str) -> str:
    """The last name of a logical path."""
    return path.removesuffix("/").rpartition("/")[2]


def path_in(folder: str, name: str) -> str:
    """The logical path of a name in a folder.

    Raises:
        BadRequest: It is not one name.
        ResourceError: The name begins with a dot, or holds a backslash or a control character.
    """
    if not name or "/" in name:
        raise BadRequest(f"{name[:200]!r} is no name of a file or folder: a name is not empty and holds no '/'")
    return parse_path(f"{folder if folder.endswith('/') else f'{folder}/'}{name}")


_LOCKS: dict[str, threading.Lock] = {}
"""By data directory: held by whoever looks at files and then changes names. A move concerns two folders at once."""


class UserFiles(FolderResources):
    """The files that one user may list, read, write and delete over HTTP. Blocking methods: call them in a thread.

    Checks and the changes that they allow are one step among all writers of this process. Workers write from other
    processes: against them only the operations of the system protect, so nothing is ever renamed over a file.
    """

    def __init__(self, data_dir: Path, user: str, max_bytes: int) -> None:
        super().__init__(data_dir, user, max_bytes, writable=WRITABLE)
        self._writing = _LOCKS.setdefault(os.path.realpath(data_dir), threading.Lock())

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
                yield ListedFile(path, info.size, iso_of(datetime.fromtimestamp(info.modified, UTC)))

    def list_folder(self, folder: str) -> list[FolderItem]:
        """What stands in one folder, folders first, by name; a missing folder is empty. Hidden names are left out.

        Raises:
            ResourceError: Out of bounds, a file, or more than `MAX_LISTED` items (`too_many_files`).
        """
        root = self._root(folder)
        place = self._real_path(folder, may_be_root=True)
        try:
            with os.scandir(place) as entries:
                names = [entry.name for entry in entries if _is_listed(Path(entry.path), root)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ResourceError(f"{folder!r} cannot be listed: {error.strerror}", code="resource_unreadable") from None
        if len(names) > MAX_LISTED:
            raise ResourceError(f"{folder!r} holds more than {MAX_LISTED:,} files", code="too_many_files")
        start = folder if folder.endswith("/") else f"{folder}/"
        items = [item for name in names if (item := _item(start + name, place / name)) is not None]
        return sorted(items, key=lambda item: (not item.is_folder, item.name.casefold(), item.name))

    def item(self, path: str) -> FolderItem:
        """One file or folder.

        Raises:
            ResourceError: Out of bounds, or not there.
        """
        path = without_slash(path)
        found = _item(path, self._real_path(path))
        if found is None:
            raise missing(path)
        return found

    def make_folder(self, path: str) -> FolderItem:
        """Make a folder, and those on the way to it.

        Raises:
            NameTaken: Something is there already.
            ResourceError: Out of bounds, not writable, or the disk refuses.
        """
        real = self._writable_path(path, follow=False)
        with disk_errors(path):
            real.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                real.mkdir(mode=0o700)
            except FileExistsError:
                raise taken(path) from None
        return self.item(path)

    def move(self, moves: Sequence[tuple[str, str]]) -> list[FolderItem]:
        """Give files and folders other paths: all of them or none. Nothing is overwritten.

        Args:
            moves: Logical paths, from and to. The folders that they go to must be there.

        Raises:
            NameTaken: Something has one of the names.
            ResourceError: Out of bounds, not writable, not there, or the disk refuses.
        """
        planned = [
            Move(path, self._writable_path(path, follow=False), target, self._writable_path(target, follow=False))
            for path, target in moves
        ]
        with self._writing:
            all_or_none(planned)
        return [self.item(target) for _, target in moves]

    def delete_matching(self, path: str, condition: Condition) -> None:
        """`delete_sync` if a condition holds; of a symbolic link the version is that of its file.

        Raises:
            PreconditionFailed: It does not.
            ResourceError: As `delete_sync`.
        """
        with self._writing:
            if condition.needs_version:
                condition.check(path, version_at(self._real_path(path)))
            self.delete_sync(path)

    def delete_all(self, paths: Iterable[str]) -> None:
        """Delete files, and folders with all that is in them: all of them or none.

        Raises:
            ResourceError: Out of bounds, not writable, not there, or the disk refuses.
        """
        reals = {path: self._writable_path(path, follow=False) for path in paths}
        outer = {
            path: real for path, real in reals.items() if not any(other in real.parents for other in reals.values())
        }
        with self._writing, disk_errors(TRASH):
            # What a delete left that was killed is deleted by the next one.
            left = [path for root in {self._root(path) / TRASH for path in outer} for path in _entries(root)]
            planned = [Move(path, real, path, self._new_trash(path) / real.name) for path, real in outer.items()]
            places = [move.target.parent for move in planned]
            try:
                all_or_none(planned)
            except ResourceError:
                for place in places:
                    with contextlib.suppress(OSError):
                        place.rmdir()
                raise
        for place in (*left, *places):
            shutil.rmtree(place, ignore_errors=True)

    def _new_trash(self, path: str) -> Path:
        folder = self._root(path) / TRASH
        folder.mkdir(mode=0o700, exist_ok=True, parents=True)
        return Path(tempfile.mkdtemp(dir=folder))

    def _root(self, path: str) -> Path:
        return Path(os.path.realpath(self._roots[path.partition(":")[0]]))

    @contextlib.contextmanager
    def draft(self, path: str) -> Iterator[Draft]:
        """Begin to write a file. What is not finished leaves nothing behind.

        Raises:
            ResourceError: Out of bounds, not writable, or the disk refuses.
        """
        target = self._writable_path(path)
        draft = Draft(path, target, self._roots[path.partition(":")[0]], self._writing)
        try:
            yield draft
        finally:
            draft.discard()


class Draft:
    """A file on its way: written beside all others, then put in its place while it holds the lock `writing`."""

    def __init__(self, path: str, target: Path, root: Path, writing: threading.Lock) -> None:
        self._path = path
        self._target = target
        self._writing = writing
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

    def finish(self, condition: Condition = UNCONDITIONAL) -> Written:
        """Put the file in its place, after the disk has it.

        Raises:
            FileExists: There is one, and it must not be replaced.
            PreconditionFailed: It is not the version that is to be replaced.
            ResourceError: The place is taken by a folder, or the disk refuses.
        """
        try:
            self._stream.flush()
            os.fsync(self._stream.fileno())
            etag = etag_of(os.fstat(self._stream.fileno()))
            with self._writing:
                condition.check(self._path, version_at(self._target))
                self._make_folder()
                created = self._put(not condition.must_be_new)
        except OSError as error:
            raise cannot_write(error) from None
        return Written(self._path, self._size, self._hash.hexdigest(), created, etag)

    def _make_folder(self) -> None:
        try:
            self._target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            is_folder = self._target.is_dir()
        except (FileExistsError, NotADirectoryError):
            raise in_the_way(self._path, "a file stands where a folder must be") from None
        if is_folder:
            raise in_the_way(self._path, "it is a folder")

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


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _item(path: str, real: Path) -> FolderItem | None:
    """A file or folder; None when it is gone, or something else, such as a pipe."""
    try:
        found = os.stat(real)
    except OSError:
        return None
    if stat.S_ISDIR(found.st_mode):
        return FolderItem(f"{path}/", True, 0, found.st_mtime)
    return FolderItem(path, False, found.st_size, found.st_mtime) if stat.S_ISREG(found.st_mode) else None


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
