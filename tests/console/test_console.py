"""The page in a real browser, on a real gateway with a real worker."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from temporalio.client import Client

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack
from tests.console.conftest import Watched, watched_page
from tests.crash.slow_model import TEXT, WORDS, slow_model
from tests.gateway.conftest import Stack
from tests.graphs import node

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator, Page, Route

pytestmark = pytest.mark.timeout(120)
Json = dict[str, Any]
TOKEN = "a token for this page"
HOSTILE = "<img src=x onerror=alert(1)>'\"&amp;"
AWAY = re.compile("The gateway does not answer")


def graph(*nodes: Json, **more: Any) -> Json:
    return {"nodes": list(nodes), "edges": [], **more}


def telling(url: str, id: str = "talk") -> Json:
    """A node that streams what a model server says."""
    return node(id, "OpenAI", {"api_settings": {"base_url": url, "api_key": ""}, "prompt": "Tell", "stream": True})


def streaming(url: str) -> Json:
    """A graph whose stream is an output of the run."""
    outputs = {"story": {"key": "story", "dataFlowType": "STRING", "isStream": True}}
    mappings = {"story": {"sourceNodeId": "talk", "sourceSlotKey": "stream_output"}}
    return graph(telling(url), name="Talk", interfaceOutputs=outputs, outputInterfaceMappings=mappings)


@contextlib.asynccontextmanager
async def opened(chromium: Browser, stack: LocalStack, hash: str = "", **options: Any) -> AsyncIterator[Watched]:
    """A page of the stack. What it leaves on its console fails the test."""
    async with watched_page(chromium, **options) as watched:
        await watched.page.goto(f"{stack.url}/{hash}")
        yield watched
        assert watched.messages == []
        assert watched.elsewhere == []


def badge(page: Page) -> Locator:
    return page.locator("h1 .state")


def expect(what: Any) -> Any:
    """Playwright's own, which is not importable where the tools are missing."""
    from playwright.async_api import expect as expecting

    return expecting(what)


async def until_state(page: Page, word: str) -> None:
    await expect(badge(page)).to_contain_text(word, timeout=30_000)


async def text_of(page: Page, path: str) -> str:
    return str(await page.locator(f'[data-path="{path}"] pre').first.text_content())


async def test_first_visit_runs_the_demo_by_one_click(
    chromium: Browser, stack: LocalStack, client: GatewayClient
) -> None:
    """Text comes while it runs; at the end the page has what the gateway has. The first test: nothing has run yet."""
    async with opened(chromium, stack) as watched:
        page = watched.page
        await page.get_by_role("heading", name="Welcome").wait_for()
        await page.get_by_role("button", name="Run the demo").click()
        await page.wait_for_url(re.compile("#/run/"))
        story = page.locator('[data-slot="story"] pre')
        await story.wait_for()
        begun = str(await story.text_content())
        await until_state(page, "complete")
        run = page.url.rpartition("/")[2]
        outputs = (await client.status(run))["outputs"]
        told = await story.text_content()
        assert told == await text_of(page, "tell") == outputs["story"]["text"]
        assert str(told).startswith(begun)
        assert len(begun) < len(str(told)), "the text came as a whole"
        assert await page.locator('[data-slot="hero_sketch"] pre').text_content() == outputs["hero_sketch"]
        await expect(page).to_have_title("complete · Story · Innkeeper")
        assert len(await page.locator(".node-complete").all()) == 10
        policies = watched.policies.values()
        assert all("require-trusted-types-for 'script'" in policy for policy in policies)
        await page.get_by_role("link", name="Home").click()
        await page.get_by_role("heading", name="Failed today").wait_for()
        assert await page.get_by_role("heading", name="Welcome").count() == 0


