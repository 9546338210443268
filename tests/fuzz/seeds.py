"""Good inputs, from the examples and vectors of this repository."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from innkeeper.nodes.tavern.cards.png import write_png_file

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
MAX_SEED_BYTES = 6_000
"""Larger ones cost time and reach nothing new."""

CHATS: tuple[Any, ...] = (
    [
        {"user_name": "Alice", "character_name": "Mira", "create_date": "2024-05-01@10h00m00s", "chat_metadata": {}},
        {"name": "Alice", "is_user": True, "mes": "Hi.", "send_date": "May 1, 2024 10:01am", "extra": {}},
        {"name": "Mira", "is_user": False, "mes": "Hello.", "swipes": ["Hello.", "Hm."], "swipe_id": 1,
         "extra": {"reasoning": "r", "image": "a.png", "title": "t"}},
    ],
    [{"role": "user", "content": "hi"}, {"role": "assistant", "content": [{"type": "text", "text": "yes"}]}],
    {"type": "risuChat", "ver": 2, "data": {"message": [{"role": "user", "data": "hi", "time": 1714557600000}]}},
    {"messages": [{"msg": "Hi.", "userId": "u"}], "name": "c", "greeting": "g"},
    {"data_visible": [["hi", "yes"]], "data": []},
    {"histories": {"histories": [{"msgs": [{"text": "hi", "src": {"is_human": True, "name": "A"}}]}]}},
    {"savedsettings": {"chatname": "A", "chatopponent": "B"}, "prompt": "x", "actions": ["\n### Instruction:\nhi"]},
)  # fmt: skip
CARDS: tuple[Any, ...] = (
    {"spec": "chara_card_v2", "spec_version": "2.0",
     "data": {"name": "Mira", "description": "A keeper.", "tags": ["a"], "alternate_greetings": ["x"],
              "character_book": {"name": "b", "entries": [{"keys": ["fog"], "content": "Fog.", "id": 1}]},
              "extensions": {"depth_prompt": {"prompt": "p", "depth": 4, "role": "system"}}}},
    {"spec": "chara_card_v3", "spec_version": "3.0",
     "data": {"name": "M", "group_only_greetings": [], "assets": [{"type": "icon", "uri": "ccdefault:"}]}},
    {"name": "Mira", "description": "A keeper.", "first_mes": "Hi.", "mes_example": "<START>"},
    {"char_name": "Mira", "char_persona": "A keeper.", "char_greeting": "Hi."},
    {"name": "A", "persona": {"kind": "boostyle", "attributes": {"mind": ["calm"]}}, "greeting": "Hi."},
)  # fmt: skip
BOOKS: tuple[Any, ...] = (
    {"entries": {"0": {"uid": 0, "key": ["fog"], "keysecondary": [], "content": "Fog.", "order": 1, "position": 0}}},
    {"name": "b", "entries": [{"keys": ["fog"], "content": "Fog.", "insertion_order": 1, "extensions": {"depth": 4}}]},
    {"lorebookVersion": 5, "entries": [{"text": "c", "keys": ["a"], "contextConfig": {"prefix": "x"}}]},
    {"kind": "memory", "entries": [{"entry": "c", "keywords": ["a"], "priority": 1}]},
    {"type": "risu", "ver": 1, "data": [{"key": "a,b", "content": "c", "insertorder": 1}]},
    [{"key": ["fog"], "content": "Fog."}],
)
PRESETS: tuple[Any, ...] = (
    {"prompts": [{"identifier": "main", "role": "system", "content": "x", "injection_position": 1}], "temperature": 1,
     "prompt_order": [{"character_id": 100001, "order": [{"identifier": "main", "enabled": True}]}]},
    {"version": 1, "type": "full", "data": {"prompts": [{"identifier": "a"}], "prompt_order": []}},
    {"main_prompt": "m", "nsfw_prompt": "n", "jailbreak_prompt": "j", "names_behavior": 0, "openai_max_context": 4095},
)  # fmt: skip
RULES: tuple[Any, ...] = (
    [{"name": "r", "pattern": "a", "replacement": "b", "flags": "g"}],
    {"scriptName": "s", "findRegex": "/a(b)/g", "replaceString": "$1", "placement": [1], "trimStrings": ["x"],
     "minDepth": None, "maxDepth": 3, "substituteRegex": 0},
)  # fmt: skip
CHANNELS = (
    (EXAMPLES / "channels.yaml").read_bytes(),
    b"channels:\n- {id: a, baseUrl: 'http://h/v1', apiKey: env:A_API_KEY, supportedModels: [m], weight: 2}\n"
    b"models:\n- {modelId: m, modelType: llm, capabilities: [chat], defaultChannelRef: a}\n"
    b"routing: {preferredModels: [m]}\n",
)


@cache
def example(name: str) -> Any:
    return json.loads((EXAMPLES / name).read_text())


def cards() -> list[Any]:
    return [*CARDS, example("cards/wenna.json")]


def books() -> list[Any]:
    return [*BOOKS, example("world_book.json")]


def presets() -> list[Any]:
    return [*PRESETS, example("preset.json")]


def rules() -> list[Any]:
    return [*RULES, example("regex_scripts.json")]


@cache
def documents() -> tuple[Any, ...]:
    """Bodies of submissions: the examples, and the workflows of the recorded cases."""
    found = [example(name) for name in ("hello.json", "approval.json", "story.json")]
    for file in sorted((ROOT / "tests" / "vectors" / "data").glob("*.json")):
        if file.stat().st_size > 4 * MAX_SEED_BYTES:
            continue
        found += [body for body in _workflows(json.loads(file.read_text())) if len(json.dumps(body)) <= MAX_SEED_BYTES]
    return tuple(found)


def _workflows(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        if isinstance(value.get("nodes"), list) and "edges" in value:
            yield value
            return
        for item in value.values():
            yield from _workflows(item)


def card_png(card: bytes, keyword: str = "chara") -> bytes:
    """A picture of one pixel that holds a card, whatever its text is."""
    text = keyword.encode() + b"\x00" + base64.b64encode(card)
    return write_png_file([("IHDR", b"\0\0\0\1\0\0\0\1\x08\0\0\0\0"), ("tEXt", text), ("IEND", b"")])


@cache
def pictures() -> tuple[bytes, ...]:
    """Small pictures of every format that is read, one with a card, one animated."""
    made = []
    for format in ("PNG", "JPEG", "GIF", "WEBP"):
        for mode in ("RGB", "L", "P", "RGBA"):
            if format == "JPEG" and mode not in ("RGB", "L"):
                continue
            file = io.BytesIO()
            Image.new(mode, (5, 3)).save(file, format)
            made.append(file.getvalue())
    animated = io.BytesIO()
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "green")]
    frames[0].save(animated, "GIF", save_all=True, append_images=frames[1:])
    return (*made, animated.getvalue(), card_png(json.dumps(CARDS[0]).encode()))


@cache
def charx() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("card.json", json.dumps(CARDS[1]))
        packed.writestr("assets/icon.png", b"x" * 30)
    return file.getvalue()
