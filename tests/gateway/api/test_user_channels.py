"""Channels that users make, in real runs: who answers when one fails, and where their keys go."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.gateway.api.test_prompts import graph, node, run
from tests.gateway.conftest import Stack
from tests.nodes.services.llm.wire_server import WireServer

KEY = "sk-canary-9876543210fedcba"
BODY = {
    "id": "c1",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}


def answer(status: str, body: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(body)
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
    return {"responses": [[{"send": head + text}]]}


@pytest.fixture
async def server() -> AsyncIterator[WireServer]:
    broken = answer("503 Service Unavailable", {"error": {"message": f"no room for {KEY}"}})
    cases = {
        "good": {"batch": answer("200 OK", BODY), "stream": answer("200 OK", BODY)},
        "broken": {"batch": broken, "stream": broken},
    }
    async with WireServer(cases) as started:
        yield started


@pytest.mark.parametrize("stream", [False, True])
async def test_the_next_channel_answers_and_the_run_says_why(
    http: httpx.AsyncClient, shared: Stack, server: WireServer, stream: bool
) -> None:
    model = f"m-{stream}"
    for priority, case in ((2, "broken"), (1, "good")):
        body = {"id": f"{case}-{stream}", "baseUrl": server.base_url(case), "apiKey": KEY, "supportedModels": [model]}
        made = await http.post("/api/llm/channels", json={**body, "priority": priority})
        assert made.status_code == 201
    ask = node("a", "GenericLlmRequest", activated_model_id=model, stream=stream)
    ask |= {
        "fullType": "core:GenericLlmRequest",
        "inputs": {**ask["inputs"], "messages": [{"role": "user", "content": "x"}]},
    }
    ended = await run(http, graph(ask, outputs={"text": ("a", "responseText")}))
    assert ended["status"] == "complete", ended["nodeStatus"]
    assert ended["outputs"]["text"] == "Hi"
    assert [name for name, *_ in server.requests] == ["broken", "good"]
    assert {headers["authorization"] for _, _, headers, _ in server.requests} == {f"Bearer {KEY}"}
    events = (await http.get(f"/api/prompt/{ended['promptId']}/events")).text
    assert f"broken-{stream}" in events
    assert "overloaded_error" in events
    assert KEY not in events + json.dumps(ended)
    for case in ("broken", "good"):
        await http.delete(f"/api/llm/channels/{case}-{stream}")


async def test_a_key_reaches_no_other_server_when_the_file_is_edited_behind_our_back(
    http: httpx.AsyncClient, shared: Stack, server: WireServer
) -> None:
    body = {"id": "moved", "baseUrl": "https://first.example/v1", "apiKey": KEY, "supportedModels": ["moved-model"]}
    assert (await http.post("/api/llm/channels", json=body)).status_code == 201
    file = shared.data / "channels.json"
    file.write_text(file.read_text().replace("https://first.example/v1", server.base_url("good")))
    ask = node("a", "GenericLlmRequest", activated_model_id="moved-model")
    ask |= {
        "fullType": "core:GenericLlmRequest",
        "inputs": {**ask["inputs"], "messages": [{"role": "user", "content": "x"}]},
    }
    ended = await run(http, graph({**ask, "retry": {"maximumAttempts": 1}}))
    assert ended["status"] == "error"
    assert "for other hosts" in json.dumps(ended)
    assert server.requests == []
    await http.delete("/api/llm/channels/moved")
