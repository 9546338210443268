"""Putting damaged files aside: nothing that cannot be read is overwritten or deleted, and the user is told of it."""

from __future__ import annotations

import contextlib
import datetime
import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger("innkeeper.damage")

DAMAGE_LOG = "damage.log"
"""In the data directory: one line for each damage that was found, `<time> <sentence>`."""
MARK = ".damaged-"


def set_aside(path: Path) -> Path:
    """Rename a file or folder to `<name>.damaged-<time>`; gives its new path.

    Raises:
        OSError: It cannot be renamed. It is where it was.
    """
    aside = free_name(path)
    os.rename(path, aside)
    return aside


def free_name(path: Path) -> Path:
    """What a damaged file will be called: a name that nothing has."""
    moment = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    names = (path.with_name(f"{path.name}{MARK}{moment}{suffix}") for suffix in _suffixes())
    return next(name for name in names if not os.path.lexists(name))


def _suffixes() -> Iterator[str]:
    yield ""
    for number in range(2, 10_000):
        yield f"-{number}"


def tell(root: Path, sentence: str) -> None:
    """Log what was lost, and note it in the data directory's `damage.log`, where `innkeeper up` reads it."""
    logger.error(sentence, extra={"event": "damage"})
    moment = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    with contextlib.suppress(OSError), (root / DAMAGE_LOG).open("a", encoding="utf-8") as file:
        file.write(f"{moment} {sentence}\n")


def told_since(root: Path, size: int) -> list[str]:
    """The sentences noted behind a size of `damage.log`, without their times."""
    try:
        with (root / DAMAGE_LOG).open("rb") as file:
            file.seek(size)
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return []
    return [line.partition(" ")[2] for line in lines if line.strip()]


def told_size(root: Path) -> int:
    """The size of `damage.log` now."""
    try:
        return (root / DAMAGE_LOG).stat().st_size
    except OSError:
        return 0


def replace_file(draft: Path, path: Path) -> None:
    """`os.replace`, also where a folder has taken the file's place: that is put aside.

    Raises:
        OSError
    """
    try:
        os.replace(draft, path)
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST) or not path.is_dir():
            raise
        aside = set_aside(path)
        logger.error("a folder was in the place of a file: it is kept as %s", aside.name, extra={"event": "damage"})
        os.replace(draft, path)
