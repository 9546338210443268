"""What a worker and the process of a node say to each other: JSON with a length before it, and values in JSON.

Both sides may meet code that means harm: nothing is unpickled, and a frame has a limit.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping
from typing import Any

from innkeeper.nodes.errors import InvalidNode
from innkeeper.nodes.node import Chunk, SecretRef

HEAD = struct.Struct(">I")
MAX_FRAME_BYTES = 64 * 1024 * 1024
"""Reading a larger one would hold up the worker."""
STREAM = "$stream"
Json = dict[str, Any]


def to_frame(message: Mapping[str, Any]) -> bytes:
    """A message as it travels.

    Raises:
        InvalidNode: It holds what is no JSON, or is too large.
    """
    try:
        # Not orjson: it would turn NaN to null and refuse large numbers before anybody has judged them.
        data = json.dumps(message, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidNode(f"a value is no JSON data: {error}") from None
    if len(data) > MAX_FRAME_BYTES:
        raise InvalidNode(f"a message of {len(data)} bytes is over the limit of {MAX_FRAME_BYTES}")
    return HEAD.pack(len(data)) + data


def from_frame(data: bytes | bytearray) -> Json:
    """Raises ValueError when it is no JSON object."""
    message = json.loads(data)
    if not isinstance(message, dict):
        raise ValueError("a frame must hold an object")
    return message


def packed(value: Any) -> Any:
    """A value with bytes, references to secrets and chunks in a form that JSON has."""
    if isinstance(value, bytes | bytearray | memoryview):
        return {"$": "bytes", "v": base64.b64encode(value).decode()}
    if isinstance(value, SecretRef):
        return {"$": "secret", "v": value.id}
    if isinstance(value, Chunk):
        return {"$": "chunk", "v": packed(value.to_json())}
    if isinstance(value, Mapping):
        plain = {key: packed(item) for key, item in value.items()}
        return {"$": "object", "v": plain} if "$" in plain else plain
    if isinstance(value, list | tuple):
        return [packed(item) for item in value]
    return value


def unpacked(value: Any) -> Any:
    """The value that `packed` was given."""
    if isinstance(value, list):
        return [unpacked(item) for item in value]
    if not isinstance(value, dict):
        return value
    inner = value.get("v")
    match value.get("$"):
        case None:
            return {key: unpacked(item) for key, item in value.items()}
        case "bytes":
            return base64.b64decode(str(inner))
        case "secret":
            return SecretRef(str(inner))
        case "chunk" if isinstance(inner, dict):
            return Chunk.from_json(unpacked(inner))
        case "object" if isinstance(inner, dict):
            return {key: unpacked(item) for key, item in inner.items()}
    raise ValueError(f"a value of an unknown kind: {value.get('$')!r}")
