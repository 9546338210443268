"""Makes docs/images/console.png: the page of the demo's run in a real browser, while the story is told.

python -m tests.docs.make_screenshot [FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from tests.console.tools import browser, find_playwright
from tests.docs.make_images import STORY, TELLER
from tests.docs.pages import DOCS

if TYPE_CHECKING:
    from playwright.async_api import Page

WIDTH, HEIGHT, SCALE = 1120, 780, 1.75
WORDS_BEFORE_SHOT = 30
# A slow machine takes seconds between the words and the picture: the story must still be told then.
SLOW_TELLER = "demo-storyteller@4"
CLOSER = 2


@asynccontextmanager
async def new_page() -> AsyncIterator[Page]:
    find_playwright()
    from playwright.async_api import async_playwright

    # Root may not use the sandbox of the browser.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=browser(), args=arguments)
        yield await chromium.new_page(
            viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=SCALE, color_scheme="light", locale="en-GB"
        )
        await chromium.close()


def slow_story() -> dict[str, Any]:
    """The demo, told word by word for half a minute."""
    story: dict[str, Any] = orjson.loads(STORY.read_bytes())
    teller = next(node for node in story["nodes"] if node["id"] == TELLER)
    teller["inputValues"]["model"] = SLOW_TELLER
    return story


async def until_told(client: GatewayClient, run: str, words: int) -> None:
    """Wait until the story has so many words."""
    told = ""
    async for event in client.events(run):
        payload = event["payload"]
        if event["type"] == "NODE_YIELD" and payload["sourceNodeId"] == TELLER:
            told += str(payload["yieldedContent"]["content"])
        if len(told.split()) >= words:
            return


async def shoot(file: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        options = StackOptions(Path(folder))
        async with LocalStack(options) as stack, GatewayClient(stack.url) as client, new_page() as page:
            run = await client.submit(slow_story())
            await page.goto(f"{stack.url}/#/run/{run}/graph")
            await page.get_by_role("application").wait_for()
            # The end of the graph, so near that the text in its nodes can be read.
            await page.get_by_role("searchbox", name="Find a node").fill("tell the story")
            for _ in range(CLOSER):
                await page.get_by_role("button", name="Zoom in").click()
            await until_told(client, run, WORDS_BEFORE_SHOT)
            await page.screenshot(path=file)
            if (await client.status(run))["status"] != "running":
                raise RuntimeError("the story was over before the picture was taken: tell it more slowly")
            file.chmod(0o644)  # the stack keeps what it writes to its user


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, default=DOCS / "images" / "console.png")
    asyncio.run(shoot(parser.parse_args().file))
