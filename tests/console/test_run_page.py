"""A run's page in a real browser: its times and events, one node closely, reruns; and the list of runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
from temporalio.client import Client

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack
from tests.console.conftest import watched_page
from tests.console.test_console import expect, graph, node, opened, streaming, telling, text_of, until_state
from tests.crash.slow_model import TEXT, slow_model
from tests.gateway.conftest import Stack

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.async_api import Browser, Locator, Page, WebSocketRoute

pytestmark = pytest.mark.timeout(120)
Json = dict[str, Any]
WORDS = "the kettle is <b>on</b>"
REFUSAL = json.dumps({"error": {"message": WORDS, "type": "server_error", "code": None}}).encode()


@contextlib.asynccontextmanager
async def refusing_model() -> AsyncIterator[str]:
    """A model server that answers each request with a fault of its own. Gives its base URL."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            head = f"HTTP/1.1 500 No\r\nContent-Type: application/json\r\nContent-Length: {len(REFUSAL)}\r\n"
            writer.write(head.encode() + b"Connection: close\r\n\r\n" + REFUSAL)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


def chain() -> Json:
    """Three nodes, each of which needs the one before, and one beside them."""
    nodes = [node(id, "CreateMessage", {"content": "x"}) for id in ("first", "second", "third", "beside")]
    edges = [
        {"id": target, "source": source, "sourceHandle": "messages", "target": target, "targetHandle": "content"}
        for source, target in (("first", "second"), ("second", "third"))
    ]
    return {**graph(*nodes, name="Chain"), "edges": edges}


async def listed(place: Locator, title: str) -> set[str]:
    """The nodes that stand under a title, which is opened."""
    details = place.locator("details").filter(has_text=title)
    await details.locator("summary").click()
    return set(await details.locator("li").all_text_contents())


def panel(page: Page) -> Locator:
    return page.get_by_role("complementary", name="Node")


async def sealed(client: GatewayClient, run: str) -> Json:
    """The status of a run whose log is sealed, a moment after its end."""
    async with asyncio.timeout(10):
        await client.wait(run)
        while (status := await client.status(run)).get("completedAt") is None:
            await asyncio.sleep(0.05)
    return status


async def has_what_the_gateway_has(page: Page, status: Json) -> None:
    """Each node's state and text, and each output, are those of GET /api/prompt, byte by byte."""
    assert len(await page.locator("[data-path]").all()) == len(status["nodeStatus"])
    for path, state in status["nodeStatus"].items():
        item = page.locator(f'[data-path="{path}"]')
        assert await item.evaluate("item => item.className") == f"node node-{state['status']}"
        outputs = state.get("output", {}).values()
        texts = [value["text"] for value in outputs if isinstance(value, dict) and "text" in value]
        if texts:
            assert await text_of(page, path) == texts[0]
    for slot, value in status["outputs"].items():
        shown = await page.locator(f'[data-slot="{slot}"] pre').text_content()
        assert shown == (value["text"] if isinstance(value, dict) else value)


async def test_failed_node_shows_its_attempts_in_the_words_of_the_provider(
    chromium: Browser, stack: LocalStack, client: GatewayClient
) -> None:
    async with refusing_model() as url:
        retry = {"retry": {"maximumAttempts": 2, "initialSeconds": 0.1}}
        run = await client.submit(graph({**telling(url), **retry}, node("fine", "CreateMessage"), name="Refused"))
        await client.wait(run)
    error = (await client.status(run))["nodeStatus"]["talk"]["error"]
    async with opened(chromium, stack, f"#/run/{run}/timeline") as watched:
        page = watched.page
        rows = page.locator(".timeline .row")
        await expect(rows).to_have_count(2)
        await page.get_by_label("Show", exact=True).select_option("failed")
        await expect(rows).to_have_count(1)
        assert page.url.endswith("/timeline?show=failed")
        await page.get_by_label("Show", exact=True).select_option("waiting")
        await page.get_by_text("No node fits.").wait_for()
        await page.get_by_label("Show", exact=True).select_option("failed")
        assert len(await rows.locator(".bar-failed").all()) == 2
        await rows.get_by_role("link", name="talk").click()
        shown = panel(page)
        await shown.get_by_role("heading", name="talk").wait_for()
        assert await page.evaluate("() => document.activeElement?.tagName") == "H2"
        assert await shown.locator("blockquote").all_text_contents() == [WORDS] * 3
        assert error["message"] == await shown.locator(".error-box p").first.text_content()
        await shown.get_by_text("attempt 1: failed, is tried again").wait_for()
        await page.keyboard.press("Escape")
        await shown.wait_for(state="detached")
        assert page.url.endswith("/timeline?show=failed")
        assert await page.evaluate("() => document.activeElement?.textContent") == "talk"


