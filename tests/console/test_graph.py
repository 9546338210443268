"""The graph of a run in a real browser: seen, walked by keys, moved by touch, entered."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack
from tests.console.test_console import expect, graph, node, opened, until_state

if TYPE_CHECKING:
    from playwright.async_api import Browser, CDPSession, Locator, Page, Route

pytestmark = pytest.mark.timeout(120)
Json = dict[str, Any]
STORY: Json = json.loads((Path(__file__).parents[2] / "examples/story.json").read_text())


@pytest.fixture
async def client(stack: LocalStack) -> AsyncIterator[GatewayClient]:
    async with GatewayClient(stack.url) as client:
        yield client


def edge(source: str, target: str) -> Json:
    (node, slot), (to, into) = source.split("."), target.split(".")
    return {"id": f"{source}>{target}", "source": node, "sourceHandle": slot, "target": to, "targetHandle": into}


async def give_documents(page: Page, documents: dict[str, Json]) -> None:
    """The documents of a run by path."""

    async def answer(route: Route) -> None:
        path = parse_qs(urlsplit(route.request.url).query).get("path", [""])[0]
        await route.fulfill(json={"promptId": "", "path": path, "document": documents[path]})

    await page.route(re.compile("/api/prompt/[^/]+/document"), answer)


def stage(page: Page) -> Locator:
    return page.get_by_role("application", name="Graph of the run")


async def until_said(page: Page, words: str | re.Pattern[str]) -> None:
    await expect(page.locator(".graph-said")).to_have_text(words)


def place(page: Page) -> dict[str, str]:
    """What stands behind `?` in the address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).fragment.partition("?")[2]).items()}


async def test_graph_is_walked_by_keys_alone(chromium: Browser, stack: LocalStack, client: GatewayClient) -> None:
    run = await client.submit(STORY)
    async with opened(chromium, stack) as watched:
        page = watched.page
        await give_documents(page, {"": STORY})
        await page.goto(f"{stack.url}/#/run/{run}")
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
        await panel.get_by_text(re.compile("_sketch")).first.wait_for()
        await page.keyboard.press("Escape")
        await panel.wait_for(state="detached")
        field = page.get_by_role("searchbox", name="Find a node")
        await field.fill("tell")
        await until_said(page, "1 node found: tell")
        # Colours of states are there: the drawing is more than its ground.
        count = "new Set(new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size"
        assert await page.evaluate(f"() => {{ const c = document.querySelector('.graph-drawing'); return {count}; }}") > 9
