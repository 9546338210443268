"""Chats with the endpoint in the graph."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.library_cases.case import Case

SETTINGS = {"base_url": "{{BASE}}/demo/v1", "api_key": "", "use_env_vars": False}
HISTORY = '[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello"}]'


def carries_on(value: Any) -> bool:
    turns = json.loads(value)
    return [turn["role"] for turn in turns] == ["user", "assistant", "user", "assistant"] and bool(turns[3]["content"])


CASES = [
    Case(
        "openai_chat",
        [
            {"id": "a", "fullType": "core:History", "inputs": {"role1": "user", "content1": " Hi "}},
            {"id": "b", "fullType": "core:History", "inputs": {"role1": "assistant", "content1": "Hello"}},
            {"id": "m", "fullType": "core:MergeHistory", "inputs": {"history3": "no history"}},
            {
                "id": "c",
                "fullType": "core:OpenAIChat",
                "inputs": {
                    "api_settings": SETTINGS,
                    "model": "demo-echo@0",
                    "system_prompt": "S",
                    "user_input": "Go on",
                },
            },
        ],
        edges=["a.history > m.history1", "b.history > m.history2", "m.history > c.external_history"],
        expect={
            "m": {"history": HISTORY},
            "c": {
                "current_output": bool,
                "history": carries_on,
                "full_conversation": lambda text: "System: S\n" in text and "User: Go on\n" in text,
            },
        },
    ),
    Case(
        "openai_chat_bad_history",
        [
            {
                "id": "c",
                "fullType": "core:OpenAIChat",
                "inputs": {
                    "api_settings": SETTINGS,
                    "system_prompt": "",
                    "user_input": "Go on",
                    "external_history": "[oops",
                },
            }
        ],
        fails={"c": "'external_history' is not valid JSON"},
    ),
    Case(
        "histories_bypassed",
        [
            {"id": "h", "fullType": "core:History", "inputs": {"role1": "user", "content1": "x"}, "bypassed": True},
            {"id": "m", "fullType": "core:MergeHistory", "inputs": {"history1": HISTORY}, "bypassed": True},
        ],
        expect={"h": {"history": "[]"}, "m": {"history": HISTORY}},
    ),
]
