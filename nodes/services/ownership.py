"""Whose data directory is it? One that a download brought along must not be taken for the user's own.

Its `channels.yaml` says which keys of the environment go where, and its workflows are run by name.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from innkeeper.nodes.errors import InnkeeperError

MARKER = ".innkeeper-data"
PRIVATE = 0o700
_MAX_MARKER_BYTES = 1_000
_MADE_BEFORE = ("lock", "gateway.db")
"""What the directories of versions without a marker hold."""


class ForeignDataDir(InnkeeperError):
    """Nobody has named this data directory, and Innkeeper has not made it for this user."""

    code = "data_directory_foreign"


def check_own(root: Path) -> None:
    """Refuse a directory that was found, not named, unless Innkeeper made it for this user, or nobody has made it yet.

    Raises:
        ForeignDataDir: It exists and may have come with a download.
    """
    try:
        found = root.lstat()
    except FileNotFoundError:
        return
    if not _is_own(root, found):
        raise ForeignDataDir(
            f"{str(root)!r} was not made by Innkeeper for you here: it may have come with a download, and its channels "
            f"could send your keys away; look into it, and accept it by naming it: --data-dir {root}"
        )


def mark_own(root: Path) -> None:
    """Note that this user uses the directory: made by Innkeeper, or named by the user.

    The mark holds for this very directory. A copy of it, packed into an archive, marks nothing: what is unpacked is
    another inode, which its maker cannot know.
    """
    if _is_marked(root, root.stat()):
        return
    draft = root / f"{MARKER}.{os.getpid()}"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
        json.dump({"inode": root.stat().st_ino}, file)
    os.replace(draft, root / MARKER)


def _is_own(root: Path, found: os.stat_result) -> bool:
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        return False
    if not any(root.iterdir()):
        return True
    return stat.S_IMODE(found.st_mode) == PRIVATE and (_is_marked(root, found) or _is_of_earlier_version(root))


def _is_marked(root: Path, found: os.stat_result) -> bool:
    try:
        data = (root / MARKER).read_bytes()[:_MAX_MARKER_BYTES]
        marked = json.loads(data)
    except (OSError, ValueError):
        return False
    return isinstance(marked, dict) and marked.get("inode") == found.st_ino


def _is_of_earlier_version(root: Path) -> bool:
    """Has an earlier version worked in it? Each file is this user's own."""
    try:
        files = [(root / name).lstat() for name in _MADE_BEFORE]
    except OSError:
        return False
    return all(stat.S_ISREG(file.st_mode) and file.st_uid == os.geteuid() for file in files)
