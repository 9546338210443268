"""core:History: a chat history of up to four typed turns."""

from __future__ import annotations

from innkeeper.nodes.definition import BypassBehavior, Input, NodeDefinition, Output
from innkeeper.nodes.json_values import dump_json
from innkeeper.nodes.library.math.numbers import trim
from innkeeper.nodes.library.utilities.text import is_truthy, to_text
from innkeeper.nodes.node import Inputs, NodeContext

_TURNS = (1, 2, 3, 4)
_ROLES = tuple({"value": role, "label": role} for role in ("user", "assistant", "system"))


async def history(inputs: Inputs, context: NodeContext) -> dict[str, str]:
    """Put the turns that have a role and a text into a history (JSON text), texts without white space around them.

    Example:
        >>> run_node(definition, {"role1": "user", "content1": " Hi ", "role2": "assistant", "content2": " "})
        {'history': '[{"role":"user","content":"Hi"}]'}
    """
    turns = []
    for number in _TURNS:
        role, content = inputs.get(f"role{number}"), trim(to_text(inputs.get(f"content{number}")))
        if is_truthy(role) and content:
            turns.append({"role": role, "content": content})
    return {"history": dump_json(turns)}


def _message_slots() -> dict[str, Input]:
    slots = {}
    for number in _TURNS:
        slots[f"role{number}"] = Input(
            "STRING",
            display_name=f"Role {number}",
            match_categories=("ComboOption",),
            config={"suggestions": _ROLES},
        )
        slots[f"content{number}"] = Input(
            "STRING",
            display_name=f"Content {number}",
            description="Blank: the turn is left out.",
            config={"multiline": True},
        )
    return slots


definition = NodeDefinition(
    type="History",
    category="TEST-LLM",
    display_name="History",
    display_names={"zh": "历史记录"},
    description="Makes a chat history of up to four turns.",
    inputs=_message_slots(),
    outputs={
        "history": Output(
            "STRING",
            display_name="History",
            description="The history as JSON text.",
            match_categories=("ChatHistory", "Json"),
        )
    },
    execute=history,
    placement="inline",
    bypass_behavior=BypassBehavior(defaults={"history": "[]"}),
)
