"""The files of `examples/` together: what users try first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from innkeeper.nodes.tavern.cards.reading import read_card_json
from innkeeper.nodes.tavern.context.builder import build
from innkeeper.nodes.tavern.presets import load_preset, read_preset
from innkeeper.nodes.tavern.regex_script import read_scripts

EXAMPLES = Path(__file__).parents[4] / "examples"
CHAT = json.loads((EXAMPLES / "chat.json").read_text())


def read(name: str) -> Any:
    return json.loads((EXAMPLES / name).read_text())


def test_preset_and_scripts_are_read_without_a_warning() -> None:
    assert load_preset("preset.json", (EXAMPLES / "preset.json").read_bytes())["warnings"] == []
    scripts, warnings = read_scripts(read("regex_scripts.json"))
    assert (len(scripts), warnings) == (3, ())
    assert read_preset(read("preset.json")).parameters["temperature"] == 0.8


def test_first_turn_of_the_chat() -> None:
    defaults = {key: item["config"]["default"] for key, item in CHAT["interfaceInputs"].items()}
    history = [*json.loads(defaults["history"]), {"role": "user", "content": defaults["message"]}]
    inputs = {
        "presetData": read("preset.json"),
        "worldBookData": read("world_book.json"),
        "characterData": read_card_json("wenna.png", (EXAMPLES / "cards" / "wenna.png").read_bytes())["raw"],
        "historyMessages": history,
        "regexScripts": read("regex_scripts.json"),
        "userName": defaults["user_name"],
    }
    result = build(inputs, "1", "2030-01-31T12:00:00+00:00")
    text = "\n".join(message["content"] for message in result["finalMessages"])
    for part in ("You are Wenna", "two short paragraphs", "a tower on it", "A gale is rising", "the Knock"):
        assert part in text
    assert "Seals sleep" not in text
    assert '"The log" will be short' in text
    assert "{{" not in text
    fired = {entry["title"] for entry in result["report"]["worldInfo"]["entries"] if entry["active"]}
    assert {"The coast", "Gale", "The lamp", "Found through the lamp"} <= fired
    assert result["report"]["warnings"] == []
