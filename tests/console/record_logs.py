"""Records what real runs tell, for the tests of both projections: `python -m tests.console.record_logs`.

Each file of `logs/` holds the events of a run as clients get them, and what the gateway's projection makes of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from innkeeper.gateway.client import GatewayClient
from innkeeper.gateway.process.local_stack import LocalStack, StackOptions
from innkeeper.gateway.runs.view import project
from tests.console.views import told
from tests.graphs import ASKING_GROUP, edge, node

ROOT = Path(__file__).parents[2]
LOGS = Path(__file__).with_name("logs")
Json = dict[str, Any]
Steer = Callable[[GatewayClient, str, Json], Awaitable[None]]


def _example(name: str) -> Json:
    return dict(json.loads((ROOT / f"examples/{name}.json").read_text()))


def _story() -> Json:
    document = _example("story")
    for found in document["nodes"]:
        if found["id"] == "tell":
            found["inputValues"]["max_tokens"] = 12
    return document


GROUP = {
    "nodes": [
        node("short", "Delay", {"seconds": 1, "value": "short"}),
        node("event", "WaitForEvent", name="go"),
        node("g", "NodeGroup", referencedWorkflowId="asks"),
        node("ask", "Approval", {"data": "old"}, form=[{"key": "data", "dataFlowType": "STRING"}]),
        node("no", "TextMerge", {"text_inputs": ["no"]}),
    ],
    "edges": [edge("ask.rejected", "no.text_inputs__0")],
}
FAILURE = {
    "nodes": [
        node("refused", "HttpRequest", {"url": "http://10.0.0.1/"}),
        node("after", "TextMerge"),
        node("beside", "CreateMessage", {"content": "x"}),
    ],
    "edges": [edge("refused.text", "after.text_inputs__0")],
}
RETRY = {
    "nodes": [
        {
            **node("tell", "OpenAI", {"prompt": "x", "model": "no-such-model"}),
            "inputs": {"prompt": "x", "api_settings": {"base_url": "http://127.0.0.1:9/v1", "api_key": ""}},
        }
    ],
    "edges": [],
}


async def _answer(client: GatewayClient, run: str, event: Json) -> None:
    if event["type"] == "APPROVAL_REQUIRED":
        node = event["payload"]["nodeId"]
        values = {"data": "new"} if node == "ask" else {"text": "new"} if node == "g/ask" else {}
        await client.approvals.answer(run, node, True, values=values)
    if event["type"] == "NODE_WAITING" and event["payload"].get("name") == "go":
        await client.post_event("go", {"n": 1}, run_id=run)


async def _stop_at_retry(client: GatewayClient, run: str, event: Json) -> None:
    if event["type"] == "NODE_RETRY":
        await client.cancel(run)


async def _leave(client: GatewayClient, run: str, event: Json) -> None:
    """Only look."""


RUNS: dict[str, tuple[Json, Steer]] = {
    "story": (_story(), _leave),
    "approval": (_example("approval"), _answer),
    "group": (GROUP, _answer),
    "failure": (FAILURE, _leave),
    "retry": (RETRY, _stop_at_retry),
}


async def _record(client: GatewayClient, name: str) -> None:
    document, steer = RUNS[name]
    run = await client.submit(document)
    events = []
    async with contextlib.aclosing(client.events(run)) as stream:
        async for event in stream:
            events.append(event)
            await steer(client, run, event)
    lines = ",\n".join(json.dumps(event, ensure_ascii=False) for event in events)
    view = json.dumps(told(project(events)), ensure_ascii=False, indent=1, sort_keys=True)
    (LOGS / f"{name}.json").write_text(f'{{"events": [\n{lines}\n],\n"view": {view}}}\n')


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        library = data / "shared/library/workflows"
        library.mkdir(parents=True)
        (library / "asks.json").write_text(json.dumps(ASKING_GROUP))
        async with LocalStack(StackOptions(data)) as stack, GatewayClient(stack.url) as client:
            for name in RUNS:
                async with asyncio.timeout(60):
                    await _record(client, name)


if __name__ == "__main__":
    asyncio.run(main())
