"""The rows of the community's formats: pure functions, beside a fixed piece of Python (the calibration loop)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.benchmarks import cards, prompts, world_info
from tests.benchmarks.measure import calibrate
from tests.benchmarks.report import Done, Line, Say, Spread, at_most

ROUNDS = 5
Work = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """`prepare` gives what is timed; `limit_ms` is an aim of our own, None is reported only."""

    key: str
    title: str
    prepare: Callable[[], Work]
    limit_ms: float | None


ROWS = (
    Row("world-read", "reading a world book of 10,000 entries", world_info.reading, None),
    Row("world-words", "activating it against 200 messages, whole words", world_info.whole_words, 250),
    Row("world-parts", "the same, parts of words", world_info.parts_of_words, 250),
    Row("prompt", "assembling a prompt of 500 messages", prompts.assembling, 100),
    Row("card", "reading a PNG card of 2 MB", cards.reading, 20),
)


async def measure_rows(rows: Sequence[Row], rounds: int | None, say: Say, done: Done) -> None:
    for row in rows:
        say(row.key)
        await asyncio.sleep(0)  # between two rows Ctrl-C gets through
        done(_line(row, rounds or ROUNDS))


def _line(row: Row, rounds: int) -> Line:
    work = row.prepare()
    before = calibrate()
    taken_ms = [_timed_ms(work) for _ in range(rounds)]
    loops = (before, calibrate())
    spread = Spread.of(taken_ms)
    return Line(
        key=row.key,
        title=row.title,
        unit="ms",
        ours=spread,
        checks=at_most("time", spread.median, row.limit_ms, "ms"),
        further={"x loop": spread.median / (sum(loops) / 2)},
        calibration=loops,
        samples={"ours": taken_ms},
    )


def _timed_ms(work: Work) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000
