"""A page that is left leaves nothing behind: neither elements nor listeners."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack
from tests.console.test_console import graph, opened
from tests.graphs import node

if TYPE_CHECKING:
    from playwright.async_api import Browser, CDPSession

pytestmark = pytest.mark.timeout(120)

ROUNDS = 2
PAGES = (
    *("", "runs", "workflows", "workflows/kinds", "start/kinds", "approvals", "triggers", "usage"),
    *("files", "nodes", "nodes/core:OpenAI", "system"),
)
VIEWS = ("", "/graph", "/timeline", "/outputs", "/events", "?node=hi")
VISIT = """async ([hashes, rounds]) => {
  const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
  for (let round = 0; round < rounds; round++) {
    for (const hash of hashes) {
      location.hash = hash;
      await wait(40); // some of what it asks for comes, some is still on its way when it is left
      location.hash = "#/none";
      await wait(10);
    }
  }
  await wait(1000);
}"""


async def counted(session: CDPSession) -> tuple[int, int]:
    """Nodes and listeners that are reachable, whether anybody sees them or not."""
    await session.send("HeapProfiler.collectGarbage")
    found = await session.send("Memory.getDOMCounters")
    return found["nodes"], found["jsEventListeners"]


async def test_pages_that_are_left_leave_nothing(chromium: Browser, stack: LocalStack, client: GatewayClient) -> None:
    run = await client.submit(graph(node("hi", "CreateMessage", {"content": "x"}), name="Hi"))
    await client.wait(run)
    hashes = [f"#/{page}" for page in PAGES] + [f"#/run/{run}{view}" for view in VIEWS]
    async with opened(chromium, stack) as watched:
        session = await watched.page.context.new_cdp_session(watched.page)
        await watched.page.evaluate(VISIT, [hashes, 1])
        nodes, listeners = await counted(session)
        await watched.page.evaluate(VISIT, [hashes, ROUNDS])
        nodes_after, listeners_after = await counted(session)
        # One that stays with each visit would be as many as rounds.
        assert listeners_after - listeners < ROUNDS
        assert nodes_after - nodes < ROUNDS
        # The browser itself writes that there are no such workflows.
        watched.messages[:] = [line for line in watched.messages if "404" not in line]
