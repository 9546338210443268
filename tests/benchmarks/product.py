"""The rows of the product as a user runs it: `innkeeper up`, from its start to its memory after work."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Any

import psutil

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from innkeeper.gateway.process.supervisor import ChildSpec
from tests.benchmarks.cpu import cpu_s
from tests.benchmarks.loads import Document, chain, fan_out
from tests.benchmarks.measure import calibrate
from tests.benchmarks.report import Done, Line, Part, Say, Spread, at_most, may_take_too_long
from tests.benchmarks.stack import PLUGINS, children
from tests.benchmarks.start_up import cpu_at_ready, import_parts

ROUNDS = 3
READY_S = 60.0
SETTLE_S = 5.0
IDLE_S = 20.0
STREAM_NODES = PLUGINS.parents[1] / "plugins"
WORDS = {"server": "start-dev", "gateway": "innkeeper.gateway.serve", "worker": "innkeeper.activities.worker"}
"""A word of the command of each process that `innkeeper up` supervises."""
COMMAND = (sys.executable, "-P", "-m", "innkeeper.gateway.cli.main")
SMALLEST = Path(__file__).parents[2] / "examples" / "hello.json"
SLOTS = 10
RUNS = 50
GROUPS = 3


@dataclass(frozen=True)
class Row:
    """`limit` is on the median, of `memory` on the greatest; of a row with a counterpart it is on the ratio."""

    key: str
    title: str
    unit: str
    limit: float | None


ROWS = (
    Row("ready", "innkeeper up on a new folder, until it is ready", "s", 2),
    Row("run-alone", "innkeeper run of the smallest example without a stack, until it has ended", "s", 3),
    Row("idle", f"CPU of all processes together without work, over {IDLE_S:.0f} s", "% core", 5),
    Row("cancel", "interrupting a streaming node, until a client sees it stopped", "s", 1.5),
    Row("cancel-groups", f"the same, {GROUPS} groups deep", "s", 1.5),
    Row("branch", "longest wait of a chain beside 50 inline nodes of 15 ms", "s", 0.5),
    Row("memory-worker", "worker after a load of runs and streams", "MB", 130),
    Row("memory-gateway", "gateway after it", "MB", 140),
    Row("memory-server", "Temporal server after it", "MB", 280),
    Row("slots", f"{RUNS} runs, {SLOTS} slots, a 429 each, three readers; counterpart: no readers", "s", 2),
)


@dataclass(frozen=True)
class Found:
    """Figures of one row, one per round; `base` are those of the counterpart."""

    ours: Sequence[float]
    base: Sequence[float] = ()
    parts: Sequence[Part] = ()


@dataclass(frozen=True)
class Product:
    """A running `innkeeper up`. `took_s`: from the start of its process to its word that it is ready."""

    url: str
    pid: int
    folder: Path
    took_s: float

    def family(self) -> list[psutil.Process]:
        """Its process and all below it."""
        us = psutil.Process(self.pid)
        return [us, *us.children(recursive=True)]

    def cpu_s(self) -> dict[str, float]:
        """Processor seconds so far of the supervised processes and of the one that supervises, by name."""
        commands = [(process, process.cmdline()) for process in self.family()]
        pids = {
            name: next(process.pid for process, command in commands if word in command) for name, word in WORDS.items()
        }
        return {name: cpu_s(pid) for name, pid in {"up": self.pid, **pids}.items()}

    def megabytes(self) -> dict[str, float]:
        """Resident memory of the supervised processes, by name."""
        return {name: process.memory_info().rss / 1e6 for name, process in self._supervised().items()}

    def _supervised(self) -> dict[str, psutil.Process]:
        commands = [(process, process.cmdline()) for process in self.family()]
        return {name: next(process for process, command in commands if word in command) for name, word in WORDS.items()}


Figures = Mapping[str, Found]
Measure = Callable[[Product, int], Awaitable[Figures]]


async def measure_rows(rows: Sequence[Row], rounds: int | None, say: Say, done: Done) -> None:
    """Measure with one `innkeeper up` for all rows but the first and the last, which have their own."""
    wanted = {row.key: row for row in rows}

    async def add(keys: Sequence[str], work: Callable[[], Awaitable[Figures]]) -> None:
        chosen = [key for key in keys if key in wanted]
        if not chosen:
            return
        say(", ".join(chosen))
        with may_take_too_long(", ".join(chosen), say):
            before = calibrate()
            found = await work()
            loops = (before, calibrate())
            for key in chosen:
                done(line_of(wanted[key], found[key], loops))

    times = rounds or ROUNDS
    with tempfile.TemporaryDirectory(prefix="innkeeper-product-") as name:
        folder = Path(name)
        await add(("ready",), partial(_ready, folder, times))
        await add(("run-alone",), partial(_run_alone, folder, times))
        if wanted.keys() & {key for keys, _ in MEASURES for key in keys}:
            async with up(folder / "shared") as product:
                for keys, measure in MEASURES:
                    await add(keys, partial(measure, product, times))
        await add(("slots",), partial(_slots, folder / "slots", times))


def line_of(row: Row, found: Found, calibration: tuple[float, float]) -> Line:
    ours = Spread.of(found.ours)
    ratio = Spread.of_ratios(found.ours, found.base) if found.base else None
    # Memory counts where it is highest: it only grows from round to round.
    worst = ours.greatest if row.unit == "MB" else ours.median
    checks = at_most("ratio", ratio.median, row.limit) if ratio else at_most("", worst, row.limit, row.unit)
    return Line(
        key=row.key,
        title=row.title,
        unit=row.unit,
        ours=ours,
        base=Spread.of(found.base) if found.base else None,
        ratio=ratio,
        checks=checks,
        parts=found.parts,
        calibration=calibration,
        samples={"ours": list(found.ours), "base": list(found.base)},
    )


@contextlib.asynccontextmanager
async def up(folder: Path) -> AsyncIterator[Product]:
    """`innkeeper up` on a new data folder below `folder`, and nobody's settings but ours."""
    folder.mkdir()
    arguments = ("up", "--port", "0", "--data-dir", str(folder / "data"), "--plugins", str(PLUGINS))
    # Longer than it gives its own children to stop.
    spec = ChildSpec("up", (*COMMAND, *arguments), _environment(), stop_s=20)
    began = monotonic()
    async with children(folder, {"up": spec}) as supervisor:
        async with asyncio.timeout(READY_S):
            url = await _said(folder / "up.log", r"ready at (\S+)")
        pid = supervisor.children["up"].pid
        assert pid is not None
        yield Product(url, pid, folder / "data", monotonic() - began)


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(("INNKEEPER_", "TEMPORAL_"))}


