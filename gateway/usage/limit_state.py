"""What of the limits survives a restart of the gateway: one row in a SQLite file of its own.

It is written behind, once a second: a gateway that is killed forgets at most what was spent in its last second. A file
that is damaged or gone costs one burst, so nothing of it is saved, restored or backed up.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from innkeeper.gateway.salvage.database import DatabaseFile
from innkeeper.nodes.services.damaged import set_aside

logger = logging.getLogger("innkeeper.gateway")

LIMITS_FILE = "limits.db"
_TABLE = "CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), body BLOB NOT NULL)"
_TABLE_IF_MISSING = _TABLE.replace("TABLE", "TABLE IF NOT EXISTS")


@dataclass(frozen=True)
class Clocks:
    """Which time it is.

    Attributes:
        boot: Names the boot of this machine.
        steady_s: By the clock of this boot, which nobody can set.
        wall_s: Since 1970, by the clock that people set.
    """

    boot: str
    steady_s: float
    wall_s: float


def elapsed_s(then: Clocks, now: Clocks) -> float:
    """How long ago it was. The clock that people set only counts when the machine was started again since.

    When it was set back, no time has passed: limits stay spent, and at most a minute or two of them are.
    """
    if then.boot and then.boot == now.boot and now.steady_s >= then.steady_s:
        return now.steady_s - then.steady_s
    return max(now.wall_s - then.wall_s, 0.0)


def _schema_problem(db: sqlite3.Connection) -> str | None:
    """A table that is not the one that we make may refuse every row."""
    found = db.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchall()
    return None if found in ([], [("table", "state", "state", _TABLE)]) else "its table is not the one of this version"


class LimitState:
    """The file. All methods block, and raise nothing: without it the limits only forget.

    Args:
        clocks: Tells the time.
    """

    def __init__(self, file: Path, clocks: Callable[[], Clocks]) -> None:
        self._file = file
        self._clocks = clocks
        self._db: sqlite3.Connection | None = None

    def load(self) -> tuple[dict[str, Any], float, float] | None:
        """What was saved, how long ago that was, and what the steady clock showed then."""
        for _ in range(2):
            try:
                if (problem := DatabaseFile(self._file, "", _schema_problem).problem()) is not None:
                    raise ValueError(problem)
                self._db = sqlite3.connect(self._file, check_same_thread=False, isolation_level=None, timeout=5)
                for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL", _TABLE_IF_MISSING):
                    self._db.execute(statement)
                row = self._db.execute("SELECT body FROM state").fetchone()
                return None if row is None else self._read(orjson.loads(row[0]))
            except (sqlite3.DatabaseError, ValueError, TypeError, LookupError) as error:
                self._put_aside(error)
            except OSError as error:
                logger.warning("limits are not kept: %s", error.strerror)
                return None
        return None

    def save(self, state: Mapping[str, Any]) -> None:
        """Put a new state in the place of the old one."""
        if self._db is None:
            return
        now = self._clocks()
        body = {"boot": now.boot, "steady": now.steady_s, "wall": now.wall_s, "state": state}
        try:
            self._db.execute("INSERT OR REPLACE INTO state VALUES (1, ?)", [orjson.dumps(body)])
        except sqlite3.Error as error:
            logger.warning("limits are not written: %s", error, extra={"event": "limits_not_written"})

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def _read(self, body: Mapping[str, Any]) -> tuple[dict[str, Any], float, float]:
        then = Clocks(str(body["boot"]), float(body["steady"]), float(body["wall"]))
        return dict(body["state"]), elapsed_s(then, self._clocks()), then.steady_s

    def _put_aside(self, error: Exception) -> None:
        self.close()
        logger.warning("%s cannot be read (%s): limits begin anew", self._file.name, error)
        for suffix in ("-wal", "-shm"):
            self._file.with_name(self._file.name + suffix).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            set_aside(self._file)
