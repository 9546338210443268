"""A worker that was suspended goes on: its watchers blame no node for the time in which nothing ran."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from innkeeper.activities.placement.suspension import is_suspension

WORKER = """
import asyncio, logging, time
from innkeeper.activities.loop_watchdog import LoopWatchdog
from innkeeper.activities.placement.node_threads import NodeThreads

logging.basicConfig(format="log: %(message)s")

async def node():
    print("begun", flush=True)
    until = time.monotonic() + 4.5
    while time.monotonic() < until:
        turn = time.thread_time() + 0.2
        while time.thread_time() < turn:  # at work whenever the signal comes, but never for long
            pass
        await asyncio.sleep(0)
    return "ended by itself"

async def main():
    threads = NodeThreads(limit_s=2.5)
    watchdog = LoopWatchdog(replace_after_s=2.5, replace=lambda: print("replaced", flush=True))
    def warn(code, message):
        print(code, flush=True)
    print(await threads.run(node(), name="n", warn=warn, exclusive=False), flush=True)
    watchdog.stop()
    await threads.aclose()

asyncio.run(main())
"""


async def test_a_node_of_a_worker_that_was_suspended_is_neither_named_nor_begun_anew() -> None:
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WORKER), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert worker.stdout is not None
    try:
        async with asyncio.timeout(60):
            assert await worker.stdout.readline() == b"begun\n"
            os.kill(worker.pid, signal.SIGSTOP)
            await asyncio.sleep(3)  # longer than what is named after 2 s
            os.kill(worker.pid, signal.SIGCONT)
            assert await worker.stdout.read() == b"ended by itself\n"
            assert await worker.wait() == 0
    finally:
        if worker.returncode is None:
            worker.kill()
            await worker.wait()


@pytest.mark.parametrize(
    ("late_s", "worked_s", "expected"),
    [
        (6.0, 0.1, True),
        (6.0, 5.9, False),  # a node that holds the interpreter lock
        (0.4, 0.0, False),  # a busy machine
    ],
)
def test_a_late_watcher_means_a_suspension_only_without_work(late_s: float, worked_s: float, expected: bool) -> None:
    assert is_suspension(late_s, worked_s) is expected
