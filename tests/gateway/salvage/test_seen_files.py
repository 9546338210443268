"""A store that has lost what file triggers have seen: no file has a second run, and old ones stay old."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from innkeeper.gateway.container import Container, open_container
from innkeeper.gateway.settings import Settings
from innkeeper.gateway.triggers.reading import read_trigger

PAGE_BYTES = 4096
DEFINITION = {
    "name": "inbox",
    "kind": "file",
    "workflow": {"id": "any"},
    "file": {"folder": "user://in", "stillSeconds": 0.2},
}


async def until_fired(container: Container, count: int) -> None:
    (trigger,) = container.triggers.of_kind("file")
    async with asyncio.timeout(20):
        while trigger.counters.get("fired", 0) < count:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("table", ["seen_files", "file_watches"])
async def test_files_are_not_taken_twice_after_a_salvage(tmp_path: Path, table: str) -> None:
    settings = Settings(data_dir=tmp_path, temporal_address="127.0.0.1:9")
    inbox = tmp_path / "users" / settings.user / "in"
    inbox.mkdir(parents=True)
    (inbox / "old").write_text("x")
    await asyncio.sleep(0.05)
    async with open_container(settings) as container:
        await container.triggers.create(settings.user, read_trigger(DEFINITION))
        (inbox / "taken").write_text("x")
        await until_fired(container, 1)
        await asyncio.sleep(0.5)  # it is written down
    overwrite(settings.store_path, table)
    (inbox / "new").write_text("x")
    async with open_container(settings) as container:
        await until_fired(container, 2)
        await asyncio.sleep(1)
        results = await container.intake.results(container.triggers.of_kind("file")[0])
    fired = Counter(result["sample"]["file"]["name"] for result in results if result["outcome"] == "fired")
    assert fired == {"taken": 1, "new": 1}


def overwrite(path: Path, table: str) -> None:
    """Damage the page on which a small table stands."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        assert db.execute("PRAGMA page_size").fetchone() == (PAGE_BYTES,)
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE_BYTES)
        file.write(b"\xff" * PAGE_BYTES)
