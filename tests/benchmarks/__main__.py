"""Measure all rows and print one table: `python -m tests.benchmarks [--rows ...] [--rounds N] [FILE.json]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks import engine, formats, hops, loads, model, model_run, product, report, streams, webhooks
from tests.benchmarks.arguments import add_keys, console, parser, run, say
from tests.benchmarks.report import Line

FAMILIES: Mapping[str, tuple[Sequence[Any], Callable[..., Awaitable[None]]]] = {
    "engine": (loads.ROWS, engine.measure_rows),
    "streams": (streams.ROWS, streams.measure_rows),
    "hops": (hops.ROWS, hops.measure_rows),
    "product": (product.ROWS, product.measure_rows),
    "webhooks": (webhooks.ROWS, webhooks.measure_rows),
    "formats": (formats.ROWS, formats.measure_rows),
    "model": (model.ROWS, model.measure_rows),
    "model-run": (model_run.ROWS, model_run.measure_rows),
}
"""Rows that are measured together, and how. A row has a `key`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen rows. Exit code 0 when they were measured, whatever the verdicts."""
    made = parser("tests.benchmarks", __doc__)
    add_keys(made, "rows", {name: [row.key for row in rows] for name, (rows, _) in FAMILIES.items()})
    return run(_measure(made.parse_args(arguments)))


async def _measure(chosen: argparse.Namespace) -> int:
    found: dict[str, Line] = {}
    wanted = [[row for row in rows if row.key in chosen.rows] for rows, _ in FAMILIES.values()]
    try:
        for rows, (_, measure) in zip(wanted, FAMILIES.values(), strict=True):
            if rows:
                await measure(rows, chosen.rounds, say, lambda line: found.update({line.key: line}))
    finally:  # what was measured is shown though something failed, or Ctrl-C came
        if found:
            _show([found[row.key] for rows in wanted for row in rows if row.key in found], chosen.file)
    return 0


def _show(lines: Sequence[Line], file: Path | None) -> None:
    out = console()
    report.show(lines, "Benchmarks", out)
    if file is not None:
        report.write(file, report.rows_json(lines))
        out.print(f"written to {file}")


if __name__ == "__main__":
    sys.exit(main())
