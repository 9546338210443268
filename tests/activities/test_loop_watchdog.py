"""Who keeps the event loop to itself is named, once for each time."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from innkeeper.activities.link.gateway_link import GatewayLink
from innkeeper.activities.loop_watchdog import LoopWatchdog
from innkeeper.nodes.call import NodeCall
from innkeeper.nodes.node import NodeContext
from tests.activities.toy_stack import Stack, Toys


@pytest.mark.parametrize("stream_inputs", [{}, {"in": [""]}], ids=["batch", "reads a stream"])
async def test_the_node_that_blocks_the_loop_is_named(
    stack: Stack, link: GatewayLink, toys: Toys, caplog: pytest.LogCaptureFixture, stream_inputs: dict[str, Any]
) -> None:
    async def blocks(inputs: dict[str, Any], context: NodeContext) -> dict[str, Any]:
        time.sleep(1)  # noqa: ASYNC251  # the habit that is told of
        return {"out": 1}

    toys.add("blocks", blocks)
    watchdog = LoopWatchdog(limit_s=0.3)
    try:
        call = NodeCall("r", "outer/n", "toy:blocks", {}, stream_inputs=stream_inputs)
        await ActivityEnvironment(stack.client).run(stack.execute(link).execute_node, call.to_wire())
    finally:
        watchdog.stop()
    (told,) = [record.getMessage() for record in caplog.records if "stood still" in record.getMessage()]
    assert re.search(r"more than 0.3 s in: node 'outer/n' of run r: at .*/test_loop_watchdog.py:\d+ in blocks$", told)


async def test_a_loop_that_stands_still_for_too_long_ends_the_process() -> None:
    ended = threading.Event()
    watchdog = LoopWatchdog(limit_s=0.1, replace_after_s=2.0, replace=ended.set)
    time.sleep(0.2)  # noqa: ASYNC251  # the habit that is told of
    await asyncio.sleep(0.3)
    assert not ended.is_set()
    assert ended.wait(6)  # which keeps the loop to itself
    watchdog.stop()


async def test_a_loop_that_turns_is_not_told_of(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    watchdog = LoopWatchdog(limit_s=0.5)
    for _ in range(10):
        await asyncio.sleep(0.1)
    watchdog.stop()
    assert not caplog.records