async def test_gateway_and_server_killed_in_mid_stream_leave_no_trace_in_the_text(
    chromium: Browser, stack: LocalStack, client: GatewayClient
) -> None:
    """The server first, which the page need not notice."""
    async with slow_model(0.2) as model, watched_page(chromium) as watched:
        # Characters that are two of UTF-16.
        model.words = [f"{word}\U0001f642" for word in WORDS]
        whole = " ".join(model.words)
        run = await client.submit(streaming(model.url))
        page = watched.page
        await page.goto(f"{stack.url}/#/run/{run}")
        await page.get_by_text(re.compile("word3")).first.wait_for()
        os.kill(stack.pids()["temporal"], signal.SIGKILL)
        await page.get_by_text(re.compile("word6")).first.wait_for()
        assert await page.get_by_text(AWAY).count() == 0
        os.kill(stack.pids()["gateway"], signal.SIGKILL)
        model.delay_s = 0.05
        banner = page.get_by_text(AWAY)
        await banner.wait_for()
        assert re.search(r"What you see is \d+\.\d s old", str(await page.locator(".banner-place").text_content()))
        before = await text_of(page, "talk")
        assert whole.startswith(before)
        assert len(before) < len(whole), "the stream was over"
        await banner.wait_for(state="detached", timeout=40_000)
        await until_state(page, "complete")
        status = await client.status(run)
        assert await text_of(page, "talk") == whole
        assert (
            await page.locator('[data-slot="story"] pre').text_content() == status["outputs"]["story"]["text"] == whole
        )
        # The browser itself writes that a connection was refused; nothing else may stand there.
        assert [line for line in watched.messages if "ERR_" not in line and "WebSocket" not in line] == []


async def test_network_that_was_away_leaves_no_trace_in_the_text(
    chromium: Browser, stack: LocalStack, client: GatewayClient
) -> None:
    async with slow_model() as model, watched_page(chromium) as watched:
        run = await client.submit(streaming(model.url))
        page = watched.page
        await page.goto(f"{stack.url}/#/run/{run}")
        await page.get_by_text(re.compile("word3")).first.wait_for()
        await page.context.set_offline(True)
        await page.get_by_text(AWAY).wait_for()
        assert TEXT.startswith(await text_of(page, "talk"))
        await client.wait(run)
        assert await badge(page).text_content() == "\u25b6running"
        assert await page.get_by_text("another version").count() == 0

        async def replaced(route: Route) -> None:
            tag = '"of a newer page"' if route.request.method == "HEAD" else ""
            await route.fulfill(headers={"ETag": tag})

        await page.route(f"{stack.url}/", replaced)
        await page.context.set_offline(False)
        await until_state(page, "complete")
        assert await page.get_by_text(AWAY).count() == 0
        assert await text_of(page, "talk") == TEXT
        await page.get_by_text("The gateway is of another version now than this page.").wait_for()
        await page.unroute(f"{stack.url}/")
        await page.get_by_role("button", name="Load the page anew").click()
        await page.get_by_text("another version").wait_for(state="detached")
        await until_state(page, "complete")


async def test_run_that_ended_before_is_shown_whole(
    chromium: Browser, stack: LocalStack, client: GatewayClient
) -> None:
    """Of a failed one the error, and why the others were skipped."""
    nodes = (node("refused", "HttpRequest", {"url": "http://10.0.0.1/"}), node("after", "TextMerge"))
    ends = {"sourceNodeId": "refused", "sourceHandle": "text"}
    edge = {"id": "e", **ends, "targetNodeId": "after", "targetHandle": "text_inputs__0"}
    run = await client.submit({**graph(*nodes, name="Fails"), "edges": [edge]})
    await client.wait(run)
    message = (await client.status(run))["nodeStatus"]["refused"]["error"]["message"]
    async with opened(chromium, stack, f"#/run/{run}") as watched:
        page = watched.page
        await until_state(page, "failed")
        assert await page.locator('[data-path="refused"] .error').text_content() == message
        await page.locator('[data-path="after"]').get_by_text("because a node that it needs failed").wait_for()
        await page.get_by_role("list", name="Nodes that failed").get_by_role("link", name="refused").click()
        await page.locator('li[aria-current="true"][data-path="refused"]').wait_for()
        await page.goto(f"{stack.url}/#/runs?status=error")
        await page.get_by_role("link", name="Fails").first.wait_for()
        await page.get_by_role("searchbox").fill("no such run")
        await page.get_by_text("No run fits.").wait_for()
        assert page.url.endswith("#/runs?status=error&q=no+such+run")


