"""Tasks that everything hangs on end never silently."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest

from innkeeper.nodes.process import critical_tasks
from innkeeper.nodes.process.critical_tasks import CRASHED, end_process_with_tasks, run_critical

PROCESS = """
import asyncio, logging, sys
from innkeeper.nodes.process.critical_tasks import end_process_with_tasks, run_critical
logging.basicConfig(stream=sys.stderr)

async def work():
    await asyncio.sleep(0.05)
    {end}

async def main():
    end_process_with_tasks()
    task = run_critical(work(), "the writer")
    await asyncio.sleep(30)

asyncio.run(main())
"""


@pytest.fixture
def lost() -> Iterator[list[str]]:
    names: list[str] = []
    end_process_with_tasks(names.append)
    yield names
    critical_tasks.forget_process()


@pytest.mark.parametrize("end", ["raise ValueError('a bug')", "return", "raise SystemExit(0)"])
def test_process_ends_with_the_task_and_says_which(end: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROCESS.format(end=end)], capture_output=True, text=True, timeout=20, check=False
    )
    if "SystemExit" not in end:  # that one ends the loop itself
        assert done.returncode == CRASHED
        assert "the task 'the writer' has ended by itself" in done.stderr
    assert ("ValueError: a bug" in done.stderr) == ("ValueError" in end)


async def test_task_that_its_owner_cancels_is_no_loss(lost: list[str]) -> None:
    task = run_critical(asyncio.sleep(30), "calm")
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert lost == []


async def test_embedded_parts_only_log(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise KeyError("x")

    with caplog.at_level(logging.CRITICAL):
        await asyncio.gather(run_critical(work(), "part"), return_exceptions=True)
        await asyncio.sleep(0)
    assert "the task 'part' has ended by itself" in caplog.text
