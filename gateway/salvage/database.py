"""One SQLite file of the data directory: is it sound, and if not, what of it goes into a new one.

Looking through a file takes about a second per GB. So a small file is looked through at each start; a large one only
when there is a sign: it does not open, it was changed since it was closed, the machine went down under it, or a query
has found damage.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from innkeeper.gateway.salvage.schema import SchemaCheck, fingerprint, is_changed_by_damage
from innkeeper.gateway.salvage.sqlite_pages import HEADER, HEADER_BYTES, PAGE_BYTES, PageReader
from innkeeper.gateway.salvage.wal import WAL_HEADER_BYTES, has_header, wal_state
from innkeeper.nodes.services.damaged import free_name, set_aside

SMALL_BYTES = 16 * 1024 * 1024
BLOCK_BYTES = 65_536
SCRATCH = "-shm"
COMPANIONS = ("-wal", SCRATCH, "-journal")
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_FILE_FORMAT = {18: 2, 19: 2}
"""Bytes of the header that say: this file has a write-ahead log."""
_WRITE_FORMAT, _SCHEMA_FORMAT = 18, 47
"""Bytes of the header with which SQLite does not call a file damaged, but cannot write it, or use it at all."""


@dataclass(frozen=True)
class Mark:
    """What was noted beside a database when it was used last (`<name>.state`).

    Attributes:
        boot: The boot of the machine in which it was opened.
        size, mtime_ns: Of the file when it was closed; None while it is open, or when its process was killed.
        wal_size, wal_mtime_ns: The same of its write-ahead log; size 0 when there was none.
        suspect: A query has found damage.
        schema: Its `fingerprint` when it was seen last; empty when nobody has looked, or need.
    """

    boot: str = ""
    size: int | None = None
    mtime_ns: int | None = None
    wal_size: int = 0
    wal_mtime_ns: int = 0
    suspect: bool = False
    schema: str = ""


def needs_look(mark: Mark | None, size: int, mtime_ns: int, boot: str) -> bool:
    """Is the whole file to be looked through before it is used?"""
    if size <= SMALL_BYTES or mark is None or mark.suspect:
        return True
    if mark.size is None:
        return mark.boot != boot
    return (mark.size, mark.mtime_ns) != (size, mtime_ns)


def is_damage(error: BaseException | None) -> bool:
    """Does an error of SQLite, or one that came from it, say that the file is damaged?"""
    while error is not None:
        if isinstance(error, UnicodeDecodeError):
            return True  # SQLite's message quotes what it found, which is no text any more
        if isinstance(error, sqlite3.Error) and (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF in _DAMAGE:
            return True
        error = getattr(error, "orig", None) or error.__cause__
    return False


def boot_id() -> str:
    """What identifies the present boot of this machine; empty where it cannot be told."""
    linux = Path("/proc/sys/kernel/random/boot_id")
    with contextlib.suppress(OSError):
        return linux.read_text().strip()
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = ["/usr/sbin/sysctl", "-n", "kern.boottime"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    return ""


class DatabaseFile:
    """A database of the data directory that one process at a time uses.

    Args:
        schema_problem: Knows the tables that it must have; None: others make them, and they must stay as they were.
    """

    def __init__(self, path: Path, boot: str, schema_problem: SchemaCheck | None = None) -> None:
        self.path = path
        self._boot = boot
        self._schema_problem = schema_problem
        self._schema = ""
        self._mark = path.with_name(f"{path.name}.state")

    def problem(self) -> str | None:
        """Why the database cannot be used as it is; None when it can, or when there is none yet.

        Raises:
            sqlite3.Error, OSError: It cannot be told: somebody else's file, a disk that is full.
        """
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return "it is missing" if self._companion("-wal").exists() else None
        if self.path.is_symlink() or not self.path.is_file():
            return "it is not a file"
        if found.st_size == 0:
            return "it is empty"
        noted = self._noted()
        is_suspect = noted is not None and noted.suspect
        if needs_look(noted, found.st_size, found.st_mtime_ns, self._boot):
            thorough = is_suspect or found.st_size <= SMALL_BYTES
            reason = self._look_through("integrity_check(1)" if thorough else "quick_check(1)")
        else:
            reason = self._look_through("schema_version")
        # Whatever the look says: a file that stays would be found damaged again, and again.
        return reason or ("a query found damage" if is_suspect else None)

    def _look_through(self, pragma: str) -> str | None:
        """What is wrong with the file, by one of SQLite's own checks, and by its tables."""
        if _is_of_unknown_format(self.path):
            return "its header is damaged"
        with contextlib.closing(sqlite3.connect(self.path, timeout=10, isolation_level=None)) as db:
            return problem_in(db, pragma, self._problem_of_schema)

    def _problem_of_schema(self, db: sqlite3.Connection) -> str | None:
        if self._schema_problem is not None:
            return self._schema_problem(db)
        noted, self._schema = self._noted(), fingerprint(db)
        is_damaged = noted is not None and is_changed_by_damage(noted.schema, self._schema)
        return "the text of its schema was changed" if is_damaged else None

    def keep_damaged_wal(self) -> str | None:
        """Keep a copy of a write-ahead log that SQLite will play in part only, and silently; why, if it is so."""
        noted, (size, mtime_ns) = self._noted(), self._wal_facts()
        was_closed = noted is not None and noted.size is not None
        if size == 0:
            return "it is missing" if noted is not None and was_closed and noted.wal_size else None
        wal = self._companion("-wal")
        if noted is not None and was_closed:
            if (noted.wal_size, noted.wal_mtime_ns) == (size, mtime_ns):
                return None
            state = wal_state(wal.read_bytes())
            reason = None if state.is_whole else f"of {state.frames} pages {state.sound} can be read"
            reason = "it was cut short" if reason is None and size < noted.wal_size else reason
        else:
            with wal.open("rb") as file:
                reason = None if has_header(file.read(WAL_HEADER_BYTES)) else "it does not begin as one"
        if reason is not None:
            aside = free_name(wal)
            shutil.copyfile(wal, aside)
            reason += f"; a copy is kept as {aside.name}"
        return reason

    def _wal_facts(self) -> tuple[int, int]:
        """Size and time of change of the write-ahead log."""
        try:
            found = self._companion("-wal").stat()
        except OSError:
            return 0, 0
        return found.st_size, found.st_mtime_ns

    def note_open(self) -> None:
        """Until `note_closed`, the next start knows that the file was in use."""
        self._note(Mark(self._boot, schema=self._schema))

    def note_suspect(self) -> None:
        """A query has found damage: the next start looks through the whole file."""
        self._note(Mark(self._boot, suspect=True))

    def note_closed(self) -> None:
        """The file was closed. What changes from now on was none of ours."""
        noted = self._noted()
        if noted is not None and noted.suspect:
            return
        self._see_schema()
        with contextlib.suppress(OSError):
            found = self.path.stat()
            self._note(Mark(self._boot, found.st_size, found.st_mtime_ns, *self._wal_facts(), schema=self._schema))

    def _see_schema(self) -> None:
        """Take note of tables that others have made since the start."""
        if self._schema_problem is not None or not self.path.is_file():
            return
        # Read-only, a connection leaves a write-ahead log alone; without one it would leave an empty one behind.
        mode = "ro" if self._wal_facts()[0] else "rw"
        uri = f"{self.path.absolute().as_uri()}?mode={mode}"
        with (
            contextlib.suppress(sqlite3.Error, UnicodeDecodeError),
            contextlib.closing(sqlite3.connect(uri, uri=True, timeout=1)) as db,
        ):
            self._schema = fingerprint(db)

    def set_aside(self) -> Path | None:
        """Put the database and its companions aside; the new name of the database, if there was one."""
        aside = set_aside(self.path) if os.path.lexists(self.path) else None
        self._schema = ""
        self._set_companions_aside()
        return aside

    def rebuild(self, fill: Callable[[PageReader, Path], None]) -> Path | None:
        """Put the database aside and have a new one in its place; where it was put.

        Args:
            fill: Writes a new database at a path, from the records of the damaged one.
        """
        with tempfile.TemporaryDirectory(dir=self.path.parent, prefix=".salvage-") as folder:
            image, draft = Path(folder, "image.db"), Path(folder, "draft.db")
            self._copy_to(image)
            with image.open("rb") as file, _mapped(file) as data:
                fill(PageReader(data), draft)
            _flush(draft)
            aside = None
            if self.path.is_file():
                aside = free_name(self.path)
                os.link(self.path, aside)
            elif os.path.lexists(self.path):
                aside = set_aside(self.path)
            # Before the new file is there: SQLite would play an old write-ahead log into it.
            self._set_companions_aside()
            os.replace(draft, self.path)
        return aside

    def _copy_to(self, image: Path) -> None:
        """A copy with everything in it that was committed, wherever the disk can still be read."""
        _copy_readable(self.path, image)
        wal = self._companion("-wal")
        if wal.is_file():
            _copy_readable(wal, image.with_name(f"{image.name}-wal"))
            _merge_wal(image)

    def _companion(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _set_companions_aside(self) -> None:
        for suffix in COMPANIONS:
            companion = self._companion(suffix)
            if companion.is_file() and (suffix == SCRATCH or companion.stat().st_size == 0):
                companion.unlink()  # it holds nothing that is not in the others
            elif os.path.lexists(companion):
                set_aside(companion)

    def _noted(self) -> Mark | None:
        try:
            found = json.loads(self._mark.read_bytes())
            return Mark(**found)
        except (OSError, ValueError, TypeError):
            return None

    def _note(self, mark: Mark) -> None:
        draft = self._mark.with_name(f"{self._mark.name}.new")
        with contextlib.suppress(OSError):  # then the next start looks through the file
            draft.write_text(json.dumps(asdict(mark)))
            os.replace(draft, self._mark)


@contextlib.contextmanager
def _mapped(file: IO[bytes]) -> Iterator[memoryview]:
    """The file's content: it may be larger than the memory."""
    if os.fstat(file.fileno()).st_size == 0:
        yield memoryview(b"")
        return
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
        yield view


def problem_in(db: sqlite3.Connection, pragma: str, schema_problem: SchemaCheck) -> str | None:
    """What is wrong with an open database, by one of SQLite's own checks, and by its tables.

    Raises:
        sqlite3.Error: It cannot be told.
    """
    db.text_factory = lambda text: text.decode(errors="replace")  # a damaged name is no text any more
    try:
        db.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
        (found,) = db.execute(f"PRAGMA {pragma}").fetchone()
        return schema_problem(db) if found == "ok" or isinstance(found, int) else str(found).splitlines()[-1]
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        if is_damage(error) or "malformed" in str(error):
            return str(error)
        raise


def _is_of_unknown_format(path: Path) -> bool:
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    has_header = len(header) == HEADER_BYTES and header.startswith(HEADER)
    return has_header and (header[_WRITE_FORMAT] not in (1, 2) or header[_SCHEMA_FORMAT] > 4)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _copy_readable(source: Path, target: Path) -> None:
    """Copy a file; where the disk gives nothing back, zeros stand for it."""
    if not source.is_file():
        target.touch()
        return
    with source.open("rb", buffering=0) as reading, target.open("wb") as writing:
        for at in range(0, os.fstat(reading.fileno()).st_size, BLOCK_BYTES):
            try:
                block = os.pread(reading.fileno(), BLOCK_BYTES, at)
            except OSError:
                block = b"\0" * BLOCK_BYTES
            writing.write(block)


def _merge_wal(image: Path) -> None:
    """Have SQLite play the write-ahead log into the copy: that needs a first page that it can read, and nothing else.

    A first page that is none gives way to that of an empty database; often the log holds a newer one.
    """
    wal = image.with_name(f"{image.name}-wal").read_bytes()
    for spoilt in (False, True):
        image.with_name(f"{image.name}-wal").write_bytes(wal)
        if spoilt:
            _replace_first_page(image)
        try:
            with contextlib.closing(sqlite3.connect(image, isolation_level=None)) as db:
                db.execute("PRAGMA writable_schema=ON")
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return
        except sqlite3.DatabaseError:
            continue


def _replace_first_page(image: Path) -> None:
    with tempfile.TemporaryDirectory(dir=image.parent) as folder:
        empty = Path(folder, "empty.db")
        with contextlib.closing(sqlite3.connect(empty)) as db:
            db.execute(f"PRAGMA page_size={PAGE_BYTES}")
            db.execute("PRAGMA user_version=1")
            db.commit()
        first = bytearray(empty.read_bytes()[:PAGE_BYTES])
    for place, value in _FILE_FORMAT.items():
        first[place] = value
    pages = max(1, -(-image.stat().st_size // PAGE_BYTES))
    first[28:32] = pages.to_bytes(4, "big")
    assert len(first) >= HEADER_BYTES
    with image.open("r+b") as file:
        file.write(first)
        file.truncate(max(image.stat().st_size, PAGE_BYTES))
