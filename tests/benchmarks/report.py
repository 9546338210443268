"""What was measured, for people and for machines."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from gateway.temporal_server import find_binary
from tests.benchmarks.loads import Row
from tests.benchmarks.measure import Measured, Spread

HAND = "hand"
COLUMNS = (
    "ours ms",
    "by hand ms",
    "ratio",
    "min..max",
    "best",
    "limit",
    "verdict",
    "inside",
    "CPU",
    "loop ms",
)


@dataclass(frozen=True)
class Line:
    """One row with its figures. `own_ratio` compares start to close inside Temporal, without HTTP and waiting."""

    row: Row
    ours: Spread
    handwritten: Spread
    ratio: Spread
    own_ratio: Spread
    own_ours: Spread
    own_handwritten: Spread
    cpu_ratio: float
    calibration: tuple[float, float]

    @classmethod
    def of(cls, row: Row, measured: Measured) -> Line:
        return cls(
            row=row,
            ours=measured.wall(row.side),
            handwritten=measured.wall(HAND),
            ratio=measured.ratio(row.side, HAND),
            own_ratio=measured.own_ratio(row.side, HAND),
            own_ours=measured.own(row.side),
            own_handwritten=measured.own(HAND),
            cpu_ratio=measured.cpu_ratio(row.side, HAND),
            calibration=(measured.before, measured.after),
        )

    @property
    def best(self) -> float:
        """Ratio of the quickest samples, which other programs on the machine disturb least."""
        return self.ours.least / self.handwritten.least

    @property
    def verdict(self) -> str:
        if self.row.limit is None:
            return "-"
        return "holds" if self.ratio.median <= self.row.limit else "over"

    def to_json(self) -> dict[str, Any]:
        return {
            "row": self.row.key,
            "title": self.row.title,
            "oursMs": self.ours.median,
            "handwrittenMs": self.handwritten.median,
            "ratio": self.ratio.median,
            "limit": self.row.limit,
            "verdict": self.verdict,
            "ratioSpread": [self.ratio.least, self.ratio.greatest],
            "bestRatio": self.best,
            "cpuRatio": self.cpu_ratio,
            "insideTemporal": {
                "oursMs": self.own_ours.median,
                "handwrittenMs": self.own_handwritten.median,
                "ratio": self.own_ratio.median,
                "ratioSpread": [self.own_ratio.least, self.own_ratio.greatest],
            },
            "calibrationMs": list(self.calibration),
        }


def show(lines: Sequence[Line], rounds: int, console: Console) -> None:
    """Print the table; below it how even the machine was."""
    table = Table(title=f"Beside handwritten Temporal workflows, medians of {rounds} rounds")
    table.add_column("row")
    for name in COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for line in lines:
        table.add_row(*_cells(line))
    console.print(table)
    console.print(_noise(lines))


def _cells(line: Line) -> tuple[str, ...]:
    colour = {"holds": "green", "over": "red"}.get(line.verdict, "default")
    return (
        line.row.title,
        f"{line.ours.median:.1f}",
        f"{line.handwritten.median:.1f}",
        f"{line.ratio.median:.2f}",
        f"{line.ratio.least:.2f}..{line.ratio.greatest:.2f}",
        f"{line.best:.2f}",
        "-" if line.row.limit is None else f"{line.row.limit:.1f}",
        f"[{colour}]{line.verdict}[/]",
        f"{line.own_ratio.median:.2f}",
        f"{line.cpu_ratio:.2f}",
        "{:.1f} / {:.1f}".format(*line.calibration),
    )


def _noise(lines: Sequence[Line]) -> str:
    loops = [figure for line in lines for figure in line.calibration]
    return (
        "ratio, min..max: of each round, by wall time. best: the quickest samples. inside: start to close "
        "as Temporal recorded it. CPU: of all processes.\n"
        f"The calibration loop (before / after each load) took {min(loops):.1f} to {max(loops):.1f} ms, "
        f"{max(loops) / min(loops):.2f}x; a calm machine stays below 1.1x."
    )


def write(path: Path, lines: Sequence[Line], measured: Mapping[str, Measured], rounds: int) -> None:
    """Write the same as JSON, with every sample. Milliseconds throughout."""
    samples = {
        load: {side: [asdict(sample) for sample in found] for side, found in one.samples.items()}
        for load, one in measured.items()
    }
    report = {"machine": _machine(), "rounds": rounds, "rows": [line.to_json() for line in lines], "samples": samples}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")


def _machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "temporalio": version("temporalio"),
        "temporalCli": find_binary().version,
    }
