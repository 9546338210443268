"""Writes figures into docs/benchmarks.md: `python -m tests.benchmarks.page FILE.json...`.

The files are those of `make bench` and `make bench-peers`, whole or in parts; of a row that is in several the last one
counts. What stands outside of the two marks of the page stays.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.cpu import TABLE as CPU
from tests.benchmarks.hops import TABLE as HOPS
from tests.benchmarks.report import Spread, number, ranged

PAGE = Path(__file__).resolve().parents[2] / "docs/benchmarks.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
WIDTH = 118
PEERS = "peers/"
"""Before the keys of rows of `make bench-peers`: some are called like rows of `make bench`."""
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Shown:
    """A row as the page tells it. `also` are figures of `further` that belong to it, each in words around `{}`."""

    key: str
    title: str
    also: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Section:
    """Rows that stand beside the same counterpart."""

    title: str
    counterpart: str
    rows: tuple[Shown, ...]


_LATE = (("p99", "p99 {} ms"), ("lost", "{} lost"))
_GAP = (*_LATE, ("longest gap", "longest gap {} ms"))
_BY_CPU = (("CPU", "CPU ratio {}"),)
SECTIONS = (
    Section(
        "Streams",
        "a relay by hand, without a log",
        (
            Shown("ws-1", "1 stream of 50 chunks/s, delay of a chunk", _LATE),
            Shown("ws-20", "20 streams", _LATE),
            Shown("ws-100-batch", "100 streams", _LATE),
            Shown("ws-150-batch", "150 streams", _LATE),
            Shown("ws-200-batch", "200 streams", _LATE),
            Shown("ws-200-busy", "200 streams beside a busy process", _GAP),
            Shown("ws-300-batch", "300 streams", _GAP),
            Shown("relay-max", "a stream through a node, as fast as it goes"),
        ),
    ),
    Section(
        "Runs of nodes that are activities",
        "plain Temporal workflows by hand",
        (
            Shown("empty-on", "an empty run", _BY_CPU),
            Shown("runs-on", "50 runs of 5 nodes at once", _BY_CPU),
            Shown("fanout-on", "100 independent nodes", _BY_CPU),
            Shown("chain-on", "50 nodes in a row", _BY_CPU),
        ),
    ),
    Section(
        "The engine alone, without gateway, record and events",
        "plain Temporal workflows by hand",
        (
            Shown("empty", "an empty run", _BY_CPU),
            Shown("runs-off", "50 runs of 5 nodes at once", _BY_CPU),
            Shown("fanout-off", "100 independent nodes", _BY_CPU),
            Shown("chain-off", "50 nodes in a row", _BY_CPU),
        ),
    ),
    Section(
        "The same beside a record by hand",
        "plain Temporal workflows by hand that write down each run and each step",
        (
            Shown("empty-recorded", "an empty run", _BY_CPU),
            Shown("runs-recorded", "50 runs of 5 nodes at once", _BY_CPU),
            Shown("fanout-recorded", "100 independent nodes", _BY_CPU),
            Shown("chain-recorded", "50 nodes in a row", _BY_CPU),
        ),
    ),
    Section(
        "What a record costs at least",
        "the same by hand without a record",
        (
            Shown("empty-floor", "an empty run by hand, recorded", _BY_CPU),
            Shown("runs-floor", "50 runs of 5 activities at once", _BY_CPU),
            Shown("fanout-floor", "100 independent activities", _BY_CPU),
            Shown("chain-floor", "50 activities in a row", _BY_CPU),
            Shown("ws-1-floor", "1 stream by hand, each chunk committed before it is passed on", _LATE),
            Shown("ws-20-floor", "20 streams", _LATE),
            Shown("ws-200-floor", "200 streams", _LATE),
        ),
    ),
    Section(
        "Runs of cheap nodes (inline)",
        "LangGraph with SQLite, in its own process",
        (
            Shown(f"{PEERS}empty-inline", "an empty run"),
            Shown(f"{PEERS}chain-inline", "50 nodes in a row"),
            Shown(f"{PEERS}chain-1000-inline", "1,000 nodes in a row"),
            Shown(f"{PEERS}runs-inline", "50 runs of 5 nodes at once", (("/ DBOS", "ratio to DBOS {}"),)),
            Shown(f"{PEERS}fanout-inline", "100 independent nodes"),
        ),
    ),
    Section(
        "A model's answer",
        "the bare `openai` client (a ratio above 1 is in our favour)",
        (
            Shown("model-tokens", "as fast as it goes"),
            Shown("model-tokens-20", "20 at once"),
            Shown("model-first", "until the first token"),
            Shown("model-run-first", "until a client sees the first token of a run", (("added ms", "{} ms added"),)),
        ),
    ),
    Section(
        "Webhooks",
        "FastAPI and one SQLite commit; until the first event: `POST /api/prompt`",
        (
            Shown("hook", "a signed webhook until its 202"),
            Shown("hook-first", "until the first event of its run at a client"),
            Shown("hook-load", "5,000 in 10 s, answered with 202", (("lost", "{} lost"), ("p99 ms", "p99 {} ms"))),
        ),
    ),
    Section(
        "The product as a whole",
        "-",
        (
            Shown("ready", "`innkeeper up` until it is ready"),
            Shown("run-alone", "`innkeeper run` of the smallest example without a stack"),
            Shown("idle", "processor without work"),
            Shown("cancel", "from cancelling to the end of a streaming node"),
            Shown("memory-worker", "memory of the worker after a load"),
            Shown("memory-gateway", "memory of the gateway"),
            Shown("memory-server", "memory of the Temporal server"),
        ),
    ),
)
COSTS = ("empty-on", "runs-on", "fanout-on", "ws-20", "ws-200-batch")
WAY = "hops-200"
"""The row whose hops are shown."""


def main(arguments: Sequence[str] | None = None, page: Path = PAGE) -> int:
    """Write the page. Exit code 2 when a file or the page's marks are missing."""
    made = argparse.ArgumentParser(prog="python -m tests.benchmarks.page", description=__doc__)
    made.add_argument("files", nargs="+", type=Path, help="files with figures as JSON")
    chosen = made.parse_args(arguments)
    try:
        reports = [json.loads(file.read_text()) for file in chosen.files]
        text = with_figures(page.read_text(), figures(reports))
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    page.write_text(text)
    return 0


