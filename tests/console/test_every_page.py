"""Every page and view in a real browser: what axe finds, and whether all of it is there on screens of every size."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack
from tests.console.conftest import LARGE, PHONE, ZOOMED, watched_page
from tests.console.test_graph import COLOURS
from tests.console.tour import Place, prepared
from tests.effort import LONG

if TYPE_CHECKING:
    from collections.abc import Sequence

    from playwright.async_api import Browser, Page, ViewportSize

pytestmark = pytest.mark.timeout(120)
Json = dict[str, Any]
SIZES = (LARGE, ZOOMED, PHONE) if LONG else (ZOOMED, PHONE)

# Rules beside the usual ones: what WCAG 2.2 asks of the size of a target.
FIND = """async (only) => {
  const rules = only === null ? { rules: { "target-size": { enabled: true } } } : { runOnly: only };
  const { violations } = await axe.run(document, { resultTypes: ["violations"], preload: false, ...rules });
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target, any }) =>
    `${target} (${any.map(({ message }) => message)})`).join("; ")}`);
}"""

# What does not fit: a page wider than the window, what stands outside of it, texts that are cut without a sign of it,
# and controls that lie on each other.
MISFITS = """() => {
  const found = [];
  const page = document.scrollingElement;
  if (page.scrollWidth > page.clientWidth) found.push(`the page is ${page.scrollWidth} of ${page.clientWidth} wide`);
  const nameOf = (one) => `${one.tagName} ${one.className || one.id} "${one.textContent.slice(0, 40)}"`;
  const how = { visibilityProperty: true, contentVisibilityAuto: true };
  const isSeen = (one) => one.checkVisibility(how) && !one.closest(".unseen, .skip");
  const top = document.querySelector("dialog") ?? document;
  for (const one of top.querySelectorAll("*")) {
    const { overflowX, textOverflow } = getComputedStyle(one);
    const isCut = ["hidden", "clip"].includes(overflowX) && textOverflow !== "ellipsis" && isSeen(one);
    if (isCut && one.scrollWidth > one.clientWidth + 1) found.push(`cut: ${nameOf(one)}`);
  }
  const controls = [...top.querySelectorAll("a[href], button, input, select, textarea, summary")].filter(isSeen);
  const boxes = controls.map((one) => ({ one, box: one.getBoundingClientRect() })).filter(({ box }) => box.width > 1);
  for (const { one, box } of boxes) {
    const scrolls = one.closest(".wide, .table, .rows-box, .node-panel, dialog, .text, .error-box ul");
    if (scrolls === null && (box.left < -1 || box.right > innerWidth + 1)) found.push(`outside: ${nameOf(one)}`);
  }
  const flow = boxes.filter(({ one }) => !one.closest(".node-panel, .rows-box, .error-box ul"));
  for (const [at, { one, box }] of flow.entries()) {
    for (const { one: other, box: its } of flow.slice(at + 1, at + 8)) {
      const wide = Math.min(box.right, its.right) - Math.max(box.left, its.left);
      const high = Math.min(box.bottom, its.bottom) - Math.max(box.top, its.top);
      if (wide > 1 && high > 1 && !one.contains(other)) found.push(`on each other: ${nameOf(one)}, ${nameOf(other)}`);
    }
  }
  return found;
}"""

HEADINGS = """() => [...document.querySelectorAll("h1")].map((one) => one.textContent)"""
GROUND_OF_BAR = """() => getComputedStyle(document.querySelector(".bar-complete")).backgroundColor"""


@pytest.fixture
async def places(stack: LocalStack) -> AsyncIterator[list[Place]]:
    async with GatewayClient(stack.url) as client, prepared(client) as places:
        yield places


async def go(page: Page, url: str, place: Place) -> None:
    await page.context.set_offline(place.name == "away")
    await page.goto(f"{url}/{place.hash}")
    if place.name == "login":
        await page.evaluate("async () => (await import('./console/api/token.js')).refuseToken()")
    await page.locator(place.ready).first.wait_for()
    if place.act is not None:
        await place.act(page)


async def leave(page: Page) -> None:
    """A dialog would stay open on the next page."""
    if await page.locator("dialog").count():
        await page.keyboard.press("Escape")
        await page.locator("dialog").wait_for(state="detached")


async def misfits(page: Page, sizes: Sequence[ViewportSize] = SIZES) -> list[str]:
    """The last size stays for the next place."""
    found = []
    for size in sizes:
        await page.set_viewport_size(size)
        found += [f"{size['width']}: {one}" for one in await page.evaluate(MISFITS)]
    return found


async def test_axe_finds_nothing_and_everything_fits(chromium: Browser, stack: LocalStack, places: list[Place]) -> None:
    """In both schemes, on a phone and at 200 %, in the long form on a large screen, too; with one h1 and a title.

    One page and one copy of axe for all: a new one for each costs more than the search itself.
    """
    from axe_playwright_python.async_playwright import Axe

    found: list[str] = []
    # axe puts its script into the page, which the policy of the page forbids.
    async with watched_page(chromium, bypass_csp=True, viewport=PHONE, color_scheme="light") as watched:
        page = watched.page
        await page.goto(f"{stack.url}/")
        await page.evaluate(Axe().axe_script)
        for place in places:
            await go(page, stack.url, place)
            seen = await page.evaluate(FIND, None)
            # Of the rules only this one looks at colours.
            await page.emulate_media(color_scheme="dark")
            seen += await page.evaluate(FIND, ["color-contrast"])
            await page.emulate_media(color_scheme="light")
            seen += await misfits(page)
            heads, title = await page.evaluate(HEADINGS), await page.title()
            if len(heads) != 1 or not title.endswith(" · Innkeeper"):
                seen.append(f"headings {heads}, title {title!r}")
            found += [f"{place.name}: {one}" for one in seen]
            await leave(page)
    assert found == []


async def test_drawings_are_seen_in_forced_colours(chromium: Browser, stack: LocalStack, places: list[Place]) -> None:
    """The browser takes backgrounds away, and gives all text one colour: on a canvas everything was black."""
    timeline, graph = (next(place for place in places if place.name == name) for name in ("timeline", "graph"))
    async with watched_page(chromium, forced_colors="active") as watched:
        page = watched.page
        await go(page, stack.url, timeline)
        assert await page.evaluate(GROUND_OF_BAR) == "rgb(0, 0, 0)"
        await go(page, stack.url, graph)
        await page.locator(".graph-drawing").wait_for()
        async with asyncio.timeout(20):
            while await page.evaluate(COLOURS) < 9:
                await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_everything_fits_in_chinese(chromium: Browser, stack: LocalStack, places: list[Place]) -> None:
    found: list[str] = []
    async with watched_page(chromium, viewport=PHONE, locale="zh-CN") as watched:
        for place in places:
            await go(watched.page, stack.url, place)
            found += [f"{place.name}: {one}" for one in await misfits(watched.page, (LARGE, PHONE))]
            await leave(watched.page)
    assert found == []
