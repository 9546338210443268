"""core:PresetLoader: a chat-completion preset from a file."""

from __future__ import annotations

from typing import Any

from innkeeper.nodes.definition import NodeDefinition, Output
from innkeeper.nodes.library.loaders.resource import load, resource_item, tell
from innkeeper.nodes.node import Inputs, NodeContext


async def load_preset(inputs: Inputs, context: NodeContext) -> dict[str, Any]:
    """Read a chat-completion preset from a JSON file.

    The preset comes out as it stands in the file, apart from its connection fields (addresses, headers, passwords,
    model names), which may hold secrets and are for no one downstream. What is odd about it becomes a warning.

    Raises:
        NodeInputError: No file is chosen.
        ResourceError: The file is missing, too large or out of bounds.
        FormatError: The file is no JSON object, or a text-completion preset.
    """
    preset = await load(context, "presetResource", "preset", "innkeeper.nodes.tavern.presets:load_preset")
    tell(context, "presetResource", "preset", preset["warnings"])
    return {"presetData": preset["raw"]}


definition = NodeDefinition(
    type="PresetLoader",
    category="Loaders",
    display_name="Load preset",
    display_names={"zh": "加载预设"},
    description="Reads a chat-completion preset from a JSON file.",
    outputs={
        "presetData": Output(
            "OBJECT",
            display_name="Preset",
            description="The preset as it stands in the file, without connection fields.",
        )
    },
    config_schema={"presetResource": resource_item("Preset file", ("json",), "user://library/presets/preset.json")},
    execute=load_preset,
    bypass_behavior="mute",
    width=300,
)
