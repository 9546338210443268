from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from innkeeper.gateway.events import sqlite as sqlite_module
from innkeeper.gateway.events.log import EventLog, LogFormatMismatch, LogUnavailable
from innkeeper.gateway.events.sqlite import SqliteEventLog, boot_id
from tests.gateway.events.event_log_conformance import EventLogConformance, batch, read_all


class TestSqliteEventLog(EventLogConformance):
    async def open_log(self, folder: Path) -> EventLog:
        return await SqliteEventLog.open(folder / "events.db")


class TestSqliteEventLogWithFullSync(EventLogConformance):
    async def open_log(self, folder: Path) -> EventLog:
        return await SqliteEventLog.open(folder / "events.db", full_sync=True)


CHILD = """
import asyncio, sys
from pathlib import Path
from innkeeper.gateway.events.hub import Hub
from innkeeper.gateway.events.sqlite import SqliteEventLog
from innkeeper.gateway.events.writer import LogWriter

async def main():
    log = await SqliteEventLog.open(Path(sys.argv[1]))
    writer = LogWriter(log, Hub(log))
    await writer.start()
    await writer.create_run("r", {})
    await writer.append("r", [{"t": "open", "path": "n", "epoch": [1, 0]}])
    for i in range(100_000):
        chunk = {"type": "text_chunk", "content": f"piece {i}"}
        await writer.append("r", [{"t": "chunk", "path": "n", "epoch": [1, 0], "i": i, "chunk": chunk}])
        print(i, flush=True)

asyncio.run(main())
"""


def _acked_until_killed(path: Path, wanted: int) -> list[int]:
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        acked = [int(child.stdout.readline()) for _ in range(wanted)]
    finally:
        os.kill(child.pid, signal.SIGKILL)
        rest: Sequence[str] = child.communicate(timeout=30)[0].splitlines()
    return acked + [int(line) for line in rest]


async def test_everything_acknowledged_survives_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    acked = _acked_until_killed(path, 200)
    log = await SqliteEventLog.open(path)
    events = []
    while page := await log.read("r", len(events)):
        events.extend(event.decode() for event in page)
    indexes = [event["i"] for event in events if "i" in event]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert indexes == list(range(len(indexes)))
    assert len(indexes) >= len(acked) >= 200
    await log.close()


async def _log_id(path: Path, boot: str, *, seal: str | None = None) -> str:
    log = await SqliteEventLog.open(path, boot=boot)
    if seal is not None:
        await log.seal(seal)
    found = log.log_id
    await log.close()
    return found


async def test_log_id_changes_when_the_machine_went_down_under_an_open_run(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    empty = await _log_id(path, "boot 1")
    assert await _log_id(path, "boot 2") == empty
    log = await SqliteEventLog.open(path, boot="boot 2")
    await log.create_run("r", {})
    await log.close()
    assert await _log_id(path, "boot 2") == empty
    after_loss = await _log_id(path, "boot 3")
    assert after_loss != empty
    assert await _log_id(path, "boot 3", seal="r") == after_loss
    assert await _log_id(path, "boot 4") == after_loss


def test_boot_id_is_the_same_within_one_boot() -> None:
    assert boot_id() == boot_id()
    assert boot_id()


async def test_other_format_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    await (await SqliteEventLog.open(path)).close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET value='99' WHERE key='format_version'")
    db.close()
    with pytest.raises(LogFormatMismatch, match=r"format 99.*move the file away"):
        await SqliteEventLog.open(path)


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(LogUnavailable):
        await SqliteEventLog.open(path)


async def test_deleting_runs_gives_the_space_back(tmp_path: Path) -> None:
    log = await SqliteEventLog.open(tmp_path / "events.db")
    await log.create_run("big", {})
    for seq in range(1, 11):
        await log.append([batch("big", seq, 1, "y" * 200_000)])
    before = (await log.stats())["file_bytes"]
    await log.seal("big")
    await log.delete_sealed(max_age_s=0, max_bytes=0)
    assert (await log.stats())["file_bytes"] < before / 10
    await log.create_run("next", {})
    await log.append([batch("next", 1, 1)])
    assert await read_all(log, "next") == [1]
    await log.close()


async def test_log_is_moved_into_the_file_beside_the_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a commit would do so, and wait for the disk."""
    monkeypatch.setattr(sqlite_module, "CHECKPOINT_ROWS", 20)
    log = await SqliteEventLog.open(tmp_path / "events.db")
    await log.create_run("r", {})
    before = (tmp_path / "events.db").stat().st_size
    for seq in range(1, 101):
        await log.append([batch("r", seq, 1)])
    async with asyncio.timeout(30):
        while (tmp_path / "events.db").stat().st_size == before:
            await asyncio.sleep(0.01)
    assert await read_all(log, "r") == list(range(1, 101))
    await log.close()
    assert not (tmp_path / "events.db-wal").exists()  # the last connection was closed and took it away


async def test_no_checkpoint_begins_with_nothing_to_move_beside_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit may begin the log anew then. SQLite before 3.51.3 takes what it writes for moved: it is lost."""
    monkeypatch.setattr(sqlite_module, "CHECKPOINT_ROWS", 1)
    monkeypatch.setattr(sqlite_module, "LONG_LOG_PAGES", 30)
    path = tmp_path / "events.db"
    left: list[int] = []
    checkpoint = sqlite_module._Checkpoints._checkpoint

    def noted(checkpoints: sqlite_module._Checkpoints) -> None:
        left.append(frames_to_move(path))
        checkpoint(checkpoints)
        time.sleep(0.005)  # so that commits go on meanwhile

    monkeypatch.setattr(sqlite_module._Checkpoints, "_checkpoint", noted)
    log = await SqliteEventLog.open(path)
    await log.create_run("r", {})
    for seq in range(1, 301):
        await log.append([batch("r", seq, 1)])
    assert await read_all(log, "r") == list(range(1, 301))
    await log.close()
    assert len(left) > 3
    assert min(left) > 0


async def test_write_ahead_log_ends_though_commits_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_module, "CHECKPOINT_ROWS", 5)
    monkeypatch.setattr(sqlite_module, "LONG_LOG_PAGES", 50)
    log = await SqliteEventLog.open(tmp_path / "events.db")
    await log.create_run("r", {})
    began_anew = anew = struct.unpack_from(">I", (tmp_path / "events.db-wal").read_bytes(), 12)[0]
    async with asyncio.timeout(60):
        while anew == began_anew:
            await log.append([batch("r", await log.last_seq("r") + 1, 1, "x" * 4_000)])
            (anew,) = struct.unpack_from(">I", (tmp_path / "events.db-wal").read_bytes()[:32], 12)
    await log.close()


def frames_to_move(path: Path) -> int:
    """Frames of the write-ahead log that are not in the file yet, as its index says (`mxFrame` and `nBackfill`)."""
    index = Path(f"{path}-shm").read_bytes()
    (last,), (moved,) = struct.unpack_from("=I", index, 16), struct.unpack_from("=I", index, 96)
    return int(last - moved)
