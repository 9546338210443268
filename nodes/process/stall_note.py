"""A note of a process for whoever supervises it: which node stands in its way.

It lies beside the file that the process touches as a sign of life. The supervisor tells of every new note.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from innkeeper.nodes.process.life_sign import VARIABLE

SUFFIX = ".stall"
MAX_CHARS = 2_000


def note_beside(life_file: Path) -> Path:
    return life_file.with_suffix(SUFFIX)


def write_stall_note(text: str) -> None:
    """Leave a note, if this process has a supervisor. May be called from any thread; never raises."""
    name = os.environ.get(VARIABLE)
    if name:
        with contextlib.suppress(OSError):
            note_beside(Path(name)).write_text(text[:MAX_CHARS])


def read_stall_note(life_file: Path) -> str:
    """What the process has left, and take it away; empty when there is nothing."""
    note = note_beside(life_file)
    try:
        text = note.read_text(errors="replace")[:MAX_CHARS]
        note.unlink(missing_ok=True)
    except OSError:
        return ""
    return " ".join(text.split())
