"""Putting a prompt with a history of 500 messages together."""

from __future__ import annotations

import random
from collections.abc import Callable

from innkeeper.nodes.tavern.macros import MacroEnvironment, Macros
from innkeeper.nodes.tavern.presets import read_preset
from innkeeper.nodes.tavern.prompts.assembly import Assembly, Options, Parts, assemble
from innkeeper.nodes.tavern.prompts.examples import Line
from innkeeper.nodes.tavern.prompts.message import Note, Turn
from innkeeper.nodes.tavern.prompts.tokens import estimate

MESSAGES = 500
_WORDS = ("lamp", "storm", "harbour", "{{user}}", "log", "stair", "tide", "{{char}}", "kettle", "rope")


def assembling() -> Callable[[], object]:
    """Makes one prompt: macros in every message, 40 prompts, 10 notes, examples, all of it fitting."""
    parts = sample()
    return lambda: assembled(parts)


def assembled(parts: Parts) -> Assembly:
    own = [
        {
            "identifier": f"p{number}",
            "system_prompt": False,
            "content": "{{setvar::n::" + str(number) + "}}Mind {{char}}.",
            "injection_position": number % 2,
            "injection_depth": number,
        }
        for number in range(40)
    ]
    names = ("main", *(prompt["identifier"] for prompt in own), "charDescription", "dialogueExamples", "chatHistory")
    order = [{"identifier": name, "enabled": True} for name in names]
    raw = {
        "openai_max_context": 1_000_000,
        "squash_system_messages": True,
        "prompts": own,
        "prompt_order": [{"character_id": 100001, "order": order}],
    }
    expand = Macros(MacroEnvironment(user="Robin", char="Wenna"))
    return assemble(read_preset(raw), parts, Options(user="Robin"), expand=expand, count=estimate)


def sample() -> Parts:
    numbers = random.Random(1)

    def text(words: int) -> str:
        return " ".join(numbers.choice(_WORDS) for _ in range(words))

    return Parts(
        history=[Turn(("user", "assistant")[n % 2], text(60), "Robin", n) for n in range(MESSAGES)],
        description=text(400),
        examples=[[Line("example_user", text(20)), Line("example_assistant", text(20))] for _ in range(20)],
        notes=[Note(f"note {number}", text(30), depth=number) for number in range(10)],
    )
