"""core:SaveText: write a text file."""

from __future__ import annotations

from typing import Any

from innkeeper.nodes.definition import Input, NodeDefinition, Output
from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.library.files.paths import path_input, target_path
from innkeeper.nodes.library.utilities.text import to_text
from innkeeper.nodes.node import Inputs, NodeContext


async def save_text(inputs: Inputs, context: NodeContext) -> dict[str, Any]:
    """Write a text to a file below `user://`, whole or not at all, over what was there.

    Raises:
        NodeInputError: There is no path, or the text cannot be written as UTF-8.
        ResourceError: The path is out of bounds, the text too large, or the disk refuses.

    Example:
        >>> run_node(definition, {"text": "Hi", "path": "user://notes/hi.txt"})
        {'path': 'user://notes/hi.txt', 'size': 2}
    """
    path = target_path(inputs)
    try:
        data = to_text(inputs.get("text")).encode()
    except UnicodeEncodeError:
        raise NodeInputError("'text' holds half of a surrogate pair, which no file can hold") from None
    await context.services.resources.write_bytes(path, data)
    return {"path": path, "size": len(data)}


definition = NodeDefinition(
    type="SaveText",
    category="文件",
    display_name="Save text",
    display_names={"zh": "保存文本"},
    description="Writes a text file.",
    inputs={
        "text": Input(
            "STRING",
            display_name="Text",
            description="What to write.",
            required=True,
            match_categories=("UiBlock",),
            config={"multiline": True},
        ),
        "path": path_input("user://notes/note.txt"),
    },
    outputs={
        "path": Output(
            "STRING",
            display_name="Path",
            description="Where it was written.",
            match_categories=("ResourceId", "FilePath"),
        ),
        "size": Output("INTEGER", display_name="Size", description="In bytes."),
    },
    execute=save_text,
    bypass_behavior="mute",
    side_effects=True,
)
