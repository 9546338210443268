"""Two revisions in turns: `python -m tests.benchmarks.compare [--rev REV] [--rows ...] [--rounds N] [FILE.json]`.

For each round and row the working tree is measured, then the other revision, in the next round the other way round,
each with its counterpart by hand. Both are measured by the benchmark of the working tree.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from innkeeper.nodes.errors import InnkeeperError
from tests.benchmarks.__main__ import FAMILIES
from tests.benchmarks.arguments import add_keys, console, parser, say
from tests.benchmarks.arguments import run as run_command
from tests.benchmarks.other_revision import WORKING_TREE, Tree, find_revision, run, tree_of, worktree
from tests.benchmarks.report import Spread, number, ranged, write

ROUNDS = 5
ROWS = "chain-on,chain-inline,fanout-on,runs-on,runs-inline,empty-on,ws-1,ws-20,ws-200-batch,relay-max"
HERE, THERE = "here", "there"
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Pair:
    """One row on both sides, a figure per round in which both were measured.

    Attributes:
        ratios: To the counterpart by hand; empty without one.
        parts: Figures of its parts (CPU of a process, a hop), by table, part and heading.
    """

    key: str
    unit: str
    figures: Mapping[str, Sequence[float]]
    ratios: Mapping[str, Sequence[float]]
    parts: Mapping[tuple[str, str, str], Mapping[str, Sequence[float]]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the chosen rows in turns. Exit code 0 when they were measured."""
    made = parser("tests.benchmarks.compare", __doc__)
    made.add_argument("--rev", help="the other revision (default: the last commit of main that this tree is built on)")
    add_keys(made, "rows", {name: [row.key for row in rows] for name, (rows, _) in FAMILIES.items()}, default=ROWS)
    return run_command(_compare(made.parse_args(arguments)))


async def _compare(chosen: argparse.Namespace) -> int:
    revision = find_revision(chosen.rev or None)
    say(f"beside {revision.title}")
    found: dict[str, list[tuple[Json, Json]]] = {}
    try:
        async with worktree(revision) as folder:
            trees = {HERE: WORKING_TREE, THERE: await tree_of(folder)}
            for number_of_round in range(chosen.rounds or ROUNDS):
                for row in chosen.rows:
                    say(f"round {number_of_round + 1}: {row}")
                    if (both := await _in_turn(row, trees, number_of_round)) is not None:
                        found.setdefault(row, []).append(both)
    finally:  # what was measured is shown though something failed, or Ctrl-C came
        if found:
            _show([pair_of(rows) for rows in found.values()], revision.title, chosen.file)
    return 0


async def _in_turn(row: str, trees: Mapping[str, Tree], number_of_round: int) -> tuple[Json, Json] | None:
    """The row as JSON, here and there; None when one of them was left out."""
    sides: dict[str, Json | None] = {}
    for name in list(trees)[:: -1 if number_of_round % 2 else 1]:
        sides[name] = await _measured(row, trees[name])
    here, there = sides[HERE], sides[THERE]
    return None if here is None or there is None else (here, there)


async def _measured(row: str, tree: Tree) -> Json | None:
    with tempfile.TemporaryDirectory(prefix="innkeeper-compare-") as name:
        file = Path(name) / "row.json"
        command = (str(tree.python), "-m", "tests.benchmarks", "--rows", row, "--rounds", "1", str(file))
        try:
            await run(command, tree.environment())
        except InnkeeperError as error:
            say(f"{row} is left out of this round: {error.message}")
            return None
        return json.loads(file.read_text())["rows"][0] if file.exists() else None


def pair_of(rounds: Sequence[tuple[Json, Json]]) -> Pair:
    """One row, from its JSON in each round: here, there."""
    first = rounds[0][0]
    sides = {name: [both[index] for both in rounds] for index, name in enumerate((HERE, THERE))}
    ratios = {name: [row["ratio"]["median"] for row in rows if row["ratio"]] for name, rows in sides.items()}
    return Pair(
        key=first["row"],
        unit=first["unit"],
        figures={name: [row["ours"]["median"] for row in rows] for name, rows in sides.items()},
        ratios=ratios if all(ratios.values()) else {},
        parts={
            place: {name: [figure for row in rows for figure in _part(row, place)] for name, rows in sides.items()}
            for place in _places(first)
        },
    )


def _places(row: Json) -> list[tuple[str, str, str]]:
    """What is ours of the parts of a row: of the counterpart there is only one."""
    return [
        (part["table"], part["name"], heading)
        for part in row.get("parts", ())
        for heading in part["figures"]
        if not part["name"].startswith("by hand")
    ]


def _part(row: Json, place: tuple[str, str, str]) -> list[float]:
    """The figure at this place, if the row has one."""
    table, name, heading = place
    found = [part["figures"] for part in row.get("parts", ()) if (part["table"], part["name"]) == (table, name)]
    return [float(figures[heading]) for figures in found if heading in figures]


def cells_of(pair: Pair) -> tuple[str, ...]:
    """Row, unit, rounds, here, there, here / there round by round, and both beside their counterparts."""
    here, there = pair.figures[HERE], pair.figures[THERE]
    by_hand = [ranged(Spread.of(pair.ratios[name])) if pair.ratios else "-" for name in (HERE, THERE)]
    between = ranged(Spread.of_ratios(here, there))
    return (pair.key, pair.unit, str(len(here)), ranged(Spread.of(here)), ranged(Spread.of(there)), between, *by_hand)


def part_cells_of(pair: Pair) -> list[tuple[str, ...]]:
    """For each part: row, part, heading, median here and there, their ratio."""
    rows = []
    for (_, name, heading), sides in pair.parts.items():
        here, there = (median(sides[side]) if sides[side] else math.nan for side in (HERE, THERE))
        ratio = number(here / there) if there else "-"
        rows.append((pair.key, name, heading, number(here), number(there), ratio))
    return rows


def _show(pairs: Sequence[Pair], title: str, file: Path | None) -> None:
    out = console()
    table = Table(title=f"The working tree beside {title}")
    for heading in (
        "row",
        "unit",
        "rounds",
        HERE,
        THERE,
        f"{HERE} / {THERE}",
        f"{HERE} / by hand",
        f"{THERE} / by hand",
    ):
        table.add_column(heading, justify="left" if heading in ("row", "unit") else "right")
    for pair in pairs:
        table.add_row(*cells_of(pair))
    out.print(table)
    parts = Table("row", "part", "", title="Parts, medians")
    for heading in (HERE, THERE, f"{HERE} / {THERE}"):
        parts.add_column(heading, justify="right")
    for pair in pairs:
        for cells in part_cells_of(pair):
            parts.add_row(*cells)
    if parts.row_count:
        out.print(parts)
    out.print("Medians (min..max). Rounds in which one side was left out do not count.")
    if file is not None:
        write(file, {"beside": title, "rows": [_json(pair) for pair in pairs]})
        out.print(f"written to {file}")


def _json(pair: Pair) -> dict[str, Any]:
    parts = [
        {"table": table, "name": name, "figure": heading, **sides}
        for (table, name, heading), sides in pair.parts.items()
    ]
    return {"row": pair.key, "unit": pair.unit, "figures": pair.figures, "ratios": pair.ratios, "parts": parts}


if __name__ == "__main__":
    sys.exit(main())
