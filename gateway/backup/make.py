"""Making a backup of a data directory, whether or not somebody works in it.

The databases are copied as of one moment, so they fit together as they do after all processes were killed in that
moment. What they refer to was written before the reference was and stays, for collections are held until the values
are copied. Everything else is copied after them, file by file, as it is then.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO

from innkeeper.gateway.backup.archive import ArchiveWriter, Member
from innkeeper.gateway.backup.contents import DATABASES, TEMPORAL, Part, part_of
from innkeeper.gateway.backup.description import DESCRIPTION, describe
from innkeeper.gateway.backup.errors import CannotBackUp, disk_full, is_full
from innkeeper.gateway.backup.snapshot import copy_database, one_moment
from innkeeper.gateway.backup.work_folder import flush_folder, work_folder
from innkeeper.gateway.process.data_dir import FOLDERS, DataDir, DataDirInUse, DataLock, private_files
from innkeeper.nodes.services.deletion_hold import deletions_held

DATA = "data/"
"""What stands before the paths of the data directory in an archive."""
WORK = ".innkeeper-backup-"
Progress = Callable[[str, int, int], None]
"""Gets what is being done, how much of it is done, and how much there is."""


@dataclass
class Written:
    """What is in a backup. `left_out` are links and other things that are neither file nor folder."""

    files: int = 0
    bytes: int = 0
    size: int = 0
    left_out: int = 0
    shrunk: int = 0


@dataclass(frozen=True)
class Entry:
    """A file or folder that belongs into a backup: its path below the data directory, and what the disk says of it."""

    path: str
    found: os.stat_result

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.found.st_mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.found.st_mode)


@dataclass(frozen=True)
class BackupOptions:
    """What is asked for: the keys and the result cache are in a backup only when they are."""

    with_keys: bool = False
    with_results: bool = False

    def wants(self, part: Part) -> bool:
        return {Part.KEY: self.with_keys, Part.CACHE: self.with_results, Part.STATE: True}.get(part, False)


def make_backup(
    root: Path, target: Path, options: BackupOptions, *, environ: Mapping[str, str], progress: Progress
) -> Written:
    """Write a backup of the data directory `root` to the new file `target`, mode 0600.

    Raises:
        CannotBackUp: There is nothing to back up, `target` exists or lies in `root`, a database is damaged, or the
            disk is full. There is no file `target` then.
    """
    _check(root, target)
    try:
        with private_files(), work_folder(target.parent, WORK) as work, contextlib.ExitStack() as holds:
            for name in ("blobs", "secrets"):
                holds.enter_context(deletions_held(root / name))
            description = describe(root, has_keys=options.with_keys, environ=environ)
            copies = _copy_databases(root, work, progress)
            draft = work / "draft"
            with draft.open("wb") as file, (work / "sums").open("w+b") as sums:
                archive = ArchiveWriter(file, sums)
                _add_bytes(archive, DESCRIPTION, description.to_bytes())
                written = _Writing(archive, options, progress, _total(root, options, copies)).write(root, copies)
                archive.close()
                file.flush()
                os.fsync(file.fileno())
            written.size = draft.stat().st_size
            _put_in_place(draft, target)
    except OSError as error:
        if is_full(error):
            raise CannotBackUp(disk_full(target.parent)) from error
        raise
    return written


def _check(root: Path, target: Path) -> None:
    if not any((root / name).is_file() for name in DATABASES):
        raise CannotBackUp(f"there is no data of Innkeeper in {str(root)!r}: name the folder with --data-dir")
    if root.stat().st_uid != os.geteuid():
        # What this process makes in there, such as lock files, Innkeeper could not open.
        raise CannotBackUp(f"{str(root)!r} belongs to another user: make the backup as that user, who runs Innkeeper")
    if os.path.lexists(target):
        raise CannotBackUp(f"{str(target)!r} exists and is not overwritten: choose another name")
    if not target.parent.is_dir():
        raise CannotBackUp(f"there is no folder {str(target.parent)!r}: make it first")
    if target.parent.resolve().is_relative_to(root.resolve()):
        raise CannotBackUp(f"{str(target)!r} is in the data directory itself: choose a place outside of it")


def _copy_databases(root: Path, work: Path, progress: Progress) -> dict[str, Path]:
    """Copies of all databases as of one moment, by their paths in the data directory."""
    names = [name for name in DATABASES if (root / name).is_file()]
    copies = {name: work / name.replace("/", "-") for name in names}
    with contextlib.ExitStack() as stack:
        stopped: list[Path] = []
        try:
            # Nobody starts before the copies are there; and a lone reader must not look like a running Innkeeper.
            lock = DataLock.acquire(DataDir(root))
            stack.callback(lock.release)
        except DataDirInUse:
            stopped = [root / name for name in names if name != TEMPORAL]
        readers = stack.enter_context(one_moment([root / name for name in names], stopped))
        for name, reader in zip(names, readers, strict=True):
            copy_database(reader, copies[name], partial(progress, name))
            reader.rollback()  # its writer can give back the space of its write-ahead log
    return copies


class _Writing:
    """The second half: everything goes into the archive."""

    def __init__(self, archive: ArchiveWriter, options: BackupOptions, progress: Progress, total: int) -> None:
        self._archive = archive
        self._options = options
        self._progress = progress
        self._total = total
        self._written = Written()

    def write(self, root: Path, copies: Mapping[str, Path]) -> Written:
        for name, copy in copies.items():
            with copy.open("rb") as content:
                self._add(name, content)
            copy.unlink()  # a disk with little room needs it now
        for entry in entries(root, self._options):
            if entry.is_folder:
                self._archive.add_folder(DATA + entry.path, int(entry.found.st_mtime))
            elif not entry.is_file:
                self._written.left_out += 1
            else:
                self._add_file(root, entry.path)
        return self._written

    def _add_file(self, root: Path, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):  # deleted since it was seen
            handle = os.open(root / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(handle, "rb") as content:
                self._add(path, content)

    def _add(self, path: str, content: IO[bytes]) -> None:
        found = os.fstat(content.fileno())
        for count in self._archive.add(Member(DATA + path, found.st_size, int(found.st_mtime)), content):
            self._written.bytes += count
            self._progress("files", self._written.bytes, max(self._total, self._written.bytes))
        self._written.files += 1
        self._written.shrunk += content.tell() < found.st_size


def entries(root: Path, options: BackupOptions) -> Iterator[Entry]:
    """Everything but the databases that belongs into a backup, folders before what is in them."""
    open_folders = [""]
    while open_folders:
        folder = open_folders.pop()
        try:
            with os.scandir(root / folder) as found:
                names = sorted(entry.name for entry in found)
        except FileNotFoundError:
            continue
        for path in (folder + name for name in names):
            with contextlib.suppress(FileNotFoundError):
                if options.wants(part_of(path)):
                    # A folder of ours may be a link: its disk may be elsewhere. Links of users lead anywhere.
                    entry = Entry(path, os.stat(root / path, follow_symlinks=path in FOLDERS))
                    yield entry
                    if entry.is_folder:
                        open_folders.append(f"{path}/")


def _total(root: Path, options: BackupOptions, copies: Mapping[str, Path]) -> int:
    of_files = sum(entry.found.st_size for entry in entries(root, options) if entry.is_file)
    return of_files + sum(copy.stat().st_size for copy in copies.values())


def _add_bytes(archive: ArchiveWriter, name: str, data: bytes) -> None:
    for _ in archive.add(Member(name, len(data), 0), BytesIO(data)):
        pass


def _put_in_place(draft: Path, target: Path) -> None:
    """Give the finished file its name, unless somebody has made one of that name meanwhile."""
    try:
        os.link(draft, target)
    except FileExistsError:
        raise CannotBackUp(f"{str(target)!r} exists and is not overwritten: choose another name") from None
    except OSError:  # a file system without such links
        os.rename(draft, target)
    flush_folder(target.parent)
