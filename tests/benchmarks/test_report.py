"""The arithmetic of the table: a wrong ratio would mislead every decision taken from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks import __main__ as command
from tests.benchmarks.loads import ROWS
from tests.benchmarks.measure import Measured, Sample
from tests.benchmarks.report import Line, write

CHAIN_OFF = next(row for row in ROWS if row.key == "chain-off")


def _measured(*walls: tuple[float, float]) -> Measured:
    ours = [Sample(wall=our, own=our - 1, cpu=our) for our, _ in walls]
    theirs = [Sample(wall=their, own=their, cpu=2 * their) for _, their in walls]
    return Measured({"off": ours, "hand": theirs}, before=10.0, after=12.0)


def test_ratio_is_the_median_of_the_rounds_not_of_the_times() -> None:
    line = Line.of(CHAIN_OFF, _measured((100, 100), (300, 200), (120, 100)))

    assert line.ratio.median == 1.2
    assert (line.ratio.least, line.ratio.greatest) == (1.0, 1.5)
    assert line.best == 1.0
    assert line.cpu_ratio == 520 / 800


def test_verdict_holds_at_the_limit_and_is_over_behind_it() -> None:
    assert Line.of(CHAIN_OFF, _measured((110, 100))).verdict == "holds"
    assert Line.of(CHAIN_OFF, _measured((111, 100))).verdict == "over"


def test_report_file_names_row_figures_limit_and_verdict(tmp_path: Path) -> None:
    measured = _measured((121, 100))

    write(tmp_path / "new" / "bench.json", [Line.of(CHAIN_OFF, measured)], {"chain": measured}, rounds=1)

    row = json.loads((tmp_path / "new" / "bench.json").read_text())["rows"][0]
    assert {key: row[key] for key in ("row", "oursMs", "handwrittenMs", "ratio", "limit", "verdict")} == {
        "row": "chain-off",
        "oursMs": 121,
        "handwrittenMs": 100,
        "ratio": 1.21,
        "limit": 1.1,
        "verdict": "over",
    }


def test_unknown_row_is_refused_with_the_rows_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--rows", "chain-on,nonsense"])

    assert "no row 'nonsense'; there are chain-on, chain-off" in capsys.readouterr().err
