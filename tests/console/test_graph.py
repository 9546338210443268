"""The graph of a run in a real browser: seen, walked by keys, moved by touch, entered."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack
from tests.console.test_console import expect, graph, node, opened, until_state
from tests.console.workflows import SAYS

if TYPE_CHECKING:
    from playwright.async_api import Browser, CDPSession, Locator, Page

pytestmark = pytest.mark.timeout(120)
Json = dict[str, Any]
STORY: Json = json.loads((Path(__file__).parents[2] / "examples/story.json").read_text())

COLOURS = """() => {
  const { width, height } = document.querySelector(".graph-drawing");
  const pixels = document.querySelector(".graph-drawing").getContext("2d").getImageData(0, 0, width, height);
  return new Set(new Uint32Array(pixels.data.buffer)).size;
}"""


def edge(source: str, target: str) -> Json:
    (node, slot), (to, into) = source.split("."), target.split(".")
    return {"id": f"{source}>{target}", "source": node, "sourceHandle": slot, "target": to, "targetHandle": into}


def stage(page: Page) -> Locator:
    return page.get_by_role("application", name="Graph of the run")


async def until_said(page: Page, words: str | re.Pattern[str]) -> None:
    await expect(page.locator(".graph-said")).to_have_text(words)


def place(page: Page) -> dict[str, str]:
    """What stands behind `?` in the address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).fragment.partition("?")[2]).items()}


async def test_graph_is_walked_by_keys_alone(chromium: Browser, stack: LocalStack, client: GatewayClient) -> None:
    run = await client.submit(STORY)
    async with opened(chromium, stack, f"#/run/{run}") as watched:
        page = watched.page
        await page.get_by_role("navigation", name="Views of the run").get_by_role("link", name="Graph").click()
        await until_state(page, "complete")
        await stage(page).focus()
        await page.keyboard.press("ArrowRight")
        await until_said(page, "in, GroupInput, complete")
        await page.keyboard.press("ArrowRight")
        await page.keyboard.press("ArrowRight")
        await until_said(page, re.compile("^Describe the (hero|place), OpenAI, complete"))
        await page.keyboard.press("Enter")
        panel = page.get_by_role("complementary", name="Node")
        await panel.wait_for()
        await page.keyboard.press("Escape")
        await panel.wait_for(state="detached")
        await expect(stage(page)).to_be_focused()
        field = page.get_by_role("searchbox", name="Find a node")
        await field.fill("tell")
        await until_said(page, "1 node found: tell")
        # Colours of states are there: the drawing is more than its ground.
        assert await page.evaluate(COLOURS) > 9


REPEATED: Json = {
    **graph(
        node("before", "CreateMessage", {"content": "x"}),
        node("each", "ForEach", {"items": list(range(60))}, referencedWorkflowId="says", onError="collect"),
        name="Repeats",
    )
}


async def test_repetition_is_entered_item_by_item(chromium: Browser, stack: LocalStack, client: GatewayClient) -> None:
    await client.workflows.create(SAYS)
    run = await client.submit(REPEATED)
    await client.wait(run)
    async with opened(chromium, stack, f"#/run/{run}/graph?node=each") as watched:
        page = watched.page
        await until_said(page, re.compile("^each, ForEach, "))
        await stage(page).focus()
        await page.keyboard.press("Space")
        items = page.get_by_role("region", name="Items").first
        await items.get_by_text("60 items").wait_for()
        rows = page.locator(".rows li")
        assert await rows.first.get_attribute("aria-setsize") == "60"
        assert await rows.count() < 60, "all rows are there"
        await items.get_by_label("State").select_option("complete")
        await items.get_by_text("0 items").wait_for()
        await items.get_by_label("State").select_option("error")
        await items.get_by_text("60 items").wait_for()
        await rows.first.get_by_text("private address").wait_for()
        await page.get_by_role("link", name="item 3", exact=True).click()
        await expect(stage(page)).to_be_focused()
        await page.keyboard.press("ArrowRight")
        await page.keyboard.press("ArrowRight")
        await until_said(page, "say, Template, complete")
        assert place(page) == {"in": "each/3"}
        await page.get_by_role("link", name="List").click()
        await page.locator('[data-path="each/3/check"].node-error').wait_for()
        await page.get_by_role("navigation", name="Way in the run").get_by_role("link", name="each").click()
        await items.get_by_text("60 items").wait_for()
        await page.get_by_role("link", name="Graph").click()
        await page.get_by_role("link", name="item 0", exact=True).click()
        await expect(stage(page)).to_be_focused()
        await page.keyboard.press("Escape")
        await items.get_by_text("60 items").wait_for()
        assert place(page) == {"in": "each"}
        await page.keyboard.press("Escape")
        await expect(stage(page)).to_be_focused()
        assert place(page) == {}


