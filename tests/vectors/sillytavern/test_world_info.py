"""World info against SillyTavern: every recorded activation, turn by turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from innkeeper.nodes.tavern.js_regex import engine
from innkeeper.nodes.tavern.regex_scripts import apply_scripts, read_scripts
from innkeeper.nodes.tavern.world_info import (
    Activation,
    Books,
    Scan,
    ScanMessage,
    ScanTexts,
    activate,
    read_book,
    read_settings,
)
from tests.vectors.sillytavern.deviations_world_info import DEVIATIONS
from tests.vectors.sillytavern.recorded import Case, load, name_of

TEXTS = {
    "personaDescription": "persona_description",
    "characterDescription": "character_description",
    "characterPersonality": "character_personality",
    "characterDepthPrompt": "character_depth_prompt",
    "scenario": "scenario",
    "creatorNotes": "creator_notes",
}


@pytest.mark.parametrize("case", load("world_info"), ids=name_of)
def test_activation_is_as_recorded(case: Case) -> None:
    if ("world_info", name_of(case)) in DEVIATIONS:
        pytest.skip(DEVIATIONS["world_info", name_of(case)])
    assert play(case["input"]) == case["expected"]


def play(given: dict[str, Any]) -> dict[str, Any]:
    timed: dict[str, Any] = {}
    turns = []
    rolls = list(given["rolls"])
    for turn in given["turns"]:
        used = Rolls(rolls)
        activation = activate(scan_of(given, turn, timed, used))
        timed = dict(activation.timed)
        rolls = rolls[used.count :]
        turns.append({**as_recorded(activation), "rolls_used": used.count})
    return {"turns": turns}


class Rolls:
    def __init__(self, rolls: list[float]) -> None:
        self._rolls = rolls
        self.count = 0

    def __call__(self) -> float:
        self.count += 1
        return self._rolls[self.count - 1]


def scan_of(given: dict[str, Any], turn: dict[str, Any], timed: dict[str, Any], rolls: Rolls) -> Scan:
    books = {name: read_book(raw, name, sillytavern=True) for name, raw in given["books"].items()}
    character = given.get("character") or {}
    world = character.get("world")
    return Scan(
        books=Books(
            global_=tuple(books[name] for name in given["global_books"]),
            character=(books[world],) if world else (),
        ),
        messages=tuple(map(ScanMessage, turn["chat"])),
        max_context=given["max_context"],
        expand=expander(given["user"], given["char"]),
        count_tokens=lambda text: len(text.encode("utf-16-le")) // 2,
        draw=rolls,
        regexes=engine(),
        settings=read_settings({k: v for k, v in given["settings"].items() if k != "world_info_overflow_alert"}),
        timed=timed,
        trigger=turn["trigger"],
        character_file=character.get("avatar", f"{given['char']}.png").rpartition(".")[0],
        character_tags=None,
        texts=ScanTexts(**{TEXTS[key]: text for key, text in given.get("scan_data", {}).items() if key in TEXTS}),
        dry_run=turn["dry_run"],
        prompt_scripts=scripts_of(given.get("regex_scripts", [])),
        as_sillytavern=True,
    )


def expander(user: str, char: str) -> Callable[..., str]:
    def expand(text: str, *, original: str | None = None) -> str:
        return text.replace("{{user}}", user).replace("{{char}}", char)

    return expand


def scripts_of(raw: list[Any]) -> Callable[[str, int | None], str]:
    scripts, _ = read_scripts(raw)

    def apply(content: str, depth: int | None) -> str:
        applied = apply_scripts(
            content,
            scripts,
            placement=5,
            stage="prompt",
            depth=depth,
            regexes=engine(),
            expand=expander("Alice", "Bot"),
        )
        return applied.text

    return apply


def as_recorded(activation: Activation) -> dict[str, Any]:
    timed = {
        kind: {key: {k: v for k, v in effect.items() if k != "hash"} for key, effect in effects.items()}
        for kind, effects in activation.timed.items()
    }
    return {
        "activated": [[one.book, one.entry.uid] for one in activation.entries],
        "before": activation.before,
        "after": activation.after,
        "an_top": list(activation.note_top),
        "an_bottom": list(activation.note_bottom),
        "examples": [{"position": 0 if one.top else 1, "content": one.content} for one in activation.examples],
        "depth": [
            {"entries": list(group.entries), "role": group.role}
            | ({} if group.depth_missing else {"depth": group.depth})
            for group in activation.depth
        ],
        "outlets": {name: list(texts) for name, texts in activation.outlets.items()},
        "timed": timed,
    }
