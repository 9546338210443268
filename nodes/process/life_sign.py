"""A sign of life for whoever supervises a process: a file that its event loop touches.

A process that exists may hang. Its supervisor names a file in `INNKEEPER_LIFE_FILE`; as long as the event loop runs,
the file's time changes every second.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "INNKEEPER_LIFE_FILE"
EVERY_S = 1.0


async def give_life_signs(environ: Mapping[str, str]) -> None:
    """For ever: touch the file that the supervisor named. Without one, only wait."""
    name = environ.get(VARIABLE)
    if not name:
        await asyncio.Event().wait()
        return
    while True:
        _touch(Path(name))  # on the loop, and nowhere else: it is the loop that must be alive
        await asyncio.sleep(EVERY_S)


def _touch(file: Path) -> None:
    with contextlib.suppress(OSError):  # a full disk, or a folder that was deleted
        file.touch()
        os.utime(file)
