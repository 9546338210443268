"""Keeps a few child processes running: restarts one that died, stops all in order, leaves no orphan."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from innkeeper.nodes.errors import InnkeeperError
from innkeeper.nodes.process.critical_tasks import run_critical
from innkeeper.nodes.process.life_sign import VARIABLE
from innkeeper.nodes.process.stall_note import read_stall_note

logger = logging.getLogger("innkeeper.supervisor")

MAX_LOG_BYTES = 5_000_000
FIRST_DELAY_S = 0.1
MAX_DELAY_S = 5.0
CALM_S = 10.0
"""A child that ran this long starts again with the first delay."""
MAX_EARLY_EXITS = 3
HANGS_AFTER_S = 30.0
LOOK_S = 1.0
STARTS_WITHIN_S = 120.0
"""A process that has just been started loads its modules: it may take longer until the first sign of life."""
TRIM_EVERY_S = 10.0
_CANNOT_START = 127
_KILLED = 128
"""A child under a `watch` of die_with_parent gives this plus the signal; without, the code is the negative signal."""

_DIE_WITH_PARENT = str(Path(__file__).with_name("die_with_parent.py"))


class StackError(InnkeeperError):
    """A part of the stack does not start."""

    code = "stack_failed"


@dataclass(frozen=True)
class ChildSpec:
    """A process to keep running.

    Attributes:
        name: Its name in logs; its output goes to `<logs>/<name>.log`, without a folder of logs to ours.
        command: Absolute path of the program, then its arguments; or what gives them, asked at each start.
        env: Its whole environment; None: ours.
        pass_fds: Open files it inherits.
        stop_s: Seconds between SIGTERM and SIGKILL; None: it may take the time it takes.
        gives_life_signs: It touches the file named in `INNKEEPER_LIFE_FILE` (`nodes/process/life_sign.py`).
        probe: Else asked for life, every few seconds: does it answer?
        hangs_after_s: Without a sign of life for so long it is killed, and started again.
    """

    name: str
    command: Sequence[str] | Callable[[], Sequence[str]]
    env: Mapping[str, str] | None = None
    pass_fds: tuple[int, ...] = ()
    stop_s: float | None = 5.0
    gives_life_signs: bool = False
    probe: Callable[[], Awaitable[bool]] | None = None
    hangs_after_s: float = HANGS_AFTER_S


class Child:
    """One supervised process. `early_exit` is set when it cannot be kept running before `is_settled`."""

    def __init__(self, spec: ChildSpec, logs: Path | None, *, tied_by_kernel: bool = sys.platform == "linux") -> None:
        self.spec = spec
        self.log_file = logs / f"{spec.name}.log" if logs is not None else None
        self.restarts = 0
        self._own_exits = 0
        self._is_replaced = False
        self.is_settled = False
        self.early_exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._tied_by_kernel = tied_by_kernel
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._life: asyncio.Task[None] | None = None
        self._life_file = _life_file(spec, logs) if spec.gives_life_signs else None

    @property
    def pid(self) -> int | None:
        """Process id while it runs; also the id of its process group."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> None:
        """Start the process and keep it running."""
        self._process = await self._spawn()
        self._task = run_critical(self._keep_running(), f"child {self.spec.name}", may_return=True)
        self._life = run_critical(self._watch_life(), f"life of {self.spec.name}")

    async def stop(self) -> None:
        """Ask it to end (SIGTERM), then make it (SIGKILL); returns when it is gone."""
        self._stopping.set()
        if self._task is None:
            return
        if self._life is not None:
            self._life.cancel()
        self._signal(signal.SIGTERM)
        done, _ = await asyncio.wait({self._task}, timeout=self.spec.stop_s)
        if not done:
            logger.warning("%s did not stop in %s s and is killed", self.spec.name, self.spec.stop_s)
            self._signal(signal.SIGKILL)
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def ask_to_end(self) -> None:
        """SIGTERM, without waiting; it is started again."""
        self._is_replaced = True
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the whole group, without waiting."""
        self._stopping.set()
        self._signal(signal.SIGKILL)

    def last_line(self) -> str:
        """The last line it wrote, for an error message; empty without a log, for then it was seen already."""
        if self.log_file is None:
            return ""
        try:
            tail = self.log_file.read_bytes()[-4096:].decode(errors="replace")
        except OSError:
            return ""
        return next((line.strip() for line in reversed(tail.splitlines()) if line.strip()), "")

    async def _keep_running(self) -> None:
        delay = FIRST_DELAY_S
        while True:
            started = time.monotonic()
            code = await self._wait()
            if self._stopping.is_set():
                return
            self._note_exit(code)
            delay = FIRST_DELAY_S if time.monotonic() - started > CALM_S else delay
            await self._pause(delay)
            if self._stopping.is_set():
                return
            delay = min(delay * 2, MAX_DELAY_S)
            await self._spawn_again()

    # --- signs of life --------------------------------------------------------------------------------------------

    async def _watch_life(self) -> None:
        """Kill what exists and hangs. Only our own clock counts, and only while we run ourselves: after a machine has
        slept, everybody's last sign is old."""
        sign, seen_at, looked_at = object(), time.monotonic(), time.monotonic()
        pid, is_up = self.pid, False
        while True:
            await asyncio.sleep(LOOK_S)
            found, now = await self._sign_of_life(), time.monotonic()
            self._tell_of_stall()
            if self.pid != pid or now - looked_at > 5 * LOOK_S:
                is_up, seen_at, pid = is_up and self.pid == pid, now, self.pid
            if found is not None and found != sign:
                sign, seen_at, is_up = found, now, True
            looked_at = now
            limit_s = self.spec.hangs_after_s if is_up else STARTS_WITHIN_S
            if self.pid is not None and now - seen_at > limit_s:
                logger.error("%s has given no sign of life for %.0f s and is killed", self.spec.name, now - seen_at)
                self._signal(signal.SIGKILL)
                seen_at = now

    def _tell_of_stall(self) -> None:
        """Pass on what the process says of a node that stands in its way."""
        if self._life_file is not None and (note := read_stall_note(self._life_file)):
            logger.warning("%s: %s", self.spec.name, note)

    async def _sign_of_life(self) -> object:
        """Something that differs from the sign before, or None."""
        if self._life_file is not None:
            with contextlib.suppress(OSError):
                return self._life_file.stat().st_mtime_ns
            return None
        if self.spec.probe is None:
            return object()
        try:
            async with asyncio.timeout(LOOK_S):
                return object() if await self.spec.probe() else None
        except Exception:  # whatever a probe meets, it is no sign of life
            return None

    async def _wait(self) -> int:
        if self._process is None:
            return _CANNOT_START
        code = await self._process.wait()
        # What it left behind in its group goes with it.
        self._signal(signal.SIGKILL)
        return code

    def _note_exit(self, code: int) -> None:
        self.restarts += 1
        if self._is_replaced:
            self._is_replaced = False
            logger.info("%s was asked to end and is started again", self.spec.name)
            return
        logger.warning("%s ended with code %s and is started again", self.spec.name, code)
        # Who was killed by a signal may run the next time; who ends by itself will not.
        self._own_exits += 0 <= code < _KILLED
        too_often = self._own_exits >= MAX_EARLY_EXITS and not self.is_settled
        if too_often and not self.early_exit.done():
            self.early_exit.set_result(code)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _spawn_again(self) -> None:
        try:
            self._process = await self._spawn()
        except (OSError, InnkeeperError) as error:
            logger.warning("%s cannot be started: %s", self.spec.name, error)
            self._process = None
        if self._stopping.is_set():  # stop() came while it was being started, and signalled its predecessor
            self._signal(signal.SIGTERM)

    async def _spawn(self) -> asyncio.subprocess.Process:
        spec, life_line = self.spec, _life_line()
        tie = ["exec", str(os.getpid())] if self._tied_by_kernel else ["watch", str(life_line)]
        inherited = spec.pass_fds if self._tied_by_kernel else (*spec.pass_fds, life_line)
        command = spec.command() if callable(spec.command) else spec.command
        with self._output() as log:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", _DIE_WITH_PARENT, *tie),
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                pass_fds=inherited,
                start_new_session=True,
            )

    def _environment(self) -> Mapping[str, str] | None:
        if self._life_file is None:
            return self.spec.env
        self._life_file.unlink(missing_ok=True)
        return {**(os.environ if self.spec.env is None else self.spec.env), VARIABLE: str(self._life_file)}

    def _output(self) -> contextlib.AbstractContextManager[IO[bytes] | None]:
        """The end of its log, cut when it has grown too long; None: it writes where we do."""
        if self.log_file is None:
            return contextlib.nullcontext()
        trim_log(self.log_file)
        return self.log_file.open("ab")

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)


