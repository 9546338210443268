"""What a backup and a restore refuse."""

from __future__ import annotations

import errno
from pathlib import Path

from innkeeper.nodes.errors import InnkeeperError


class CannotBackUp(InnkeeperError):
    """No backup was written."""

    code = "backup_failed"


class BackupUnusable(InnkeeperError):
    """The file is no backup, is damaged, or holds what no backup holds."""

    code = "backup_unusable"


class CannotRestore(InnkeeperError):
    """Nothing was restored, and nothing was changed."""

    code = "restore_failed"


def is_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def disk_full(folder: Path) -> str:
    return f"the disk of {str(folder)!r} is full: make room, or choose another place"
