"""The console by keys alone, in a window of 200 % zoom: from a form over an approval to a rerun and back."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack
from tests.console.conftest import ZOOMED
from tests.console.test_console import expect, opened, until_state
from tests.graphs import edge, node

if TYPE_CHECKING:
    from playwright.async_api import Browser, Locator, Page

pytestmark = pytest.mark.timeout(120)
Json = dict[str, Any]
MOST_TABS = 60
FORM = [{"key": "text", "dataFlowType": "STRING", "displayName": "Text"}]
TELLS: Json = {
    "id": "by-keys",
    "name": "Told by keys",
    "interfaceInputs": {"who": {"dataFlowType": "STRING", "displayName": "Who", "required": True}},
    "interfaceOutputs": {"said": {"dataFlowType": "WILDCARD"}},
    "nodes": [
        {"id": "in", "type": "core:GroupInput"},
        node("say", "Template", {"template": "{{ input }}"}),
        node("ask", "Approval", form=FORM),
        {"id": "out", "type": "core:GroupOutput"},
    ],
    "edges": [edge("in.who", "say.input"), edge("say.text", "ask.data"), edge("ask.approved", "out.said")],
}

# What is wrong with what has the focus, if anything. A heading has it only to be read aloud: it shows no frame.
FOCUS = """() => {
  const one = document.activeElement;
  if (one === null || one === document.body) return "nothing has the focus";
  const said = `${one.tagName} "${one.textContent.slice(0, 40)}"`;
  const { outlineStyle } = getComputedStyle(one);
  if (outlineStyle === "none" && one.tagName !== "H1") return `no frame around ${said}`;
  const { left, right, top, bottom } = one.getBoundingClientRect();
  const [x, y] = [(Math.max(0, left) + Math.min(innerWidth, right)) / 2,
    (Math.max(0, top) + Math.min(innerHeight, bottom)) / 2];
  const above = document.elementFromPoint(x, y);
  return above !== null && (one.contains(above) || above.contains(one)) ? "" : `not to be seen: ${said}`;
}"""

VIEW = """async () => {
  const { each, el, signal, verbatim } = await import("./console/lib/view.js");
  const button = (name, more = {}) => el("button", { type: "button", "aria-label": verbatim(name), ...more });
  const here = async () => {
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    return document.activeElement.ariaLabel ?? document.activeElement.tagName;
  };
  const state = signal("one");
  const rows = signal(["a", "b", "c"]);
  const isBusy = signal(false);
  let clicks = 0;
  const busy = button("busy", { disabled: () => isBusy.value, on: { click: () => clicks++ } });
  const row = (_item, key) => el("li", {}, button(`open ${key}`), button(`delete ${key}`));
  const both = (name) => [button(`${name} first`), button(`${name} second`)];
  const inState = el("div", {}, () => state.value === "none" ? null : both(state.value));
  document.querySelector("main").append(busy, inState, el("ul", {}, each(() => rows.value, String, row)));
  const told = [];
  const step = async (name, change) => {
    if (name !== null) document.querySelector(`[aria-label="${name}"]`).focus();
    change();
    told.push(await here());
  };
  await step("one second", () => (state.value = "two"));
  await step(null, () => (state.value = "none"));
  await step("delete b", () => (rows.value = ["a", "c"]));
  await step("delete c", () => (rows.value = ["a"]));
  await step("open a", () => (rows.value = ["z", "a"]));
  await step("open a", () => (rows.value = ["a", "z"]));
  await step("open a", () => (rows.value = []));
  await step("busy", () => (isBusy.value = true));
  busy.click();
  isBusy.value = false;
  busy.click();
  return [told, clicks];
}"""


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def link(page: Page, name: str) -> Locator:
    return page.get_by_role("link", name=name, exact=True)


async def has_focus(target: Locator) -> None:
    await expect(target).to_be_focused(timeout=20_000)


async def keys(page: Page, *pressed: str) -> None:
    for key in pressed:
        await page.keyboard.press(key)


async def tab_to(page: Page, target: Locator, key: str = "Tab") -> None:
    """Press Tab until it has the focus, which is seen at each stop."""
    await target.wait_for()
    stops: list[str] = []
    while not await target.evaluate("target => target === document.activeElement"):
        assert len(stops) < MOST_TABS, f"{target} is not reached by {key}: {stops}"
        await page.keyboard.press(key)
        assert await page.evaluate(FOCUS) == "", stops
        stops.append(await page.evaluate("() => document.activeElement.textContent.slice(0, 40)"))


async def follow(page: Page, target: Locator, address: str) -> None:
    """By Tab and Enter to another page, whose heading then has the focus."""
    await tab_to(page, target)
    await page.keyboard.press("Enter")
    await page.wait_for_url(re.compile(address))
    await has_focus(page.locator("h1"))


async def test_story_is_told_by_keys_alone(chromium: Browser, stack: LocalStack, client: GatewayClient) -> None:
    await client.workflows.create(TELLS)
    async with opened(chromium, stack, viewport=ZOOMED) as watched:
        page = watched.page
        await page.get_by_role("heading", name="Home").wait_for()
        await keys(page, "g", "w")
        await has_focus(page.locator("h1"))
        await follow(page, link(page, "Told by keys"), "#/workflows/by-keys")
        await follow(page, link(page, "Start"), "#/start/by-keys")
        await tab_to(page, page.get_by_label("Who"))
        await page.keyboard.type("a lamp")
        await tab_to(page, button(page, "Start"))
        await page.keyboard.press("Enter")
        await page.wait_for_url(re.compile("#/run/"))
        await has_focus(page.locator("h1"))
        run = page.url.rpartition("/")[2]
        await until_state(page, "waiting")
        await tab_to(page, button(page, "Pause"))
        await page.keyboard.press("Enter")
        await has_focus(button(page, "Resume"))
        await page.keyboard.press("Enter")
        await has_focus(button(page, "Pause"))
        await tab_to(page, link(page, "Graph"))
        await page.keyboard.press("Enter")
        await tab_to(page, page.get_by_role("application", name="Graph of the run"))
        await keys(page, "ArrowRight", "ArrowRight", "ArrowRight")
        await page.locator(".graph-said").get_by_text("ask, Approval, waiting").wait_for()
        await page.keyboard.press("Enter")
        await has_focus(page.locator(".node-panel h2"))
        assert await page.evaluate(FOCUS) == ""
        await page.keyboard.press("Escape")
        await has_focus(page.get_by_role("application"))
        await keys(page, "g", "a")
        await has_focus(page.locator("h1"))
        card = page.locator(f'[data-run="{run}"]')
        await tab_to(page, card.get_by_label("Text", exact=True))
        await page.keyboard.type("a new lamp")
        await tab_to(page, card.get_by_role("button", name="Approve"))
        await page.keyboard.press("Enter")
        await has_focus(card.get_by_text("You have approved this."))
        await tab_to(page, card.get_by_role("link", name="Open the run"), "Shift+Tab")
        await page.keyboard.press("Enter")
        await until_state(page, "complete")
        await page.keyboard.press("Escape")
        await tab_to(page, page.locator('[data-path="say"]').get_by_role("link"))
        await page.keyboard.press("Enter")
        await has_focus(page.locator(".node-panel h2"))
        await tab_to(page, button(page, "Rerun from here"))
        await page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog")
        await tab_to(page, dialog.get_by_role("button", name="Start"))
        await page.keyboard.press("Enter")
        await page.get_by_text("Rerun of").wait_for()
        await has_focus(page.locator("h1"))
        again = page.url.rpartition("/")[2]
        await keys(page, "g", "r")
        await tab_to(page, page.get_by_role("searchbox", name="Name or id"))
        await page.keyboard.type("told by keys")
        await expect(page.locator(".run-row")).to_have_count(2)
        await follow(page, page.locator(f'a[href="#/run/{again}"]'), again)
        await tab_to(page, button(page, "Stop"))
        await page.keyboard.press("Enter")
        await tab_to(page, dialog.get_by_role("button", name="Stop"))
        await page.keyboard.press("Enter")
        await until_state(page, "stopped")
        await page.keyboard.press("Tab")
        assert await page.evaluate(FOCUS) == ""
    assert (await client.status(run))["outputs"]["said"]["text"] == "a new lamp"


async def test_keyboard_stays_where_something_goes(chromium: Browser, stack: LocalStack) -> None:
    """At the same place of what came instead, beside what left a list, else at the heading of the page."""
    async with opened(chromium, stack) as watched:
        await watched.page.locator("h1").wait_for()
        told, clicks = await watched.page.evaluate(VIEW)
        # In the order of the steps. What was moved in a list, or is busy, keeps it.
        expected = ["two second", "H1", "delete c", "delete a", "open a", "open a", "H1", "busy"]
        assert told == expected
        assert clicks == 1
        await watched.page.get_by_label("Language").focus()
        await watched.page.get_by_label("Language").select_option("zh-CN")
        await has_focus(watched.page.get_by_label("语言"))
