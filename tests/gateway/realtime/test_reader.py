"""Following runs over the real log."""

from __future__ import annotations

from pathlib import Path

from innkeeper.gateway.events.hub import PAGE_BYTES, Hub
from innkeeper.gateway.events.log import Batch, encode
from innkeeper.gateway.events.sqlite import SqliteEventLog
from innkeeper.gateway.realtime.reader import EventReader

LARGE = 20_000


async def test_pages_of_large_events_stay_small_from_the_log_and_live(tmp_path: Path) -> None:
    log = await SqliteEventLog.open(tmp_path / "events.db")
    hub = Hub(log)
    reader = EventReader(log, hub)
    await log.create_run("r", {})
    lines = [encode({"seq": seq, "text": "x" * LARGE}) for seq in range(1, 101)]
    await log.append([Batch("r", 1, lines[:50])])
    pages = reader.follow("r")
    sizes = [sum(len(frame) for _, frame in await anext(pages))]
    await log.append([Batch("r", 51, lines[50:])])
    hub.publish("r", 51, lines[50:])
    await log.seal("r")
    hub.seal("r")
    seqs = []
    async for page in pages:
        sizes.append(sum(len(frame) for _, frame in page))
        seqs += [seq for seq, _ in page]
    await log.close()
    assert max(sizes) <= PAGE_BYTES + 2 * LARGE
    assert seqs == list(range(101 - len(seqs), 101))
