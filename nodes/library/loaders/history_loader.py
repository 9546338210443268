"""core:HistoryLoader: a chat history from a file."""

from __future__ import annotations

from typing import Any

from innkeeper.nodes.definition import BypassBehavior, NodeDefinition, Output
from innkeeper.nodes.library.loaders.resource import load, resource_item, tell
from innkeeper.nodes.node import Inputs, NodeContext


async def load_history(inputs: Inputs, context: NodeContext) -> dict[str, Any]:
    """Read a chat: a JSON list of messages, SillyTavern's JSONL, or the export of another program.

    A list of messages with `role` and `content` comes out unchanged. The messages of other chats come out as `role`,
    `content` and, where somebody is named, `name` (as written, with spaces); messages that are hidden from the prompt
    are left out.

    Raises:
        NodeInputError: No file is chosen.
        ResourceError: The file is missing, too large or out of bounds.
        FormatError: The file holds no chat.
    """
    log = await load(
        context, "historyResource", "chat history", "innkeeper.nodes.tavern.history.reading:read_messages_json"
    )
    tell(context, "historyResource", "chat history", log["warnings"])
    return {"historyMessages": log["messages"]}


definition = NodeDefinition(
    type="HistoryLoader",
    category="Loaders",
    display_name="Load chat history",
    display_names={"zh": "加载聊天历史"},
    description="Reads a chat history from a JSON or JSONL file.",
    outputs={
        "historyMessages": Output(
            "ARRAY",
            display_name="Messages",
            description="The messages, oldest first.",
            match_categories=("ChatHistory",),
        )
    },
    config_schema={
        "historyResource": resource_item("History file", ("json", "jsonl"), "user://library/histories/chat.jsonl")
    },
    execute=load_history,
    bypass_behavior=BypassBehavior(defaults={"historyMessages": []}),
    width=300,
)
