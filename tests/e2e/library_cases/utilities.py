"""Texts and streams."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.library_cases.case import Case


def marked(text: Any) -> bool:
    """Each piece of the demo model's answer has the suffix behind it."""
    return isinstance(text, str) and text.endswith("|") and text.count("|") > 1 and "ferry" in text


CASES = [
    Case(
        "text_merge",
        [{"id": "m", "fullType": "core:TextMerge", "inputs": {"separator": "-", "text_inputs": ["a", "b"]}}],
        expect={"m": {"merged_text": "a-b"}},
    ),
    Case(
        "messages_to_a_relayed_stream",
        [
            {"id": "s", "fullType": "core:CreateMessage", "inputs": {"role": "system", "content": "S"}},
            {"id": "u", "fullType": "core:CreateMessage", "inputs": {"role": "user", "content": "to the ferry"}},
            {"id": "m", "fullType": "core:MergeMessages"},
            {"id": "k", "fullType": "core:APISettings", "inputs": {"base_url": "{{BASE}}/demo/v1"}},
            {"id": "a", "fullType": "core:OpenAI", "inputs": {"model": "demo-echo@0", "stream": True}},
            {"id": "r", "fullType": "core:StreamSuffixRelay", "inputs": {"suffix": "|"}},
            {"id": "l", "fullType": "core:StreamLogger"},
            {"id": "t", "fullType": "core:StreamAggregator"},
            {"id": "out", "fullType": "core:GroupOutput"},
        ],
        edges=[
            "s.messages > m.message_inputs",
            "u.messages > m.message_inputs",
            "m.messages > a.history",
            "k.api_settings > a.api_settings",
            "a.stream_output > r.inputStream",
            "r.outputStream > l.inputStream",
            "l.outputStream > t.input_stream",
            "t.aggregated_text > out.input_0",
        ],
        expect={
            "m": {"messages": lambda text: [turn["role"] for turn in json.loads(text)] == ["system", "user"]},
            "t": {"aggregated_text": marked},
        },
    ),
]