async def touch(session: CDPSession, type: str, *points: tuple[float, float]) -> None:
    """One event of fingers, as the browser gets it of a screen."""
    fingers = [{"x": x, "y": y, "id": id} for id, (x, y) in enumerate(points)]
    await session.send("Input.dispatchTouchEvent", {"type": type, "touchPoints": fingers})


async def tap(session: CDPSession, x: float, y: float) -> None:
    await touch(session, "touchStart", (x, y))
    await touch(session, "touchEnd")


async def test_fingers_drag_and_pinch_the_drawing(chromium: Browser, stack: LocalStack, client: GatewayClient) -> None:
    """One node stands in the middle: where it is hit says how the drawing was moved."""
    document = graph(node("only", "CreateMessage", {"content": "x"}), name="One")
    run = await client.submit(document)
    await client.wait(run)
    options = {"has_touch": True, "viewport": {"width": 800, "height": 900}}
    async with opened(chromium, stack, f"#/run/{run}/graph", **options) as watched:
        page = watched.page
        await until_state(page, "complete")
        session = await page.context.new_cdp_session(page)
        drawing = page.locator(".graph-drawing")
        await drawing.scroll_into_view_if_needed()
        box = await drawing.bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

        async def hits(at: float) -> bool:
            await tap(session, at, y)
            hit = bool(await page.locator(".node-panel").count())
            if hit:
                await page.get_by_role("button", name="Close", exact=True).click()
                await page.locator(".node-panel").wait_for(state="detached")
            # Two taps at one place would be another thing.
            await page.wait_for_timeout(400)
            return hit

        assert [await hits(at) for at in (x, x + 150)] == [True, False]
        await touch(session, "touchStart", (x, y))
        for step in range(1, 6):
            await touch(session, "touchMove", (x + 30 * step, y))
        await touch(session, "touchEnd")
        assert [await hits(at) for at in (x - 60, x + 150)] == [False, True]
        await page.get_by_role("button", name="Show all").click()
        await touch(session, "touchStart", (x - 40, y), (x + 40, y))
        for step in range(1, 6):
            await touch(session, "touchMove", (x - 40 - 12 * step, y), (x + 40 + 12 * step, y))
        await touch(session, "touchEnd")
        assert await hits(x + 150), "the pinch did not bring the node closer"


async def test_run_without_a_document_shows_what_events_told(
    chromium: Browser, stack: LocalStack, client: GatewayClient
) -> None:
    """Names that are hostile are drawn as text like any other."""
    hostile = "<img src=x onerror=alert(1)>"
    run = await client.submit(graph(node(hostile, "CreateMessage", {"content": "x"}), name="Old"))
    await client.wait(run)
    async with opened(chromium, stack) as watched:
        page = watched.page
        # Not by a 404, which the browser itself would write on the console.
        await page.route(re.compile("/document$"), lambda route: route.fulfill(json={"document": None}))
        await page.goto(f"{stack.url}/#/run/{run}/graph")
        await page.get_by_text("The graph of this run is not kept").wait_for()
        await until_state(page, "complete")
        await page.wait_for_timeout(500)  # a guessed graph is drawn anew at most four times a second
        await stage(page).focus()
        await page.keyboard.press("ArrowDown")
        await until_said(page, f"{hostile}, complete")
        assert await page.locator("main img").count() == 0


async def test_list_of_many_nodes_shows_more_when_asked(
    chromium: Browser, stack: LocalStack, client: GatewayClient
) -> None:
    """A node that the address names is there at once."""
    nodes = (node(f"n{index}", "Template", {"template": "x"}) for index in range(620))
    run = await client.submit(graph(*nodes, name="Many"))
    await client.wait(run)
    async with opened(chromium, stack, f"#/run/{run}") as watched:
        page = watched.page
        await page.get_by_text("620 nodes").wait_for()
        listed = page.locator(".nodes .node")
        await expect(listed).to_have_count(500)
        await page.get_by_role("button", name="Show more").click()
        await expect(listed).to_have_count(620)
        last = str(await listed.last.get_attribute("data-path"))
        await page.reload()
        await page.goto(f"{stack.url}/#/run/{run}?node={last}")
        await page.locator(f'[data-path="{last}"][aria-current="true"]').wait_for()
