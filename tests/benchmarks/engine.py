"""The rows that stand beside handwritten Temporal workflows."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.benchmarks.cpu import Work, cpu_parts
from tests.benchmarks.loads import LOADS, Row
from tests.benchmarks.measure import Measured, measure
from tests.benchmarks.report import Done, Line, Part, Say, Spread, at_most
from tests.benchmarks.stack import sides

ROUNDS = 7
_NEED_GATEWAY = {"on", "recorded"}
_BY_HAND = {"hand": "by hand", "recorded": "recorded by hand"}


async def measure_rows(rows: Sequence[Row], rounds: int | None, say: Say, done: Done) -> None:
    """Start everything, measure load by load, stop everything."""
    # One load serves all its rows, so that they share the handwritten samples.
    wanted: dict[str, dict[str, None]] = {}
    for row in rows:
        wanted.setdefault(row.load, {}).update({row.base: None, row.side: None})
    with tempfile.TemporaryDirectory(prefix="innkeeper-bench-") as folder:
        async with sides(Path(folder), gateway=any({row.side, row.base} & _NEED_GATEWAY for row in rows)) as found:
            for load, names in wanted.items():
                say(f"{load}: {', '.join(names)}")
                chosen = {name: found[name] for name in names}
                measured = await measure(LOADS[load], chosen, rounds or ROUNDS)
                for row in rows:
                    if row.load == load:
                        done(line_of(row, measured))


def line_of(row: Row, measured: Measured) -> Line:
    """`inside` compares start to close as Temporal recorded them, `best` the quickest samples, `CPU` all processes."""
    ours, hand = measured.walls(row.side), measured.walls(row.base)
    ratio = Spread.of_ratios(ours, hand)
    inside = Spread.of_ratios(measured.owns(row.side), measured.owns(row.base))
    cpu = measured.cpu_ratio(row.side, row.base)
    each_ms = Spread.of(ours).median / LOADS[row.load].size if row.each_ms else 0.0
    return Line(
        key=row.key,
        title=row.title,
        unit="ms",
        ours=Spread.of(ours),
        base=Spread.of(hand),
        ratio=ratio,
        checks=(
            *at_most("ratio", ratio.median, row.limit),
            *at_most("CPU", cpu, row.cpu),
            *at_most("each", each_ms, row.each_ms, "ms"),
        ),
        further={
            **({"each": each_ms} if row.each_ms else {}),
            "best": min(ours) / min(hand),
            "inside": inside.median,
            "CPU": cpu,
        },
        calibration=(measured.before, measured.after),
        parts=[part for name in (row.side, row.base) for part in _cpu(row, name, measured)],
        samples={side: [asdict(sample) for sample in measured.samples[side]] for side in (row.side, row.base)},
    )


def _cpu(row: Row, side: str, measured: Measured) -> list[Part]:
    load = LOADS[row.load]
    nodes = load.size if side in _BY_HAND else load.node_count
    seconds = [{name: ms / 1000 for name, ms in each.processes.items()} for each in measured.samples[side]]
    work = Work(load.at_once, nodes * load.at_once)
    return cpu_parts(row.key, _BY_HAND.get(side, "ours"), seconds, work)
