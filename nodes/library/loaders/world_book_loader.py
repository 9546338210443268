"""core:WorldBookLoader: a world book from a file."""

from __future__ import annotations

from typing import Any

from innkeeper.nodes.definition import NodeDefinition, Output
from innkeeper.nodes.library.loaders.resource import load, resource_item, tell
from innkeeper.nodes.node import Inputs, NodeContext


async def load_world_book(inputs: Inputs, context: NodeContext) -> dict[str, Any]:
    """Read a world book: SillyTavern's world info, a character book, a card with one, or another tool's book.

    The book comes out as it stands in the file; core:ContextBuilder understands all of these shapes. `.yaml` and
    `.yml` are read as YAML, pictures by what Novel AI hid in them, everything else as JSON. What is odd about it
    becomes a warning.

    Raises:
        NodeInputError: No file is chosen.
        ResourceError: The file is missing, too large or out of bounds.
        FormatError: The file is not JSON or YAML, or holds no book.
    """
    reader = "innkeeper.nodes.tavern.world_info.book_file:read_book_file"
    book = await load(context, "worldBookResource", "world book", reader)
    tell(context, "worldBookResource", "world book", book["warnings"])
    return {"worldBookData": book["raw"]}


definition = NodeDefinition(
    type="WorldBookLoader",
    category="Loaders",
    display_name="Load world book",
    display_names={"zh": "加载世界书"},
    description="Reads a world book (lorebook) from a JSON or YAML file, or from a picture of Novel AI.",
    outputs={
        "worldBookData": Output(
            "OBJECT",
            display_name="World book",
            description="The book as it stands in the file.",
        )
    },
    config_schema={
        "worldBookResource": resource_item(
            "World book file", ("json", "yaml", "yml", "png"), "user://library/world-books/book.json"
        )
    },
    execute=load_world_book,
    bypass_behavior="mute",
    width=300,
)
