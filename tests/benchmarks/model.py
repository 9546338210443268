"""The rows of a model's answer: our adapter beside the bare client library, against one server in one run."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import median

from openai import AsyncOpenAI

from innkeeper.gateway.process.temporal_server import free_port
from innkeeper.nodes.node import ChatRequest
from innkeeper.nodes.services.http import AddressPolicy
from innkeeper.nodes.services.llm.driver import ProtocolAdapter
from innkeeper.nodes.services.llm.openai_chat import OpenAIChat
from tests.benchmarks.measure import calibrate
from tests.benchmarks.report import Done, Line, Say, Spread, at_least

ROUNDS = 7
CHUNKS = 4_000
AT_ONCE = 20
FIRSTS = 30
"""Answers of a round whose median is its time to the first token."""
LEAST_RATIO = 0.95
MESSAGES = [{"role": "user", "content": "Hello"}]


@dataclass(frozen=True)
class Taken:
    """Seconds until the first chunk, and until the end; and the chunks of text that came."""

    first_s: float
    whole_s: float
    chunks: int


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        model: What the server is asked for, see `model_server`.
        at_once: So many answers at the same time.
        of_first: The time to the first chunk is measured, not the speed.
    """

    key: str
    title: str
    model: str
    at_once: int = 1
    of_first: bool = False


ROWS = (
    Row("model-tokens", f"a model's answer of {CHUNKS:,} tokens, as fast as it goes", f"{CHUNKS}@0"),
    Row("model-tokens-20", "20 of them at once", f"{CHUNKS // 4}@0", AT_ONCE),
    Row("model-first", "time to the first token", "8@0", of_first=True),
)

Ask = Callable[[str], Awaitable[Taken]]


async def measure_rows(rows: Sequence[Row], rounds: int | None, say: Say, done: Done) -> None:
    async with served() as base_url, adapter(base_url) as ours, client_library(base_url) as theirs:
        for row in rows:
            say(row.key)
            done(await _line(row, ours, theirs, rounds or ROUNDS))


async def _line(row: Row, ours: Ask, theirs: Ask, rounds: int) -> Line:
    sides = {"ours": ours, "client library": theirs}
    for ask in sides.values():
        await ask(row.model)  # opens connections and loads what is loaded late
    before = calibrate()
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        # In turn: what slows the machine down meets both.
        for name in sorted(sides, reverse=bool(number % 2)):
            found[name].append(await _figure(row, sides[name]))
    mine, other = found["ours"], found["client library"]
    # A greater ratio is better in every row.
    ratio = Spread.of_ratios(other, mine) if row.of_first else Spread.of_ratios(mine, other)
    return Line(
        key=row.key,
        title=row.title,
        unit="ms" if row.of_first else "tokens/s",
        ours=Spread.of(mine),
        base=Spread.of(other),
        ratio=ratio,
        checks=at_least("ratio", ratio.median, LEAST_RATIO),
        calibration=(before, calibrate()),
        samples=found,
    )


async def _figure(row: Row, ask: Ask) -> float:
    if row.of_first:
        return median([(await ask(row.model)).first_s * 1000 for _ in range(FIRSTS)])
    began = time.perf_counter()
    taken = await asyncio.gather(*(ask(row.model) for _ in range(row.at_once)))
    return sum(one.chunks for one in taken) / (time.perf_counter() - began)


@asynccontextmanager
async def served() -> AsyncIterator[str]:
    """The model server; gives its base URL."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.benchmarks.model_server", str(port))
    try:
        await _until_it_listens(port)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        await process.wait()


async def _until_it_listens(port: int) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


@asynccontextmanager
async def adapter(base_url: str) -> AsyncIterator[Ask]:
    talker = ProtocolAdapter(OpenAIChat(), AddressPolicy(allow_loopback=True))

    async def ask(model: str) -> Taken:
        began, first_s, chunks = time.perf_counter(), 0.0, 0
        async for chunk in talker.stream(ChatRequest(base_url, model, MESSAGES, "key")):
            first_s = first_s or time.perf_counter() - began
            chunks += chunk.type == "text_chunk"
        return Taken(first_s, time.perf_counter() - began, chunks)

    try:
        yield ask
    finally:
        await talker.aclose()


@asynccontextmanager
async def client_library(base_url: str) -> AsyncIterator[Ask]:
    async with AsyncOpenAI(base_url=base_url, api_key="key", max_retries=0) as client:

        async def ask(model: str) -> Taken:
            began, first_s, chunks = time.perf_counter(), 0.0, 0
            parts = await client.chat.completions.create(
                model=model, messages=[{"role": "user", "content": "Hello"}], stream=True
            )
            async for part in parts:
                first_s = first_s or time.perf_counter() - began
                chunks += bool(part.choices and part.choices[0].delta.content)
            return Taken(first_s, time.perf_counter() - began, chunks)

        yield ask
