"""Looking into a watched folder, and at the content of its files. Blocking: call in a thread."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from innkeeper.gateway.triggers.globs import Glob
from innkeeper.nodes.errors import ResourceError
from innkeeper.nodes.process.file_systems import NETWORK_FILE_SYSTEMS, file_system_of
from innkeeper.nodes.services.resources import FolderResources

MAX_FILES = 10_000
"""Files that fit, in one watched folder."""
MAX_ENTRIES = 100_000
"""Names that are looked at for them."""
MAX_PROBLEMS = 20
HASHED_AT_ONCE = 1024 * 1024
TEMPORARY_STARTS = (".", "~$")
TEMPORARY_ENDS = ("~", ".part", ".partial", ".filepart", ".crdownload", ".tmp", ".temp", ".swp")
_SHARED_BY_HOSTS = frozenset({"9p", "virtiofs", "vboxsf", "prl_fs"})
_INT64 = 2**63 - 1


@dataclass(frozen=True)
class Stamp:
    """What changes when a file is written: its size in bytes, and when it was changed, in ns since 1970."""

    size: int
    mtime_ns: int


@dataclass(frozen=True)
class FoundFile:
    """A file in the folder. `ctime_ns`: when it was written, renamed or linked last; nobody can set it."""

    stamp: Stamp
    ctime_ns: int


@dataclass(frozen=True)
class Place:
    """A folder of the system: another one may stand at the same path later."""

    path: str
    device: int
    inode: int


@dataclass
class Scan:
    """What was found.

    Attributes:
        files: Those that fit, by logical path.
        places: The folder and those in it that were looked at; none while the folder is missing.
        problems: Sentences for the trigger's user.
        refusal: Why nothing of it may be used.
        has_events: The system tells of changes in the folder.
        took_s: How long the look took.
    """

    files: dict[str, FoundFile] = field(default_factory=dict)
    places: set[Place] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    refusal: str | None = None
    has_events: bool = True
    took_s: float = 0.0

    def note(self, problem: str) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)


class TooManyFiles(Exception):
    """More than a watch may hold."""


class FileChanged(Exception):
    """The file is not as it was found, or is gone."""


class WatchedFolder(FolderResources):
    """One folder of a user, `user://…` or `shared://…`, and the files in it that fit a pattern."""

    def __init__(self, data_dir: Path, user: str, folder: str, pattern: str) -> None:
        super().__init__(data_dir, user, writable=frozenset())
        self._folder = folder
        self._pattern = pattern
        self._glob = Glob(pattern)

    def scan(self) -> Scan:
        """Look at everything once. Symbolic links are not followed, hidden and temporary files left out."""
        started = time.monotonic()
        found = self._scan()
        found.took_s = time.monotonic() - started
        return found

    def _scan(self) -> Scan:
        found = Scan()
        try:
            root = self._real_path(self._folder)
            found.has_events = not is_shared(file_system_of(root))
            self._walk(str(root), found)
        except ResourceError as error:
            return Scan(refusal=error.message)
        except TooManyFiles as error:
            return Scan(places=found.places, refusal=str(error))
        return found

    def _walk(self, root: str, found: Scan) -> None:
        waiting = [(root, "")]
        entries = 0
        while waiting:
            place, inner = waiting.pop()
            try:
                for entry in _listed(place, found):
                    entries += 1
                    if entries > MAX_ENTRIES:
                        raise TooManyFiles(f"{self._folder!r} holds more than {MAX_ENTRIES:,} names{_NOTHING_TAKEN}")
                    if self._look(entry, inner + entry.name, found):
                        waiting.append((entry.path, f"{inner}{entry.name}/"))
            except (FileNotFoundError, NotADirectoryError):
                continue  # not there yet, or gone since its parent was read
            except OSError as error:
                if not inner:  # nothing is known of its files, neither that they are gone nor that they were there
                    raise cannot_list(self._folder, error) from None
                found.note(cannot_list(f"{self._folder}/{inner.rstrip('/')}", error).message)

    def _look(self, entry: os.DirEntry[str], inner: str, found: Scan) -> bool:
        """Add a file that fits; is it a folder to look into?"""
        if is_left_out(entry.name):
            return False
        logical = f"{self._folder}/{inner}"
        try:
            logical.encode()
            if entry.is_dir(follow_symlinks=False):
                return self._glob.leads_into(inner)
            if not self._glob.fits(inner):
                return False
            facts = entry.stat(follow_symlinks=False)
        except UnicodeEncodeError:
            found.note(f"a file in {self._folder!r} is not taken: its name is not UTF-8")
            return False
        except OSError:  # gone since its folder was read
            return False
        if stat.S_ISREG(facts.st_mode):
            found.files[logical] = FoundFile(stamp_of(facts), facts.st_ctime_ns)
            if len(found.files) > MAX_FILES:
                raise TooManyFiles(
                    f"{self._folder!r} holds more than {MAX_FILES:,} files that fit {self._pattern!r}{_NOTHING_TAKEN}"
                )
        elif stat.S_ISLNK(facts.st_mode):
            found.note(f"{logical!r} is not taken: it is a symbolic link")
        return False

    def sha256(self, path: str, stamp: Stamp, stop: threading.Event) -> str:
        """The hash of a file's content, in hexadecimal.

        Args:
            path: Logical.
            stop: Set by a caller that no longer wants to know: files may be large.

        Raises:
            FileChanged: It has not this stamp, before or after it was read, or is gone.
            ResourceError: It cannot be read.
        """
        try:
            with self._opened(path) as (stream, _):
                before = os.fstat(stream.fileno())
                digest = _digest(stream, stop)
                after = os.fstat(stream.fileno())
        except ResourceError as error:
            if error.code == "resource_not_found":
                raise FileChanged from None
            raise
        if stamp_of(before) != stamp or stamp_of(after) != stamp or stop.is_set():
            raise FileChanged
        return digest


def cannot_list(path: str, error: OSError) -> ResourceError:
    return ResourceError(f"{path!r} cannot be listed: {error.strerror}", code="resource_unreadable")


_NOTHING_TAKEN = "; nothing is taken until there are fewer"


def is_left_out(name: str) -> bool:
    """Is this the name of a hidden file, or of one that somebody is still writing?"""
    return name.startswith(TEMPORARY_STARTS) or name.lower().endswith(TEMPORARY_ENDS)


def is_shared(file_system: str | None) -> bool:
    """May others change its files while this system hears nothing of it?"""
    kind = file_system or ""
    return kind in NETWORK_FILE_SYSTEMS or kind in _SHARED_BY_HOSTS or kind.startswith("fuse.")


def stamp_of(facts: os.stat_result) -> Stamp:
    """Times beyond what a database keeps (the year 2262) count as its last one."""
    return Stamp(facts.st_size, max(-_INT64, min(facts.st_mtime_ns, _INT64)))


def _listed(place: str, found: Scan) -> Iterator[os.DirEntry[str]]:
    # Before it is read: what changes later is told by an event or found by the next look.
    facts = os.lstat(place)
    if not stat.S_ISDIR(facts.st_mode):  # a link was put in its place meanwhile
        raise NotADirectoryError
    with os.scandir(place) as entries:
        found.places.add(Place(place, facts.st_dev, facts.st_ino))
        yield from entries


def _digest(stream: BinaryIO, stop: threading.Event) -> str:
    digest = hashlib.sha256()
    while not stop.is_set() and (piece := stream.read(HASHED_AT_ONCE)):
        digest.update(piece)
    return digest.hexdigest()
