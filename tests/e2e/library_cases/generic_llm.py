"""core:GenericLlmRequest with the demo model as a channel."""

from __future__ import annotations

from typing import Any

from tests.e2e.library_cases.case import Case

CHANNELS = b"""
channels:
  - id: demo
    baseUrl: "{{BASE}}/demo/v1"
    supportedModels: [demo-echo@0]
models:
  - modelId: demo-echo@0
    capabilities: [chat]
"""
FILES = {"data://channels.yaml": CHANNELS}
MESSAGES = [{"role": "user", "content": "one two"}]


def request(config: dict[str, Any] | None = None, **inputs: Any) -> dict[str, Any]:
    values = {"messages": MESSAGES, **inputs}
    return {"id": "g", "fullType": "core:GenericLlmRequest", "inputs": values, "configValues": config or {}}


def is_response(value: Any) -> bool:
    return bool(value["text"] and value["model"] == "demo-echo@0" and value["choices"][0]["finish_reason"] == "stop")


def says_two(value: Any) -> bool:
    return isinstance(value, str) and "two" in value


CASES = [
    Case(
        "generic_llm_by_capabilities",
        [request()],
        expect={"g": {"response": is_response, "responseText": says_two, "usage": lambda value: value["total_tokens"]}},
        files=FILES,
    ),
    Case(
        "generic_llm_streamed_by_id",
        [
            request(activated_model_id="demo-echo@0", stream=True),
            {"id": "a", "fullType": "core:StreamAggregator"},
        ],
        ["g.stream_output > a.input_stream"],
        expect={"g": {"responseText": says_two}, "a": {"aggregated_text": says_two}},
        files=FILES,
    ),
    Case(
        "generic_llm_without_the_capability",
        [request({"required_capabilities": "llm,vision"})],
        fails={"g": "vision"},
        files=FILES,
    ),
]
