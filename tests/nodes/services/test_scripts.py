"""Functions in processes of their own: nothing a function does reaches the worker, and no process stays behind."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from innkeeper.nodes.errors import (
    InnkeeperError,
    InvalidNode,
    NodeError,
    NodeInputError,
    NodeTimeout,
    ProviderError,
    ResourceError,
)
from innkeeper.nodes.node import Scripts
from innkeeper.nodes.services import scripts as module
from innkeeper.nodes.services.scripts import ScriptProcesses
from innkeeper.nodes.tavern.environment import BadPattern

TOYS = Path(__file__).parent / "script_toys.py"
EXTENDED = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
Make = Callable[..., ScriptProcesses]


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children find `innkeeper.nodes.toys` beside the real modules."""
    folder = tmp_path / "more" / "innkeeper" / "nodes"
    folder.mkdir(parents=True)
    for package in (folder, folder.parent):
        (package / "__init__.py").write_text(EXTENDED)
    shutil.copy(TOYS, folder / "toys.py")
    real = module._environment

    def environment() -> dict[str, str]:
        found = real()
        return {**found, "PYTHONPATH": f"{folder.parents[1]}:{found['PYTHONPATH']}"}

    monkeypatch.setattr(module, "_environment", environment)


def children() -> set[int]:
    """Processes of this one; tests of other files may have left theirs running, a Temporal server, say."""
    return {child.pid for child in psutil.Process().children()}


@pytest.fixture
async def make(toys: None) -> AsyncIterator[Make]:
    made: list[ScriptProcesses] = []
    before = children()

    def new(**options: Any) -> ScriptProcesses:
        made.append(ScriptProcesses(**{"max_processes": 1, "memory_mb": 128, **options}))
        return made[-1]

    yield new
    for scripts in made:
        await scripts.aclose()
    assert children() <= before


async def failed(scripts: Scripts, function: str, timeout_s: float = 10, **arguments: Any) -> InnkeeperError:
    with pytest.raises(InnkeeperError) as caught:
        await scripts.call(f"innkeeper.nodes.toys:{function}", arguments, timeout_s=timeout_s)
    return caught.value


async def test_values_and_bytes_go_through_and_the_process_is_used_again(make: Make) -> None:
    scripts: Scripts = make()
    value = {"text": "酒馆 🍺 \0 \ud800", "n": [1, 2.5, None, True, 10**30, -1], "": {}}
    assert await scripts.call("innkeeper.nodes.toys:echo", {"value": value}) == value
    assert await scripts.call("innkeeper.nodes.toys:echo", {"value": 10**30}) == 10**30
    assert await scripts.call("innkeeper.nodes.toys:size", {}, data=b"\xff" * 3_000_000) == 3_000_000
    assert await scripts.call("innkeeper.nodes.toys:size", {}) == 0
    assert [await scripts.call("innkeeper.nodes.toys:count", {}) for _ in range(3)] == [1, 2, 3]


async def test_endless_loop_is_ended_in_time_and_the_next_call_works(make: Make) -> None:
    scripts = make()
    await scripts.call("innkeeper.nodes.toys:pid", {})
    started = time.monotonic()
    error = await failed(scripts, "forever", timeout_s=0.2)
    assert time.monotonic() - started < 5
    assert isinstance(error, NodeTimeout)
    assert (error.code, error.retryable) == ("timeout", False)
    assert error.message == "the work took longer than 0.2 s and was ended"
    assert error.details == {"function": "innkeeper.nodes.toys:forever"}
    assert isinstance(await failed(scripts, "deaf", timeout_s=0.2), NodeTimeout)
    assert await scripts.call("innkeeper.nodes.toys:echo", {"value": 1}) == 1


async def test_memory_bomb_hurts_only_its_process(make: Make) -> None:
    scripts = make(memory_mb=96)
    before = psutil.Process().memory_info().rss
    error = await failed(scripts, "bomb")
    assert (error.code, error.retryable) == ("script_out_of_memory", False)
    assert isinstance(error, NodeError)
    assert psutil.Process().memory_info().rss - before < 20_000_000
    # A fresh process: the old one's memory is in pieces.
    assert await scripts.call("innkeeper.nodes.toys:count", {}) == 1


