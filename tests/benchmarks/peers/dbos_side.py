"""DBOS on a SQLite file: `dbos_side.py FOLDER sqlite|sqlite-normal`. See `serving.py`.

`sqlite` is the file as DBOS makes it (no WAL, every commit synced to the disk), `sqlite-normal` syncs as our log and
our server do (WAL, synchronous=NORMAL: the death of a process loses nothing). Workflows are called directly, the
shortest way there is, and steps are async.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from dbos import DBOS
from serving import quiet_stdout, serve
from sqlalchemy import Engine, event

PACKAGES = ("dbos", "sqlalchemy")


@DBOS.step()
async def step(text: str) -> str:
    return text


@DBOS.workflow()
async def chain(length: int) -> int:
    text = "x"
    for _ in range(length):
        text = await step(text)
    return length


@DBOS.workflow()
async def fan_out(width: int) -> int:
    return len(await asyncio.gather(*(step("x") for _ in range(width))))


def sync_normal(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


async def run(shape: str, size: int) -> int:
    return await (chain if shape == "chain" else fan_out)(size)


def main(folder: Path, kind: str, answers: int) -> None:
    if kind == "sqlite-normal":
        event.listen(Engine, "connect", sync_normal)
    DBOS(
        config={
            "name": "bench",
            "system_database_url": f"sqlite:///{folder / 'dbos.db'}",
            "run_admin_server": False,
            "log_level": "WARNING",
        }
    )
    DBOS.launch()
    try:
        asyncio.run(serve(run, PACKAGES, answers))
    finally:
        DBOS.destroy()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], quiet_stdout())
