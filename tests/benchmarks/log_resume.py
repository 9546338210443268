"""How soon a reader that comes back sees its first event, with a full log: `python -m tests.benchmarks.log_resume`.

Fills a log of 1,000,000 events over 200 runs through the log's own `append`, opens it anew, and resumes at random
places: alone, fifty at once, and while other runs are being written. What counts is held at 100 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from innkeeper.gateway.events.followers import Followers
from innkeeper.gateway.events.hub import Hub
from innkeeper.gateway.events.log import Batch, EventLog, encode
from innkeeper.gateway.events.sqlite import SqliteEventLog
from innkeeper.gateway.events.writer import LogWriter

HOLD_MS = 100.0
EVENTS_PER_ROW = 5
RESUMES = 200
AT_ONCE = 50
CLIENT, CONSUMER, WORKER = "client resumes", "consumer follows again", "first message after a restart"

Resume = Callable[[str], Awaitable[None]]


@dataclass(frozen=True)
class Resumes:
    """One log. `taken_ms`: for each kind of resume how long each of them took, sorted."""

    megabytes: float
    filled_s: float
    opened_ms: float
    taken_ms: Mapping[str, Sequence[float]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.log_resume", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=200)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="innkeeper-log-") as folder:
        found = asyncio.run(measure(Path(folder) / "events.db", chosen.events, chosen.runs))
    print(f"{chosen.events:,} events over {chosen.runs} runs, {found.megabytes:.0f} MB, in {found.filled_s:.1f} s")
    print(f"opened in {found.opened_ms:.1f} ms")
    for name, taken in found.taken_ms.items():
        p50, p99 = taken[len(taken) // 2], taken[int(len(taken) * 0.99)]
        verdict = "holds" if taken[-1] <= HOLD_MS else "TOO SLOW"
        print(f"{name:36} p50 {p50:6.1f} ms   p99 {p99:6.1f} ms   max {taken[-1]:6.1f} ms   {verdict}")


async def measure(path: Path, events: int, runs: int) -> Resumes:
    """Fill a log at `path` and resume from it."""
    names = [f"run-{number}" for number in range(runs)]
    per_run = events // runs
    started = time.perf_counter()
    await _fill(path, names, per_run)
    filled_s = time.perf_counter() - started
    megabytes = path.stat().st_size / 1e6
    started = time.perf_counter()
    async with _opened(path) as log:
        opened_ms = (time.perf_counter() - started) * 1000
        async with _writer(log) as (writer, hub):
            taken = await _all_taken_ms(writer, hub, names, per_run)
    return Resumes(megabytes, filled_s, opened_ms, taken)


async def _all_taken_ms(writer: LogWriter, hub: Hub, names: list[str], per_run: int) -> dict[str, list[float]]:
    """Each kind of resume, at random places of random runs."""
    dice = random.Random(7)

    async def client(run: str) -> None:
        async for _ in hub.follow(run, dice.randrange(per_run)):
            break

    async def consumer(run: str) -> None:
        await _first_block(writer, run, dice.randrange(per_run - 2))

    async def worker(run: str) -> None:
        await writer.append(run, [{"t": "open", "path": "n", "epoch": [1, 0]}])

    taken = {
        CLIENT: await _taken_ms(client, dice.choices(names, k=RESUMES), 1),
        CONSUMER: await _taken_ms(consumer, dice.choices(names, k=RESUMES), 1),
        WORKER: await _taken_ms(worker, dice.sample(names, len(names)), 1),
        "client resumes, 50 at once": await _taken_ms(client, dice.choices(names, k=RESUMES), AT_ONCE),
    }
    await writer.create_run("busy", {})
    writing = asyncio.create_task(_write(writer))
    taken["client resumes, under load"] = await _taken_ms(client, dice.choices(names, k=RESUMES), 1)
    taken["consumer follows again, under load"] = await _taken_ms(consumer, dice.choices(names, k=RESUMES), 1)
    writing.cancel()
    return taken


async def _fill(path: Path, names: list[str], per_run: int) -> None:
    async with _opened(path) as log:
        for name in names:
            await log.create_run(name, {})
        for first in range(1, per_run + 1, EVENTS_PER_ROW):
            seqs = range(first, min(first + EVENTS_PER_ROW, per_run + 1))
            await log.append([Batch(name, first, [_line(name, seq) for seq in seqs]) for name in names])


@asynccontextmanager
async def _opened(path: Path) -> AsyncIterator[EventLog]:
    log = await SqliteEventLog.open(path)
    try:
        yield log
    finally:
        await log.close()


def _line(run: str, seq: int) -> bytes:
    """A run that is one long stream of words."""
    if seq == 1:
        payload = {"nodeId": "n", "attempt": 1, "promptId": run}
        return encode({"seq": 1, "ts": 1, "type": "NODE_EXECUTING", "payload": payload, "e": (1, 0)})
    chunk = {"type": "text_chunk", "content": "innkeeper "}
    payload = {"sourceNodeId": "n", "yieldedContent": chunk, "isLastChunk": False, "attempt": 1}
    payload |= {"index": seq - 2, "promptId": run}
    return encode(
        {"seq": seq, "ts": 1_700_000_000_000, "type": "NODE_YIELD", "payload": payload, "e": (1, 0), "i": seq - 2}
    )


@asynccontextmanager
async def _writer(log: EventLog) -> AsyncIterator[tuple[LogWriter, Hub]]:
    hub = Hub(log)
    writer = LogWriter(log, hub)
    await writer.start()
    try:
        yield writer, hub
    finally:
        await writer.stop()


async def _first_block(writer: LogWriter, run: str, next: int) -> None:
    """Until the first block with a chunk."""
    woken = asyncio.Event()
    followers = Followers(writer.streams, writer.log, woken.set)
    followers.follow("a", run, "n", origin=(1, 0), next=next)
    while not any(b'"chunks":[{' in block for block in followers.take(1_000_000)):
        await woken.wait()
        woken.clear()
    followers.close()


async def _write(writer: LogWriter) -> None:
    """About 2,000 chunks a second into another run."""
    await writer.append("busy", [{"t": "open", "path": "n", "epoch": [1, 0]}])
    index = 0
    while True:
        chunk = {"type": "text_chunk", "content": "innkeeper "}
        message = {"t": "chunk", "path": "n", "epoch": [1, 0], "chunk": chunk}
        await writer.append("busy", [{**message, "i": index + n} for n in range(10)])
        index += 10
        await asyncio.sleep(0.005)


async def _taken_ms(resume: Resume, order: Sequence[str], at_once: int) -> list[float]:
    taken: list[float] = []

    async def one(run: str) -> None:
        started = time.perf_counter()
        await resume(run)
        taken.append((time.perf_counter() - started) * 1000)

    for start in range(0, len(order), at_once):
        await asyncio.gather(*(one(run) for run in order[start : start + at_once]))
    return sorted(taken)


if __name__ == "__main__":
    main()
