"""The page of figures: nobody types them, so what is written has to be what was measured."""

from __future__ import annotations

import json
import platform
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import __main__ as command
from tests.benchmarks.cpu import Work, cpu_parts
from tests.benchmarks.hops import parts_of
from tests.benchmarks.hops_trace import CLIENT
from tests.benchmarks.page import BEGIN, COSTS, END, PAGE, PEERS, SECTIONS, WAY, figures, main, with_figures
from tests.benchmarks.peers.__main__ import LOADS, TITLES
from tests.benchmarks.report import Check, Line, Spread, rows_json, write
from tests.benchmarks.streams_measure import Histogram

LOOPS = (20.0, 23.0)


def _line(key: str, **fields: Any) -> Line:
    given = {"samples": {"ours": [1, 2, 3]}, "ratio": Spread(1.1, 1, 1.2), "base": Spread(10, 9, 11), **fields}
    return Line(key, "", "ms", Spread(11, 10, 12), LOOPS, **given)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    delays = Histogram()
    delays.add(70)
    lines = [
        _line("runs-on", checks=(Check("ratio <= 1", False),), further={"CPU": 1.25}),
        _line("ws-20", parts=cpu_parts("ws-20", "ours", [{"temporal": 0.1, "gateway": 0.4}], Work(20, chunks=5_000))),
        _line(WAY, parts=parts_of(WAY, {CLIENT: delays})),
    ]
    write(tmp_path / "bench.json", rows_json(lines))
    return tmp_path / "bench.json"


def test_row_stands_there_with_counterpart_ratio_limit_and_rounds(file: Path) -> None:
    text = figures([json.loads(file.read_text())])

    row = (
        "| 50 runs of 5 nodes at once | 11 (10..12) ms, CPU ratio 1.25 | 10 (9..11) ms | 1.10 (1..1.20) | ratio <= 1 |"
    )
    assert f"{row} **no**: ratio <= 1 | 3 |" in text
    assert "| 20 streams | 20 | 80 |  | µs/chunk |" in text
    assert re.search(r"\| client \| 7[01].\d \| 7[01].\d \|", text)
    assert "took 20 to 23 ms" in text
    assert "`ws-1`" in text[text.index("Not measured: ") :]


def test_page_names_machine_and_versions_and_not_the_host(file: Path) -> None:
    report = json.loads(file.read_text())

    text = figures([report])

    assert f"Measured on {report['measured'][:10]}: {report['machine']['cores']} cores" in text
    assert f"Python {report['machine']['python']}" in text
    assert socket.gethostname() not in text
    assert platform.release() not in text


def test_row_of_a_later_file_counts_and_peers_are_kept_apart_from_rows_of_the_same_name(file: Path) -> None:
    first = json.loads(file.read_text())
    peers = {**first, "peers": {"dbos": "3.4.0"}, "rows": [_line("runs-inline", ratio=Spread(2, 2, 2)).to_json()]}
    ours = {**first, "rows": [_line("runs-inline", ratio=Spread(5, 5, 5)).to_json(), _line("ws-20").to_json()]}

    text = figures([first, peers, ours])

    assert "| 50 runs of 5 nodes at once | 11 (10..12) ms | 10 (9..11) ms | 2 |" in text
    assert "Beside dbos 3.4.0." in text
    assert "µs/chunk" not in text


def test_only_what_is_between_the_marks_is_written_again_and_again(file: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nearlier\n{END}\nafter\n")

    assert main([str(file)], page) == 0
    written = page.read_text()
    assert main([str(file)], page) == 0

    assert page.read_text() == written
    assert written.startswith(f"before\n{BEGIN}\n\nMeasured on ")
    assert written.endswith(f"\n\n{END}\nafter\n")
    assert "earlier" not in written


def test_page_without_marks_and_file_without_figures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no '<!-- figures: begin"):
        with_figures("nothing", "")
    page = tmp_path / "page.md"
    page.write_text("kept")
    assert main([str(tmp_path / "absent.json")], page) == 2
    assert page.read_text() == "kept"


def test_page_of_the_project_has_marks_and_shows_rows_that_there_are() -> None:
    ours = {row.key for rows, _ in command.FAMILIES.values() for row in rows}
    peers = {f"{PEERS}{load.key}-{side}" for load in LOADS for side in TITLES}

    assert {shown.key for section in SECTIONS for shown in section.rows} | {*COSTS, WAY} <= ours | peers
    with_figures(PAGE.read_text(), "")
