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
from typing import TYPE_CHECKING

import orjson

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from tests.console.tools import browser, find_playwright
from tests.docs.make_images import STORY, TELLER
from tests.docs.pages import DOCS

if TYPE_CHECKING:
    from playwright.async_api import Page

WIDTH, HEIGHT, SCALE = 1280, 800, 1.5
WORDS_BEFORE_SHOT = 60


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
            run = await client.submit(orjson.loads(STORY.read_bytes()))
            await page.goto(f"{stack.url}/#/run/{run}/graph?node={TELLER}")
            await until_told(client, run, WORDS_BEFORE_SHOT)
            await page.screenshot(path=file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, default=DOCS / "images" / "console.png")
    asyncio.run(shoot(parser.parse_args().file))
