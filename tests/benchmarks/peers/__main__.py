"""The same graphs in LangGraph and DBOS: `python -m tests.benchmarks.peers [--loads ...] [--rounds N] [FILE.json]`.

All sides run on this machine and take turns. Ours is the whole product, from `POST /api/prompt` to the result; the
peers are called inside their own process, without HTTP. `make bench-peers` makes their environment.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from innkeeper.nodes.errors import InnkeeperError
from tests.benchmarks import report
from tests.benchmarks.arguments import add_keys, console, parser, run, say
from tests.benchmarks.loads import INLINE, STEP, Load, chain, fan_out
from tests.benchmarks.measure import calibrate
from tests.benchmarks.peers.process import Peer
from tests.benchmarks.report import Line, Spread, at_most
from tests.benchmarks.sides import Side
from tests.benchmarks.stack import sides as stack_sides

HERE = Path(__file__).resolve().parent
PYTHON = HERE.parents[2] / ".venv-peers/bin/python"
ROUNDS = 5
BASE = "langgraph"
EQUAL = "langgraph-normal"
"""Syncs as often as we do; the base syncs as it comes."""
OTHER = "dbos"
LIMITS = {("chain", "inline"): 0.4, ("chain-1000", "inline"): 0.15, ("runs", "inline"): 1.5}
"""What the ratio to LangGraph as it comes has to hold, by load and side."""
OTHER_LIMITS = {("runs", "inline"): 0.6}
"""The same to DBOS as it comes."""


@dataclass(frozen=True)
class PeerLoad:
    """One graph: a chain or a fan-out of `size` nodes, so many times at once; a sample is the median of `times`."""

    key: str
    title: str
    shape: str
    size: int
    at_once: int = 1
    times: int = 1

    @property
    def nodes(self) -> int:
        """What a time is divided by: the nodes of all runs, or the runs when there are no nodes."""
        return max(self.size, 1) * self.at_once

    def ours(self, full_type: str) -> Load:
        make = chain if self.shape == "chain" else fan_out
        return Load(make(self.size, full_type), "", self.size, self.at_once, self.times)


LOADS = (
    PeerLoad("chain", "chain of 50", "chain", 50, times=3),
    PeerLoad("chain-1000", "chain of 1,000", "chain", 1_000),
    PeerLoad("empty", "empty run", "chain", 0, times=20),
    PeerLoad("runs", "50 concurrent runs of 5", "chain", 5, at_once=50),
    PeerLoad("fanout", "fan-out of 100", "fanout", 100),
)
TITLES = {
    "inline": "ours, inline nodes",
    "activity": "ours, activity nodes",
    BASE: "LangGraph, AsyncSqliteSaver",
    EQUAL: "the same, synchronous=NORMAL",
    "langgraph-memory": "LangGraph, in memory: not durable",
    OTHER: "DBOS, SQLite",
    "dbos-normal": "the same, WAL, synchronous=NORMAL",
}
PEERS = {
    BASE: ("langgraph_side.py", "sqlite"),
    EQUAL: ("langgraph_side.py", "sqlite-normal"),
    "langgraph-memory": ("langgraph_side.py", "memory"),
    "dbos": ("dbos_side.py", "sqlite"),
    "dbos-normal": ("dbos_side.py", "sqlite-normal"),
}
Once = Callable[[PeerLoad], Awaitable[float]]
"""Runs a load once; gives milliseconds."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the chosen loads. Exit code 0 when they were measured, whatever the verdict."""
    made = parser("tests.benchmarks.peers", __doc__)
    add_keys(made, "loads", {"all": [load.key for load in LOADS]})
    return run(_measure(made.parse_args(arguments)))


