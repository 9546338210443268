"""Files, node types and plugins, and the state of the system, in a real browser."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest
from temporalio.client import Client

from innkeeper.gateway.cli.command_reference import commands
from innkeeper.gateway.process.local_stack import LocalStack
from tests.console.conftest import watched_page
from tests.console.test_console import HOSTILE, expect, opened, until_state
from tests.gateway.conftest import Stack

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.timeout(120)
CONSOLE = Path(__file__).parents[2] / "gateway" / "console"
DROP = """(element, name) => {
  const data = new DataTransfer();
  data.items.add(new File(["dropped"], name));
  const options = { dataTransfer: data, bubbles: true, cancelable: true };
  return ["dragover", "drop"].map((type) => !element.dispatchEvent(new DragEvent(type, options)));
}"""


@pytest.fixture
async def http(stack: LocalStack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=stack.url) as client:
        yield client


def upload(name: str, text: str) -> Any:
    return {"name": name, "mimeType": "text/plain", "buffer": text.encode()}


async def answer_dialog(page: Page, name: str, action: str, text: str | None = None) -> None:
    dialog = page.get_by_role("dialog", name=name)
    if text is not None:
        await dialog.get_by_role("textbox").or_(dialog.get_by_role("combobox")).fill(text)
    await dialog.get_by_role("button", name=action, exact=True).click()
    await dialog.wait_for(state="detached")


async def test_files_are_put_replaced_fetched_moved_and_deleted(
    chromium: Browser, stack: LocalStack, http: httpx.AsyncClient
) -> None:
    folder = "notes & <b> 100%"
    async with watched_page(chromium) as watched:
        page, picker = watched.page, watched.page.locator("input[type=file]")
        await page.goto(f"{stack.url}/#/files")
        await page.get_by_role("button", name="New folder").click()
        await answer_dialog(page, "New folder", "Create", folder)
        await page.get_by_role("link", name=folder).click()
        await page.get_by_text("This folder is empty.").wait_for()
        assert await page.evaluate("() => document.activeElement?.tagName") == "H1"
        await picker.set_input_files(upload("a#1.txt", "first"))
        await page.get_by_role("button", name="Download a#1.txt").wait_for()
        assert await page.locator(".page").evaluate(DROP, "b.txt") == [True, True], "the browser would open the file"
        await page.get_by_role("button", name="Download b.txt").wait_for()

        await picker.set_input_files(upload("a#1.txt", "second"))
        await answer_dialog(page, "Replace the file?", "Cancel")
        await page.locator(".uploads li").wait_for(state="detached")
        assert (await http.get(f"/api/files/user/{quote(folder)}/a%231.txt")).text == "first"
        await picker.set_input_files(upload("a#1.txt", "second"))
        await answer_dialog(page, "Replace the file?", "Replace")
        await expect(page.locator(".uploads li")).to_have_count(0)
        async with page.expect_download() as saved:
            await page.get_by_role("button", name="Download a#1.txt").click()
        download = await saved.value
        assert (download.suggested_filename, Path(await download.path()).read_text()) == ("a#1.txt", "second")

        await page.get_by_role("button", name="Rename a#1.txt").click()
        await answer_dialog(page, "Rename a#1.txt", "Rename", "b.txt")
        await page.get_by_role("alert").get_by_text("b.txt").wait_for()
        await page.get_by_role("button", name="Move a#1.txt").click()
        await answer_dialog(page, "Move a#1.txt", "Move", "user://")
        await page.get_by_role("button", name="Download a#1.txt").wait_for(state="detached")
        await page.get_by_role("navigation", name="Way to the folder").get_by_role("link", name="user://").click()

        await page.get_by_role("button", name="Delete a#1.txt").click()
        await page.get_by_role("dialog").wait_for()
        await http.put("/api/files/user/a%231.txt", content=b"somebody else's")
        await answer_dialog(page, "Delete a#1.txt?", "Delete")
        await page.get_by_role("alert").get_by_text("another version").wait_for()
        await page.get_by_role("button", name="Delete a#1.txt").click()
        await answer_dialog(page, "Delete a#1.txt?", "Delete")
        await page.get_by_role("button", name=f"Delete {folder}").click()
        await page.get_by_text(re.compile(r"1 file in it \(7 bytes")).wait_for()
        await answer_dialog(page, f"Delete {folder}?", "Delete")
        await page.get_by_role("link", name=folder).wait_for(state="detached")
        await page.get_by_role("link", name="System files").click()
        await page.get_by_text("This folder is empty.").or_(page.get_by_role("list")).first.wait_for()
        await expect(page.get_by_role("button", name="Upload files")).to_have_count(0)
        assert (await http.get(f"/api/files/user/{quote(folder)}/")).json() == []
        # The browser itself writes down that something was refused.
        assert [line for line in watched.messages if "Failed to load resource" not in line] == []


async def test_what_is_wrong_is_told_and_plugins_are_turned_off(
    chromium: Browser, temporal: Client, tmp_path: Path
) -> None:
    """A gateway without a worker, with a file of channels and a plugin that cannot be read."""
    stack = Stack(temporal, tmp_path)
    (tmp_path / "channels.yaml").write_text("channels: 7\n")
    async with stack.gateway(), watched_page(chromium) as watched:
        page = watched.page
        await page.goto(f"{stack.url}/#/system")
        await expect(page.locator("h1")).to_contain_text("not ready")
        await expect(page.locator('[data-check="workers"]')).to_contain_text("no worker is connected")
        await page.get_by_role("region", name="Channels").get_by_role("alert").get_by_text("channels.yaml").wait_for()
        await page.keyboard.press("g")
        await page.keyboard.press("n")
        plugins = page.get_by_role("region", name="Plugins")
        broken = plugins.get_by_role("listitem").filter(has_text="Broken")
        await expect(broken).to_contain_text("not loaded")
        await expect(broken).to_contain_text("bad.py")
        toys = plugins.get_by_role("listitem").filter(has_text="Node types of the tests.")
        await toys.get_by_role("button", name="Turn off Toys").click()
        await answer_dialog(page, "Turn off Toys?", "Turn off")
        await expect(toys).to_contain_text("turned off")
        search = page.get_by_role("searchbox")
        await search.fill("toys:")
        await page.get_by_text("0 node types").wait_for()
        await toys.get_by_role("button", name="Turn on Toys").click()
        await expect(toys).to_contain_text("loaded")
        await expect(page.get_by_text("0 node types")).to_have_count(0)
        await search.fill("merge text")
        await page.get_by_role("link", name="Merge text").click()
        await page.get_by_role("heading", name="Inputs", exact=True).wait_for()
        await expect(page.get_by_role("region", name="Inputs")).to_contain_text("text_inputs")
        await page.go_back()
        await expect(search).to_have_value("merge text")
        assert [line for line in watched.messages if "Failed to load resource" not in line] == []
    stack.close()


async def test_system_page_tests_a_channel_and_counts_what_is_stored(
    chromium: Browser, stack: LocalStack, http: httpx.AsyncClient
) -> None:
    for name, url in (("tryout", "demo"), ("silent", "http://127.0.0.1:9/v1")):
        body = {"id": name, "label": f"{HOSTILE} {name}", "baseUrl": url, "supportedModels": ["demo-describer"]}
        (await http.post("/api/llm/channels", json=body)).raise_for_status()
    async with opened(chromium, stack, "#/system") as watched:
        page = watched.page
        await expect(page.locator("h1")).to_contain_text("ready")
        await expect(page.locator('[data-check="workers"]')).to_contain_text("1 worker is connected")
        version = (await http.get("/api/system_stats")).json()["version"]
        await expect(page.get_by_role("region", name="Load")).to_contain_text(version)
        rows = page.get_by_role("region", name="Channels").get_by_role("listitem")
        tried, silent = (rows.filter(has_text=name) for name in ("tryout", "silent"))
        await tried.get_by_role("checkbox").check()
        for row in (tried, silent):
            await row.get_by_role("button", name="Test").click()
        await expect(tried).to_contain_text("it answers", timeout=30_000)
        await expect(tried).to_contain_text("demo-describer")
        await expect(tried.locator("dl")).to_contain_text(re.compile(r"First piece after\d"))
        await expect(silent).to_contain_text("no answer", timeout=30_000)
        await page.get_by_role("button", name="Count what is stored").click()
        await page.get_by_role("row", name=re.compile(r"Values that are kept \d")).wait_for()
        await silent.get_by_role("link", name="The run of this test").click()
        await until_state(page, "failed")
    for name in ("tryout", "silent"):
        (await http.delete(f"/api/llm/channels/{name}")).raise_for_status()


def test_commands_of_the_system_page_are_there() -> None:
    told = re.findall(r'\["innkeeper ([a-z-]+(?: [a-z]+)?)', (CONSOLE / "pages" / "system.js").read_text())
    known = commands()
    assert told
    assert [command for command in told if command not in known and command.split()[0] not in known] == []
