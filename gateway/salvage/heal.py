"""At the start of a gateway: damaged databases are put aside, and what can be read of them goes on."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from innkeeper.gateway.salvage.database import DatabaseFile
from innkeeper.gateway.salvage.events import SalvagedEvents, named, salvage_events
from innkeeper.gateway.salvage.runs import missing_runs, restore_runs
from innkeeper.gateway.salvage.sqlite_pages import PageReader
from innkeeper.gateway.salvage.store import SalvagedStore, salvage_store
from innkeeper.nodes.services.damaged import tell

Create = Callable[[Path], None]
"""Makes a new, empty database with its tables."""


@dataclass
class Databases:
    """The two databases of a gateway, and whose runs they hold.

    Attributes:
        log_was_damaged: Events may be missing that were acknowledged.
    """

    store: DatabaseFile
    log: DatabaseFile
    user: str
    create_store: Create
    create_log: Create
    log_was_damaged: bool = False

    def heal(self) -> None:
        """Put aside what is damaged, have something sound in its place, and tell what was lost.

        Runs that the store does not know any more are restored from their event logs.

        Raises:
            sqlite3.Error, OSError: A file cannot be looked at, or the new one cannot be written.
        """
        for file in (self.log, self.store):
            if (reason := file.keep_damaged_wal()) is not None:
                tell(file.path.parent, wal_sentence(file.path.name, reason))
                self.log_was_damaged |= file is self.log
        if (problem := self.log.problem()) is not None:
            self._heal_log(problem)
            self.log_was_damaged = True
        problem = self.store.problem()
        is_new = problem is None and not self.store.path.exists()
        if problem is not None:
            self._heal_store(problem)
        elif is_new and self.log.path.exists() and missing_runs(None, self.log.path):
            self.create_store(self.store.path)
            self._tell_store("is missing", SalvagedStore(), None)

    def note_open(self) -> None:
        """Both are in use from now on."""
        for file in (self.store, self.log):
            file.note_open()

    def note_closed(self) -> None:
        """Both were closed in order."""
        for file in (self.store, self.log):
            file.note_closed()

    def _heal_log(self, problem: str) -> None:
        found = SalvagedEvents()

        def fill(reader: PageReader, draft: Path) -> None:
            self.create_log(draft)
            with contextlib.closing(_connect(draft)) as db:
                salvage_events(reader, db, found)

        aside = self.log.rebuild(fill)
        tell(
            self.log.path.parent,
            f"the event log {self.log.path.name} was damaged ({problem}): {found.sentence()}{_kept(aside)}",
        )

    def _heal_store(self, problem: str) -> None:
        saved = SalvagedStore()

        def fill(reader: PageReader, draft: Path) -> None:
            nonlocal saved
            self.create_store(draft)
            with contextlib.closing(_connect(draft)) as db:
                saved = salvage_store(reader, db, self.user)

        aside = self.store.rebuild(fill)
        self._tell_store(f"was damaged ({problem})", saved, aside)

    def _tell_store(self, what: str, saved: SalvagedStore, aside: Path | None) -> None:
        restored = restore_runs(self.store.path, self.log.path, self.user) if self.log.path.exists() else []
        more = (
            f"; {named(restored)} {'was' if len(restored) == 1 else 'were'} restored from the event log, without the "
            "workflow's name, and without what the log does not hold"
            if restored
            else ""
        )
        tell(
            self.store.path.parent,
            f"the store of runs and workflows {self.store.path.name} {what}: {saved.sentence()}{more}{_kept(aside)}",
        )


def wal_sentence(name: str, reason: str) -> str:
    """What a damaged write-ahead log means."""
    return f"the write-ahead log {name}-wal was damaged ({reason}): the last changes of {name} may be lost"


def _connect(path: Path) -> sqlite3.Connection:
    """A draft that nobody uses yet: it is flushed to the disk as a whole, before it takes its place."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=OFF")
    db.execute("PRAGMA synchronous=OFF")
    return db


def _kept(aside: Path | None) -> str:
    return f"; the damaged file is kept as {aside.name}" if aside is not None else ""
