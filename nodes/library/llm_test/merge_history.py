"""core:MergeHistory: up to four histories in a row."""

from __future__ import annotations

from typing import Any

from innkeeper.nodes.definition import BypassBehavior, Input, NodeDefinition, Output
from innkeeper.nodes.json_values import InvalidJson, dump_json, read_json
from innkeeper.nodes.library.utilities.text import is_truthy
from innkeeper.nodes.node import Inputs, NodeContext

_SLOTS = ("history1", "history2", "history3", "history4")


async def merge_history(inputs: Inputs, context: NodeContext) -> dict[str, str]:
    """String histories together, in the order of the slots; JSON text and lists alike.

    What is no list of messages is left out with a warning, so one bad part does not lose the others.

    Example:
        >>> run_node(definition, {"history1": '[{"role":"user","content":"1"}]', "history2": "oops"})
        {'history': '[{"role":"user","content":"1"}]'}
    """
    return {"history": dump_json([turn for slot in _SLOTS for turn in _turns(inputs.get(slot), slot, context)])}


def _turns(value: Any, slot: str, context: NodeContext) -> list[Any]:
    if not is_truthy(value):
        return []
    try:
        found = read_json(value) if isinstance(value, str) else value
    except InvalidJson:
        found = None
    if isinstance(found, list | tuple):
        return list(found)
    context.warn("no_history", f"{slot!r} is left out: it is no list of messages and no JSON text of one")
    return []


definition = NodeDefinition(
    type="MergeHistory",
    category="TEST-LLM",
    display_name="Merge history",
    display_names={"zh": "合并历史记录"},
    description="Puts up to four chat histories one after the other.",
    inputs={
        slot: Input(
            "STRING",
            display_name=f"History {number}",
            description="JSON text or a list of messages.",
            match_categories=("ChatHistory", "Json"),
        )
        for number, slot in enumerate(_SLOTS, 1)
    },
    outputs={
        "history": Output(
            "STRING",
            display_name="History",
            description="One history as JSON text.",
            match_categories=("ChatHistory", "Json"),
        )
    },
    execute=merge_history,
    placement="inline",
    bypass_behavior=BypassBehavior(pass_through={"history": "history1"}),
)
