"""What a backup says of itself: when it was made, of what, and by which versions."""

from __future__ import annotations

import contextlib
import datetime
import hmac
import json
import os
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from innkeeper.gateway.backup.contents import EVENTS, STORE, TEMPORAL
from innkeeper.gateway.backup.errors import BackupUnusable
from innkeeper.gateway.events.sqlite_schema import FORMAT_VERSION
from innkeeper.gateway.process.temporal_server import ServerFiles
from innkeeper.gateway.store.engine import NEWEST
from innkeeper.nodes.services.secrets import KEY_FILE, KEY_VARIABLE

DESCRIPTION = "innkeeper-backup.json"
FORMAT = 1
MAX_BYTES = 64 * 1024
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Description:
    """The first member of a backup.

    Attributes:
        created_at: The moment that its databases show, ISO 8601.
        temporal: Version of the Temporal CLI whose database it holds, or UNKNOWN; empty without a database.
        has_keys: Are the key files in it?
        key_check: Tells whether a `secret.key` is the one of this backup; empty when there was none.
    """

    format: int
    created_at: str
    innkeeper: str
    temporal: str
    has_keys: bool
    key_check: str

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self), indent=1).encode() + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes) -> Description:
        """Raises BackupUnusable: no description, or of a newer format."""
        try:
            raw = json.loads(data)
            found = cls(
                *(int(raw["format"]), str(raw["created_at"]), str(raw["innkeeper"]), str(raw["temporal"])),
                *(bool(raw["has_keys"]), str(raw["key_check"])),
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BackupUnusable(f"the file is no backup of Innkeeper: {DESCRIPTION} cannot be read") from error
        if found.format > FORMAT:
            raise BackupUnusable(
                f"the backup was made by Innkeeper {found.innkeeper}, which is newer: install that version, or a newer "
                "one, and restore it then"
            )
        return found


def describe(root: Path, *, has_keys: bool, environ: Mapping[str, str]) -> Description:
    """The description of a data directory as it is now."""
    files = ServerFiles.read(root / "temporal" / "version.json")
    made_by = files.version if files else UNKNOWN
    return Description(
        format=FORMAT,
        created_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        innkeeper=version("innkeeper"),
        temporal=made_by if (root / TEMPORAL).exists() else "",
        has_keys=has_keys,
        key_check=key_check(root, environ),
    )


def key_check(root: Path, environ: Mapping[str, str]) -> str:
    """A few digits that tell whether the key of a data directory is a certain one, and nothing else of it."""
    try:
        key = environ.get(KEY_VARIABLE, "").strip() or (root / KEY_FILE).read_text("utf-8", "replace").strip()
    except OSError:
        return ""
    return hmac.digest(key.encode(), b"innkeeper backup", "sha256")[:4].hex()


def newer_part(root: Path) -> str | None:
    """Which database a newer version of Innkeeper has written; None when this one can read both."""
    schema = _single(root / STORE, "SELECT version_num FROM alembic_version")
    if schema is not None and schema > NEWEST:
        return f"{STORE} has schema {schema}, and this version knows {NEWEST}"
    log = _single(root / EVENTS, "SELECT value FROM meta WHERE key='format_version'")
    if log is not None and log != FORMAT_VERSION:
        return f"{EVENTS} has format {log}, and this version knows {FORMAT_VERSION}"
    return None


def begin_new_log(root: Path) -> None:
    """Have the event log get a new id: clients that have seen later events of these runs start from 0."""
    path = root / EVENTS
    if os.path.exists(path):
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db, contextlib.suppress(sqlite3.Error):
            db.execute("DELETE FROM meta WHERE key='log_id'")


def _single(path: Path, query: str) -> str | None:
    if not path.exists():
        return None
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        try:
            row = db.execute(query).fetchone()
        except sqlite3.OperationalError:  # a database of before its first table
            return None
    return str(row[0]) if row else None