async def test_run_of_somebody_else_during_after_and_without_its_log(
    chromium: Browser, temporal: Client, tmp_path: Path
) -> None:
    stack = Stack(temporal, tmp_path)
    async with (
        stack.gateway(),
        stack.worker(),
        GatewayClient(stack.url) as client,
        slow_model(0.2) as model,
        watched_page(chromium) as watched,
    ):
        page = watched.page
        run = await client.submit(streaming(model.url))
        await page.goto(f"{stack.url}/#/run/{run}/timeline?node=talk")
        await page.locator(".bar-running").wait_for()
        await panel(page).get_by_text(re.compile("word3")).wait_for()
        model.delay_s = 0.005
        await page.locator(".bar-complete").wait_for()
        await sealed(client, run)
        assert await panel(page).locator("pre").last.text_content() == TEXT
        await page.reload()
        await page.locator(".bar-complete").wait_for()
        await stack.container.log.delete_run(run)
        await page.reload()
        await page.locator(".bar-complete").wait_for()
        assert await panel(page).locator("pre").last.text_content() == TEXT
        await page.goto(f"{stack.url}/#/run/{run}")
        await until_state(page, "complete")
        await expect(page.locator("h1 bdi")).to_have_text("Talk")
        await expect(page.locator('[data-slot="story"] pre')).to_have_text(TEXT)
        await expect(page.locator('[data-path="talk"].node-complete')).to_have_count(1)
        await page.get_by_role("link", name="Events").click()
        await page.get_by_text("The events of this run are not kept any more.").wait_for()
        assert watched.messages == []
    stack.close()


async def test_events_are_paged_and_cut_down_by_type(
    chromium: Browser, stack: LocalStack, client: GatewayClient
) -> None:
    async with slow_model(0.001) as model:
        run = await client.submit(
            graph(telling(model.url, "one"), telling(model.url, "two"), telling(model.url, "three"))
        )
        await sealed(client, run)
    async with opened(chromium, stack, f"#/run/{run}/events") as watched:
        page = watched.page
        items = page.locator(".event-list li")
        await expect(items).to_have_count(100)
        await page.get_by_role("link", name="Next page").click()
        await expect(items.first).to_have_attribute("data-seq", "101")
        assert page.url.endswith("events?after=100")
        await page.get_by_label("Type").select_option("NODE_EXECUTING")
        await expect(items).to_have_count(3)
        assert page.url.endswith("events?type=NODE_EXECUTING")
        await items.first.locator("summary").click()
        shown = json.loads(str(await items.first.locator("pre").text_content()))
        assert (shown["type"], shown["payload"]["promptId"]) == ("NODE_EXECUTING", run)


async def test_rerun_from_a_node_does_what_it_announced(
    chromium: Browser, stack: LocalStack, client: GatewayClient
) -> None:
    base = await client.submit(chain())
    await sealed(client, base)
    async with opened(chromium, stack, f"#/run/{base}") as watched:
        page = watched.page
        await page.locator('[data-path="second"]').get_by_role("link", name="second").click()
        inputs = panel(page).get_by_role("region", name="Inputs")
        await inputs.get_by_role("link", name="first").wait_for()
        await panel(page).get_by_role("button", name="Rerun from here").click()
        dialog = page.get_by_role("dialog")
        assert await listed(dialog, "2 nodes are taken over") == {"first", "beside"}
        assert await listed(dialog, "2 nodes run") == {"second", "third"}
        assert (await client.history())[0]["promptId"] == base, "the preview has started something"
        await dialog.get_by_role("button", name="Start").click()
        await page.get_by_text("As announced before the start.").wait_for()
        await until_state(page, "complete")
        run = page.url.rpartition("/")[2]
        nodes = (await sealed(client, run))["nodeStatus"]
        assert {path for path, state in nodes.items() if state.get("reused")} == {"first", "beside"}
        rerun = page.get_by_role("region", name="Rerun")
        assert await listed(rerun, "2 nodes are taken over") == {"first", "beside"}
        assert await listed(rerun, "2 nodes ran") == {"second", "third"}
        await rerun.get_by_role("link", name=base).wait_for()


