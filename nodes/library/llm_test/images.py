"""Images as message parts."""

from __future__ import annotations

import base64
from typing import Any

from innkeeper.nodes.errors import NodeInputError

_SIGNATURES = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF8", "gif"))


def user_message(text: str, image: Any) -> dict[str, Any]:
    """The user's turn: a text, or parts when there is an image.

    Raises:
        NodeInputError: See `image_part`.
    """
    if not image:
        return {"role": "user", "content": text}
    text_parts = [{"type": "text", "text": text}] if text else []
    return {"role": "user", "content": [*text_parts, image_part(image)]}


def image_part(image: Any) -> dict[str, Any]:
    """An `image_url` part of a `data:image/...` URI, an http(s) URL, or the bytes of a PNG, JPEG, GIF or WebP.

    Raises:
        NodeInputError: It is none of these.
    """
    url = _data_uri(image) if isinstance(image, bytes | bytearray) else image
    if not isinstance(url, str) or not url.lower().startswith(("data:image/", "http://", "https://")):
        raise NodeInputError("'image' must be a data:image URI, an http or https URL, or the bytes of an image")
    return {"type": "image_url", "image_url": {"url": url}}


def _data_uri(data: bytes | bytearray) -> str | None:
    kind = next((kind for signature, kind in _SIGNATURES if data.startswith(signature)), None)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        kind = "webp"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}" if kind else None
