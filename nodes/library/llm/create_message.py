"""core:CreateMessage: a history of one message."""

from __future__ import annotations

from innkeeper.nodes.definition import Input, NodeDefinition, Output
from innkeeper.nodes.json_values import dump_json
from innkeeper.nodes.library.utilities.text import is_truthy
from innkeeper.nodes.node import Inputs, NodeContext

_ROLES = tuple({"value": role, "label": role} for role in ("system", "user", "assistant"))


async def create_message(inputs: Inputs, context: NodeContext) -> dict[str, str]:
    """Wrap one text as a chat history (JSON text) of a single message.

    Empty content gives an empty history, so that an unused prompt box adds nothing to what it is merged with.

    Example:
        >>> run_node(definition, {"role": "user", "content": "Hi"})
        {'messages': '[{"role":"user","content":"Hi"}]'}
    """
    content = inputs.get("content")
    if not is_truthy(content):
        return {"messages": "[]"}
    return {"messages": dump_json([{"role": inputs.get("role") or "user", "content": content}])}


definition = NodeDefinition(
    type="CreateMessage",
    category="LLM",
    display_name="Create message",
    display_names={"zh": "创建消息"},
    description="Makes a chat history of one message.",
    inputs={
        "role": Input(
            "STRING",
            display_name="Role",
            description="Who says it.",
            required=True,
            match_categories=("ComboOption",),
            config={"default": "user", "suggestions": _ROLES},
        ),
        "content": Input(
            "STRING",
            display_name="Content",
            description="What is said. Empty: the history is empty.",
            required=True,
            match_categories=("UiBlock", "CanPreview"),
            config={"default": "", "multiline": True},
        ),
    },
    outputs={
        "messages": Output(
            "STRING",
            display_name="Messages",
            description="The history as JSON text.",
            match_categories=("Json", "ChatHistory"),
        )
    },
    execute=create_message,
    placement="inline",
    width=300,
)