async def test_cancelled_caller_ends_the_process(make: Make) -> None:
    scripts = make()
    child = psutil.Process(await scripts.call("innkeeper.nodes.toys:pid", {}))
    call = asyncio.create_task(scripts.call("innkeeper.nodes.toys:forever", {}, timeout_s=30))
    await asyncio.sleep(0.1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert not child.is_running()
    assert await scripts.call("innkeeper.nodes.toys:count", {}) == 1


async def test_cancel_while_the_process_starts_leaves_nothing(make: Make) -> None:
    scripts, before = make(), children()
    for _ in range(3):
        call = asyncio.create_task(scripts.call("innkeeper.nodes.toys:forever", {}, timeout_s=30))
        await asyncio.sleep(0.005)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert children() <= before
    assert await scripts.call("innkeeper.nodes.toys:count", {}) == 1


@pytest.mark.parametrize("function", ["die", "leave"])
async def test_death_is_told_and_the_next_call_works(make: Make, function: str) -> None:
    scripts = make()
    error = await failed(scripts, function)
    assert isinstance(error, NodeError)
    assert (error.code, error.retryable) == ("script_died", False)
    assert await scripts.call("innkeeper.nodes.toys:count", {}) == 1


async def test_process_that_died_while_idle_is_replaced(make: Make) -> None:
    scripts = make()
    child = psutil.Process(await scripts.call("innkeeper.nodes.toys:pid", {}))
    child.kill()
    while child.status() != psutil.STATUS_ZOMBIE:
        await asyncio.sleep(0.005)
    assert await scripts.call("innkeeper.nodes.toys:count", {}) == 1


async def test_nonsense_instead_of_an_answer_ends_the_process(make: Make) -> None:
    scripts = make()
    error = await failed(scripts, "babble")
    assert (error.code, error.retryable) == ("script_died", False)
    assert await scripts.call("innkeeper.nodes.toys:count", {}) == 1


async def test_prints_and_reads_of_a_function_stay_out_of_the_frames(make: Make) -> None:
    scripts = make()
    assert await scripts.call("innkeeper.nodes.toys:chatter", {}) == ""
    assert await scripts.call("innkeeper.nodes.toys:echo", {"value": 2}) == 2


async def test_answers_and_requests_are_bounded(make: Make) -> None:
    scripts = make(max_bytes=10_000)
    error = await failed(scripts, "huge", count=10_000)
    assert (error.code, error.retryable) == ("script_result_too_large", False)
    assert len(await scripts.call("innkeeper.nodes.toys:huge", {"count": 9_900})) == 9_900
    refused = await failed(scripts, "echo", value="x" * 10_000)
    assert isinstance(refused, NodeInputError)
    assert refused.code == "too_large"
    with pytest.raises(NodeInputError):
        await scripts.call("innkeeper.nodes.toys:size", {}, data=b"x" * 10_000)
    assert await scripts.call("innkeeper.nodes.toys:count", {}) == 1


async def test_values_too_deep_are_refused_and_deep_ones_are_not(make: Make) -> None:
    scripts = make()
    assert await scripts.call("innkeeper.nodes.toys:echo", {"value": [[[[1]]]]}) == [[[[1]]]]
    found = await scripts.call("innkeeper.nodes.toys:deep", {"depth": 400})
    assert str(found).count("[") == 400
    for function, arguments in (("deep", {"depth": 100_000}), ("dig", {"depth": 0})):
        error = await failed(scripts, function, **arguments)
        assert (error.code, error.retryable) == ("too_deep", False)


async def test_errors_of_ours_come_back_as_they_were(make: Make) -> None:
    scripts = make()
    ours = await failed(scripts, "fail", kind="ours")
    assert type(ours) is ResourceError
    assert (ours.code, ours.message, ours.details) == ("resource_not_found", "there is no file", {"path": "a"})
    pattern = await failed(scripts, "fail", kind="pattern")
    assert type(pattern) is BadPattern
    assert (pattern.code, pattern.retryable) == ("bad_pattern", False)
    special = await failed(scripts, "fail", kind="subclass")
    assert isinstance(special, NodeError)
    assert (special.code, special.retryable, special.message) == ("special_code", True, "special")
    assert not isinstance(special, ProviderError) or special.retry_after is None
    assert (await failed(scripts, "fail", kind="wait")).code == "waiting"
    assert (await failed(scripts, "fail", kind="details")).message == "odd"


async def test_errors_of_others_are_told_without_their_words(make: Make) -> None:
    scripts = make()
    error = await failed(scripts, "fail", kind="foreign")
    assert isinstance(error, NodeError)
    assert (error.code, error.retryable) == ("script_failed", False)
    assert error.message == "the work failed: KeyError"
    assert isinstance(await failed(scripts, "not_json"), InvalidNode)
    assert (await failed(scripts, "echo", valu=1)).code == "script_failed"
    assert await scripts.call("innkeeper.nodes.toys:count", {}) == 1


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "innkeeper.nodes.toys:os",
        "innkeeper.nodes.toys:_Special",
        "innkeeper.nodes.toys:nothing",
        "nodes.nothing:at_all",
        "innkeeper.nodes.toys",
        "",
    ],
)
async def test_only_public_functions_of_nodes_are_called(make: Make, name: str) -> None:
    scripts = make()
    with pytest.raises(InvalidNode):
        await scripts.call(name, {})
    assert await scripts.call("innkeeper.nodes.toys:count", {}) == 1


