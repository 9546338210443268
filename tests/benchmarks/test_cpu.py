"""Processor time of other processes: a wrong share would send an optimisation to the wrong process."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import psutil
import pytest

from tests.benchmarks.cpu import CpuMeter, Work, cpu_parts, cpu_s
from tests.benchmarks.report import tables_of

BURN = "import time\nwhile time.process_time() < 0.3: pass\nprint('burnt', flush=True)\ninput()"


def test_time_of_another_process_is_its_own_and_counts_on() -> None:
    with subprocess.Popen(
        (sys.executable, "-c", BURN), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        meter = CpuMeter({"it": process.pid, "us": os.getpid()})
        process.stdout.readline()
        process_s = meter.read_s()["it"]
        process.communicate("\n")

    assert 0.1 < process_s < 0.6
    assert "it" not in meter.read_s()
    with pytest.raises(psutil.NoSuchProcess):
        cpu_s(process.pid)


def test_our_own_time_is_what_the_system_says_of_us() -> None:
    assert cpu_s(os.getpid()) == pytest.approx(time.process_time(), abs=0.05)


def test_time_is_told_per_run_node_and_chunk_of_the_mean_sample() -> None:
    samples = [{"temporal": 1.0, "gateway": 0.4}, {"temporal": 2.0, "gateway": 0.6}]

    parts = cpu_parts("runs-on", "ours", samples, Work(runs=50, nodes=250))

    assert [(part.name, part.figures) for part in parts] == [
        ("ours: server", {"ms/run": 30, "ms/node": 6}),
        ("ours: gateway", {"ms/run": 10, "ms/node": 2}),
    ]


def test_rows_share_a_table_and_have_a_dash_where_they_have_no_figure() -> None:
    parts = [
        *cpu_parts("empty", "ours", [{"gateway": 0.01}], Work(runs=1)),
        *cpu_parts("ws-1", "ours", [{"gateway": 0.01}], Work(runs=1, chunks=250)),
    ]

    (table,) = tables_of(parts)

    assert [column.header for column in table.columns] == ["row", "part", "ms/run", "µs/chunk"]
    assert [list(column.cells) for column in table.columns][2:] == [["10", "10"], ["-", "40"]]
