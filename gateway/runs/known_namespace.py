"""Which Temporal namespace the runs of a data directory live in: another one does not know them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

from innkeeper.nodes.services.files import write_atomic

FILE = "namespace.json"
EMBEDDED = "embedded"
"""The embedded server's namespace, also when its database was made anew."""
EMBEDDED_DATABASE = "temporal.db"


class KnownNamespace:
    """The namespace that this data directory has used last.

    Args:
        folder: What the data directory keeps of Temporal.
        running: How many runs Temporal may have.
    """

    def __init__(self, folder: Path, running: Callable[[], Awaitable[int]]) -> None:
        self._folder = folder
        self._running = running

    async def objection(self, found: str) -> str | None:
        """Why runs must not be looked for in a namespace (its id, or EMBEDDED); None when they may, which is noted."""
        known = await asyncio.to_thread(self._known)
        if known == found:
            return None
        if known is not None and (running := await self._running()):
            runs = "1 run of this data directory runs" if running == 1 else f"{running} runs of this data directory run"
            return (
                f"{runs} on another Temporal {'server' if EMBEDDED in (known, found) else 'namespace'}, and would be "
                "lost here: use that one until they have ended, or move the folder temporal of the data directory away "
                "to give them up"
            )
        await asyncio.to_thread(write_atomic, self._folder / FILE, json.dumps({"id": found}).encode())
        return None

    def _known(self) -> str | None:
        try:
            return str(json.loads((self._folder / FILE).read_bytes())["id"])
        except (OSError, ValueError, KeyError, TypeError):
            # Directories from before this file had the embedded server, or one that nobody knows any more.
            return EMBEDDED if (self._folder / EMBEDDED_DATABASE).exists() else None
