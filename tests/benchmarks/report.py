"""One table for all that is measured, for people and, as JSON, for machines."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from innkeeper.gateway.process.temporal_server import find_binary

WIDTH = 190
"""Of the table where it is not read on a terminal."""


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest of several figures."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(median(values), min(values), max(values))

    @classmethod
    def of_ratios(cls, ours: Sequence[float], theirs: Sequence[float]) -> Spread:
        """Round by round: what slowed both sides of a round down cancels out."""
        return cls.of([our / their for our, their in zip(ours, theirs, strict=True)])

    def __truediv__(self, by: float) -> Spread:
        return Spread(self.median / by, self.least / by, self.greatest / by)

    def to_json(self) -> dict[str, float]:
        return {"median": self.median, "min": self.least, "max": self.greatest}


@dataclass(frozen=True)
class Check:
    """One limit in words, and whether it holds."""

    text: str
    holds: bool


def at_most(what: str, value: float, limit: float | None, unit: str = "") -> tuple[Check, ...]:
    """No check without a limit."""
    if limit is None:
        return ()
    return (Check(f"{what} <= {number(limit)} {unit}".strip(), value <= limit),)


def at_least(what: str, value: float, limit: float | None, unit: str = "") -> tuple[Check, ...]:
    if limit is None:
        return ()
    return (Check(f"{what} >= {number(limit)} {unit}".strip(), value >= limit),)


@dataclass(frozen=True)
class Part:
    """One line of a table of its own, below the table of rows: what a row is made of.

    Attributes:
        table: Title of that table.
        row: The row it belongs to.
        name: Of this part: a process, a station on the way of a chunk.
        figures: By the headings of their columns.
    """

    table: str
    row: str
    name: str
    figures: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        return {"table": self.table, "name": self.name, "figures": dict(self.figures)}


@dataclass(frozen=True)
class Line:
    """One row with its figures.

    Attributes:
        unit: Of `ours` and `base`.
        base: The counterpart, where there is one.
        ratio: Ours / counterpart, of each round.
        further: Figures that only explain, by name.
        parts: What they are made of, for tables of their own.
        calibration: The calibration loop before and after, in ms.
        samples: All that was measured, for the file.
    """

    key: str
    title: str
    unit: str
    ours: Spread
    calibration: tuple[float, float]
    base: Spread | None = None
    ratio: Spread | None = None
    checks: tuple[Check, ...] = ()
    further: Mapping[str, float] = field(default_factory=dict)
    parts: Sequence[Part] = ()
    samples: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @property
    def broken(self) -> tuple[str, ...]:
        """The limits that do not hold."""
        return tuple(check.text for check in self.checks if not check.holds)

    @property
    def verdict(self) -> str:
        if not self.checks:
            return "-"
        return "over" if self.broken else "holds"

    def to_json(self) -> dict[str, Any]:
        return {
            "row": self.key,
            "title": self.title,
            "unit": self.unit,
            "ours": self.ours.to_json(),
            "base": self.base and self.base.to_json(),
            "ratio": self.ratio and self.ratio.to_json(),
            "limits": [check.text for check in self.checks],
            "broken": list(self.broken),
            "verdict": self.verdict,
            "further": dict(self.further),
            "parts": [part.to_json() for part in self.parts],
            "calibrationMs": list(self.calibration),
            "samples": {side: list(found) for side, found in self.samples.items()},
        }


Say = Callable[[str], None]
"""Takes one line about what is measured now."""
Done = Callable[[Line], None]
"""Takes a row as soon as it is measured, so that it is not lost when a later one fails."""


@contextmanager
def may_take_too_long(what: str, say: Say) -> Iterator[None]:
    """A row that runs into its time limit is left out, and those behind it are still measured."""
    try:
        yield
    except TimeoutError:
        say(f"{what}: left out, it took too long")


def show(lines: Sequence[Line], title: str, console: Console, *, ours: str = "ours", base: str = "by hand") -> None:
    """Print the table; below it how even the machine was. `ours` and `base` head the two columns of figures."""
    table = Table(title=title)
    table.add_column("row", no_wrap=True)
    table.add_column("what")
    for name in ("unit", f"{ours} (min..max)", f"{base} (min..max)", "ratio (min..max)"):
        table.add_column(name, justify="right")
    for name in ("limit", "verdict", "further"):
        table.add_column(name)
    table.add_column("loop ms", justify="right", no_wrap=True)
    for line in lines:
        table.add_row(*cells(line))
    console.print(table)
    for found in tables_of([part for line in lines for part in line.parts]):
        console.print(found)
    console.print(noise(lines))


def tables_of(parts: Sequence[Part]) -> list[Table]:
    """The tables that parts make, each with a column for every figure that one of its parts has."""
    tables = []
    for title in dict.fromkeys(part.table for part in parts):
        chosen = [part for part in parts if part.table == title]
        columns = list(dict.fromkeys(name for part in chosen for name in part.figures))
        table = Table("row", "part", title=title)
        for column in columns:
            table.add_column(column, justify="right")
        for part in chosen:
            figures = (part.figures.get(column) for column in columns)
            table.add_row(part.row, part.name, *("-" if each is None else number(each) for each in figures))
        tables.append(table)
    return tables


def cells(line: Line) -> tuple[str, ...]:
    """A line as text, one cell per column."""
    return (
        line.key,
        line.title,
        line.unit,
        ranged(line.ours),
        ranged(line.base),
        ranged(line.ratio),
        ", ".join(check.text for check in line.checks) or "-",
        _verdict(line),
        ", ".join(f"{name} {number(value)}" for name, value in line.further.items()),
        "{:.1f} / {:.1f}".format(*line.calibration),
    )


def _verdict(line: Line) -> str:
    if line.broken and len(line.checks) > 1:
        return f"[red]over: {', '.join(line.broken)}[/]"
    colour = {"holds": "green", "over": "red"}.get(line.verdict, "default")
    return f"[{colour}]{line.verdict}[/]"


def ranged(spread: Spread | None) -> str:
    """`12.3 (11.0..14.1)`; `-` for nothing, one figure alone when it was measured once."""
    if spread is None:
        return "-"
    if spread.least == spread.greatest:
        return number(spread.median)
    return f"{number(spread.median)} ({number(spread.least)}..{number(spread.greatest)})"


def number(value: float) -> str:
    """Three figures, two of what is below a tenth, or all of a whole number."""
    if not math.isfinite(value):
        return "-"
    if value == int(value) or abs(value) >= 1_000:
        return f"{value:,.0f}"
    if abs(value) < 0.1:
        return f"{value:.2g}"
    return f"{value:.{max(0, 2 - (abs(value) >= 10) - (abs(value) >= 100))}f}"


def noise(lines: Sequence[Line]) -> str:
    loops = [figure for line in lines for figure in line.calibration]
    return (
        "Medians; ratio: ours / counterpart, of each round.\n"
        f"The calibration loop (before / after each load) took {min(loops):.1f} to {max(loops):.1f} ms, "
        f"{max(loops) / min(loops):.2f}x; a calm machine stays below 1.1x."
    )


def rows_json(lines: Sequence[Line]) -> dict[str, Any]:
    """The table for the file, with every sample."""
    return {"rows": [line.to_json() for line in lines]}


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write figures as JSON, with when and on what they were measured."""
    path.parent.mkdir(parents=True, exist_ok=True)
    measured = datetime.now(UTC).isoformat(timespec="seconds")
    path.write_text(json.dumps({"measured": measured, "machine": machine(), **content}, indent=2) + "\n")


def machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu_model(),
        "memoryGb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "innkeeper": version("innkeeper").partition("+")[0],
        "temporalio": version("temporalio"),
        "temporalCli": find_binary().version,
    }


def _cpu_model() -> str:
    """As the system calls it; on Linux the kernel knows more than `platform`."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    found = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(found, platform.processor() or platform.machine())
