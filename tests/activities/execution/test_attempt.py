"""A node's own time: what it waits for others is not held against it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from innkeeper.activities.execution.attempt import Attempt
from innkeeper.activities.execution.heartbeat import Heartbeat
from innkeeper.nodes.call import NodeCall


class NoSecrets:
    def __init__(self) -> None:
        self.revealed: set[str] = set()


async def attempt_with(limit_s: float, work: Any) -> Any:
    """Run `work(attempt)` under a limit of its own time."""

    async def activity() -> Any:
        call = NodeCall(run="r", path="n", type="toy:x", inputs={}, active_timeout_s=limit_s)
        attempt = Attempt(call, Heartbeat(), None, NoSecrets())  # type: ignore[arg-type]
        attempt.time.watch()
        try:
            return await work(attempt)
        except asyncio.CancelledError:
            raise attempt.cancelled() from None
        finally:
            attempt.time.stop()

    return await ActivityEnvironment().run(activity)


async def test_waiting_longer_than_the_limit_is_no_timeout() -> None:
    async def waits(attempt: Attempt) -> str:
        with attempt.time.waiting():
            await asyncio.sleep(1.2)
        return "done"

    assert await attempt_with(0.6, waits) == "done"


async def test_waits_inside_one_another_count_once() -> None:
    async def waits(attempt: Attempt) -> float:
        with attempt.time.waiting(), attempt.time.waiting():
            await asyncio.sleep(1.0)
        await asyncio.sleep(0.05)
        return attempt.time.active_s

    assert 0.04 < await attempt_with(5, waits) < 0.9


async def test_working_longer_than_the_limit_is_a_timeout() -> None:
    async def works(attempt: Attempt) -> None:
        with attempt.time.waiting():
            await asyncio.sleep(0.1)
        await asyncio.sleep(5)

    with pytest.raises(ApplicationError, match=r"worked for more than 0\.2 s") as failed:
        await attempt_with(0.2, works)
    assert failed.value.type == "timeout"
