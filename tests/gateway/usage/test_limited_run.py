"""A run whose nodes wait for a limit, through gateway and worker as they are."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.limited_provider import LimitedProvider, provider
from tests.gateway.conftest import Stack


async def test_nodes_wait_for_their_turn_and_the_log_says_why(stack: Stack) -> None:
    stack.worker_options = {"allow_loopback": True}
    async with provider(LimitedProvider()) as found:
        limits = "limits: {requestsPerMinute: 12, burst: 1}"
        (stack.data / "channels.yaml").write_text(
            f"channels: [{{id: c, baseUrl: '{found.url}', supportedModels: [m], {limits}}}]"
        )
        ask = {"messages": [{"role": "user", "content": "x"}], "activated_model_id": "m"}
        nodes: list[dict[str, Any]] = [
            {"id": f"n{number}", "fullType": "core:GenericLlmRequest", "inputs": ask} for number in range(2)
        ]
        async with stack.up() as http:
            answer = await http.post("/api/prompt", json={"nodes": nodes, "wait": 20})
            assert answer.json()["status"] == "complete"
            run = answer.json()["promptId"]
            events = [event.decode() for event in await stack.container.log.read(run)]
            counts = stack.container.model_calls.counts
            metrics = (await http.get("/metrics")).text
    assert len(found.sent) == 2
    (told,) = [event["payload"] for event in events if event["type"] == "NODE_RETRY"]
    assert told["kind"] == "wait"
    assert told["message"] == "waits for 12 requests a minute of channel 'c', place 1 in the line"
    assert (counts.begun, counts.waits) == (2, pytest.approx(1, abs=1))
    assert "innkeeper_model_calls_begun_total 2.0" in metrics