async def _measure(chosen: argparse.Namespace) -> int:
    if not PYTHON.exists():
        raise InnkeeperError(f"the peers are not installed in {str(PYTHON.parents[1])!r}: run 'make bench-peers'")
    lines: list[Line] = []
    versions: dict[str, str] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="innkeeper-peers-") as name:
            async with _sides(Path(name), versions) as sides:
                for load in LOADS:
                    if load.key in chosen.loads:
                        say(load.key)
                        lines += await _lines(load, sides, chosen.rounds or ROUNDS)
    finally:  # what was measured is shown though something failed, or Ctrl-C came
        if lines:
            _show(lines, versions, chosen.file)
    return 0


def _show(lines: Sequence[Line], versions: Mapping[str, str], file: Path | None) -> None:
    out = console()
    title = f"Beside {', '.join(f'{name} {text}' for name, text in versions.items())}"
    report.show(lines, title, out, ours="per node", base=TITLES[BASE])
    if file is not None:
        report.write(file, {"peers": dict(versions), **report.rows_json(lines)})
        out.print(f"written to {file}")


@asynccontextmanager
async def _sides(folder: Path, versions: dict[str, str]) -> AsyncIterator[dict[str, Once]]:
    """All sides by name; notes in `versions` what the peers are."""
    async with AsyncExitStack() as stack:
        ours = (await stack.enter_async_context(stack_sides(folder, gateway=True)))["on"]
        sides: dict[str, Once] = {"inline": partial(_ours, ours, INLINE), "activity": partial(_ours, ours, STEP)}
        for name, (script, kind) in PEERS.items():
            peer = await stack.enter_async_context(_peer(folder, script, kind))
            sides[name] = partial(_theirs, peer)
            versions |= peer.versions
        yield sides


def _peer(folder: Path, script: str, kind: str) -> Peer:
    data = folder / f"{script}-{kind}"
    data.mkdir()
    return Peer((str(PYTHON), str(HERE / script), str(data), kind), data / "log")


async def _ours(side: Side, full_type: str, load: PeerLoad) -> float:
    work = load.ours(full_type)
    began = time.perf_counter()
    await asyncio.gather(*(side.run(work) for _ in range(work.at_once)))
    taken = (time.perf_counter() - began) * 1000
    await side.settle()
    return taken


async def _theirs(peer: Peer, load: PeerLoad) -> float:
    answer = await peer.ask({"shape": load.shape, "size": load.size, "atOnce": load.at_once})
    return float(answer["ms"])


async def _lines(load: PeerLoad, sides: Mapping[str, Once], rounds: int) -> list[Line]:
    """Each side once per round, in turning order, after a run to warm up."""
    for once in sides.values():
        await once(load)
    before = calibrate()
    taken: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            taken[name].append(median([await sides[name](load) for _ in range(load.times)]))
    return lines_of(load, taken, (before, calibrate()))


def lines_of(load: PeerLoad, taken: Mapping[str, Sequence[float]], calibration: tuple[float, float]) -> list[Line]:
    """A line per side. The ratio is that to LangGraph as it comes, in `further` are those to what else there is.

    `/ NORMAL` is LangGraph that syncs as we do, `/ DBOS` is DBOS as it comes.
    """
    lines = []
    for name, milliseconds in taken.items():
        ratio = Spread.of_ratios(milliseconds, taken[BASE])
        other = Spread.of_ratios(milliseconds, taken[OTHER]).median
        lines.append(
            Line(
                key=f"{load.key}-{name}",
                title=f"{load.title}: {TITLES[name]}",
                unit="ms/node" if load.size else "ms/run",
                ours=Spread.of(milliseconds) / load.nodes,
                base=Spread.of(taken[BASE]) / load.nodes,
                ratio=ratio,
                checks=(
                    *at_most("ratio", ratio.median, LIMITS.get((load.key, name))),
                    *at_most("/ DBOS", other, OTHER_LIMITS.get((load.key, name))),
                ),
                further={"/ NORMAL": Spread.of_ratios(milliseconds, taken[EQUAL]).median, "/ DBOS": other},
                calibration=calibration,
                samples={name: list(milliseconds)},
            )
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