KEYED_LIST = """async () => {
  const { each, el, signal, verbatim } = await import("./console/lib/view.js");
  const same = { id: "c", n: 1 };
  const items = signal([{ id: "a", n: 1 }, { id: "b", n: 1 }, same]);
  let drawn = 0;
  const draw = (item, key) => el("li", {}, () => verbatim(`${key}${item.value.n}:${++drawn}`));
  const list = el("ul", {}, each(() => items.value, (item) => item.id, draw));
  document.body.append(list);
  const said = () => [...list.children].map((item) => item.textContent).join(" ");
  const [a, , c] = list.children;
  const told = [said()];
  items.value = [same, { id: "d", n: 1 }, { id: "a", n: 2 }];
  told.push(said());
  const isKept = list.children[0] === c && list.children[2] === a;
  items.value = [];
  told.push(said());
  return [told, isKept];
}"""


async def test_keyed_list_keeps_what_is_there_and_draws_what_changed(chromium: Browser, stack: LocalStack) -> None:
    """An element that has the focus, or somebody's selection, must not be made anew when another one comes."""
    async with opened(chromium, stack) as watched:
        told, is_kept = await watched.page.evaluate(KEYED_LIST)
    before = told[0].split()
    assert [item[:2] for item in before] == ["a1", "b1", "c1"]
    same, new, changed = told[1].split()
    assert is_kept
    assert same == before[2], "the same item was drawn again"
    assert (new[:2], changed[:2]) == ("d1", "a2")
    assert told[2] == ""


async def test_run_that_is_not_there_is_told(chromium: Browser, stack: LocalStack) -> None:
    async with watched_page(chromium) as watched:
        await watched.page.goto(f"{stack.url}/#/run/none")
        await watched.page.get_by_role("alert").get_by_text("There is no such run").wait_for()


async def test_runs_that_wait_stand_on_the_first_page(
    chromium: Browser, stack: LocalStack, client: GatewayClient
) -> None:
    form = [{"key": "data", "dataFlowType": "STRING"}]
    async with opened(chromium, stack) as watched:
        page = watched.page
        await page.get_by_text("Nothing waits.").wait_for()
        run = await client.submit(graph(node("ask", "Approval", {"data": "x"}, form=form), name="Asks"))
        waiting = page.get_by_role("region", name="Waiting for somebody or something")
        await waiting.get_by_role("link", name="Asks").click()
        await until_state(page, "waiting")
        await page.locator('[data-path="ask"]').get_by_text("waits for somebody's approval").wait_for()
        await page.get_by_role("button", name="Stop").click()
        await page.get_by_role("dialog").get_by_role("button", name="Stop").click()
        await until_state(page, "stopped")
    assert (await client.status(run))["status"] == "interrupted"


async def test_hostile_names_and_texts_are_text(chromium: Browser, stack: LocalStack, client: GatewayClient) -> None:
    text = f"{HOSTILE}\u202e\u0007\n<script>alert(1)</script>{'long ' * 500}"
    speaks = node(HOSTILE, "CreateMessage", {"content": text})
    outputs = {"<b>o</b>": {"key": "<b>o</b>", "dataFlowType": "STRING"}}
    mappings = {"<b>o</b>": {"sourceNodeId": speaks["id"], "sourceSlotKey": "messages"}}
    document = graph(speaks, name=f"{HOSTILE}\u202etxt", interfaceOutputs=outputs, outputInterfaceMappings=mappings)
    run = await client.submit(document)
    await client.wait(run)
    shown = json.dumps([{"role": "user", "content": text}], ensure_ascii=False)
    async with opened(chromium, stack, f"#/run/{run}") as watched:
        page = watched.page
        page.on("dialog", lambda dialog: watched.messages.append(dialog.message))
        await until_state(page, "complete")
        title = f"{HOSTILE}\u25c7txt"
        await expect(page.locator("h1 bdi")).to_have_text(title)
        assert await page.locator(".node bdi").text_content() == HOSTILE
        value = str(await page.locator(".outputs pre").text_content())
        assert json.loads(value) == json.loads(shown)
        await page.goto(f"{stack.url}/#/runs")
        await page.get_by_role("link", name=title).first.wait_for()
        assert await page.locator("img, script:not([type=module])").count() == 0
        wide = "document.documentElement.scrollWidth > innerWidth"
        assert not await page.evaluate(f"() => {wide}")


