"""Small files written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

from innkeeper.nodes.errors import ResourceError
from innkeeper.nodes.services.damaged import replace_file

# The dot keeps it out of every listing if the process dies before the rename.
TEMPORARY_PREFIX = ".new-"
_TEMPORARY = re.compile(re.escape(TEMPORARY_PREFIX) + r"[a-z0-9_]{8}")


FileStamp = tuple[int, int, int]


def stamp_of(file: Path) -> FileStamp | None:
    """Another one when the file has changed, or another has taken its place; None while there is none to look at."""
    try:
        found = file.stat()
    except (OSError, ValueError):  # a path may hold a NUL
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def write_atomic(
    path: Path, data: bytes, *, durable: bool = False, rename_in: AbstractContextManager[None] | None = None
) -> None:
    """Write a file of mode 0600 so that readers see the old content, the new, or none, but never a part.

    `durable` waits for the disk, so that this holds after a loss of power too. The file is put in its place within
    `rename_in`, if there is one.

    Raises:
        ResourceError: The disk is full or not writable; `retryable`. The message names no path.
    """
    try:
        temporary = write_temporary(path.parent, data, durable=durable)
        try:
            with rename_in or contextlib.nullcontext():
                replace_file(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise cannot_write(error) from error


def write_new(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 that appears with its whole content, and leave one alone that is there already: of
    several processes the first one wins. Waits for the disk.

    Raises:
        ResourceError: As `write_atomic`.
    """
    try:
        temporary = write_temporary(path.parent, data, durable=True)
        try:
            os.link(temporary, path)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    except OSError as error:
        raise cannot_write(error) from error


def write_temporary(folder: Path, data: bytes, *, durable: bool = False) -> Path:
    """Write a new file of mode 0600 into `folder`, which is made when it is not there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder, prefix=TEMPORARY_PREFIX)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            if durable:
                stream.flush()
                os.fsync(handle)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def cannot_write(error: OSError) -> ResourceError:
    """What a full or read-only disk becomes."""
    refused = ResourceError(f"the data directory cannot be written: {error.strerror}", code="storage_failed")
    refused.retryable = True
    return refused


def is_temporary(name: str) -> bool:
    """Is it the name of a file that is being written, or that a killed writer left?"""
    return _TEMPORARY.fullmatch(name) is not None


def delete_temporaries(root: Path, before: float) -> int:
    """Delete what killed writers left anywhere below a folder, if it was written to last before a time (seconds since
    1970). Gives how many files that were."""
    deleted = 0
    for folder, _, names in os.walk(root):
        for name in filter(is_temporary, names):
            path = Path(folder, name)
            with contextlib.suppress(OSError):  # put in its place at last, or not ours
                if path.lstat().st_mtime < before:
                    path.unlink()
                    deleted += 1
    return deleted
