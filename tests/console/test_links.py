"""The ways between pages, and what a page says before and without anything to show."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack
from tests.console.conftest import watched_page
from tests.console.test_console import expect, graph, node, opened, until_state

if TYPE_CHECKING:
    from playwright.async_api import Browser, Route

pytestmark = pytest.mark.timeout(120)
Json = dict[str, Any]

FORM = [{"key": "data", "dataFlowType": "STRING"}]
ASKS: Json = {
    "id": "links",
    **graph(
        node("ask", "Approval", {"data": "x"}, form=FORM),
        {**node("said", "CreateMessage", {"content": "hi"}), "displayName": "Say hello"},
        name="Links",
        interfaceOutputs={"said": {"key": "said", "dataFlowType": "STRING"}},
        outputInterfaceMappings={"said": {"sourceNodeId": "said", "sourceSlotKey": "messages"}},
    ),
}
TRIGGER: Json = {"name": "asked", "kind": "event", "workflow": {"id": "links"}, "event": {"name": "asked"}}


async def test_run_leads_to_its_workflow_its_trigger_and_what_it_asks(
    chromium: Browser, stack: LocalStack, client: GatewayClient
) -> None:
    await client.workflows.create(ASKS)
    trigger = await client.triggers.create(TRIGGER)
    run = (await client.triggers.test(trigger["id"], {}, run=True))["runId"]
    async with opened(chromium, stack, f"#/run/{run}") as watched:
        page = watched.page
        await until_state(page, "waiting")
        facts = page.locator(".summary-row")
        # Of a reader in London: no AM, no PM.
        await expect(facts).to_contain_text(re.compile(r"Submitted ?\d\d:\d\d:\d\d ?Workflow"))
        said = page.locator('[data-path="said"]')
        await expect(said.get_by_role("heading")).to_have_text(re.compile(r"^Say hello.*said · CreateMessage$"))
        await facts.get_by_role("link", name="asked").click()
        await expect(page.get_by_role("heading", name="asked")).to_be_focused()
        await page.go_back()
        await facts.get_by_role("link", name="links").click()
        await page.get_by_role("heading", name="Graph of version 1").wait_for()
        await page.get_by_role("application", name="Graph of the workflow").wait_for()
        await page.get_by_role("link", name="Its runs").click()
        row = page.locator(".run-row").first
        await row.get_by_role("link", name="asked").wait_for()
        await row.get_by_role("link", name="Links").click()
        await until_state(page, "waiting")
        await page.locator('[data-path="ask"]').get_by_role("link", name="Answer").click()
        card = page.locator(f'[data-run="{run}"]')
        await expect(card.get_by_role("heading", name="ask in Links")).to_be_focused()
        await card.get_by_role("button", name="Approve").click()
        await card.get_by_text("You have approved this.").wait_for()
        await card.get_by_role("link", name="Open the run").click()
        await until_state(page, "complete")
        assert await page.get_by_role("link", name="Answer").count() == 0
        output = page.locator('[data-slot="said"]')
        await output.get_by_role("button", name="Copy said").click()
        await output.get_by_text("Copied.").wait_for()
    await client.triggers.delete(trigger["id"], etag="*")


async def test_first_page_is_silent_until_it_knows_and_then_lives(
    chromium: Browser, stack: LocalStack, client: GatewayClient
) -> None:
    """Who reads "nothing failed" before the gateway has answered is told something false."""
    release = asyncio.Event()

    async def hold(route: Route) -> None:
        await release.wait()
        await route.continue_()

    async with opened(chromium, stack, "#/none") as watched:
        page = watched.page
        await page.route("**/api/runs*", hold)
        await page.get_by_role("link", name="Home").click()
        await page.get_by_text("Loading…").wait_for()
        for words in ("Nothing runs.", "Nothing failed today.", "Nothing waits.", "Welcome"):
            await expect(page.get_by_text(words)).to_be_hidden()
        release.set()
        await page.get_by_role("region", name="Running now").wait_for()
        run = await client.submit(graph(node("refused", "HttpRequest", {"url": "http://10.0.0.1/"}), name="Fails now"))
        await client.wait(run)
        row = page.get_by_role("region", name="Failed today").locator(".run-row").filter(has_text="Fails now")
        await expect(row).to_contain_text("private address", timeout=2_000)


async def test_fields_follow_the_address_and_what_is_missing_has_a_way_on(chromium: Browser, stack: LocalStack) -> None:
    async with opened(chromium, stack, "#/runs?status=error&q=first") as watched:
        page = watched.page
        await expect(page.get_by_label("State")).to_have_value("error")
        await page.goto(f"{stack.url}/#/runs?q=second")
        await expect(page.get_by_label("Name or id")).to_have_value("second")
        await expect(page.get_by_label("State")).to_have_value("")
        await page.get_by_role("button", name="Show all runs").click()
        await expect(page.get_by_label("Name or id")).to_have_value("")
    async with watched_page(chromium) as watched:  # the browser itself writes that there is no such thing
        page = watched.page
        for missing, way in (("workflows/none", "Back to the workflows"), ("start/none", "Back to the workflows")):
            await page.goto(f"{stack.url}/#/{missing}")
            await page.get_by_role("link", name=way).click()
            await page.get_by_role("heading", name="Workflows").wait_for()
        await page.goto(f"{stack.url}/#/run/none")
        await page.get_by_role("link", name="All runs").click()
        await page.get_by_role("heading", name="Runs").wait_for()
