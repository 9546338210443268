"""The data directory: its layout, and the one lock on it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shlex
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from innkeeper.nodes.errors import InnkeeperError
from innkeeper.nodes.process.file_systems import NETWORK_FILE_SYSTEMS, file_system_of
from innkeeper.nodes.services.damaged import DAMAGE_LOG, MARK, set_aside, tell
from innkeeper.nodes.services.deletion_hold import HOLD_FILE
from innkeeper.nodes.services.ownership import MARKER, PRIVATE, check_own, mark_own

DEFAULT_DATA_DIR = Path(".innkeeper")
PRIVATE_UMASK = 0o077
_LEFTOVER_S = 5.0


FOLDERS = (
    *("logs", "temporal", "blobs", "results", "secrets", "users", "profiles", "system"),
    *("shared", "shared/library", "shared/library/workflows"),
)
_DATABASES = ("gateway.db", "events.db", "temporal/temporal.db")
FILES = (
    *("lock", "port", "secret.key", "worker.token", MARKER, DAMAGE_LOG),
    *("blobs/.lock", "blobs/.hold", "secrets/.lock", "secrets/.hold", "temporal/version.json"),
    *(f"{name}{suffix}" for name in _DATABASES for suffix in ("", "-wal", "-shm", "-journal", ".state")),
    *(f"limits.db{suffix}" for suffix in ("", "-wal", "-shm", "-journal")),
)
"""All files that processes of ours make and open by name. What a user puts there himself is the user's."""
_OWN = {True: stat.S_IRWXU, False: stat.S_IRUSR | stat.S_IWUSR}


class DataDirError(InnkeeperError):
    """The data directory cannot be used."""

    code = "data_directory_unusable"


class DataDirInUse(DataDirError):
    """Another process holds the data directory. `details` has its `pid` and `address`, when it told them."""

    code = "data_directory_in_use"


@dataclass(frozen=True)
class DataDir:
    """Paths below one data directory. `DataDir.open` makes it and says whether it can be used."""

    root: Path

    @classmethod
    def open(cls, root: Path) -> DataDir:
        """Create what is missing, keep others out, and mark it as this user's.

        Raises:
            DataDirError: Not writable, not a directory, open to others and not ours to close, or on a network file
                system.
        """
        data = cls(root.expanduser().absolute())
        try:
            _make_private(data.root)
            data.set_misplaced_aside()
            for folder in (data.logs, data.temporal, data.root / "shared" / "library" / "workflows"):
                folder.mkdir(parents=True, exist_ok=True)
            _prove_writable(data.root)
            mark_own(data.root)
        except OSError as error:
            reason = error.strerror or str(error)
            raise DataDirError(
                f"cannot write to the data directory {str(data.root)!r} ({reason}): "
                "make it writable or choose another one with --data-dir"
            ) from error
        _refuse_network_file_system(data.root)
        return data

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def temporal(self) -> Path:
        return self.root / "temporal"

    @property
    def port_file(self) -> Path:
        """Port of a gateway that may take any."""
        return self.root / "port"

    def set_misplaced_aside(self) -> None:
        """Put aside folders in the place of files, and the other way round; make files of ours readable again.

        It is safe while others work in the directory: what they use is in its place.
        """
        for path, is_folder in self._places():
            try:
                found = path.lstat()
            except (FileNotFoundError, NotADirectoryError):
                continue
            if not _is_kind(path, found, is_folder):
                aside = set_aside(path)
                kind = "folder" if is_folder else "file"
                name = path.relative_to(self.root)
                tell(self.root, f"{name} was no {kind}; what was there is kept as {aside.name}")
            elif found.st_uid == os.geteuid() and found.st_mode & _OWN[is_folder] != _OWN[is_folder]:
                os.chmod(path, stat.S_IMODE(found.st_mode) | _OWN[is_folder])
                tell(
                    self.root,
                    f"{path.relative_to(self.root)} was not readable and writable for its owner, and is again",
                )

    def _places(self) -> Iterator[tuple[Path, bool]]:
        """What is in a data directory, each with whether it is a folder; folders before what is in them."""
        for name in FOLDERS:
            yield self.root / name, True
        for name in FILES:
            yield self.root / name, False
        for folder, suffixes in ((self.logs, (".log", ".1", ".life")), (self.root / "blobs", ())):
            with contextlib.suppress(OSError):
                for path in sorted(folder.iterdir()):
                    if MARK not in path.name and (not suffixes or path.suffix in suffixes):
                        yield path, not suffixes and path.name not in (".lock", HOLD_FILE)

    @property
    def lock_file(self) -> Path:
        return self.root / "lock"


