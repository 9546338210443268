"""Approvals, triggers and usage in a real browser."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack
from tests.console.conftest import PHONE
from tests.console.test_console import expect, graph, node, opened, streaming
from tests.crash.slow_model import slow_model

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator, Page

pytestmark = pytest.mark.timeout(120)
Json = dict[str, Any]
FORM = [{"key": "data", "dataFlowType": "STRING", "displayName": "Text", "config": {"multiline": True}}]
SECRET = "whsec_" + "c2VjcmV0" * 5


def asking(name: str, data: object = "the lamp", **config: Any) -> Json:
    """A graph whose output is what somebody approves."""
    outputs = {"said": {"key": "said", "dataFlowType": "WILDCARD"}}
    mappings = {"said": {"sourceNodeId": "ask", "sourceSlotKey": "approved"}}
    ask = node("ask", "Approval", {"data": data}, **{"form": FORM, **config})
    return graph(ask, name=name, interfaceOutputs=outputs, outputInterfaceMappings=mappings)


def card(page: Page, run: str) -> Locator:
    return page.locator(f'[data-run="{run}"]')


async def order(page: Page) -> list[str | None]:
    return [await one.get_attribute("data-run") for one in await page.locator(".card").all()]


async def top(place: Locator) -> float:
    """Where it begins in the window."""
    box = await place.bounding_box()
    assert box is not None
    return float(box["y"])


async def until_asked(client: GatewayClient, run: str) -> None:
    async with asyncio.timeout(20):
        while not any(one["status"] == "open" for one in await client.approvals.find(run)):
            await asyncio.sleep(0.01)


async def test_approval_is_seen_at_once_and_answered_with_changed_values_by_keys(
    chromium: Browser, stack: LocalStack, client: GatewayClient
) -> None:
    async with opened(chromium, stack, "#/approvals") as watched:
        page = watched.page
        # How much time is left is a question to the clock of the gateway.
        await page.add_init_script("const now = Date.now; Date.now = () => now() + 5 * 3_600_000;")
        await page.reload()
        await page.get_by_text("Nothing waits for an answer.").wait_for()
        run = await client.submit(asking("Announce", timeoutSeconds=3600))
        await until_asked(client, run)
        asked = time.monotonic()
        await card(page, run).wait_for()
        assert time.monotonic() - asked < 1
        await expect(page).to_have_title("(1) Approvals · Innkeeper")
        await expect(page.get_by_role("link", name="Approvals (1)")).to_have_attribute("aria-current", "page")
        await card(page, run).get_by_text(re.compile(r"in 5\d min \d+ s")).wait_for()
        field = card(page, run).get_by_label("Text", exact=True)
        assert await field.input_value() == "the lamp"
        await field.fill("the new lamp")
        # A look at the run, another language: what was typed stays.
        await card(page, run).get_by_role("link", name="Open the run").click()
        await page.get_by_role("heading", name="Announce").wait_for()
        await page.get_by_label("Language").select_option("zh-CN")
        await page.go_back()
        await page.get_by_label("语言").select_option("en")
        await page.get_by_role("heading", name="Approvals").wait_for()
        assert await field.input_value() == "the new lamp"
        await field.focus()
        await page.keyboard.press("Tab")
        await page.keyboard.type("Better so")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        done = card(page, run).get_by_text("You have approved this.")
        await expect(done).to_be_focused()
        await expect(page).to_have_title("Approvals · Innkeeper")
        await page.get_by_role("button", name="Remove what is decided").click()
        await page.get_by_text("Nothing waits for an answer.").wait_for()
    status = await client.wait(run)
    assert status["outputs"]["said"] == "the new lamp"
    answer = status["nodeStatus"]["ask"]["output"]["answer"]
    assert answer == {"approved": True, "values": {"data": "the new lamp"}, "comment": "Better so"}


async def test_answer_of_somebody_else_and_a_deadline_lose_nothing_that_was_typed(
    chromium: Browser, stack: LocalStack, client: GatewayClient
) -> None:
    """Nothing moves under the mouse: what ended keeps its place between the others."""
    other, stays = [await client.submit(asking(name)) for name in ("Other", "Stays")]
    async with opened(chromium, stack, "#/approvals") as watched:
        page = watched.page
        second = await page.context.new_page()
        await second.goto(f"{stack.url}/#/approvals")
        await card(page, stays).wait_for()
        await card(page, other).get_by_label("Text", exact=True).fill("my words")
        late = await client.submit(asking("Late", timeoutSeconds=3))
        await card(page, late).wait_for()
        await card(page, stays).hover()
        before, place = await order(page), await top(card(page, stays))
        await card(second, other).get_by_label("Comment").fill("Too dark")
        await card(second, other).get_by_role("button", name="Reject").click()
        await card(second, other).get_by_text("You have rejected this.").wait_for()
        ended = card(page, other)
        await ended.get_by_text("Somebody else was faster: it is rejected.").wait_for(timeout=1_000)
        await ended.get_by_text("Too dark").wait_for()
        await ended.get_by_text("What you entered was not sent.").wait_for()
        assert await ended.get_by_label("Text", exact=True).input_value() == "my words"
        assert await ended.get_by_role("button", name=re.compile("Approve|Reject")).count() == 0
        await card(page, late).get_by_text("Nobody answered in time").wait_for()
        assert await order(page) == before
        assert await top(card(page, stays)) == pytest.approx(place, abs=1)
        # Sent before the page has heard that the run is stopped.
        await page.route("**/api/approvals?*", lambda route: route.abort())
        await client.cancel(stays)
        await client.wait(stays)
        await card(page, stays).get_by_role("button", name="Approve").click()
        await card(page, stays).get_by_text("Nobody needs this answer any more").wait_for()
        await second.close()
        assert [line for line in watched.messages if "409" not in line and "ERR_FAILED" not in line] == []
        watched.messages.clear()


async def test_answer_that_does_not_fit_is_told_at_its_field(
    chromium: Browser, stack: LocalStack, client: GatewayClient
) -> None:
    form = [
        {"key": "n", "dataFlowType": "INTEGER", "displayName": "Number", "required": True, "config": {"max": 5}},
        # The form takes a list here, and the gateway a text.
        {"key": "names", "dataFlowType": "STRING", "displayName": "Names", "multi": True},
        {"key": "account", "dataFlowType": "INTEGER", "displayName": "Account"},
    ]
    run = await client.submit(asking("Fits", {"account": 9007199254740993}, form=form))
    async with opened(chromium, stack, "#/approvals") as watched:
        here = card(watched.page, run)
        assert await here.get_by_label("Account").input_value() == "9007199254740993"
        assert '"account": 9007199254740993' in str(await here.locator("pre").text_content())
        await here.get_by_label("Number").fill("6")
        await here.get_by_role("button", name="Approve").click()
        await here.get_by_text("Some fields are not right yet.").wait_for()
        await expect(here.get_by_label("Number")).to_be_focused()
        await here.get_by_label("Number").fill("4")
        await here.get_by_label("Names").fill('["Ada"]')
        await here.get_by_role("button", name="Approve").click()
        await expect(here.locator('[data-slot="names"] .error')).to_have_text(re.compile("^must be text"))
        await here.get_by_role("button", name="Reject").click()
        await here.get_by_text("You have rejected this.").wait_for()
        assert [line for line in watched.messages if "422" not in line] == []
        watched.messages.clear()
    status = await client.wait(run)
    assert status["nodeStatus"]["ask"]["output"]["answer"] == {"approved": False, "values": {}}


async def test_run_out_of_budget_gets_a_new_limit_and_unknown_prices_are_unknown(
    chromium: Browser, stack: LocalStack, client: GatewayClient
) -> None:
    async with slow_model(0.01) as model, opened(chromium, stack, "#/approvals", viewport=PHONE) as watched:
        page = watched.page
        run = await client.submit({**streaming(model.url), "budget": {"tokens": 100}})
        asked = card(page, run)
        await asked.get_by_text("of this run").wait_for()
        await asked.get_by_text("100 tokens").wait_for()
        least = re.search(r"at least ([\d,]+) tokens", await asked.inner_text())
        assert least is not None
        await asked.get_by_role("button", name="Set the new limit").click()
        await asked.get_by_text("This needs a value.").wait_for()
        await asked.get_by_label("Tokens").fill(least[1].replace(",", ""))
        await asked.get_by_role("button", name="Set the new limit").click()
        await asked.get_by_text("You have set a new limit.").wait_for()
        assert (await client.wait(run))["status"] == "complete"
        await page.goto(f"{stack.url}/#/usage?by=model")
        row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="deepseek-chat"))
        await expect(row.get_by_role("cell").last).to_have_text("unknown")
        await page.get_by_label("By", exact=True).select_option("day")
        await page.get_by_role("columnheader", name="Day").wait_for()
        assert page.url.endswith("#/usage?by=day")
        assert await page.locator(".amount-tokens").count() == 1
        await page.get_by_label("To", exact=True).fill("2020-01-01")
        await page.get_by_text("No requests to models in this time.").wait_for()


@contextlib.asynccontextmanager
async def made(client: GatewayClient, *definitions: Json) -> AsyncIterator[list[Json]]:
    """Triggers of the workflow `greets`."""
    inputs = {"who": {"key": "who", "dataFlowType": "STRING", "config": {"default": "you"}}}
    edge = {"id": "e", "source": "in", "sourceHandle": "who", "target": "say", "targetHandle": "content"}
    nodes = [{"id": "in", "type": "core:GroupInput"}, {"id": "say", "type": "core:CreateMessage"}]
    document = {"id": "greets", "name": "Greets", "nodes": nodes, "edges": [edge], "interfaceInputs": inputs}
    await client.workflows.create(document)
    made = [
        await client.triggers.create(
            {**one, "workflow": {"id": "greets"}}, secrets=[SECRET] if one["kind"] == "webhook" else []
        )
        for one in definitions
    ]
    try:
        yield made
    finally:
        for one in await client.triggers.find():
            await client.triggers.delete(one["id"], etag="*")
        await client.workflows.delete("greets", etag="*")


async def test_triggers_are_tried_switched_off_and_deleted(
    chromium: Browser, stack: LocalStack, client: GatewayClient
) -> None:
    hook = {"name": "Hook <b>", "kind": "webhook", "webhook": {"scheme": "standard"}}
    hook["mapping"] = {"who": {"expression": "body.name"}}
    daily = {"name": "Daily", "kind": "schedule", "schedule": {"cron": "30 4 * * *", "timezone": "Asia/Tokyo"}}
    async with (
        made(client, hook, daily) as (webhook, schedule),
        opened(chromium, stack, "#/triggers", viewport=PHONE) as watched,
    ):
        page = watched.page
        first = page.locator(f'[data-trigger="{webhook["id"]}"]')
        await first.get_by_role("heading", name="Hook <b>").wait_for()
        await first.get_by_text("1 secret is stored").wait_for()
        await first.get_by_text("Test", exact=True).click()
        body = first.get_by_label("Body of the request (JSON)")
        await body.fill('{"name": ')
        await first.get_by_role("button", name="What would happen?").click()
        await first.get_by_text("This is no JSON").wait_for()
        await body.fill('{"name": "Ada"}')
        await first.get_by_role("button", name="What would happen?").click()
        await first.get_by_role("status").get_by_text("Ada").wait_for()
        assert (await client.triggers.results(webhook["id"]))["results"] == []
        await first.get_by_role("button", name="Take it as a real delivery").click()
        await first.get_by_role("status").get_by_role("link").wait_for()
        await first.get_by_text("Results", exact=True).click()
        delivery = first.locator(".deliveries > li")
        await delivery.get_by_text("started").wait_for()
        ((result,), _) = (await client.triggers.results(webhook["id"])).values()
        await expect(delivery.get_by_role("link")).to_have_attribute("href", f"#/run/{result['runId']}")
        second = page.locator(f'[data-trigger="{schedule["id"]}"]')
        await second.get_by_text("30 4 * * * (Asia/Tokyo)").wait_for()
        await second.get_by_text("Next times").click()
        times = (await client.triggers.preview(schedule["id"]))["times"]
        await expect(second.locator("time").first).to_be_visible()
        shown = [await one.get_attribute("datetime") for one in await second.locator("time").all()]
        assert shown == times
        await second.get_by_role("button", name="Disable").click()
        await page.get_by_role("dialog").get_by_label("Why (optional)").fill("holidays")
        await page.get_by_role("dialog").get_by_role("button", name="Disable").click()
        await second.get_by_text("holidays").wait_for()
        assert not (await client.triggers.get(schedule["id"]))["enabled"]
        await second.get_by_role("button", name="Enable").click()
        await second.get_by_role("button", name="Disable").wait_for()
        await second.get_by_role("button", name="Delete").click()
        await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        await second.wait_for(state="detached")
        assert SECRET not in await page.content()
        assert webhook["token"] not in await page.content()
    assert [one["name"] for one in await client.triggers.find()] == []
