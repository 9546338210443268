"""Renaming files and folders: never over something, and of several all or none."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from innkeeper.nodes.errors import ResourceError
from innkeeper.nodes.services.files import cannot_write


class NameTaken(ResourceError):
    """Something else has the name that a file or folder was to get."""

    code = "name_taken"


@dataclass(frozen=True)
class Move:
    """From one place to another, with the logical paths for messages."""

    path: str
    source: Path
    target_path: str
    target: Path

    def do(self) -> None:
        """Raises NameTaken, or ResourceError when it cannot be done; then everything is where it was."""
        if not os.path.lexists(self.source):
            raise missing(self.path)
        if os.path.lexists(self.target):
            raise taken(self.target_path)
        if not self.target.parent.is_dir():
            raise missing(self.target_path.rpartition("/")[0], "folder")
        if self.target.is_relative_to(self.source):
            raise in_the_way(self.target_path, "a folder cannot be moved into itself")
        with disk_errors(self.target_path):
            if self.source.is_dir() and not self.source.is_symlink():
                os.rename(self.source, self.target)
                return
            try:
                # Unlike a rename, a link to a name that a worker has taken meanwhile fails.
                os.link(self.source, self.target, follow_symlinks=False)
            except FileExistsError:
                raise taken(self.target_path) from None
            try:
                os.unlink(self.source)
            except OSError:
                os.unlink(self.target)
                raise

    def back(self) -> Move:
        """The move that undoes it."""
        return Move(self.target_path, self.target, self.path, self.source)


def all_or_none(moves: Iterable[Move]) -> None:
    """Do them in their order; when one fails, undo those before it. Raises what it raised."""
    done: list[Move] = []
    try:
        for move in moves:
            move.do()
            done.append(move)
    except ResourceError:
        for move in reversed(done):
            with contextlib.suppress(ResourceError):
                move.back().do()
        raise


@contextlib.contextmanager
def disk_errors(path: str) -> Iterator[None]:
    """Turns errors of the system into ResourceError."""
    try:
        yield
    except (FileExistsError, NotADirectoryError):
        raise in_the_way(path, "a file stands where a folder must be") from None
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            raise taken(path) from None
        if error.errno in (errno.EXDEV, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL):
            raise in_the_way(path, str(error.strerror).lower()) from None
        raise cannot_write(error) from None


def missing(path: str, what: str = "file or folder") -> ResourceError:
    return ResourceError(f"there is no {what} {path!r}", code="resource_not_found")


def taken(path: str) -> NameTaken:
    return NameTaken(f"there is a file or folder {path!r} already; it is left as it is")


def in_the_way(path: str, why: str) -> ResourceError:
    return ResourceError(f"{path!r} cannot be written: {why}", code="resource_unwritable")
