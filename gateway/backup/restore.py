"""Restoring a backup: unpacked and checked beside its place, then put there by one renaming."""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from innkeeper.gateway.backup.archive import ArchiveReader, Member
from innkeeper.gateway.backup.contents import DATABASES, KEY_FILES, Part, part_of
from innkeeper.gateway.backup.description import (
    DESCRIPTION,
    MAX_BYTES,
    Description,
    begin_new_log,
    key_check,
    newer_part,
)
from innkeeper.gateway.backup.errors import BackupUnusable, CannotRestore, disk_full, is_full
from innkeeper.gateway.backup.make import DATA
from innkeeper.gateway.backup.snapshot import problem_of
from innkeeper.gateway.backup.work_folder import flush_folder, work_folder
from innkeeper.gateway.process.data_dir import DataDir, DataLock, private_files
from innkeeper.nodes.services.ownership import mark_own

RESERVE_BYTES = 32 * 1024 * 1024
"""Of the disk: what a restore leaves to others."""
Progress = Callable[[int, int], None]
"""Gets how many bytes of the backup were read, and how many there are."""


@dataclass(frozen=True)
class Restored:
    """What was restored.

    Attributes:
        before: Where the data directory that was in its place is now.
        has_keys: The key files are there: from the backup, or from the directory that was in its place.
    """

    description: Description
    files: int
    before: Path | None
    has_keys: bool


def restore_backup(
    source: Path, root: Path, *, replace: bool, environ: Mapping[str, str], progress: Progress
) -> Restored:
    """Make the data directory `root` of a backup: all of it, or nothing.

    Args:
        replace: Move a directory that is there aside; else it must be empty or missing.

    Raises:
        BackupUnusable: Damaged, cut short, from a newer version, or no backup.
        CannotRestore: There is something in the place, or the disk is full.
        DataDirInUse: Somebody works in the directory.
    """
    root = root.expanduser().resolve()
    _check_place(root, replace)
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        # An empty folder needs no lock, and would not be empty with one.
        lock = DataLock.acquire(DataDir(root)) if _is_filled(root) else None
        with contextlib.ExitStack() as stack:
            if lock is not None:
                stack.callback(lock.release)
            stack.enter_context(private_files())
            work = stack.enter_context(work_folder(root.parent, f".{root.name}.restore-"))
            stage = work / "data"
            stage.mkdir(mode=0o700)
            description, files = _unpack(source, stage, progress)
            _check_databases(stage)
            begin_new_log(stage)
            has_keys = description.has_keys or _take_keys(root, stage, description, environ)
            mark_own(stage)
            os.sync()  # one wait for all files, instead of one for each
            before = _put_in_place(stage, root)
    except OSError as error:
        if is_full(error):
            raise CannotRestore(disk_full(root.parent)) from error
        raise
    return Restored(description, files, before, has_keys)


def _check_place(root: Path, replace: bool) -> None:
    if os.path.lexists(root) and not root.is_dir():
        raise CannotRestore(f"{str(root)!r} is no folder: name another one with --data-dir")
    if root.exists() and root.stat().st_uid != os.geteuid():
        raise CannotRestore(f"{str(root)!r} belongs to another user: restore as that user, who runs Innkeeper")
    if os.path.ismount(root):
        raise CannotRestore(
            f"{str(root)!r} is a file system of its own, which cannot be exchanged as a whole: restore into a folder "
            f"in it (--data-dir {root}/data), and use that one"
        )
    if _is_filled(root) and not replace:
        raise CannotRestore(
            f"there is something in {str(root)!r}: restore into a new folder (--data-dir), or have this one moved "
            "aside with --force"
        )


def _is_filled(root: Path) -> bool:
    return root.is_dir() and any(root.iterdir())


def _unpack(source: Path, stage: Path, progress: Progress) -> tuple[Description, int]:
    """Write all files of a backup below `stage`; what it says of itself, and their number."""
    files = 0
    with source.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        members = ArchiveReader(file).members()
        description = _description(members)
        for member, content in members:
            _write(member, content, stage)
            files += not member.is_folder
            progress(min(file.tell(), size), size)
    return description, files


def _description(members: Iterator[tuple[Member, Iterator[bytes]]]) -> Description:
    member, content = next(members)
    if member.name != DESCRIPTION or member.size > MAX_BYTES:
        raise BackupUnusable(f"the file is no backup of Innkeeper: it does not begin with {DESCRIPTION}")
    return Description.from_bytes(b"".join(content))


def _write(member: Member, content: Iterator[bytes], stage: Path) -> None:
    path = stage / _checked_path(member)
    try:
        if member.is_folder:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            return
        if member.size > shutil.disk_usage(stage).free - RESERVE_BYTES:
            raise CannotRestore(disk_full(stage.parent.parent))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            for piece in content:
                file.write(piece)
    except (FileExistsError, NotADirectoryError) as error:
        raise BackupUnusable(f"the backup is refused: {member.name!r} is in it twice") from error
    # Values stay new: a collection must not take one for old before its runs were looked at.
    if not member.name.startswith((f"{DATA}blobs/", f"{DATA}secrets/")):
        os.utime(path, (member.mtime, member.mtime))


def _checked_path(member: Member) -> str:
    """Where a member goes, below the data directory. Nothing leads out of it, and nothing is there that no backup
    holds: a write-ahead log would be played into a database."""
    path = member.name.removeprefix(DATA)
    is_plain = all(part not in ("", ".", "..") for part in path.split("/")) and "\0" not in path
    if path == member.name or not is_plain or part_of(path) is Part.NONE:
        raise BackupUnusable(f"the backup is refused: {member.name!r} does not belong into one")
    return path


def _check_databases(stage: Path) -> None:
    for name in DATABASES:
        if (stage / name).exists() and (problem := problem_of(stage / name)) is not None:
            raise BackupUnusable(f"the backup is damaged: {name} in it is ({problem})")
    if (newer := newer_part(stage)) is not None:
        raise BackupUnusable(f"the backup was made by a newer version of Innkeeper ({newer}): install that one")


def _take_keys(root: Path, stage: Path, description: Description, environ: Mapping[str, str]) -> bool:
    """Copy the keys of the directory that is replaced, if they are those of the backup."""
    if not description.key_check or key_check(root, environ) != description.key_check:
        return False
    for name in KEY_FILES:
        if (root / name).is_file():
            shutil.copyfile(root / name, stage / name)
    return True


def _put_in_place(stage: Path, root: Path) -> Path | None:
    before = None
    if _is_filled(root):
        moment = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S%fZ")
        before = root.with_name(f"{root.name}.before-{moment}")
        os.rename(root, before)
    try:
        os.rename(stage, root)
    except OSError:
        if before is not None:
            os.rename(before, root)
        raise
    flush_folder(root.parent)
    return before