def own_default() -> Path:
    """The data directory of the current folder, for who has named none.

    Raises:
        ForeignDataDir: It may have come with a download.
    """
    check_own(DEFAULT_DATA_DIR)
    return DEFAULT_DATA_DIR


def _make_private(root: Path) -> None:
    """The directory holds keys, prompts and answers: nobody else looks into one, whoever has made it."""
    root.parent.mkdir(parents=True, exist_ok=True)
    root.mkdir(mode=PRIVATE, exist_ok=True)
    found = root.stat()
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISDIR(found.st_mode) or not mode & 0o077:
        return
    if found.st_uid != os.geteuid() or mode & stat.S_ISVTX:
        owner = "belongs to another user" if found.st_uid != os.geteuid() else "is shared by many"
        raise DataDirError(
            f"the data directory {str(root)!r} {owner}, and others can look into it (mode {mode:04o}): "
            f"close it with 'chmod 700 {shlex.quote(str(root))}', or choose a folder of your own with --data-dir"
        )
    root.chmod(PRIVATE)


def _is_kind(path: Path, found: os.stat_result, is_folder: bool) -> bool:
    """Is it a folder, or a file? A link counts as what it leads to: a disk may be elsewhere."""
    if stat.S_ISLNK(found.st_mode):
        try:
            found = path.stat()
        except OSError:
            return False
    return stat.S_ISDIR(found.st_mode) if is_folder else stat.S_ISREG(found.st_mode)


@contextlib.contextmanager
def private_files() -> Iterator[None]:
    """Files that this process and its children make meanwhile are for this user only: databases, logs, histories."""
    before = os.umask(PRIVATE_UMASK)
    try:
        yield
    finally:
        os.umask(before)


def _prove_writable(root: Path) -> None:
    # os.access() says yes to root on a read-only mount, so write something.
    probe = root / f".probe-{os.getpid()}-{secrets.token_hex(4)}"
    probe.touch()
    probe.unlink()


def _refuse_network_file_system(root: Path) -> None:
    kind = file_system_of(root)
    if kind in NETWORK_FILE_SYSTEMS:
        raise DataDirError(
            f"the data directory {str(root)!r} is on a network file system ({kind}), where locks and databases are not "
            "safe: choose a local folder with --data-dir"
        )


class DataLock:
    """The lock on a data directory, held until `release` or until the last process that inherited `fd` has ended.

    Its file tells others who holds it: JSON with `pid`, `address`, `temporal` and versions.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def acquire(cls, data: DataDir) -> DataLock:
        """Take the lock; waits a few seconds for children of a killed holder to end.

        Raises:
            DataDirInUse: A living process holds it.
        """
        fd = os.open(data.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + _LEFTOVER_S
        while not _try_lock(fd):
            holder = _read_facts(fd)
            if _is_alive(holder.get("pid")) or time.monotonic() > deadline:
                os.close(fd)
                raise _in_use(data, holder)
            time.sleep(0.05)
        lock = cls(fd)
        lock.tell({"pid": os.getpid()})
        return lock

    def tell(self, facts: dict[str, Any]) -> None:
        """Replace what the lock file says of its holder."""
        text = json.dumps(facts).encode()
        os.pwrite(self.fd, text, 0)
        os.ftruncate(self.fd, len(text))

    def release(self) -> None:
        os.ftruncate(self.fd, 0)
        os.close(self.fd)


def holder_of(root: Path) -> dict[str, Any] | None:
    """What the holder of a data directory tells of itself; None when nobody holds it."""
    try:
        fd = os.open(root.expanduser() / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return None if _try_lock(fd, fcntl.LOCK_SH) else _read_facts(fd)
    finally:
        os.close(fd)


def _try_lock(fd: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_facts(fd: int) -> dict[str, Any]:
    try:
        facts = json.loads(os.pread(fd, 65536, 0))
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def _is_alive(pid: Any) -> bool:
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _in_use(data: DataDir, holder: dict[str, Any]) -> DataDirInUse:
    pid, address = holder.get("pid"), holder.get("address")
    who = f"process {pid}" if pid else "another process"
    where = f" at {address}" if address else ""
    return DataDirInUse(
        f"the data directory {str(data.root)!r} is in use by {who}{where}: "
        "use that one, stop it, or choose another directory with --data-dir",
        details={"pid": pid, "address": address},
    )
