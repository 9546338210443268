"""core:MergeMessages: several histories in a row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from innkeeper.nodes.definition import BypassBehavior, Input, NodeDefinition, Output
from innkeeper.nodes.json_values import InvalidJson, dump_json, read_json
from innkeeper.nodes.library.llm.messages import is_message
from innkeeper.nodes.node import Inputs, NodeContext


async def merge_messages(inputs: Inputs, context: NodeContext) -> dict[str, str]:
    """String histories and single messages together, in the order of their connections.

    Takes JSON text and native values. What is no message is left out with a warning, so one bad part does not lose
    the others.

    Example:
        >>> run_node(definition, {"message_inputs": ['[{"role":"user","content":"1"}]', "no message"]})
        {'messages': '[{"role":"user","content":"1"}]'}
    """
    parts = inputs.get("message_inputs")
    if not isinstance(parts, list):
        parts = [parts]
    messages = [message for index, part in enumerate(parts) for message in _messages_of_part(part, index, context)]
    return {"messages": dump_json(messages)}


def _messages_of_part(part: Any, index: int, context: NodeContext) -> Iterator[Any]:
    if isinstance(part, str) and part:
        try:
            part = read_json(part)
        except InvalidJson:
            context.warn("not_json", f"'message_inputs': item {index} is left out: it is not valid JSON")
            return
    candidates = part if isinstance(part, list) else [part]
    messages = [item for item in candidates if is_message(item)]
    # An empty slot is no message that was lost.
    if left_out := 0 if part in (None, "") else len(candidates) - len(messages):
        told = "1 value is left out" if left_out == 1 else f"{left_out} values are left out"
        context.warn("no_message", f"'message_inputs': item {index}: {told}; a message has 'role' and 'content'")
    yield from messages


definition = NodeDefinition(
    type="MergeMessages",
    category="LLM",
    display_name="Merge messages",
    display_names={"zh": "合并消息"},
    description="Puts chat histories and messages one after the other.",
    inputs={
        "message_inputs": Input(
            "STRING",
            display_name="Messages",
            description="Histories or messages, in the order of their connections.",
            required=True,
            multi=True,
            match_categories=("Json", "ChatMessage", "ChatHistory"),
        )
    },
    outputs={
        "messages": Output(
            "STRING",
            display_name="Messages",
            description="One history as JSON text.",
            match_categories=("Json", "ChatHistory"),
        )
    },
    execute=merge_messages,
    placement="inline",
    bypass_behavior=BypassBehavior(defaults={"messages": "[]"}),
    width=200,
)