async def test_process_knows_nothing_of_the_worker(make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    monkeypatch.setenv("INNKEEPER_WORKER_TOKEN", "token")
    scripts = make()
    with (tmp_path / "open.txt").open("w"):
        assert set(await scripts.call("innkeeper.nodes.toys:environment", {})) <= {
            *module._ENVIRONMENT,
            "PYTHONPATH",
            "PYTHONUTF8",
            "PYTHONHASHSEED",
            "OPENBLAS_NUM_THREADS",
        }
        files = await scripts.call("innkeeper.nodes.toys:open_files", {})
    assert len([name for name in files if name.startswith("socket:")]) == 1
    assert {name for name in files if not name.startswith(("socket:", "/proc/"))} == {"/dev/null"}


async def test_process_cannot_write_files(make: Make, tmp_path: Path) -> None:
    error = await failed(make(), "write_file", path=str(tmp_path / "file"))
    assert error.message.endswith("failed: OSError")
    assert not (tmp_path / "file").exists() or (tmp_path / "file").read_text() == ""


async def test_sets_have_the_same_order_in_every_process(make: Make) -> None:
    orders = [await make().call("innkeeper.nodes.toys:set_of_words", {}) for _ in range(3)]
    assert orders[0] == orders[1] == orders[2]


async def test_so_many_run_at_once_and_the_others_wait(make: Make) -> None:
    scripts = make(max_processes=2)
    pids = await asyncio.gather(*(scripts.call("innkeeper.nodes.toys:pid", {}) for _ in range(20)))
    assert 1 <= len(set(pids)) <= 2
    started = time.monotonic()
    # The time to wait for a turn is not the time to run: the last two wait longer than they may run.
    await asyncio.gather(
        *(scripts.call("innkeeper.nodes.toys:sleep", {"seconds": 0.4}, timeout_s=1.2) for _ in range(8))
    )
    assert time.monotonic() - started >= 1.6


async def test_waiting_is_bounded(make: Make) -> None:
    scripts = make(wait_s=0.1)
    slow = asyncio.create_task(scripts.call("innkeeper.nodes.toys:sleep", {"seconds": 1.5}))
    await asyncio.sleep(0.05)
    error = await failed(scripts, "pid")
    assert (error.code, error.retryable) == ("scripts_busy", True)
    assert await slow == 1.5


async def test_unused_process_ends_and_a_used_one_stays(make: Make) -> None:
    scripts = make(idle_s=1.0)
    first = await scripts.call("innkeeper.nodes.toys:pid", {})
    for _ in range(2):  # together longer than it may be idle
        await asyncio.sleep(0.55)
        assert await scripts.call("innkeeper.nodes.toys:pid", {}) == first
    async with asyncio.timeout(30):
        while psutil.pid_exists(first):
            await asyncio.sleep(0.02)
    assert await scripts.call("innkeeper.nodes.toys:count", {}) == 1


async def test_closing_ends_calls_that_are_under_way(make: Make) -> None:
    scripts, before = make(max_processes=2), children()
    calls = [asyncio.create_task(scripts.call("innkeeper.nodes.toys:forever", {}, timeout_s=30)) for _ in range(3)]
    await asyncio.sleep(0.15)
    started = time.monotonic()
    await scripts.aclose()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert time.monotonic() - started < 15  # they may run for 30 s
    assert {error.code for error in results if isinstance(error, NodeError)} == {"script_died", "scripts_closed"}
    assert children() <= before
    with pytest.raises(NodeError, match="stopping"):
        await scripts.call("innkeeper.nodes.toys:pid", {})


PARENT = """
import asyncio, sys
from innkeeper.nodes.services.scripts import ScriptProcesses
async def main():
    scripts = ScriptProcesses(1)
    await scripts.call("innkeeper.nodes.hosts:host_of", {"url": "http://a"})
    print(next(iter(scripts._idle))._process.pid, flush=True)
    loop = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    arguments = {"source": loop, "values": {}, "seed": 0}
    await scripts.call("innkeeper.nodes.library.utilities.template_text:render", arguments, timeout_s=60)
asyncio.run(main())
"""


def test_process_dies_with_its_killed_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        time.sleep(0.2)
        assert child.is_running()
        os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
