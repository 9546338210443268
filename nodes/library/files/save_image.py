"""core:SaveImage: write an image file."""

from __future__ import annotations

import asyncio
import base64
import posixpath
from typing import Any

from innkeeper.nodes.definition import Input, NodeDefinition, Output
from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.library.files.images import FORMATS
from innkeeper.nodes.library.files.paths import path_input, target_path
from innkeeper.nodes.node import Inputs, NodeContext

WRITE_IMAGE = "innkeeper.nodes.library.files.images:write_image"
TIMEOUT_S = 60.0


async def save_image(inputs: Inputs, context: NodeContext) -> dict[str, Any]:
    """Write an image to a file below `user://`, over what was there; the ending of its name says the format.

    An image of that format is written as it is, another one is converted.

    Raises:
        NodeInputError: There is no path, its ending is no format, or `image` is no image (`invalid_format`).
        ResourceError: The path is out of bounds, the image too large, or the disk refuses.
    """
    path = target_path(inputs)
    arguments = {"format": _format(path)}
    data = _data(inputs.get("image"))
    made = await context.services.scripts.call(WRITE_IMAGE, arguments, data=data, timeout_s=TIMEOUT_S)
    # Tens of megabytes take a while to decode: not on the event loop.
    file = await asyncio.to_thread(base64.b64decode, made.pop("data"))
    await context.services.resources.write_bytes(path, file)
    return {"path": path, "size": len(file), **made}


def _format(path: str) -> str:
    ending = posixpath.splitext(path)[1].lstrip(".").lower()
    if ending not in FORMATS:
        raise NodeInputError(f"'path' must end in one of {', '.join(f'.{name}' for name in FORMATS)}")
    return FORMATS[ending]


def _data(image: Any) -> bytes:
    """The bytes of an image, or of its data URI, which is decoded elsewhere."""
    if isinstance(image, bytes | bytearray) and image:
        return bytes(image)
    if isinstance(image, str) and image.lstrip()[:11].lower() == "data:image/" and image.isascii():
        return image.encode()
    raise NodeInputError("'image' must be a data:image URI or the bytes of an image")


definition = NodeDefinition(
    type="SaveImage",
    category="文件",
    display_name="Save image",
    display_names={"zh": "保存图片"},
    description="Writes an image file: PNG, JPEG, GIF or WebP.",
    inputs={
        "image": Input(
            "STRING",
            display_name="Image",
            description="A data:image URI.",
            required=True,
            match_categories=("ImageData", "Url"),
        ),
        "path": path_input("user://images/picture.png"),
    },
    outputs={
        "path": Output(
            "STRING",
            display_name="Path",
            description="Where it was written.",
            match_categories=("ResourceId", "FilePath"),
        ),
        "size": Output("INTEGER", display_name="Size", description="In bytes."),
        "width": Output("INTEGER", display_name="Width", description="In pixels."),
        "height": Output("INTEGER", display_name="Height", description="In pixels."),
        "mime": Output("STRING", display_name="Type", description="image/png, image/jpeg, image/gif or image/webp."),
    },
    execute=save_image,
    bypass_behavior="mute",
    side_effects=True,
    timeout_s=180,
)
