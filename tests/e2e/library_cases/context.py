"""Presets and the context builder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.e2e.library_cases.case import Case

PRESET: dict[str, Any] = {
    "new_chat_prompt": "[New]",
    "prompts": [{"identifier": "main", "content": "Play {{char}}.", "system_prompt": True}],
    "prompt_order": [
        {
            "character_id": 100001,
            "order": [
                {"identifier": identifier, "enabled": True}
                for identifier in ("main", "worldInfoBefore", "charDescription", "chatHistory", "jailbreak")
            ],
        }
    ],
}
CARD = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "data": {"name": "Mira", "description": "{{char}} keeps an inn.", "post_history_instructions": "Be brief."},
}
BOOK = {"entries": {"0": {"uid": 0, "key": ["storm"], "content": "Storms last three days.", "sticky": 3}}}
SCRIPTS = [{"scriptName": "s", "findRegex": "/loud/g", "replaceString": "quiet", "placement": [1], "promptOnly": True}]
LOADED = [{"id": "p", "fullType": "core:PresetLoader", "configValues": {"presetResource": "user://library/p.json"}}]


EXAMPLES = Path(__file__).parents[3] / "examples"
CHAT = json.loads((EXAMPLES / "chat.json").read_text())
CHAT_FILES = {
    "user://examples/keeper.png": EXAMPLES / "cards" / "wenna.png",
    "user://examples/world_book.json": EXAMPLES / "world_book.json",
    "user://examples/preset.json": EXAMPLES / "preset.json",
    "user://examples/regex_scripts.json": EXAMPLES / "regex_scripts.json",
}


def _example() -> Case:
    """The example chat without its group output."""
    nodes = [
        {
            "id": node["id"],
            "fullType": node["type"],
            "inputs": node.get("inputValues", {}),
            "configValues": node.get("configValues", {}),
        }
        for node in CHAT["nodes"]
        if node["id"] != "out"
    ]
    ends = ("source", "sourceHandle", "target", "targetHandle")
    edges = ["{}.{} > {}.{}".format(*(edge[end] for end in ends)) for edge in CHAT["edges"] if edge["target"] != "out"]
    inputs = json.loads(json.dumps(CHAT["interfaceInputs"]))
    inputs["base_url"]["config"]["default"] = "{{BASE}}/demo/v1"
    expect = {
        "answer": {"response": lambda text: len(text) > 20},
        "context": {"report": lambda report: report["warnings"] == []},
    }
    files = {path: file.read_bytes() for path, file in CHAT_FILES.items()}
    return Case("example_chat", nodes, edges, expect, files, interface_inputs=inputs)


def _builder(**inputs: Any) -> dict[str, Any]:
    return {"id": "c", "fullType": "core:ContextBuilder", "inputs": inputs}


CASES = [
    _example(),
    Case(
        "context_builder_all_parts",
        [
            *LOADED,
            _builder(
                worldBookData=BOOK,
                characterData=CARD,
                historyMessages=[{"role": "user", "content": "A loud storm, {{char}}!"}],
                regexScripts=SCRIPTS,
                userName="Ann",
            ),
        ],
        ["p.presetData > c.presetData"],
        {
            "c": {
                "finalMessages": [
                    {"role": "system", "content": "Play Mira."},
                    {"role": "system", "content": "Storms last three days."},
                    {"role": "system", "content": "Mira keeps an inn."},
                    {"role": "system", "content": "[New]"},
                    {"role": "user", "content": "A quiet storm, Mira!"},
                    {"role": "system", "content": "Be brief."},
                ],
                "report": lambda report: [entry["reason"] for entry in report["worldInfo"]["entries"]] == ["key"],
                "chatState": lambda state: len(state["timed"]["sticky"]) == 1,
            }
        },
        {"user://library/p.json": json.dumps(PRESET).encode()},
    ),
    Case(
        "context_builder_too_small",
        [_builder(presetData=PRESET, maxContext=301)],
        fails={"c": "context_too_small"},
    ),
    Case(
        "preset_loader_text_completion",
        LOADED,
        fails={"p": "text-completion"},
        files={"user://library/p.json": b'{"story_string": ""}'},
    ),
]
