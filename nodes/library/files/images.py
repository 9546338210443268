"""Reads and writes images with Pillow; called in the process of `services.scripts`."""

from __future__ import annotations

import base64
import binascii
import io
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from innkeeper.nodes.tavern.environment import FormatError

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 40_000_000
MIMES = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif", "WEBP": "image/webp"}
FORMATS = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "gif": "GIF", "webp": "WEBP"}
"""Format by the ending of a file's name."""

_DATA_URI = re.compile(rb"\s*data:image/[\w.+-]+((?:;[\w=.+-]+)*),", re.IGNORECASE)
# What Pillow's readers raise over damaged files.
_DAMAGE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    ArithmeticError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    struct.error,
    zlib.error,
)
_SPACE = re.compile(rb"\s+")


def read_image(name: str, data: bytes = b"") -> dict[str, Any]:
    """An image file as `image` (a data URI), `width`, `height` and `mime`. Its bytes stay as they are.

    Raises:
        FormatError: No PNG, JPEG, GIF or WebP, damaged, or over 40 million pixels.
    """
    image = _decoded(data)
    mime = MIMES[str(image.format)]
    uri = f"data:{mime};base64,{base64.b64encode(data).decode()}"
    return {"image": uri, "width": image.width, "height": image.height, "mime": mime}


def write_image(format: str, data: bytes = b"") -> dict[str, Any]:
    """The image of a data URI or of a file's bytes, in `format`: `data` (base64), `width`, `height` and `mime`.

    An image that has this format already stays as it is. JPEG knows no transparency: it becomes white. GIF keeps 256
    colours; of an animation other formats keep the first picture.
    """
    raw = _bytes_of(data)
    image = _decoded(raw)
    if image.format != format:
        raw = _encoded(image, format)
    told = {"width": image.width, "height": image.height, "mime": MIMES[format]}
    return {"data": base64.b64encode(raw).decode(), **told}


def _bytes_of(data: bytes) -> bytes:
    match = _DATA_URI.match(data)
    if match is None:
        return data
    if not match[1].lower().endswith(b";base64"):
        raise FormatError("the image is a data URI without base64")
    try:
        return base64.b64decode(_SPACE.sub(b"", data[match.end() :]), validate=True)
    except binascii.Error:
        raise FormatError("the image is a data URI whose base64 is damaged") from None


def _decoded(data: bytes) -> Image:
    from PIL import Image

    # The limit is ours, below, and an error instead of a warning.
    Image.MAX_IMAGE_PIXELS = None
    with _image_errors():
        image = Image.open(io.BytesIO(data), formats=tuple(MIMES))
        if image.width * image.height > MAX_PIXELS:
            raise FormatError(f"the image has {image.width} x {image.height} pixels; {MAX_PIXELS:,} are allowed")
        # Only now are the pixels read: damage shows here, and a bomb would go off here.
        image.load()
    return image


def _encoded(image: Image, format: str) -> bytes:
    target = io.BytesIO()
    with _image_errors():
        _fitted(image, format).save(target, format)
    return target.getvalue()


def _fitted(image: Image, format: str) -> Image:
    """The image in a colour mode that the format has."""
    from PIL import Image

    if image.mode.startswith("I"):
        # Grey of 16 bits, which would be cut off at 8 instead of made coarser.
        image = image.convert("I").point(lambda shade: shade * (1 / 256)).convert("L")
    see_through = image.has_transparency_data
    if format != "JPEG":
        return image.convert("RGBA" if see_through else "RGB")
    if not see_through:
        return image.convert("RGB")
    layered = image.convert("RGBA")
    ground = Image.new("RGB", image.size, "white")
    ground.paste(layered, mask=layered.getchannel("A"))
    return ground


@contextmanager
def _image_errors() -> Iterator[None]:
    from PIL import UnidentifiedImageError

    try:
        yield
    except UnidentifiedImageError:
        raise FormatError("it is not a PNG, JPEG, GIF or WebP image") from None
    except _DAMAGE as error:
        raise FormatError(f"the image is damaged ({type(error).__name__})") from None
