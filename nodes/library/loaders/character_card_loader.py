"""core:CharacterCardLoader: a character card from a file."""

from __future__ import annotations

from typing import Any

from innkeeper.nodes.definition import Input, NodeDefinition, Output
from innkeeper.nodes.library.loaders.resource import given_path, load, resource_item, tell
from innkeeper.nodes.node import Inputs, NodeContext

KIND = "character card"
READER = "innkeeper.nodes.tavern.cards.reading:read_card_json"


async def load_card(inputs: Inputs, context: NodeContext) -> dict[str, Any]:
    """Read a card from a JSON, PNG, YAML or CHARX file.

    The card comes out as it stands in the file, whatever its version; core:ContextBuilder understands all of them.
    What had to be overlooked (a wrong checksum, bytes that are no UTF-8) becomes a warning.

    The slot `path` comes before the setting, so that one workflow can read whichever card it is started for.

    Raises:
        NodeInputError: No file is chosen.
        ResourceError: The file is missing, too large or out of bounds.
        FormatError: The file holds no card.
    """
    path = given_path(inputs, KIND)
    card = await load(context, "cardResource", KIND, READER, path=path)
    tell(context, "cardResource", KIND, card["warnings"], path=path)
    return {"characterData": card["raw"]}


definition = NodeDefinition(
    type="CharacterCardLoader",
    category="Loaders",
    display_name="Load character card",
    display_names={"zh": "加载角色卡"},
    description="Reads a character card from a JSON, PNG, YAML or CHARX file.",
    inputs={
        "path": Input(
            "STRING",
            display_name="Path",
            description="The file to read instead of the one in the setting, by its logical path.",
            match_categories=("ResourceId", "FilePath"),
        )
    },
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
