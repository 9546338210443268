"""Benchmarks start many processes; none of them may be left behind, however they are ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

START_S, END_S = 60.0, 30.0
RUNNING = ("start-dev", "innkeeper.activities.worker")


@pytest.mark.parametrize(
    ("row", "number", "code"),
    [
        ("empty", signal.SIGINT, 130),
        ("idle", signal.SIGINT, 130),
        ("idle", signal.SIGKILL, -signal.SIGKILL),
    ],
)
@pytest.mark.slow
def test_nothing_is_left_of_a_benchmark_that_is_stopped(
    row: str, number: signal.Signals, code: int, tmp_path: Path
) -> None:
    command = (sys.executable, "-m", "tests.benchmarks", "--rows", row, "--rounds", "1000")
    environment = {**os.environ, "TMPDIR": str(tmp_path)}  # what SIGKILL leaves behind are folders
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as benchmark:
        try:
            family = _started(benchmark)
            benchmark.send_signal(number)
            ended = benchmark.wait(END_S)
        finally:
            benchmark.kill()

    _, alive = psutil.wait_procs(family, timeout=END_S)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
    assert ended == code


def _started(benchmark: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Everything below it, as soon as the server and a worker are there."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        family = psutil.Process(benchmark.pid).children(recursive=True)
        words = {word for process in family for word in _command(process)}
        if words.issuperset(RUNNING):
            return family
        time.sleep(0.1)
    raise AssertionError("the benchmark did not start its processes")


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has just ended
        return []
