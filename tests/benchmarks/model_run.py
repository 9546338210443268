"""The first token of a whole run: beside the bare client library plus a node that asks nobody, in the same run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from tests.benchmarks.measure import calibrate
from tests.benchmarks.model import client_library, served
from tests.benchmarks.product import STREAM_NODES
from tests.benchmarks.report import Done, Line, Say, Spread, at_most

ROUNDS = 5
FIRSTS = 15
"""Runs of a round whose median is its time to the first token."""
WARM_UP = 3
MODEL = "8@0"
MOST_ADDED_MS = 15


@dataclass(frozen=True)
class Row:
    key: str
    title: str


ROWS = (Row("model-run-first", "first token of a warm run, over an empty streaming node and the bare client"),)
Measure = Callable[[], Awaitable[float]]


async def measure_rows(rows: Sequence[Row], rounds: int | None, say: Say, done: Done) -> None:
    with tempfile.TemporaryDirectory() as folder:
        options = StackOptions(Path(folder) / "data", plugins=(STREAM_NODES,))
        async with (
            served() as base_url,
            client_library(base_url) as ask,
            LocalStack(options) as stack,
            GatewayClient(stack.url) as client,
        ):
            for row in rows:
                say(row.key)

                async def bare() -> float:
                    return (await ask(MODEL)).first_s * 1000

                async def run() -> float:
                    return await _first(client, _asking(base_url))

                async def empty() -> float:
                    return await _first(client, EMPTY)

                done(await _line(row, (run, empty, bare), rounds or ROUNDS))


async def _line(row: Row, sides: tuple[Measure, Measure, Measure], rounds: int) -> Line:
    for _ in range(WARM_UP):
        for side in sides:
            await side()
    before = calibrate()
    found: list[tuple[float, float, float]] = []
    for _ in range(rounds):
        # In turn: what slows the machine down meets all three.
        samples = [[await side() for side in sides] for _ in range(FIRSTS)]
        run, empty, bare = (median(times) for times in zip(*samples, strict=True))
        found.append((run, empty, bare))
    added = Spread.of([run - empty - bare for run, empty, bare in found])
    return Line(
        key=row.key,
        title=row.title,
        unit="ms",
        ours=Spread.of([run for run, _, _ in found]),
        base=Spread.of([empty + bare for _, empty, bare in found]),
        checks=at_most("added", added.median, MOST_ADDED_MS, "ms"),
        further={"added ms": added.median, "least added ms": added.least, "most added ms": added.greatest},
        calibration=(before, calibrate()),
        samples={"run, empty node, client": found},
    )


async def _first(client: GatewayClient, document: dict[str, Any]) -> float:
    """Milliseconds from the submission to the first text at a client. Waits for the end of the run."""
    began = time.perf_counter()
    first_ms = 0.0
    run = await client.submit(document)
    async for event in client.events(run):
        if event["type"] == "NODE_YIELD" and not first_ms:
            first_ms = (time.perf_counter() - began) * 1000
    return first_ms


def _asking(base_url: str) -> dict[str, Any]:
    settings = {"base_url": base_url, "api_key": "key"}
    inputs = {"api_settings": settings, "model": MODEL, "prompt": "Hello", "stream": True}
    return {"nodes": [{"id": "ask", "fullType": "core:OpenAI", "inputs": inputs}], "edges": []}


EMPTY = {"nodes": [{"id": "say", "fullType": "stream-nodes:Words", "inputs": {"count": 1}}], "edges": []}
