"""Starting a workflow by a form, and its library, in a real browser."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack
from tests.console.test_console import HOSTILE, expect, opened, until_state
from tests.console.workflows import store_all_kinds

if TYPE_CHECKING:
    from playwright.async_api import Browser, FilePayload, Page

pytestmark = pytest.mark.timeout(120)
Json = dict[str, Any]
ROOT = Path(__file__).parents[2]
KEY = "sk-of-nobody"
TELLS: Json = {"type": "core:Template", "inputValues": {"template": "once"}}
PICTURE = "data:image/png;base64,iVBORw=="


def payload(name: str, content: bytes, mime: str = "application/json") -> FilePayload:
    return {"name": name, "mimeType": mime, "buffer": content}


async def fill_all(page: Page) -> None:
    """Type something into each field, other than what is there. One file has the name of another one."""
    await page.get_by_label("A line").fill("O'Hara")
    await page.get_by_label("A text").fill(f"{HOSTILE}\n\u202e2")
    await page.get_by_label("A whole number").fill("4")
    await page.get_by_label("A number").fill("0.25")
    await page.get_by_label("A switch").check()
    await page.get_by_label("A choice").select_option("Wild")
    await page.get_by_label("An object").fill('{"a": [1, null]}')
    await page.get_by_label("A list").fill("[2]")
    await page.get_by_role("button", name="Add a message").click()
    await page.get_by_label("What is said").fill("Hi")
    await page.get_by_label("File for A file").set_input_files(payload("note.txt", b"hello"))
    await expect(page.get_by_label("A file", exact=True)).to_have_value("user://uploads/note-2.txt")
    await page.get_by_label("File for A picture").set_input_files(payload("x.png", b"\x89PNG", "image/png"))
    await expect(page.get_by_label("A picture", exact=True)).to_have_value(PICTURE)
    await page.get_by_label("Anything").fill("[true]")
    await page.get_by_label("A key").fill(KEY)


def kinds_known() -> set[str]:
    """How slots can be typed, as `forms/slots.js` says."""
    source = (ROOT / "gateway/console/forms/slots.js").read_text()
    return set(re.findall(r'"(\w+)"', source.partition('@typedef {"secret"')[2].partition("Kind")[0])) | {"secret"}


async def kinds_shown(page: Page) -> set[str]:
    looks = [str(await field.get_attribute("class")).split() for field in await page.locator(".field").all()]
    return {look.removeprefix("field-") for classes in looks for look in classes} - {"field"}


async def shown_call(page: Page, language: str) -> str:
    return str(await page.get_by_label(language, exact=True).text_content())


async def output_of(*command: str, stdin: str = "") -> str:
    ran = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env={**os.environ, "no_proxy": "*"}
    )
    said, _ = await ran.communicate(stdin.encode())
    assert ran.returncode == 0
    return said.decode()


async def test_workflow_is_started_with_every_kind_of_input(
    chromium: Browser, stack: LocalStack, client: GatewayClient, tmp_path: Path
) -> None:
    """What was typed comes out of the run, is there the next time, and is what the same call elsewhere gives."""
    await store_all_kinds(client)
    there = tmp_path / "note.txt"
    there.write_text("somebody's")
    await client.files.put("user://uploads/note.txt", there)
    async with opened(chromium, stack, "#/workflows") as watched:
        page = watched.page
        await page.get_by_label("Name, id, tag").fill("kinds")
        await page.get_by_role("link", name="Start Every kind").click()
        await page.get_by_role("heading", name="Every kind").wait_for()
        assert await kinds_shown(page) == kinds_known()
        await page.get_by_role("button", name="Start").click()
        await expect(page.get_by_label("A line")).to_be_focused()
        await page.get_by_text("This needs a value.").wait_for()
        await fill_all(page)
        await page.get_by_label("A whole number").fill("10")
        await page.get_by_role("button", name="Check").click()
        await page.get_by_text("The most is 9.").wait_for()
        await page.get_by_label("A whole number").fill("4")
        await page.get_by_role("button", name="Check").click()
        await page.get_by_text("It can run.").wait_for()
        await page.get_by_text("The same from a program").click()
        curl, python = await shown_call(page, "In a shell"), await shown_call(page, "In Python")
        await page.get_by_role("button", name="Start").click()
        await page.wait_for_url(re.compile("#/run/"))
        await until_state(page, "complete")
        outputs = (await client.status(page.url.rpartition("/")[2]))["outputs"]
        uploaded = io.BytesIO()
        await client.files.get(outputs.pop("file"), uploaded)
        assert uploaded.getvalue() == b"hello"
        assert outputs == {
            "line": "O'Hara",
            "text": f"{HOSTILE}\n\u202e2",
            "whole": 4,
            "part": 0.25,
            "switch": True,
            "mood": "wild",
            "object": {"a": [1, None]},
            "list": [2],
            "chat": [{"role": "user", "content": "Hi"}],
            "picture": PICTURE,
            "any": [True],
        }
        kept = await page.evaluate("() => JSON.stringify([{...localStorage}, {...sessionStorage}])")
        assert KEY not in kept + curl + python
        run = json.loads(await output_of("sh", "-c", curl))["promptId"]
        again = (await client.wait(run))["outputs"]
        assert {key: again[key] for key in outputs} == outputs
        assert "'line': \"O'Hara\"" in await output_of(sys.executable, "-", stdin=python)
        await page.go_back()
        await expect(page.get_by_label("An object")).to_have_value(re.compile('"a"'))
        await expect(page.get_by_label("A key")).to_have_value("")
        await page.get_by_role("button", name="Take the defaults").click()
        await expect(page.get_by_label("A list")).to_have_value("[\n  1\n]")
        # The browser itself writes that there was a file of this name.
        watched.messages[:] = [line for line in watched.messages if "412" not in line]


async def test_problem_of_the_gateway_stands_at_its_field(
    chromium: Browser, stack: LocalStack, client: GatewayClient
) -> None:
    await store_all_kinds(client)
    async with opened(chromium, stack, "#/start/kinds?project=default&version=1") as watched:
        page = watched.page
        await page.get_by_label("A line").fill("x")
        await page.get_by_label("A key").fill("$secret:not-an-id")
        await page.get_by_role("button", name="Start").click()
        await expect(page.get_by_label("A key")).to_be_focused()
        await expect(page.get_by_label("A key")).to_have_accessible_description(re.compile("secret"))
        await page.get_by_role("alert").get_by_text("Look at: A key").wait_for()
        # The browser itself writes that a request was refused.
        watched.messages[:] = [line for line in watched.messages if "422" not in line]


async def test_library_takes_in_compares_publishes_and_deletes(
    chromium: Browser, stack: LocalStack, client: GatewayClient
) -> None:
    first: Json = {"id": "tale", "name": "A tale", "nodes": [{"id": "one", **TELLS}], "edges": []}
    second = {**first, "nodes": [{"id": "two", **TELLS}]}
    async with opened(chromium, stack, "#/workflows") as watched:
        page = watched.page
        picker = page.locator("input[type=file]")
        await picker.set_input_files(payload("tale.json", json.dumps(first).encode()))
        await page.get_by_text("A tale is stored as version 1.").wait_for()
        await picker.set_input_files(payload("tale.json", json.dumps(second).encode()))
        await page.get_by_role("dialog", name="Store a new version?").get_by_role("button", name="Store it").click()
        await page.get_by_text("A tale is stored as version 2.").wait_for()
        await page.get_by_role("link", name="A tale", exact=True).click()
        changes = page.get_by_role("region", name="Difference").get_by_role("row")
        await expect(changes.filter(has_text="two")).to_contain_text("added")
        row = page.locator('[data-version="1"]')
        await row.get_by_role("button", name="Publish version 1").click()
        await row.get_by_text("runs by id take it").wait_for()
        await expect(changes.filter(has_text="one")).to_contain_text("removed")
        await page.get_by_role("application", name="Graph of both versions").focus()
        await page.keyboard.press("ArrowRight")
        await page.keyboard.press("Enter")
        await expect(page.locator("tr:focus")).to_have_attribute("data-node", re.compile("one|two"))
        asked = [url for url in watched.urls if "/tale/diff?" in url]
        assert len(asked) == 1, "the same two versions were drawn anew, and whoever stood there has lost the place"
        await client.workflows.save({**second, "name": "Another tale"}, etag="*")
        await page.get_by_role("button", name="Delete").click()
        await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        await page.get_by_role("alert").get_by_text(re.compile("version")).wait_for()
        await page.get_by_role("heading", name="Another tale").wait_for()
        await page.get_by_role("button", name="Delete").click()
        await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        await page.wait_for_url(re.compile("#/workflows$"))
        await page.get_by_role("link", name="Bin").click()
        await page.get_by_role("listitem").filter(has_text="Another tale").get_by_role("button").click()
        await page.get_by_text("Another tale is back.").wait_for()
        watched.messages[:] = [line for line in watched.messages if "409" not in line and "412" not in line]
    assert (await client.workflows.get("tale")).document["name"] == "Another tale"
