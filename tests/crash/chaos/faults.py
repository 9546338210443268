"""Random faults in a stack: processes that are killed, stopped or blocked, and connections that are cut."""

from __future__ import annotations

import asyncio
import math
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from innkeeper.gateway.process.local_stack import LocalStack
from tests.crash.chaos.proxy import Proxy

STARTUP = Path(__file__).parent / "startup"
ROUND = (
    *(("kill", "worker"), ("kill", "worker"), ("stop", "worker"), ("block", "worker")),
    *(("kill", "gateway"), ("stop", "gateway"), ("block", "gateway")),
    *(("kill", "temporal"), ("stop", "temporal")),
    *(("cut", "connections"), ("cut", "connections")),
)
"""Each of them comes once per round, so that a short time sees every kind."""


def block_environment(folder: Path) -> dict[str, str]:
    """Environment of processes whose event loop `Faults` can block."""
    folder.mkdir(parents=True, exist_ok=True)
    return {"PYTHONPATH": str(STARTUP), "CHAOS_BLOCKS": str(folder)}


@dataclass
class Faults:
    """Does damage to a stack for a while.

    Attributes:
        blocks: The folder of `block_environment`.
        pause_s: Shortest and longest time between two faults.
        hold_s: Shortest and longest time for which a process is stopped or blocked.
        done: What happened and when, for the message of a failure.
        counts: How often each fault happened, by (kind, target).
        longest_s: The longest stop or block, by (kind, target).
    """

    stack: LocalStack
    proxy: Proxy
    chance: random.Random
    blocks: Path
    pause_s: tuple[float, float] = (2.0, 8.0)
    hold_s: tuple[float, float] = (1.0, 40.0)
    done: list[str] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    longest_s: dict[tuple[str, str], float] = field(default_factory=dict)
    _begun: float = field(default_factory=time.monotonic)
    _held: dict[str, int] = field(default_factory=dict)

    async def rage(self, seconds: float) -> None:
        """One fault after the other; at the end nothing is stopped any more."""
        self._begun = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for kind, target in self._shuffled():
                await asyncio.sleep(self.chance.uniform(*self.pause_s))
                if time.monotonic() - self._begun > seconds:
                    break
                self._do(kind, target, group)

    def _shuffled(self) -> Iterator[tuple[str, str]]:
        while True:
            yield from self.chance.sample(ROUND, len(ROUND))

    def _do(self, kind: str, target: str, group: asyncio.TaskGroup) -> None:
        name = f"worker-{self.chance.randint(1, self.stack.options.workers)}" if target == "worker" else target
        # Short times are as likely as long ones on a scale of powers; drawn in any case, to keep to the seed.
        hold_s = math.exp(self.chance.uniform(*map(math.log, self.hold_s)))
        if kind == "cut":
            self._note(kind, target, f"cut {self.proxy.cut(self.chance, 0.5)} connections")
            return
        pid = self.stack.pids().get(name)
        if pid is None or (kind != "kill" and name in self._held):
            return
        if kind == "kill":
            self._note(kind, target, f"killed {name}")
            os.kill(pid, signal.SIGKILL)
            return
        self._note(kind, target, f"{kind} of {name} for {hold_s:.1f} s")
        self.longest_s[kind, target] = max(self.longest_s.get((kind, target), 0.0), hold_s)
        self._held[name] = pid
        group.create_task(self._stop(name, hold_s) if kind == "stop" else self._block(name, hold_s))

    async def _stop(self, name: str, seconds: float) -> None:
        pid = self._held[name]
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            del self._held[name]
            if self.stack.pids().get(name) == pid:
                os.kill(pid, signal.SIGCONT)

    async def _block(self, name: str, seconds: float) -> None:
        """Its event loop stands still while its other threads go on."""
        pid = self._held[name]
        (self.blocks / str(pid)).write_text(str(seconds))
        os.kill(pid, signal.SIGUSR1)
        try:
            await asyncio.sleep(seconds)
        finally:
            del self._held[name]

    def _note(self, kind: str, target: str, what: str) -> None:
        self.counts[kind, target] += 1
        self.done.append(f"{time.monotonic() - self._begun:5.1f} s: {what}")
