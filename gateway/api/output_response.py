"""One output value of a run, whole, as an HTTP answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi.responses import Response

from innkeeper.gateway.errors import NotFound, shown
from innkeeper.gateway.runs.view import INTERFACE_NODE, JsonObject, is_stream_value
from innkeeper.nodes.call import is_blob
from innkeeper.nodes.services.blobs import FolderBlobs

JSON_MIME = "application/json"
BINARY_MIME = "application/octet-stream"
# What a model wrote must never run as a page of this address.
SAFE_HEADERS = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'"}
SHOWN_MIMES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "audio/mpeg", "audio/wav", "audio/ogg"})


def find_output(status: Mapping[str, Any], place: str) -> Any:
    """The value at `<node path>/<slot>`; both may hold slashes.

    Raises:
        NotFound: The run has no such output, or not yet.
    """
    outputs = {path: node.get("output") or {} for path, node in status["nodeStatus"].items()}
    outputs[INTERFACE_NODE] = status.get("outputs") or {}
    cuts = [index for index, sign in enumerate(place) if sign == "/"]
    for cut in reversed(cuts):
        path, slot = place[:cut], place[cut + 1 :]
        if slot in outputs.get(path, {}):
            return outputs[path][slot]
    raise NotFound(f"run {status['promptId']!r} has no output {shown(place)} (yet)", code="output_not_found")


async def output_response(value: Any, blobs: FolderBlobs, accept: str) -> Response:
    """The value as JSON; a text as plain text where that is asked for; bytes as they are."""
    if is_blob(value):
        data, mime = await blobs.get(value["$blob"]), str(value.get("mime", JSON_MIME))
        if mime != JSON_MIME:
            return _bytes(data, mime)
        return _text_response(orjson.loads(data)) if _wants_text(accept) else _json(data)
    if is_stream_value(value):
        value = await _whole_stream(value, blobs)
        return _text_response(value["text"]) if _wants_text(accept) else _json(orjson.dumps(value))
    return _text_response(value) if _wants_text(accept) else _json(orjson.dumps(value))


async def whole_value(value: Any, blobs: FolderBlobs) -> Any:
    """The value as its node gave it: JSON, or bytes; of a stream its text.

    Raises:
        ResourceError: It is stored apart and not there any more.
    """
    if is_blob(value):
        data = await blobs.get(value["$blob"])
        return orjson.loads(data) if value.get("mime", JSON_MIME) == JSON_MIME else data
    return (await _whole_stream(value, blobs))["text"] if is_stream_value(value) else value


async def _whole_stream(value: JsonObject, blobs: FolderBlobs) -> JsonObject:
    text = value["text"]
    whole = orjson.loads(await blobs.get(text["$blob"])) if is_blob(text) else text
    return {"text": whole, "chunks": value["chunks"]}


def _wants_text(accept: str) -> bool:
    kinds = [part.split(";")[0].strip() for part in accept.split(",")]
    return "text/plain" in kinds and JSON_MIME not in kinds


def _json(data: bytes) -> Response:
    return Response(data, headers=SAFE_HEADERS, media_type=JSON_MIME)


def _text_response(value: Any) -> Response:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return Response(text, headers=SAFE_HEADERS, media_type="text/plain; charset=utf-8")


def _bytes(data: bytes, mime: str) -> Response:
    if mime in SHOWN_MIMES:
        return Response(data, headers=SAFE_HEADERS, media_type=mime)
    headers = {**SAFE_HEADERS, "Content-Disposition": "attachment"}
    return Response(data, headers=headers, media_type=BINARY_MIME)
