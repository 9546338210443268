"""Every page of the console and each view of it: what must be there to see, and how one gets there.

Nothing here goes by words, so that a tour can be taken in every language.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from innkeeper.gateway.client import GatewayClient
from tests.console.workflows import SAYS, store_all_kinds, store_once
from tests.graphs import node

if TYPE_CHECKING:
    from playwright.async_api import Page

Json = dict[str, Any]
Act = Callable[["Page"], Awaitable[None]]

TOUR_SAYS: Json = {**SAYS, "id": "tour-says", "name": "Says on the tour"}
FORM: list[Json] = [
    {"key": "text", "dataFlowType": "STRING", "displayName": "Text", "config": {"multiline": True}},
    {"key": "count", "dataFlowType": "INTEGER", "displayName": "How many", "config": {"max": 5}, "required": True},
]
HOOK: Json = {"name": "Greets by hook", "kind": "webhook", "webhook": {"scheme": "standard"}}
DAILY: Json = {"name": "Greets daily", "kind": "schedule", "schedule": {"cron": "30 4 * * *", "timezone": "Asia/Tokyo"}}
SECRET = "whsec_" + "dG91cmlz" * 5
CHANNEL: Json = {"id": "tour", "label": "For the tour", "baseUrl": "demo", "supportedModels": ["demo-describer"]}


def mixed() -> Json:
    """A run that has a bit of everything: it ends with a node that failed, others that did not, and a repetition."""
    talks = {"api_settings": {"base_url": "demo", "api_key": ""}, "prompt": "Tell"}
    talks |= {"model": "demo-storyteller@200", "stream": True, "max_tokens": 6}
    nodes = [
        node("refused", "HttpRequest", {"url": "http://10.0.0.1/"}),
        node("after a node that has a long name", "TextMerge"),
        node("hi", "CreateMessage", {"content": "x"}),
        node("talk", "OpenAI", talks),
        node("each", "ForEach", {"items": [0, 1, 2]}, referencedWorkflowId="tour-says", onError="collect"),
    ]
    ends = {"source": "refused", "sourceHandle": "text", "target": nodes[1]["id"], "targetHandle": "text_inputs__0"}
    outputs = {"story": {"key": "story", "dataFlowType": "STRING", "isStream": True}}
    mappings = {"story": {"sourceNodeId": "talk", "sourceSlotKey": "stream_output"}}
    edges = [{"id": "e", **ends}]
    shown = {"interfaceOutputs": outputs, "outputInterfaceMappings": mappings}
    return {"name": "A bit of everything", "nodes": nodes, "edges": edges, **shown}


@dataclass(frozen=True)
class Place:
    """`ready` is a selector of what shows that the place is there; `act` brings one further, such as into a dialog."""

    name: str
    hash: str
    ready: str
    act: Act | None = None


async def _choose_all(page: Page) -> None:
    await page.locator("#choose-all").check()


async def _delete_all(page: Page) -> None:
    await _choose_all(page)
    await page.locator(".actions button").nth(2).click()


def click(*selectors: str) -> Act:
    async def act(page: Page) -> None:
        for selector in selectors:
            await page.locator(selector).first.click()

    return act


def places(run: str) -> list[Place]:
    """`run` is one of `mixed()`."""
    here = f"#/run/{run}"
    return [
        Place("home", "#/", ".columns .run-row"),
        Place("runs", "#/runs", ".run-row", _choose_all),
        Place("delete runs", "#/runs?status=error", ".run-row", _delete_all),
        Place("no runs", "#/runs?q=no-such-run", ".page > .quiet"),
        Place("list", here, ".node-error", click('[data-path="hi"] summary')),
        Place("node", f"{here}?node=refused", ".node-panel .error-box"),
        Place("graph", f"{here}/graph?node=talk", ".node-panel .panel-outputs"),
        Place("items", f"{here}/graph?in=each", ".row .error"),
        Place("item", f"{here}?in=each/1", '[data-path="each/1/check"]'),
        Place("timeline", f"{here}/timeline", ".bar-failed"),
        Place("outputs", f"{here}/outputs", ".output pre"),
        Place("events", f"{here}/events?type=NODE_COMPLETE", ".event-list li", click(".event-list summary")),
        Place("rerun", f"{here}/outputs", ".actions button", click(".actions button", "dialog summary")),
        Place("approvals", "#/approvals", ".card .primary", _answer_wrongly),
        Place("triggers", "#/triggers", ".card", _try_triggers),
        Place("usage", "#/usage?by=model", ".amount-tokens"),
        Place("workflows", "#/workflows", ".run-row"),
        Place("bin", "#/workflows?bin=1", ".page > .quiet, .page > .runs li"),
        Place("workflow", "#/workflows/kinds", ".difference-changed"),
        Place("start", "#/start/kinds", ".start .primary", _start_wrongly),
        Place("files", "#/files", ".file-row"),
        Place("new folder", "#/files", ".file-row", click(".actions button:nth-of-type(2)")),
        Place("nodes", "#/nodes?q=merge", ".type-row"),
        Place("node type", "#/nodes/core:OpenAI", ".slots li"),
        Place("system", "#/system", ".channel-row", _use_system),
        Place("keys", "#/", ".columns", _ask_for_keys),
        Place("no page", "#/none", ".page h1, main h1"),
        Place("no run", "#/run/none", ".error"),
        Place("no workflow", "#/workflows/none", ".error:not(:empty)"),
        Place("no form", "#/start/none", ".error:not(:empty)"),
        Place("no node type", "#/nodes/none", ".error:not(:empty)"),
        Place("away", "#/usage", ".banner", None),
        Place("login", "#/system", "form.login", None),
    ]


async def _answer_wrongly(page: Page) -> None:
    await page.locator(".card input").first.fill("9")
    await page.locator(".card .primary").first.click()
    await page.locator(".card [aria-invalid=true]").first.wait_for()


async def _try_triggers(page: Page) -> None:
    for summary in await page.locator(".card summary").all():
        await summary.click()
    await page.locator(".card textarea + p + .actions button").first.click()
    await page.locator(".card [role=status] .state").first.wait_for()
    await page.locator(".card time").first.wait_for()


async def _start_wrongly(page: Page) -> None:
    await page.locator(".field-integer input").first.fill("much")
    await page.locator(".field-messages button").first.click()
    await page.locator(".start .primary").click()
    await page.locator(".start [aria-invalid=true]").first.wait_for()
    for summary in await page.locator(".start summary").all():
        await summary.click()


async def _use_system(page: Page) -> None:
    await page.locator(".columns + section + section button").first.click()
    await page.locator("main table").wait_for()


async def _ask_for_keys(page: Page) -> None:
    await page.keyboard.press("?")
    await page.locator("dialog").wait_for()


@contextlib.asynccontextmanager
async def prepared(client: GatewayClient) -> AsyncIterator[list[Place]]:
    """Something stands on every page; afterwards nothing waits and nothing starts runs."""
    await store_all_kinds(client)
    await store_once(client, TOUR_SAYS)
    ask = node("ask", "Approval", {"data": {"text": "the lamp"}}, form=FORM, timeoutSeconds=3600)
    asks = await client.submit({"name": "Asks", "nodes": [ask], "edges": []})
    run = await client.submit(mixed())
    triggers = [
        await client.triggers.create({**one, "workflow": {"id": "kinds"}}, secrets=secrets)
        for one, secrets in ((HOOK, [SECRET]), (DAILY, []))
    ]
    await client.files.put("user://tour/note.txt", Path(__file__))
    await client.channels.add(CHANNEL)
    await client.wait(run)
    try:
        yield places(run)
    finally:
        await asyncio.gather(client.cancel(asks), *(client.triggers.delete(one["id"], etag="*") for one in triggers))
        await client.channels.delete(CHANNEL["id"])
