"""Child processes: restarted, stopped in order, never orphaned, whatever happens to who started them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from innkeeper.gateway.process.supervisor import Child, ChildSpec, StackError, Supervisor, trim_log

SLEEP = "import time; time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"
NOTED_STOP = """
import signal, sys, time
def stop(*_):
    print(sys.argv[1], file=open(sys.argv[2], "a"), flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("on", flush=True)
time.sleep(60)
"""
PARENT = """
import asyncio, sys, time
from pathlib import Path
from innkeeper.gateway.process.supervisor import Child, ChildSpec
async def main():
    spec = ChildSpec("child", (sys.executable, "-c", "import time; print('on', flush=True); time.sleep(60)"))
    child = Child(spec, Path(sys.argv[1]), tied_by_kernel=sys.argv[2] == "kernel")
    await child.start()
    while child.last_line() != "on":
        await asyncio.sleep(0.01)
    print(child.pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
TIES = [
    pytest.param(True, id="kernel", marks=pytest.mark.skipif(sys.platform != "linux", reason="only on Linux")),
    pytest.param(False, id="pipe"),
]


def python(name: str, code: str, *arguments: str, stop_s: float = 5.0) -> ChildSpec:
    return ChildSpec(name, (sys.executable, "-c", code, *arguments), stop_s=stop_s)


async def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


def still_running(processes: list[psutil.Process]) -> list[psutil.Process]:
    _, alive = psutil.wait_procs(processes, timeout=20)
    return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("tied_by_kernel", TIES)
async def test_killed_child_is_started_again(tmp_path: Path, tied_by_kernel: bool) -> None:
    child = Child(python("sleeper", SLEEP), tmp_path, tied_by_kernel=tied_by_kernel)
    await child.start()
    first = child.pid
    assert first is not None
    os.killpg(first, signal.SIGKILL)
    await until(lambda: child.pid not in (None, first))
    second = child.pid
    assert child.restarts == 1
    await child.stop()
    assert second is not None
    assert not psutil.pid_exists(second)
    assert child.pid is None


@pytest.mark.parametrize("tied_by_kernel", TIES)
async def test_child_that_ignores_sigterm_is_killed_after_its_time(
    tmp_path: Path, tied_by_kernel: bool, caplog: pytest.LogCaptureFixture
) -> None:
    child = Child(python("stubborn", STUBBORN, stop_s=0.2), tmp_path, tied_by_kernel=tied_by_kernel)
    await child.start()
    await until(lambda: child.last_line() == "on")
    processes = _family(child)
    await child.stop()
    assert "stubborn did not stop in 0.2 s and is killed" in caplog.text
    assert still_running(processes) == []


@pytest.mark.parametrize("how", ["kernel", "pipe"])
def test_child_dies_with_a_supervisor_that_is_killed(tmp_path: Path, how: str) -> None:
    if how == "kernel" and sys.platform != "linux":
        pytest.skip("only on Linux")
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path), how], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        family = [child, *child.children(recursive=True)]
        parent.kill()
    assert still_running(family) == []


@pytest.mark.parametrize("tied_by_kernel", TIES)
async def test_files_of_children_are_private(tmp_path: Path, tied_by_kernel: bool) -> None:
    code = "import sys; open(sys.argv[1], 'w').close(); print('on', flush=True); __import__('time').sleep(60)"
    child = Child(python("child", code, str(tmp_path / "made")), tmp_path, tied_by_kernel=tied_by_kernel)
    await child.start()
    try:
        await until(lambda: child.last_line() == "on")
    finally:
        await child.stop()
    assert (tmp_path / "made").stat().st_mode & 0o077 == 0


async def test_children_stop_stage_by_stage(tmp_path: Path) -> None:
    order = tmp_path / "order"
    supervisor = Supervisor(tmp_path)
    names = ["first", "second", "third"]
    await supervisor.start([python(name, NOTED_STOP, name, str(order)) for name in names])
    await until(lambda: all(child.last_line() == "on" for child in supervisor.children.values()))
    await supervisor.stop(["third"], ["first"])
    assert order.read_text().split() == ["third", "first", "second"]