async def test_of_a_very_long_output_the_begin_is_shown_and_all_is_saved(
    chromium: Browser, stack: LocalStack, client: GatewayClient
) -> None:
    big = {"id": "big", "fullType": "big-nodes:Text", "inputs": {"mb": 3}}
    run = await client.submit(graph(big))
    await client.wait(run)
    async with opened(chromium, stack, f"#/run/{run}?node=big") as watched:
        page = watched.page
        value = page.locator(".panel-outputs .value")
        await value.get_by_role("button", name="Show all").click()
        await value.get_by_text("The first 200,000 of 3,000,000 characters.").wait_for()
        assert len(str(await value.locator("pre").text_content())) == 200_000
        async with page.expect_download() as waiting:
            await value.get_by_role("button", name="Save all of it").click()
        saved = await (await waiting.value).path()
        assert saved.stat().st_size == 3_000_000


async def test_token_is_asked_for_and_stands_in_no_address(chromium: Browser, temporal: Client, tmp_path: Path) -> None:
    stack = Stack(temporal, tmp_path, {"access_token": TOKEN})
    async with stack.gateway(), stack.worker(), watched_page(chromium) as watched:
        page = watched.page
        await page.goto(f"{stack.url}/#/runs")
        field = page.get_by_label("Access token")
        await field.fill("a wrong one")
        await page.get_by_role("button", name="Log in").click()
        await page.get_by_text("does not know this token").wait_for()
        await field.fill(TOKEN)
        await page.get_by_role("button", name="Log in").click()
        await page.get_by_role("heading", name="Runs").wait_for()
        async with GatewayClient(stack.url, TOKEN) as client:
            await client.submit(graph(node("hi", "CreateMessage", {"content": "x"}), name="Hi"))
        await page.get_by_role("link", name="Hi").click()
        await until_state(page, "complete")
        await page.reload()
        await until_state(page, "complete")
        second = await page.context.new_page()
        await second.goto(f"{stack.url}/#/runs")
        await second.get_by_label("Access token").wait_for()  # each tab has its own
        await second.close()
        await page.get_by_role("link", name="Runs").click()
        await page.get_by_role("link", name="Hi").wait_for()
        first, *sockets = [httpx.URL(url).query.decode() for url in watched.urls if url.startswith("ws:")]
        assert first == ""  # before anybody had asked for a token
        assert len(sockets) == len(set(sockets)) == 2
        assert all(query.startswith("ticket=") for query in sockets)
        assert [url for url in watched.urls if "token" in url and "/api/token.js" not in url] == []
        assert [line for line in watched.messages if "401" not in line] == []
    stack.close()


async def test_keyboard_and_language(chromium: Browser, stack: LocalStack) -> None:
    """From the first page to the list by keys alone; the language is kept, and whoever listens hears the new page."""
    async with opened(chromium, stack, locale="zh-TW") as watched:
        page = watched.page
        await page.get_by_role("heading", name="首页").wait_for()
        assert await page.locator("html").get_attribute("lang") == "zh-CN"
        await page.keyboard.press("g")
        await page.keyboard.press("r")
        await page.get_by_role("heading", name="运行记录").wait_for()
        assert await page.evaluate("() => document.activeElement?.tagName") == "H1"
        await page.get_by_label("语言").select_option("en")
        await page.get_by_role("heading", name="Runs").wait_for()
        await page.reload()
        await page.get_by_role("heading", name="Runs").wait_for()
        await page.keyboard.press("?")
        await page.get_by_role("dialog", name="Keyboard shortcuts").wait_for()
        await page.keyboard.press("Escape")
        await page.get_by_role("dialog").wait_for(state="detached")
