"""Copies of several SQLite databases as they were at one and the same moment, while others write to them."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from innkeeper.gateway.backup.errors import CannotBackUp, disk_full
from innkeeper.gateway.salvage.database import is_damage

FREEZE_S = 60.0
"""How long to try for the write locks."""
WAIT_S = 0.25
"""For one write lock, while others are held."""
_LOOK = "SELECT COUNT(*) FROM sqlite_schema"
PAGES = 2_048
"""Copied in one go."""


@contextlib.contextmanager
def one_moment(databases: Sequence[Path], stopped: Sequence[Path]) -> Iterator[list[sqlite3.Connection]]:
    """Connections that all see the same moment, until the block ends; nobody waits for them.

    The writers of `stopped` wait while the moment is fixed, for some milliseconds. These are all databases that
    somebody may be writing to, one apart: while all others stand still, whatever moment is seen of that one is the
    moment of all. So Temporal's is never locked: its server does not wait, but fails what it was doing.

    Raises:
        CannotBackUp: A database is damaged, or locked for too long.
    """
    with contextlib.ExitStack() as stack:
        try:
            # Read-only: such a connection leaves the write-ahead log alone when it is the last one to close.
            readers = [stack.enter_context(contextlib.closing(_connect(path, "ro"))) for path in databases]
            for reader in readers:
                reader.execute(_LOOK).fetchone()  # opens the files now, and not while writers wait
            with _writers_stopped(stopped):
                for reader in readers:
                    reader.execute("BEGIN")
                    reader.execute(_LOOK).fetchone()  # fixes what it sees
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise _explained(error, "the data directory") from error
        yield readers


@contextlib.contextmanager
def _writers_stopped(databases: Sequence[Path]) -> Iterator[None]:
    """Hold the write locks of some databases at once, never while waiting long for another one."""
    deadline = time.monotonic() + FREEZE_S
    while True:
        with contextlib.ExitStack() as stack:
            try:
                for path in databases:
                    writer = stack.enter_context(contextlib.closing(_connect(path, "rw")))
                    writer.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() > deadline:
                    raise
            else:
                yield
                return
        time.sleep(WAIT_S)


def copy_database(reader: sqlite3.Connection, target: Path, tell: Callable[[int, int], None]) -> None:
    """Write what a connection of `one_moment` sees into a new file, and check the copy.

    Args:
        tell: Gets the number of pages copied, and that of all.

    Raises:
        CannotBackUp: The database is damaged, or the disk is full.
    """
    try:
        with contextlib.closing(sqlite3.connect(target, isolation_level=None)) as copy:
            copy.execute("PRAGMA synchronous=OFF")  # it is read once and deleted
            reader.backup(copy, pages=PAGES, progress=lambda _, left, total: tell(total - left, total))
        problem = problem_of(target)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise _explained(error, target.name, target.parent) from error
    if problem is not None:
        raise CannotBackUp(f"{target.name} is damaged ({problem}): {_HEAL}")


def problem_of(path: Path) -> str | None:
    """What is wrong with a database that nobody uses; None when SQLite finds nothing.

    Raises:
        sqlite3.OperationalError: It cannot be looked at: a full disk.
    """
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            (found,) = db.execute("PRAGMA integrity_check(1)").fetchone()
            return None if found == "ok" else str(found).splitlines()[-1]
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        if is_damage(error) or "malformed" in str(error):
            return str(error)
        raise


_HEAL = "start Innkeeper anew, which saves what can be read of it, and make the backup then"


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # as_uri() escapes what a URI gives a meaning to.
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=WAIT_S)


def _is_busy(error: Exception) -> bool:
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _explained(error: Exception, what: str, folder: Path | None = None) -> CannotBackUp:
    if is_damage(error):
        return CannotBackUp(f"a database is damaged ({error}), {what}: {_HEAL}")
    if _is_busy(error):
        return CannotBackUp(f"a database is locked by another program for more than {FREEZE_S:.0f} s: end that program")
    if folder is not None and "full" in str(error):
        return CannotBackUp(disk_full(folder))
    return CannotBackUp(f"a database cannot be copied, {what}: {error}")
