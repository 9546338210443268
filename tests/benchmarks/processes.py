"""Commands that a benchmark runs to their end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from innkeeper.nodes.errors import InnkeeperError

ROOT = Path(__file__).resolve().parents[2]
STOP_S = 30.0


async def run_to_end(command: Sequence[str], environment: Mapping[str, str], folder: Path = ROOT) -> None:
    """Run a command to its end in a folder; one that has to stop before is given time to stop what it started.

    Raises:
        InnkeeperError: It failed.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C comes to us alone
    )
    try:
        _, said = await process.communicate()
    finally:
        if process.returncode is None:
            await _stop(process)
    if process.returncode:
        lines = said.decode(errors="replace").strip().splitlines()
        raise InnkeeperError(f"{' '.join(command)} ended with {process.returncode}: {lines[-1] if lines else ''}")


async def _stop(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await process.communicate()  # read on: it would wait for a full pipe
    except TimeoutError:
        process.kill()
        await process.wait()
