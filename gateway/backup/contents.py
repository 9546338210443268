"""What of a data directory belongs into a backup: decided by path, for what is written and what is read back."""

from __future__ import annotations

import re
from enum import StrEnum

from innkeeper.nodes.services.damaged import MARK
from innkeeper.nodes.services.deletion_hold import HOLD_FILE
from innkeeper.nodes.services.files import is_temporary
from innkeeper.nodes.services.ownership import MARKER
from innkeeper.nodes.services.payload_keys import PAYLOAD_KEYS_FILE
from innkeeper.nodes.services.secrets import KEY_FILE
from innkeeper.nodes.services.signing_keys import SIGNING_FILE

STORE, EVENTS, TEMPORAL = "gateway.db", "events.db", "temporal/temporal.db"
DATABASES = (EVENTS, STORE, TEMPORAL)
KEY_FILES = (KEY_FILE, SIGNING_FILE, PAYLOAD_KEYS_FILE, "worker.token")
"""All files that hold keys: they are in a backup only when it is asked for. A new one has to be named here."""
RESULTS = "results"
_USERS_OWN = frozenset({"users", "shared", "profiles", "system"})
"""Files in these folders have the names that users give them."""
# What limits have spent belongs to this minute.
_OF_THIS_MACHINE = re.compile(r"limits\.db(-.*)?|lock|logs|\.probe-.*|\.salvage-.*|" + re.escape(MARKER) + r"(\.\d+)?")


class Part(StrEnum):
    """What a path is to a backup. `NONE` never is in one."""

    STATE = "state"
    DATABASE = "database"
    KEY = "key"
    CACHE = "cache"
    NONE = "none"


def part_of(path: str) -> Part:
    """What a path below the data directory (`a/b/c`) is."""
    if path in DATABASES:
        return Part.DATABASE
    if path in KEY_FILES:
        return Part.KEY
    top, *rest = path.split("/")
    if _is_left_out(top, rest, path):
        return Part.NONE
    return Part.CACHE if top == RESULTS else Part.STATE


def _is_left_out(top: str, rest: list[str], path: str) -> bool:
    name = rest[-1] if rest else top
    if any(path.startswith(f"{database}{end}") for database in DATABASES for end in ("-", ".")):
        return True  # a write-ahead log belongs to one state of its file, and would be played into another
    if _OF_THIS_MACHINE.fullmatch(top) or is_temporary(name):
        return True
    if top in _USERS_OWN:
        return ".deleted" in rest[:2]
    return name in (".lock", HOLD_FILE) or any(MARK in part for part in (top, *rest))
