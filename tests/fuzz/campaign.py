"""Feeds inputs to targets, and reports what broke: crashes, hangs, memory that does not come back."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import os
import resource
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

HANG_S = 5.0
"""Of processor time: on a machine that does other things too, seconds of a clock say little."""
STUCK_S = 60.0
"""Of the clock, for an input that waits for something that does not come."""
GIVE_UP_S = 180.0
KEPT_OF_A_KIND = 3
"""Inputs that are saved of each kind of crash."""


class Broken(AssertionError):
    """The other side took an input in a way that it must not."""


async def _healthy() -> None:
    return None


@dataclass
class Target:
    """Something that takes inputs.

    Attributes:
        weight: Its share of all inputs, beside those of the others.
        make: Draws an input; a list holds several that go over one connection.
        feed: Gives it to the code under test; raises for whatever must not happen.
        check: Raises when a normal input no longer works. Called after every `check_every` inputs.
    """

    name: str
    weight: float
    make: Callable[[], Any]
    feed: Callable[[Any], Awaitable[None] | None]
    check: Callable[[], Awaitable[None]] = _healthy
    check_every: int = 1000


@dataclass
class Tally:
    """What one target has seen."""

    inputs: int = 0
    seconds: float = 0.0
    crashes: Counter[str] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        return self.inputs / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, eq=False)
class _Fed:
    """An input that is being taken. `began` is by the clock, `worked` the processor time until then."""

    name: str
    data: Any
    began: float
    worked: float

    @property
    def takes_too_long(self) -> bool:
        return time.process_time() - self.worked > HANG_S or time.monotonic() - self.began > STUCK_S


class Watchdog:
    """A thread that notices an input which takes too long, whatever holds the interpreter up."""

    def __init__(self, on_hang: Callable[[str, Any, str], None]) -> None:
        self.hangs = 0
        self._on_hang = on_hang
        self._current: _Fed | None = None
        self._main = threading.get_ident()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._stopped.set()
        self._thread.join()

    def begin(self, name: str, data: Any) -> None:
        self._current = _Fed(name, data, time.monotonic(), time.process_time())

    def end(self) -> None:
        self._current = None

    def _watch(self) -> None:
        told: _Fed | None = None
        while not self._stopped.wait(0.25):
            current = self._current
            if current is None or not current.takes_too_long:
                continue
            if current is not told:
                told = current
                self.hangs += 1
                frame = sys._current_frames().get(self._main)
                self._on_hang(current.name, current.data, "".join(traceback.format_stack(frame)))
            if time.monotonic() - current.began > GIVE_UP_S:
                print(f"gave up: an input of {current.name} takes more than {GIVE_UP_S:.0f} s", flush=True)
                os._exit(3)  # the main thread may never come back


class Campaign:
    """Runs targets one after the other, in one event loop.

    Args:
        folder: Where inputs that broke something are saved.
    """

    def __init__(self, folder: Path) -> None:
        self.tallies: dict[str, Tally] = {}
        self._folder = folder
        self._watchdog = Watchdog(self._hung)

    @property
    def inputs(self) -> int:
        return sum(tally.inputs for tally in self.tallies.values())

    @property
    def crashes(self) -> int:
        return sum(sum(tally.crashes.values()) for tally in self.tallies.values())

    @property
    def hangs(self) -> int:
        return self._watchdog.hangs

    def __enter__(self) -> Campaign:
        self._watchdog.__enter__()
        return self

    def __exit__(self, *args: object) -> None:
        self._watchdog.__exit__()

    async def run(self, target: Target, inputs: int) -> None:
        """Feed a target, and check afterwards that normal inputs still work."""
        tally = self.tallies.setdefault(target.name, Tally())
        started = time.perf_counter()
        fed, checked = 0, 0
        while fed < inputs:
            data = target.make()
            await self._feed(target, tally, data)
            fed += len(data) if isinstance(data, list) else 1
            if fed - checked >= target.check_every:
                checked = fed
                await self._check(target, tally, data)
        await self._check(target, tally, None)
        tally.inputs += fed
        tally.seconds += time.perf_counter() - started

    async def _feed(self, target: Target, tally: Tally, data: Any) -> None:
        self._watchdog.begin(target.name, data)
        try:
            waiting = target.feed(data)
            if waiting is not None:
                async with asyncio.timeout(1.5 * STUCK_S):
                    await waiting
        except Exception as error:
            self._broke(target.name, tally, data, error)
        finally:
            self._watchdog.end()

    async def _check(self, target: Target, tally: Tally, data: Any) -> None:
        try:
            async with asyncio.timeout(1.5 * STUCK_S):
                await target.check()
        except Exception as error:
            self._broke(f"{target.name}-unhealthy", tally, data, error)

    def _broke(self, name: str, tally: Tally, data: Any, error: BaseException) -> None:
        kind = kind_of(error)
        tally.crashes[kind] += 1
        if tally.crashes[kind] <= KEPT_OF_A_KIND:
            text = "".join(traceback.format_exception(error))
            self._save(f"{name}-crash-{self.crashes}", data, text)
            print(f"CRASH {name}: {kind}", flush=True)

    def _hung(self, name: str, data: Any, stack: str) -> None:
        self._save(f"{name}-hang-{self.hangs}", data, stack)
        print(f"HANG {name}", flush=True)

    def _save(self, name: str, data: Any, story: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        content = data if isinstance(data, bytes) else repr(data).encode("utf-8", "backslashreplace")
        (self._folder / f"{name}.input").write_bytes(content)
        (self._folder / f"{name}.txt").write_text(story, errors="backslashreplace")


def kind_of(error: BaseException) -> str:
    """Exceptions of one kind come from one line."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [frame for frame in frames if "site-packages" not in frame.filename] or frames
    place = f"{Path(places[-1].filename).name}:{places[-1].lineno}" if places else "?"
    text = str(error)[:100].encode("ascii", "backslashreplace").decode()
    return f"{type(error).__name__} at {place}" + (f" ({text})" if isinstance(error, Broken) else "")


def resident_bytes() -> int:
    """Resident memory, after everything was given back that can be."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):  # another C library: what it keeps counts
        ctypes.CDLL(None).malloc_trim(0)
    return int(psutil.Process().memory_info().rss)


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
