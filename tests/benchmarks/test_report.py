"""The arithmetic of the table: a wrong ratio would mislead every decision taken from it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.benchmarks import __main__ as command
from tests.benchmarks import product, streams
from tests.benchmarks.engine import line_of
from tests.benchmarks.loads import ROWS
from tests.benchmarks.measure import Measured, Sample
from tests.benchmarks.report import (
    Check,
    Line,
    Spread,
    at_least,
    at_most,
    cells,
    may_take_too_long,
    number,
    ranged,
    rows_json,
    write,
)
from tests.benchmarks.streams_measure import Tally, Usage

CHAIN_OFF = next(row for row in ROWS if row.key == "chain-off")
GROUPS = next(row for row in ROWS if row.key == "groups")
LOOPS = (10.0, 12.0)


def _measured(*walls: tuple[float, float]) -> Measured:
    ours = [Sample(wall=our, own=our - 1, cpu=our) for our, _ in walls]
    theirs = [Sample(wall=their, own=their, cpu=2 * their) for _, their in walls]
    return Measured({"off": ours, "hand": theirs}, *LOOPS)


def _outcome(p50_ms: float | None, *, per_s: float = 50, lost: int = 0, gap_ms: float = 0) -> streams.Outcome:
    usage = {"gateway": Usage(0.5, 80, 2.5)}
    return streams.Outcome(p50_ms, p50_ms and 2 * p50_ms, per_s, lost, 0, usage, gap_ms)


def _stream_row(key: str) -> streams.Row:
    return next(row for row in streams.ROWS if row.key == key)


def _product_row(key: str) -> product.Row:
    return next(row for row in product.ROWS if row.key == key)


def test_ratio_is_the_median_of_the_rounds_not_of_the_times() -> None:
    line = line_of(CHAIN_OFF, _measured((100, 100), (300, 200), (120, 100)))

    assert line.ratio == Spread(1.2, 1.0, 1.5)
    assert line.ours == Spread(120, 100, 300)
    assert line.base == Spread(100, 100, 200)
    assert line.further["best"] == 1.0
    assert line.further["CPU"] == 520 / 800


def test_verdict_holds_at_the_limit_and_is_over_behind_it() -> None:
    assert line_of(CHAIN_OFF, _measured((110, 100))).verdict == "holds"
    assert line_of(CHAIN_OFF, _measured((111, 100))).verdict == "over"


def test_row_of_pieces_is_held_to_the_time_of_one_piece() -> None:
    line = line_of(GROUPS, _measured((2_020, 2_000)))

    assert line.further["each"] == 101
    assert line.broken == ("each <= 100 ms",)


def test_row_with_a_limit_on_processor_time_is_held_to_it_too() -> None:
    row = next(row for row in ROWS if row.key == "runs-on")
    rounds = [Sample(wall=110, own=1, cpu=120)], [Sample(wall=100, own=1, cpu=100)]

    line = line_of(row, Measured({"on": rounds[0], "hand": rounds[1]}, *LOOPS))

    assert line.broken == ("CPU <= 1.15",)


def test_row_without_limit_has_no_verdict() -> None:
    line = Line("idle", "", "%", Spread(1, 1, 1), LOOPS)

    assert (line.verdict, line.broken) == ("-", ())


def test_stream_is_held_to_all_its_limits_and_one_lost_chunk_breaks_it() -> None:
    row = _stream_row("ws-20")

    good = streams.line_of(row, [_outcome(1), _outcome(0.5), _outcome(9)], [_outcome(1)] * 3, LOOPS)
    assert (good.verdict, good.ratio, good.ours) == ("holds", Spread(1, 0.5, 9), Spread(1, 0.5, 9))

    bad = streams.line_of(row, [_outcome(5), _outcome(5, lost=1)], [_outcome(1), _outcome(1)], LOOPS)
    assert bad.broken == ("p50 <= 1.50 ms", "p99 <= 6 ms", "none lost")


def test_row_of_too_many_streams_may_be_late_and_must_not_stand_still_in_any_round() -> None:
    row, hand = _stream_row("ws-300-batch"), [_outcome(1)] * 2

    assert streams.line_of(row, [_outcome(900, gap_ms=80)] * 2, hand, LOOPS).verdict == "holds"
    stalled = streams.line_of(row, [_outcome(90, gap_ms=80), _outcome(90, gap_ms=1_001)], hand, LOOPS)
    assert stalled.broken == ("longest gap <= 1,000 ms",)


def test_chunks_that_come_to_any_client_end_a_gap() -> None:
    tally = Tally()
    tally.take(f"0 {time.monotonic_ns()}", 0)
    time.sleep(0.05)
    for index in range(3):
        tally.take(f"{index} {time.monotonic_ns()}", index)

    assert 45 <= tally.longest_gap_ms < 500
    assert (tally.received, tally.misplaced) == (4, 0)


def test_stream_at_full_speed_compares_the_times_of_a_chunk() -> None:
    line = streams.line_of(
        _stream_row("relay-max"), [_outcome(None, per_s=9_000)], [_outcome(None, per_s=18_000)], LOOPS
    )

    assert line.ratio is not None
    assert line.ratio.median == 2
    assert line.broken == ("ratio <= 1.50", "speed >= 10,000 chunks/s")


def test_memory_is_held_where_it_was_highest_and_a_time_in_the_middle() -> None:
    memory = product.line_of(_product_row("memory-worker"), product.Found([100, 120, 161]), LOOPS)
    assert memory.verdict == "over"

    ready = product.line_of(_product_row("ready"), product.Found([1, 1.9, 9]), LOOPS)
    assert ready.verdict == "holds"


def test_row_with_a_counterpart_is_held_to_its_ratio() -> None:
    line = product.line_of(_product_row("slots"), product.Found([10, 30], [5, 10]), LOOPS)

    assert line.ratio == Spread(2.5, 2, 3)
    assert line.broken == ("ratio <= 2",)


def test_a_limit_that_is_not_there_is_no_check() -> None:
    assert at_most("p50", 5, None) == at_least("speed", 5, None) == ()
    assert at_most("p50", 5, 5, "ms") == (Check("p50 <= 5 ms", True),)
    assert at_least("speed", 4, 5) == (Check("speed >= 5", False),)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.125, "0.12"),
        (0.00449, "0.0045"),
        (1.204, "1.20"),
        (12.34, "12.3"),
        (123.4, "123"),
        (16_600.4, "16,600"),
        (3.0, "3"),
    ],
)
def test_numbers_have_about_three_figures(value: float, text: str) -> None:
    assert number(value) == text


def test_no_figure_is_a_dash() -> None:
    assert number(float("nan")) == "-"
    assert ranged(None) == "-"
    assert ranged(Spread(2, 2, 2)) == "2"
    assert ranged(Spread(2, 1, 4)) == "2 (1..4)"


def test_broken_limit_of_several_is_named_in_the_table() -> None:
    line = Line("x", "", "ms", Spread(2, 2, 2), LOOPS, checks=(Check("p50 <= 1 ms", False), Check("none lost", True)))

    assert "[red]over: p50 <= 1 ms[/]" in cells(line)


def test_report_file_names_row_figures_limit_verdict_and_samples(tmp_path: Path) -> None:
    write(tmp_path / "new" / "bench.json", rows_json([line_of(CHAIN_OFF, _measured((121, 100)))]))

    report = json.loads((tmp_path / "new" / "bench.json").read_text())
    row = report["rows"][0]
    assert report["machine"]["cores"]
    assert {key: row[key] for key in ("row", "ours", "base", "ratio", "broken", "verdict")} == {
        "row": "chain-off",
        "ours": {"median": 121, "min": 121, "max": 121},
        "base": {"median": 100, "min": 100, "max": 100},
        "ratio": {"median": 1.21, "min": 1.21, "max": 1.21},
        "broken": ["ratio <= 1.10"],
        "verdict": "over",
    }
    assert row["samples"]["hand"] == [{"wall": 100, "own": 100, "cpu": 200, "processes": {}}]


def test_row_that_takes_too_long_is_said_and_others_follow() -> None:
    said: list[str] = []

    def fail(error: type[Exception]) -> None:
        raise error

    with may_take_too_long("ws-200", said.append):
        fail(TimeoutError)
    assert said == ["ws-200: left out, it took too long"]

    with pytest.raises(RuntimeError), may_take_too_long("ws-200", said.append):
        fail(RuntimeError)


def test_unknown_row_is_refused_with_the_rows_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--rows", "chain-on,nonsense"])

    assert "no row 'nonsense'; there are chain-on, chain-off" in capsys.readouterr().err


def test_no_two_rows_have_one_name() -> None:
    keys = [row.key for rows, _ in command.FAMILIES.values() for row in rows]

    assert len(keys) == len(set(keys))
    assert not set(keys) & command.FAMILIES.keys()