def _life_file(spec: ChildSpec, logs: Path | None) -> Path:
    folder = logs if logs is not None else Path(tempfile.mkdtemp(prefix="innkeeper-life-"))
    return folder / f"{spec.name}.life"


@functools.cache
def _life_line() -> int:
    """The reading end of a pipe whose writing end closes when this process ends, in whatever way."""
    reading, _ = os.pipe()  # neither end is inherited unless passed on
    return reading


class Supervisor:
    """Several children that start together and stop in stages. Without a folder for logs they write where we do."""

    def __init__(self, logs: Path | None) -> None:
        self._logs = logs
        self._trimmer: asyncio.Task[None] | None = None
        self.children: dict[str, Child] = {}

    async def start(self, specs: Sequence[ChildSpec]) -> None:
        """Start all of them at once."""
        self._trimmer = self._trimmer or asyncio.create_task(self._trim_logs())
        children = [Child(spec, self._logs) for spec in specs]
        self.children.update({child.spec.name: child for child in children})
        await asyncio.gather(*(child.start() for child in children))

    async def ready(self, waiting: Awaitable[Any]) -> None:
        """Wait for `waiting`, which says that all children are up.

        Raises:
            StackError: One of them ended again and again before.
        """
        task = asyncio.ensure_future(waiting)
        exits = [child.early_exit for child in self.children.values()]
        try:
            await asyncio.wait([task, *exits], return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not task.done():
                task.cancel()
        for child in self.children.values():
            if child.early_exit.done():
                raise _cannot_start(child)
        task.result()
        for child in self.children.values():
            child.is_settled = True

    def replace(self, names: Iterable[str]) -> None:
        """Ask children to end; each is started again like one that ended by itself."""
        for name in names:
            self.children[name].ask_to_end()

    async def stop(self, *stages: Sequence[str], killed: Sequence[str] = ()) -> None:
        """Stop children stage by stage (names), then whatever is left; at last those of `killed`, without asking."""
        left = set(self.children).difference(killed)
        for stage in (*stages, tuple(left.difference(*stages))):
            await asyncio.gather(*(self.children[name].stop() for name in stage if name in left))
        for child in (self.children[name] for name in killed if name in self.children):
            child.kill()
            await child.stop()
        if self._trimmer is not None:
            self._trimmer.cancel()

    async def _trim_logs(self) -> None:
        while True:
            await asyncio.sleep(TRIM_EVERY_S)
            for child in self.children.values():
                if child.log_file is not None:
                    trim_log(child.log_file)


def _cannot_start(child: Child) -> StackError:
    said = child.last_line()
    where = f" (log: {child.log_file})" if child.log_file is not None else ""
    return StackError(
        f"{child.spec.name} does not start{': ' + said if said else ''}{where}",
        details={"part": child.spec.name},
    )


def trim_log(path: Path, max_bytes: int = MAX_LOG_BYTES) -> None:
    """Move a log that has grown too long to `<name>.log.1`, in place, since its writer keeps it open.

    What is written between the copy and the cut is lost; logs may lose a line, a disk may not fill up.
    """
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > max_bytes:
            shutil.copyfile(path, path.with_suffix(".log.1"))
            os.truncate(path, 0)