async def test_child_that_may_be_killed_is_killed_when_the_others_have_stopped(tmp_path: Path) -> None:
    order = tmp_path / "order"
    supervisor = Supervisor(tmp_path)
    await supervisor.start([python(name, NOTED_STOP, name, str(order)) for name in ("killed", "first", "second")])
    await until(lambda: all(child.last_line() == "on" for child in supervisor.children.values()))
    await supervisor.stop(["second"], killed=["killed"])
    assert order.read_text().split() == ["second", "first"]
    assert all(child.pid is None for child in supervisor.children.values())


async def test_child_that_never_runs_is_told_with_its_last_words(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    await supervisor.start([python("broken", "import sys; sys.exit('the disk is on fire')")])
    with pytest.raises(StackError, match=r"broken does not start: the disk is on fire \(log: .*broken.log\)"):
        await supervisor.ready(asyncio.sleep(30))
    await supervisor.stop()


async def test_child_that_is_killed_early_again_and_again_still_counts_as_one_that_runs(tmp_path: Path) -> None:
    supervisor = Supervisor(None)
    await supervisor.start([python("sleeper", SLEEP)])
    child = supervisor.children["sleeper"]
    ready = asyncio.Event()
    waiting = asyncio.create_task(supervisor.ready(ready.wait()))
    for kills in range(1, 5):
        pid = child.pid
        assert pid is not None
        os.killpg(pid, signal.SIGKILL)
        await until(lambda pid=pid: child.pid not in (None, pid))  # type: ignore[misc]
        assert child.restarts == kills
    ready.set()
    await waiting
    await supervisor.stop()


async def test_a_long_log_is_cut_while_its_writer_keeps_it_open(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    with path.open("ab", buffering=0) as writer:
        writer.write(b"old\n" * 100)
        trim_log(path, max_bytes=50)
        writer.write(b"new\n")
    assert path.read_bytes() == b"new\n"
    assert (tmp_path / "x.log.1").read_bytes() == b"old\n" * 100


def _family(child: Child) -> list[psutil.Process]:
    assert child.pid is not None
    head = psutil.Process(child.pid)
    return [head, *head.children(recursive=True)]


LIVELY = (
    "import asyncio, os\n"
    "from innkeeper.nodes.process.life_sign import give_life_signs\n"
    "asyncio.run(give_life_signs(os.environ))\n"
)
HANGING = (
    "import asyncio, os, time\n"
    "from innkeeper.nodes.process.life_sign import give_life_signs\n"
    "async def main():\n"
    "    task = asyncio.create_task(give_life_signs(os.environ))\n"
    "    await asyncio.sleep(0.2)\n"
    "    time.sleep(60)\n"
    "asyncio.run(main())\n"
)


async def test_child_that_hangs_is_killed_and_started_again(tmp_path: Path) -> None:
    """It exists, and its event loop stands still."""
    supervisor = Supervisor(tmp_path)
    spec = ChildSpec("hangs", (sys.executable, "-c", HANGING), gives_life_signs=True, hangs_after_s=2.5)
    lively = ChildSpec("lives", (sys.executable, "-c", LIVELY), gives_life_signs=True, hangs_after_s=2.5)
    await supervisor.start([spec, lively])
    try:
        await until(lambda: supervisor.children["hangs"].restarts >= 1)
        assert supervisor.children["lives"].restarts == 0
    finally:
        await supervisor.stop()


async def test_child_that_is_stopped_is_killed_and_started_again(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    await supervisor.start([ChildSpec("s", (sys.executable, "-c", LIVELY), gives_life_signs=True, hangs_after_s=2.5)])
    child = supervisor.children["s"]
    try:
        await until((tmp_path / "s.life").exists)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGSTOP)
        await until(lambda: child.restarts == 1)
    finally:
        await supervisor.stop()


async def test_child_that_is_asked_and_does_not_answer_is_killed(tmp_path: Path) -> None:
    answers = True

    async def probe() -> bool:
        if not answers:
            raise ConnectionError
        return True

    supervisor = Supervisor(tmp_path)
    await supervisor.start([ChildSpec("s", ("/bin/sleep", "60"), probe=probe, hangs_after_s=2.0)])
    try:
        await asyncio.sleep(3.5)
        assert supervisor.children["s"].restarts == 0
        answers = False
        await until(lambda: supervisor.children["s"].restarts >= 1)
    finally:
        await supervisor.stop()
