"""A real stack, and a real browser: what the tests of the page share."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from tests.console.tools import browser, find_playwright

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page, ViewportSize

PHONE: ViewportSize = {"width": 360, "height": 640}
ZOOMED: ViewportSize = {"width": 640, "height": 360}
"""What 200 % leave of 1280 x 720."""
LARGE: ViewportSize = {"width": 3840, "height": 2160}
PLUGINS = Path(__file__).parents[1] / "plugins"


@pytest.fixture(scope="package")
async def chromium() -> AsyncIterator[Browser]:
    find_playwright()
    from playwright.async_api import async_playwright

    program = browser()
    # Root may not use the sandbox of the browser.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        found = await playwright.chromium.launch(executable_path=program, args=arguments)
        yield found
        await found.close()


@pytest.fixture(scope="package")
async def stack(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalStack]:
    async with LocalStack(StackOptions(tmp_path_factory.mktemp("console"), plugins=(PLUGINS,))) as stack:
        yield stack


@pytest.fixture
async def client(stack: LocalStack) -> AsyncIterator[GatewayClient]:
    async with GatewayClient(stack.url) as client:
        yield client


@dataclass
class Watched:
    """A page, and what nobody should find there: messages on its console, requests to elsewhere."""

    page: Page
    messages: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    policies: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.page.on("console", lambda message: self.messages.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("request", lambda request: self._requested(request.url))
        self.page.on("websocket", lambda socket: self._requested(socket.url))
        self.page.on("response", self._answered)

    def _requested(self, url: str) -> None:
        self.urls.append(url)
        if not url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "blob:", "data:")):
            self.elsewhere.append(url)

    def _answered(self, response: Any) -> None:
        if "/api/" not in response.url:
            self.policies[response.url] = response.headers.get("content-security-policy", "")


@asynccontextmanager
async def watched_page(chromium: Browser, **options: Any) -> AsyncIterator[Watched]:
    """A page of a new context: nothing is kept from other tests."""
    context = await chromium.new_context(**{"locale": "en-GB", **options})
    context.set_default_timeout(20_000)
    try:
        yield Watched(await context.new_page())
    finally:
        await context.close()
