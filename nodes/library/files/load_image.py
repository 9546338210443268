"""core:LoadImage: an image from a file."""

from __future__ import annotations

from typing import Any

from innkeeper.nodes.definition import NodeDefinition, Output
from innkeeper.nodes.library.files.images import FORMATS
from innkeeper.nodes.library.loaders.resource import load, resource_item
from innkeeper.nodes.node import Inputs, NodeContext


async def load_image(inputs: Inputs, context: NodeContext) -> dict[str, Any]:
    """Read a PNG, JPEG, GIF or WebP file, checked to be whole, as a data URI that models take.

    Raises:
        NodeInputError: No file is chosen, or it is no such image (`invalid_format`).
        ResourceError: The file is missing, too large or out of bounds.
    """
    outputs: dict[str, Any] = await load(
        context, "imageResource", "image", "innkeeper.nodes.library.files.images:read_image"
    )
    return outputs


definition = NodeDefinition(
    type="LoadImage",
    category="文件",
    display_name="Load image",
    display_names={"zh": "加载图片"},
    description="Reads an image file.",
    outputs={
        "image": Output(
            "STRING", display_name="Image", description="A data:image URI.", match_categories=("ImageData", "Url")
        ),
        "width": Output("INTEGER", display_name="Width", description="In pixels."),
        "height": Output("INTEGER", display_name="Height", description="In pixels."),
        "mime": Output("STRING", display_name="Type", description="image/png, image/jpeg, image/gif or image/webp."),
    },
    config_schema={"imageResource": resource_item("Image file", tuple(FORMATS), "user://images/picture.png")},
    execute=load_image,
    timeout_s=120,
)