async def _said(log: Path, pattern: str) -> str:
    while True:
        found = re.search(pattern, log.read_text() if log.exists() else "")
        if found:
            return found[1]
        await asyncio.sleep(0.01)


async def _ready(folder: Path, rounds: int) -> Figures:
    taken, spent = [], []
    for number in range(rounds):
        async with up(folder / f"ready-{number}") as product:
            taken.append(product.took_s)
            spent.append(product.cpu_s())
    parts = [*cpu_at_ready("ready", spent), *await asyncio.to_thread(import_parts, "ready")]
    return {"ready": Found(taken, parts=parts)}


async def _run_alone(folder: Path, rounds: int) -> Figures:
    taken = []
    for number in range(rounds):
        command = [*COMMAND, "run", str(SMALLEST), "--data-dir", str(folder / f"alone-{number}")]
        began = monotonic()
        process = await asyncio.create_subprocess_exec(
            *command, env=_environment(), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )
        if await process.wait() != 0:
            raise RuntimeError(f"{SMALLEST.name} failed; the figures would mean nothing")
        taken.append(monotonic() - began)
    return {"run-alone": Found(taken)}


async def _idle(product: Product, rounds: int) -> Figures:
    await asyncio.sleep(SETTLE_S)
    shares = []
    for _ in range(rounds):
        before, began = _cpu_s(product), monotonic()
        await asyncio.sleep(IDLE_S)
        shares.append(100 * (_cpu_s(product) - before) / (monotonic() - began))
    return {"idle": Found(shares)}


def _cpu_s(product: Product) -> float:
    return float(sum(sum(process.cpu_times()[:2]) for process in product.family()))


async def _cancel(product: Product, rounds: int) -> Figures:
    document = {"nodes": [TICKS], "edges": []}
    return {"cancel": Found([await _stopped_s(product.url, document, "say") for _ in range(rounds)])}


async def _cancel_groups(product: Product, rounds: int) -> Figures:
    document = _in_groups(product.folder)
    path = "/".join(["g"] * GROUPS + ["say"])
    return {"cancel-groups": Found([await _stopped_s(product.url, document, path) for _ in range(rounds)])}


TICKS: Document = {"id": "say", "fullType": "bench:Ticks", "inputs": {"count": 3_000}}


def _in_groups(folder: Path) -> Document:
    """Store groups one in the other, the innermost with the stream; gives what runs the outermost."""
    library = folder / "shared/library/workflows"
    library.mkdir(parents=True, exist_ok=True)
    node = TICKS
    for depth in range(GROUPS):
        stored = {key: value for key, value in node.items() if key != "fullType"} | {"type": node["fullType"]}
        graph = {"id": f"bench{depth}", "name": f"bench{depth}", "nodes": [stored], "edges": []}
        (library / f"bench{depth}.json").write_text(json.dumps(graph))
        node = {"id": "g", "fullType": "core:NodeGroup", "configValues": {"referencedWorkflowId": f"bench{depth}"}}
    return {"nodes": [node], "edges": []}