def with_figures(text: str, made: str) -> str:
    """The page with these figures between its marks.

    Raises:
        ValueError: It has no such marks.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN!r} ... {END!r}")
    return f"{before}{BEGIN}\n\n{made}\n\n{END}{after}"


def figures(reports: Sequence[Json]) -> str:
    """What stands between the marks, of files in the order in which they count."""
    rows = {key: row for report in reports for key, row in _rows(report)}
    tables = [table for section in SECTIONS if (table := _section(section, rows))]
    shown = [shown.key for section in SECTIONS for shown in section.rows]
    missing = [key for key in shown if key not in rows]
    left_out = f"Not measured: {', '.join(f'`{key}`' for key in missing)}." if missing else ""
    texts = [
        _machine(reports),
        *tables,
        *_costs(rows),
        *_way(rows),
        textwrap.fill(left_out, WIDTH, break_on_hyphens=False),
    ]
    return "\n\n".join(text for text in texts if text)


def _rows(report: Json) -> list[tuple[str, Json]]:
    prefix = PEERS if "peers" in report else ""
    return [(prefix + row["row"], row) for row in report["rows"]]


def _machine(reports: Sequence[Json]) -> str:
    """When and on what, once for all files that agree."""
    lines = dict.fromkeys(_measured_on(report) for report in reports)
    peers = {name: text for report in reports for name, text in report.get("peers", {}).items()}
    beside = [f"Beside {', '.join(f'{name} {text}' for name, text in peers.items())}."] if peers else []
    loops = [loop for report in reports for row in report["rows"] for loop in row["calibrationMs"]]
    even = f"A fixed piece of Python took {min(loops):.0f} to {max(loops):.0f} ms meanwhile (calm: within a tenth)."
    return "\n".join([*lines, *beside, even])


def _measured_on(report: Json) -> str:
    machine = report["machine"]
    hardware = f"{machine['cores']} cores ({machine['cpu']}), {machine['memoryGb']:g} GB"
    versions = f"Innkeeper {machine['innkeeper']}, Python {machine['python']}, Temporal {machine['temporalCli']}"
    system = machine["system"].partition("-")[0]  # the name of a kernel may tell whose machine it is
    return f"Measured on {report['measured'][:10]}: {hardware}, {system}.\n{versions}."


def _section(section: Section, rows: Mapping[str, Json]) -> str:
    lines = [_line(shown, rows[shown.key]) for shown in section.rows if shown.key in rows]
    if not lines:
        return ""
    beside = f"Beside {section.counterpart}.\n\n" if section.counterpart != "-" else ""
    head = _table_row("what", "figure (min..max)", "counterpart", "ratio (min..max)", "limit", "holds", "rounds")
    return "\n".join([f"### {section.title}", "", f"{beside}{head}", "|---|---|---|---|---|---|---|", *lines])


def _line(shown: Shown, row: Json) -> str:
    unit = row["unit"]
    also = [words.format(number(row["further"][name])) for name, words in shown.also if name in row["further"]]
    ours = ", ".join([f"{_spread(row['ours'])} {unit}".strip(), *also])
    base = f"{_spread(row['base'])} {unit}" if row["base"] else ""
    ratio = _spread(row["ratio"]) if row["ratio"] else ""
    holds = {"holds": "yes", "over": "**no**: " + ", ".join(row["broken"])}.get(row["verdict"], "")
    return _table_row(shown.title, ours, base, ratio, ", ".join(row["limits"]), holds, str(_rounds(row)))


def _spread(found: Json) -> str:
    return ranged(Spread(found["median"], found["min"], found["max"]))


def _rounds(row: Json) -> int:
    """Ours, or of a row of peers the only side that it has."""
    samples = row["samples"]
    return len(samples.get("ours") or next(iter(samples.values())))


def _costs(rows: Mapping[str, Json]) -> list[str]:
    """What our processes spend, by row."""
    titles = {shown.key: shown.title for section in SECTIONS for shown in section.rows}
    names = ("server", "gateway", "worker")
    lines = []
    for key in COSTS:
        parts = {part["name"]: part["figures"] for part in rows.get(key, {}).get("parts", ()) if part["table"] == CPU}
        found = [parts.get(f"ours: {name}") for name in names]
        headings = [name for figures in found if figures for name in figures]
        if headings:  # of run, node and chunk the smallest one
            cells = [number(figures[headings[-1]]) if figures else "" for figures in found]
            lines.append(_table_row(titles[key], *cells, headings[-1]))
    if not lines:
        return []
    head = _table_row("processor time", *names, "")
    return ["\n".join(["### What it costs", "", head, "|---|---|---|---|---|", *lines])]


def _way(rows: Mapping[str, Json]) -> list[str]:
    parts = [part for part in rows.get(WAY, {}).get("parts", ()) if part["table"] == HOPS]
    if not parts:
        return []
    lines = [
        _table_row(part["name"], *(number(part["figures"][name]) for name in ("p50", "p99")))
        for part in parts
        if part["figures"]
    ]
    head = _table_row("age of a chunk, 200 streams, with its way noted", "p50 ms", "p99 ms")
    return ["\n".join(["### The way of a chunk", "", head, "|---|---|---|", *lines])]


def _table_row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
