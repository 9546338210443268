"""Recorded cases of prompt assembly, with what SillyTavern does by accident switched on."""

from __future__ import annotations

from typing import Any

import pytest

from innkeeper.nodes.tavern.macros import CardFields, MacroEnvironment, Macros
from innkeeper.nodes.tavern.presets import read_preset
from innkeeper.nodes.tavern.prompts.assembly import Assembly, Options, Parts, assemble
from innkeeper.nodes.tavern.prompts.examples import Speakers, read_block, split_examples
from innkeeper.nodes.tavern.prompts.message import ContextTooSmall, Note, Turn
from tests.vectors.sillytavern.recorded import Case, load, name_of

ROLES = ("system", "user", "assistant")


def count(text: str) -> int:
    """The recordings count UTF-16 code units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def assembled(given: dict[str, Any]) -> Assembly:
    user, char, card = given["user"], given["char"], given["card"]
    fields = CardFields(card["description"], card["personality"], card["scenario"], mes_example=given["mes_example"])
    expand = Macros(MacroEnvironment(user=user, char=char, persona=given["persona"], card=fields))
    overrides = given["overrides"]
    parts = Parts(
        history=[turn(message) for message in given["history"] if not message["is_system"]],
        description=card["description"],
        personality=card["personality"],
        scenario=card["scenario"],
        persona=given["persona"],
        world_before=given["world_info"]["before"],
        world_after=given["world_info"]["after"],
        examples=[read_block(b, Speakers(user, char)) for b in split_examples(expand(given["mes_example"]))],
        notes=[note(item) for item in given["extension_prompts"]],
        main_override=overrides.get("system") or "",
        jailbreak_override=overrides.get("jailbreak") or "",
        quiet_prompt=given["quiet_prompt"],
    )
    options = Options(
        generation_type=given["type"],
        user=user,
        continued=given["cycle_prompt"] or "",
        pin_examples=given["pin_examples"],
        as_sillytavern=True,
        add_prefill=False,
    )
    return assemble(read_preset(given["preset"]), parts, options, expand=expand, count=count)


def turn(message: dict[str, Any]) -> Turn:
    is_narrator = (message.get("extra") or {}).get("type") == "narrator"
    role = "system" if is_narrator else "user" if message["is_user"] else "assistant"
    shown = bool(message.get("force_avatar"))
    return Turn(role, message["mes"], message["name"], is_narrator=is_narrator, show_name=shown)


def note(item: dict[str, Any]) -> Note:
    depth, role = item.get("depth", 4), ROLES[item.get("role") or 0]
    return Note(item["key"], item["value"], position=item["position"], depth=depth, role=role)


@pytest.mark.parametrize("case", load("prompt_assembly"), ids=name_of)
def test_recorded_case(case: Case) -> None:
    expected = case["expected"]
    if expected["error"]:
        # The recording holds what had been put together before; ours gives nothing that could be sent by mistake.
        with pytest.raises(ContextTooSmall):
            assembled(case["input"])
        return
    assert [message.to_openai() for message in assembled(case["input"]).messages] == expected["messages"]