async def _stopped_s(url: str, document: Document, path: str) -> float:
    """From asking for the interruption, ten chunks into the stream, to the client's sight of the node's end."""
    chunks, asked = 0, 0.0
    async with GatewayClient(url) as client, asyncio.timeout(30):
        run = await client.submit(document)
        async for event in client.events(run):
            payload = event["payload"]
            chunks += event["type"] == "NODE_YIELD" and payload["sourceNodeId"] == path
            if chunks == 10 and not asked:
                asked = monotonic()
                await client.cancel(run)
            if event["type"] == "NODE_INTERRUPTED" and payload["nodeId"] == path:
                return monotonic() - asked
    raise RuntimeError(f"run {run!r} ended without the interruption of {path!r}")


async def _branch(product: Product, rounds: int) -> Figures:
    """The gaps between the ends of the nodes of a chain of activities, while the inline nodes beside it run."""
    beside = chain(60)
    busy = chain(50, "bench:Busy", prefix="b")
    document = {"nodes": busy["nodes"] + beside["nodes"], "edges": busy["edges"] + beside["edges"]}
    gaps = []
    async with GatewayClient(product.url) as client, asyncio.timeout(60):
        for _ in range(rounds):
            status = await client.wait(await client.submit(document))
            _check(status)
            ends = sorted(_end_s(status["nodeStatus"][node["id"]]) for node in beside["nodes"])
            gaps.append(max(after - before for before, after in pairwise(ends)))
    return {"branch": Found(gaps)}


def _end_s(entry: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(entry["endedAt"]).timestamp()


async def _memory(product: Product, rounds: int) -> Figures:
    """Each round is the whole load again: 250 runs of 5 nodes, 5 fan-outs of 100, 20 streams of 250 chunks."""
    found: dict[str, list[float]] = {name: [] for name in WORDS}
    stream = {"nodes": [{**TICKS, "inputs": {"count": 250}}], "edges": []}
    async with GatewayClient(product.url) as client, asyncio.timeout(300 * rounds):
        for _ in range(rounds):
            for _ in range(5):
                await _run_all(client, chain(5), RUNS)
            for _ in range(5):
                await _run_all(client, fan_out(100), 1)
            await _run_all(client, stream, 20)
            for name, megabytes in product.megabytes().items():
                found[name].append(megabytes)
    return {f"memory-{name}": Found(figures) for name, figures in found.items()}


MEASURES: tuple[tuple[tuple[str, ...], Measure], ...] = (
    (("idle",), _idle),
    (("cancel",), _cancel),
    (("cancel-groups",), _cancel_groups),
    (("branch",), _branch),
    (("memory-worker", "memory-gateway", "memory-server"), _memory),
)


async def _slots(folder: Path, rounds: int) -> Figures:
    with_readers, without = _words(readers=3), _words(readers=0)
    found: dict[str, list[float]] = {"with": [], "without": []}
    options = StackOptions(folder, plugins=(STREAM_NODES,), env={"INNKEEPER_MAX_ACTIVITIES": str(SLOTS)})
    async with LocalStack(options) as stack, GatewayClient(stack.url) as client, asyncio.timeout(60 * (rounds + 1)):
        await _run_all(client, with_readers, 1)
        for number in range(rounds):
            turns = [("with", with_readers), ("without", without)]
            for name, document in turns[:: -1 if number % 2 else 1]:
                found[name].append(await _run_all(client, document, RUNS))
    return {"slots": Found(found["with"], found["without"])}


def _words(readers: int) -> Document:
    nodes = [{"id": "s", "fullType": "stream-nodes:Words", "inputs": {"count": 5, "waits": 1}}]
    nodes += [{"id": f"r{number}", "fullType": "stream-nodes:Take"} for number in range(readers)]
    edges = [
        {"id": f"e{number}", "sourceNodeId": "s", "sourceHandle": "out"}
        | {"targetNodeId": f"r{number}", "targetHandle": "stream"}
        for number in range(readers)
    ]
    return {"nodes": nodes, "edges": edges}


async def _run_all(client: GatewayClient, document: Document, count: int) -> float:
    """Seconds until so many runs at once have all ended."""
    began = monotonic()
    runs = await asyncio.gather(*(client.submit(document) for _ in range(count)))
    for status in await asyncio.gather(*(client.wait(run) for run in runs)):
        _check(status)
    return monotonic() - began


def _check(status: Mapping[str, Any]) -> None:
    if status["status"] != "complete":
        raise RuntimeError(f"a run ended as {status['status']!r}; the figures would mean nothing")
