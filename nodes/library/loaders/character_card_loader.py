"""core:CharacterCardLoader: a character card from a file."""

from __future__ import annotations

from typing import Any

from innkeeper.nodes.definition import NodeDefinition, Output
from innkeeper.nodes.library.loaders.resource import load, resource_item, tell
from innkeeper.nodes.node import Inputs, NodeContext


async def load_card(inputs: Inputs, context: NodeContext) -> dict[str, Any]:
    """Read a card from a JSON, PNG, YAML or CHARX file.

    The card comes out as it stands in the file, whatever its version; core:ContextBuilder understands all of them.
    What had to be overlooked (a wrong checksum, bytes that are no UTF-8) becomes a warning.

    Raises:
        NodeInputError: No file is chosen.
        ResourceError: The file is missing, too large or out of bounds.
        FormatError: The file holds no card.
    """
    card = await load(context, "cardResource", "character card", "innkeeper.nodes.tavern.cards.reading:read_card_json")
    tell(context, "cardResource", "character card", card["warnings"])
    return {"characterData": card["raw"]}


definition = NodeDefinition(
    type="CharacterCardLoader",
    category="Loaders",
    display_name="Load character card",
    display_names={"zh": "加载角色卡"},
    description="Reads a character card from a JSON, PNG, YAML or CHARX file.",
    outputs={
        "characterData": Output(
            "OBJECT",
            display_name="Character",
            description="The card as it stands in the file.",
            match_categories=("CharacterProfile",),
        )
    },
    config_schema={
        "cardResource": resource_item(
            "Card file", ("json", "png", "yaml", "yml", "charx"), "user://library/cards/card.png"
        )
    },
    execute=load_card,
    bypass_behavior="mute",
    width=300,
)
