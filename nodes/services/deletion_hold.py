"""Keeping a collection from deleting stored values while somebody copies them."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

HOLD_FILE = ".hold"


@contextlib.contextmanager
def deletions_held(root: Path) -> Iterator[None]:
    """Nothing in this folder is collected meanwhile, by any process. Several may hold at once; a holder that is killed
    holds no more."""
    handle = _open(root)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def deletion(root: Path) -> Iterator[bool]:
    """May something in this folder be deleted now? Whoever wants to hold waits until the block has ended."""
    handle = _open(root)
    try:
        try:
            # Never waits: a thread that waits for a long copy could not be stopped.
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def _open(root: Path) -> int:
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.open(root / HOLD_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