async def test_runs_come_by_themselves_and_many_are_stopped_and_deleted_at_once(
    chromium: Browser, stack: LocalStack, client: GatewayClient
) -> None:
    """In two tabs: what one does the other one shows."""
    asks = graph(node("ask", "Approval", {"data": "x"}), name="Bulk")
    async with opened(chromium, stack, "#/runs?q=bulk") as watched, opened(chromium, stack, "#/runs?q=bulk") as other:
        page = watched.page
        await page.get_by_text("No run fits.").wait_for()
        runs = [await client.submit(asks) for _ in range(2)]
        hi = await client.submit(graph(node("hi", "CreateMessage"), name="Bulk too"))
        await expect(page.locator(".run-row")).to_have_count(3)
        await expect(page.locator(".state-waiting")).to_have_count(2)
        # Nothing moves under the mouse; what came meanwhile is one click away.
        await page.locator(f'[data-choose="{hi}"]').hover()
        place = await page.locator(f'[data-choose="{hi}"]').bounding_box()
        late = await client.submit(graph(node("hi", "CreateMessage"), name="Bulk later"))
        await page.get_by_role("button", name="Show what came and went").wait_for()
        await expect(other.page.locator(".run-row")).to_have_count(4)
        assert await page.locator(f'[data-choose="{hi}"]').bounding_box() == place
        assert await page.locator(".run-row").count() == 3
        await page.get_by_role("button", name="Show what came and went").press("Enter")
        await expect(page.locator(".run-row")).to_have_count(4)
        await client.delete_run(late)
        await page.get_by_role("button", name="Show what came and went").wait_for()
        await page.mouse.move(0, 0)
        await expect(page.locator(".run-row")).to_have_count(3)
        await page.get_by_label("Choose all shown").check()
        await page.get_by_role("button", name="Stop (2)").click()
        dialog = page.get_by_role("dialog", name="Stop 2 runs?")
        await dialog.get_by_text("1 chosen run is left alone").wait_for()
        await dialog.get_by_role("button", name="Stop").click()
        await page.get_by_text("2 runs: done.").wait_for()
        await expect(other.page.locator(".state-interrupted")).to_have_count(2)
        await page.get_by_label("State").select_option("interrupted")
        await expect(page.locator(".run-row")).to_have_count(2)
        await page.get_by_label("Choose all shown").check()
        await page.get_by_role("button", name="Delete (2)").click()
        await page.get_by_role("dialog", name="Delete 2 runs?").get_by_role("button", name="Delete").click()
        await page.get_by_text("No run fits.").wait_for()
        await expect(other.page.locator(".run-row")).to_have_count(1)
        await page.get_by_role("button", name="Show all runs").click()
        await page.locator(f'[data-choose="{hi}"]').wait_for()
        assert page.url.endswith("#/runs")
    kept = {row["promptId"] for row in await client.history()}
    assert hi in kept
    assert not kept.intersection(runs)


async def test_socket_that_is_closed_and_another_log_leave_no_trace(
    chromium: Browser, stack: LocalStack, client: GatewayClient
) -> None:
    """First the gateway finds the page too slow; then, back again, the log is another one; then all comes twice."""
    sockets = 0

    async def between(page_side: WebSocketRoute) -> None:
        nonlocal sockets
        sockets += 1
        number, server = sockets, page_side.connect_to_server()

        def to_page(message: str | bytes) -> None:
            text = str(message)
            if number == 1:
                text = text.replace("word2", "lost2")  # what the other log does not have
            if number >= 2:
                text = text.replace('"logId":"', '"logId":"another-')
            page_side.send(text)
            if number < 3 and "word9" in text:
                # A close of the page's side also ends the gateway's.
                asyncio.get_running_loop().create_task(page_side.close(code=4408, reason="too slow"))

        def to_server(message: str | bytes) -> None:
            asked = json.loads(message)
            if number >= 2 and "promptId" in asked["payload"]:
                asked["payload"] = {"promptId": asked["payload"]["promptId"], "after": 0, "batch": True}
            server.send(json.dumps(asked))

        server.on_message(to_page)
        page_side.on_message(to_server)

    async with slow_model() as model, watched_page(chromium) as watched:
        page = watched.page
        await page.route_web_socket(re.compile("/ws"), between)
        run = await client.submit(streaming(model.url))
        await page.goto(f"{stack.url}/#/run/{run}")
        await until_state(page, "complete")
        await has_what_the_gateway_has(page, await sealed(client, run))
        assert await text_of(page, "talk") == TEXT
        assert sockets >= 3


async def test_worker_killed_in_mid_stream_leaves_no_trace(
    chromium: Browser, stack: LocalStack, client: GatewayClient
) -> None:
    """It takes its attempt with it, and the next one begins anew."""
    async with slow_model(0.2) as model, opened(chromium, stack) as watched:
        page = watched.page
        run = await client.submit(streaming(model.url))
        await page.goto(f"{stack.url}/#/run/{run}")
        await page.get_by_text(re.compile("word3")).first.wait_for()
        model.delay_s = 0.005
        worker = next(pid for name, pid in stack.pids().items() if name.startswith("worker"))
        os.kill(worker, signal.SIGKILL)
        await until_state(page, "complete")
        await has_what_the_gateway_has(page, await sealed(client, run))
        assert await text_of(page, "talk") == TEXT
        assert model.requests == 2
        await page.goto(f"{stack.url}/#/run/{run}?node=talk")
        await panel(page).get_by_text("attempt 1: lost with its worker").wait_for()
