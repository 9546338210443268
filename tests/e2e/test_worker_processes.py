"""`innkeeper worker --processes N` as an operator starts it: real workers on a real stack, and real kills."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from innkeeper.gateway.process.local_stack import LocalStack

INNKEEPER = (sys.executable, "-m", "innkeeper.gateway.cli.commands", "worker", "--data-dir")
SUPERVISED = """
import asyncio, sys
from innkeeper.gateway.process.supervisor import ChildSpec, Supervisor
async def main():
    await Supervisor(None).start([ChildSpec("workers", tuple(sys.argv[1:]))])
    await asyncio.sleep(60)
asyncio.run(main())
"""
STEP: dict[str, Any] = {"nodes": [{"id": "hi", "fullType": "core:CreateMessage", "inputs": {"content": "Hi"}}]}


@pytest.fixture
def stack(shared: tuple[LocalStack, Path]) -> LocalStack:
    """What the workers join; it has one of its own."""
    return shared[0]


@contextmanager
def started(*command: object, **env: str) -> Iterator[subprocess.Popen[str]]:
    """A process that the block kills if it does not end it."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("INNKEEPER_")}
    with subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True, env=clean | env) as process:
        try:
            yield process
        finally:
            process.kill()


def workers_below(pid: int) -> list[psutil.Process]:
    try:
        below = psutil.Process(pid).children(recursive=True)
        return [child for child in below if "innkeeper.activities.worker" in child.cmdline()]
    except psutil.NoSuchProcess:
        return []


async def until(true: Callable[[], Any], seconds: float = 40.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.05)


async def connected(stack: LocalStack, count: int) -> None:
    """Wait until the gateway has exactly so many workers beside the stack's own."""
    async with httpx.AsyncClient(base_url=stack.url, trust_env=False) as http, asyncio.timeout(40):
        while (await http.get("/readyz")).json()["workers"] != count + 1:
            await asyncio.sleep(0.1)


async def run_is_complete(stack: LocalStack) -> bool:
    async with httpx.AsyncClient(base_url=stack.url, trust_env=False, timeout=30) as http:
        answer = await http.post("/api/prompt", json={**STEP, "wait": 20})
    return answer.status_code == 200 and answer.json()["status"] == "complete"


def left(processes: list[psutil.Process]) -> list[psutil.Process]:
    _, alive = psutil.wait_procs(processes, timeout=30)
    return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


async def test_each_process_is_a_worker_of_its_own_and_a_killed_one_comes_back(stack: LocalStack) -> None:
    with started(*INNKEEPER, stack.options.data_dir, "--processes", 2) as processes:
        await connected(stack, 2)
        first = workers_below(processes.pid)
        assert len(first) == 2
        first[0].kill()
        await until(lambda: len({*workers_below(processes.pid)} - {*first}) == 1)
        await connected(stack, 2)
        assert await run_is_complete(stack)
        family = psutil.Process(processes.pid).children(recursive=True)
        processes.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(processes.wait, 20) == 0
        assert left(family) == []
        assert processes.stderr is not None
        said = processes.stderr.read()
        assert "worker-1 ended with code -9 and is started again" in said or "worker-2 ended with code -9" in said
        assert said.count('"worker stopping"') == 2  # both finished in order
    await connected(stack, 0)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
async def test_no_worker_is_left_when_the_command_ends(stack: LocalStack, number: int) -> None:
    with started(*INNKEEPER, stack.options.data_dir, INNKEEPER_WORKER_PROCESSES="2") as processes:
        await connected(stack, 2)
        family = psutil.Process(processes.pid).children(recursive=True)
        processes.send_signal(number)
        code = await asyncio.to_thread(processes.wait, 20)
        assert code == (0 if number == signal.SIGINT else -signal.SIGKILL)
        assert left(family) == []
    await connected(stack, 0)


@pytest.mark.slow
async def test_no_worker_is_left_when_what_supervises_the_command_is_killed(stack: LocalStack) -> None:
    command = (*INNKEEPER, stack.options.data_dir, "--processes", 2)
    with started(sys.executable, "-c", SUPERVISED, *command) as supervisor:
        await connected(stack, 2)
        family = psutil.Process(supervisor.pid).children(recursive=True)
        assert len(family) >= 3
        supervisor.kill()
        assert left(family) == []
    await connected(stack, 0)


@pytest.mark.slow
async def test_workers_that_cannot_start_end_the_command_with_their_reason(tmp_path: Path) -> None:
    command = (*INNKEEPER, tmp_path, "--processes", 2)
    with started(*command, INNKEEPER_MAX_ACTIVITIES="none") as processes:
        assert await asyncio.to_thread(processes.wait, 100) == 1
        assert processes.stderr is not None
        said = processes.stderr.read()
    assert "INNKEEPER_MAX_ACTIVITIES is 'none'" in said
    assert "innkeeper: worker-" in said
    assert "does not start" in said
    assert "Traceback" not in said
