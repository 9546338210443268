"""What the page of a run costs its browser: `python -m tests.console.measure` prints it beside what it may cost.

Times are processor times of the page's main thread, as the browser itself accounts them; a busy machine changes them
little. `test_performance.py` holds them to three times the bound, in the long form of the tests.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from tests.console.conftest import PLUGINS, watched_page
from tests.console.tools import browser, find_playwright

if TYPE_CHECKING:
    from playwright.async_api import Browser, CDPSession, Page

Json = dict[str, Any]
WIDTH = 20
FRAMES = 60
STREAMS = 20
STREAM_S = 5.0
ITEMS = int(os.environ.get("FOR_EACH_ITEMS", "5000"))

# Counts pictures, and the longest time that the main thread was busy with one thing.
WATCH = """() => {
  const seen = { frames: 0, longest: 0 };
  const frame = () => { seen.frames++; requestAnimationFrame(frame); };
  requestAnimationFrame(frame);
  const note = (list) => list.getEntries().forEach((one) => (seen.longest = Math.max(seen.longest, one.duration)));
  new PerformanceObserver(note).observe({ type: "longtask" });
  globalThis.seen = seen;
}"""


@dataclass(frozen=True)
class Figure:
    """What was measured, in milliseconds: of processor time, unless the name says otherwise."""

    name: str
    value: float
    bound: float


@dataclass(frozen=True)
class Rig:
    chromium: Browser
    url: str
    client: GatewayClient


class Meter:
    """A page whose main thread is accounted for."""

    def __init__(self, page: Page, session: CDPSession) -> None:
        self.page = page
        self._session = session

    @classmethod
    async def of(cls, page: Page) -> Meter:
        session = await page.context.new_cdp_session(page)
        await session.send("Performance.enable", {"timeDomain": "threadTicks"})
        return cls(page, session)

    async def cpu_ms(self) -> float:
        """Of all tasks so far."""
        metrics = (await self._session.send("Performance.getMetrics"))["metrics"]
        return 1000 * float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))

    async def check(self) -> None:
        """Be sure that what the page does is seen, whatever process of the browser it has come to."""
        before = await self.cpu_ms()
        await self.page.evaluate("() => { for (let i = 0, x = 1; i < 3e7; i++) x = (x * 7 + i) % 1000003; }")
        seen = await self.cpu_ms() - before
        assert seen > 20, f"of 30 million steps {seen:.0f} ms are accounted for"

    async def settled(self, state: str) -> None:
        """Wait until the run is in a state and has been drawn. Asks seldom: questions cost the page time as well."""
        shown = "() => document.querySelector('h1 .state')?.className ?? ''"
        async with asyncio.timeout(60):
            while f"state-{state}" not in await self.page.evaluate(shown):
                await asyncio.sleep(0.25)
        await asyncio.sleep(0.5)


def large_graph(nodes: int) -> Json:
    """Layers of twenty nodes, each fed by one of the layer before."""

    def node(index: int) -> Json:
        return {"id": f"n{index}", "type": "core:Template", "inputValues": {"template": f"text {index}"}}

    def edge(index: int) -> Json:
        source = index - WIDTH + (1 if index % 3 == 0 else 0)
        ends = {"source": f"n{source}", "sourceHandle": "text", "target": f"n{index}", "targetHandle": "input"}
        return {"id": f"e{index}", **ends}

    return {
        "name": f"{nodes} nodes",
        "nodes": [node(index) for index in range(nodes)],
        "edges": [edge(index) for index in range(WIDTH, nodes)],
    }


def streaming_graph() -> Json:
    """Nodes that stream fifty chunks a second each."""
    words = {"count": int(STREAM_S * 50 * 2), "delay": 0.02}
    return {"nodes": [{"id": f"s{at}", "type": "stream-nodes:Words", "inputValues": words} for at in range(STREAMS)]}


@asynccontextmanager
async def measured(rig: Rig) -> AsyncIterator[Meter]:
    async with watched_page(rig.chromium, viewport={"width": 1280, "height": 800}) as watched:
        yield await Meter.of(watched.page)


async def finished(rig: Rig, document: Json) -> str:
    run = await rig.client.submit(document)
    await rig.client.wait(run)
    return run


async def opening(rig: Rig) -> list[Figure]:
    """1,000 nodes and 2,000 events; 500 nodes; and what it costs to move those about."""
    figures = []
    for nodes, view, bound in ((1000, "/graph", 1200), (1000, "", 1200), (500, "/graph", 400)):
        run = await finished(rig, large_graph(nodes))
        async with measured(rig) as meter:
            before = await meter.cpu_ms()
            await meter.page.goto(f"{rig.url}/#/run/{run}{view}")
            await meter.settled("complete")
            name = "graph" if view else "list"
            figures.append(Figure(f"open {nodes} nodes as a {name}", await meter.cpu_ms() - before, bound))
            await meter.check()
            if nodes == 500:
                figures += [await panning(meter, "all in view"), await zoomed_panning(meter)]
    return figures


async def panning(meter: Meter, name: str) -> Figure:
    box = await meter.page.locator(".graph-drawing").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    mouse = meter.page.mouse
    await mouse.move(x, y)
    await mouse.down()
    await meter.page.evaluate(WATCH)
    before = await meter.cpu_ms()
    for step in range(FRAMES):
        await mouse.move(x + 3 * (step % 20), y + step)
    spent = await meter.cpu_ms() - before
    frames = await meter.page.evaluate("() => globalThis.seen.frames")
    await mouse.up()
    return Figure(f"pan 500 nodes, {name}, a frame", spent / max(1, min(frames, FRAMES)), 10)


async def zoomed_panning(meter: Meter) -> Figure:
    for _ in range(8):
        await meter.page.get_by_role("button", name="Zoom in").click()
    return await panning(meter, "near")


async def streaming(rig: Rig) -> list[Figure]:
    """Twenty nodes that stream at once, all in view."""
    run = await rig.client.submit(streaming_graph())
    async with measured(rig) as meter:
        await meter.page.goto(f"{rig.url}/#/run/{run}/graph")
        await meter.settled("running")
        await meter.page.evaluate(WATCH)
        before = await meter.cpu_ms()
        await asyncio.sleep(STREAM_S)
        spent = await meter.cpu_ms() - before
        seen = await meter.page.evaluate("() => globalThis.seen")
        await rig.client.cancel(run)
    frames = max(1, int(seen["frames"]))
    return [
        Figure("20 streams at 50/s, a frame", spent / frames, 20),
        Figure("20 streams at 50/s, longest task by the clock", float(seen["longest"]), 100),
    ]


INNER: Json = {
    "id": "measured-item",
    "name": "Item",
    "nodes": [
        {"id": "in", "type": "core:GroupInput"},
        {"id": "say", "type": "core:Template", "inputValues": {"template": "{{ input }}"}},
        {"id": "out", "type": "core:GroupOutput"},
    ],
    "edges": [
        {"id": "1", "source": "in", "sourceHandle": "item", "target": "say", "targetHandle": "input"},
        {"id": "2", "source": "say", "sourceHandle": "text", "target": "out", "targetHandle": "text"},
    ],
    "interfaceInputs": {"item": {"key": "item", "dataFlowType": "INTEGER", "config": {"default": 0}}},
    "interfaceOutputs": {"text": {"key": "text", "dataFlowType": "STRING"}},
}


async def repeating(rig: Rig) -> list[Figure]:
    """Thousands of items: opened, and walked from end to end."""
    await rig.client.workflows.create(INNER)
    config = {"referencedWorkflowId": INNER["id"], "resultKey": "text", "concurrency": 100}
    inputs = {"items": list(range(ITEMS))}
    document: Json = {
        "nodes": [{"id": "each", "type": "core:ForEach", "inputValues": inputs, "configValues": config}],
        "edges": [],
    }
    run = await finished(rig, document)
    async with measured(rig) as meter:
        before = await meter.cpu_ms()
        await meter.page.goto(f"{rig.url}/#/run/{run}/graph?in=each")
        await meter.settled("complete")
        opened = await meter.cpu_ms() - before
        before = await meter.cpu_ms()
        for part in range(10):
            await meter.page.evaluate("(part) => document.querySelector('.rows-box').scrollTo(0, part * 20_000)", part)
            await asyncio.sleep(0.05)
        scrolled = (await meter.cpu_ms() - before) / 10
    name = f"{ITEMS} items"
    return [Figure(f"open {name}", opened, 3000), Figure(f"scroll {name}, a step", scrolled, 30)]


MEASURES: dict[str, Callable[[Rig], Awaitable[list[Figure]]]] = {
    "opening": opening,
    "streaming": streaming,
    "repeating": repeating,
}


async def main() -> None:
    find_playwright()
    from playwright.async_api import async_playwright

    wanted = sys.argv[1:] or list(MEASURES)
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory() as folder:
        options = StackOptions(Path(folder) / "data", plugins=(PLUGINS,))
        async with LocalStack(options) as stack, GatewayClient(stack.url) as client, async_playwright() as playwright:
            chromium = await playwright.chromium.launch(executable_path=browser(), args=arguments)
            rig = Rig(chromium, stack.url, client)
            for name in wanted:
                for figure in await MEASURES[name](rig):
                    sys.stdout.write(f"{figure.name:45} {figure.value:8.1f} ms of {figure.bound:.0f}\n")
            await chromium.close()


if __name__ == "__main__":
    asyncio.run(main())
