"""Has something changed in the folders of plugins? Looked at now and then: events of file systems differ too much."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

SUFFIXES = (".py", ".yaml", ".yml", ".json", ".js")
SKIPPED = frozenset({"__pycache__", "node_modules", "tests"})
MAX_FILES = 10_000
LOOK_S = 0.5
State = dict[str, tuple[int, int]]


def state_of(folders: Sequence[Path]) -> State:
    """Path of each file that a plugin may be made of to its time and size."""
    found: State = {}
    for path in _files(folders):
        try:
            facts = os.stat(path)
        except OSError:  # gone between the listing and now
            continue
        found[path] = (facts.st_mtime_ns, facts.st_size)
        if len(found) >= MAX_FILES:
            break
    return found


def _files(folders: Sequence[Path]) -> Iterator[str]:
    for folder in folders:
        for place, inner, names in os.walk(folder):
            inner[:] = [name for name in inner if name not in SKIPPED and not name.startswith(".")]
            yield from (os.path.join(place, name) for name in names if name.endswith(SUFFIXES))


def changed_files(before: State, after: State) -> list[str]:
    """Files that came, went or changed."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


async def changes(folders: Sequence[Path], look_s: float = LOOK_S) -> AsyncIterator[list[str]]:
    """The files that changed, each time some did and nothing changes any more: editors write in several steps."""
    known = await asyncio.to_thread(state_of, folders)
    seen = known
    while True:
        await asyncio.sleep(look_s)
        now = await asyncio.to_thread(state_of, folders)
        if now == seen and now != known:
            yield changed_files(known, now)
            known = now
        seen = now
