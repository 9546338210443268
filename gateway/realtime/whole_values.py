"""Large values put back into the events that refer to them, for clients that do not fetch references."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson

from innkeeper.gateway.realtime.event_frames import is_of_type
from innkeeper.nodes.call import is_blob
from innkeeper.nodes.errors import ResourceError
from innkeeper.nodes.services.blobs import FolderBlobs

JSON_MIME = "application/json"
MAX_VALUE_BYTES = 1_000_000
"""A larger value stays a reference."""
MAX_FRAME_BYTES = 4_000_000
"""Of all values that are put into one event; what comes after them stays a reference."""
MAX_FRAMES = 16
"""So many events with whole values are on their way at once, to whichever clients: this bounds the memory."""
PATIENCE_S = 2.0
"""How long an event waits for its turn. Then it goes as it is: clients that take nothing must not hold up others."""


class WholeValues:
    """Puts values in. One for all clients."""

    def __init__(self, blobs: FolderBlobs) -> None:
        self._blobs = blobs
        self._places = asyncio.Semaphore(MAX_FRAMES)

    @contextlib.asynccontextmanager
    async def put_in(self, frame: bytes) -> AsyncIterator[bytes]:
        """The frame with its values whole. It counts as on its way until the context is left."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._places.acquire()
        except TimeoutError:
            yield frame
            return
        try:
            # Reading and parsing megabytes would hold the event loop, and with it everybody else.
            yield await asyncio.to_thread(self._whole, frame)
        finally:
            self._places.release()

    def _whole(self, frame: bytes) -> bytes:
        """Blocking."""
        event: dict[str, Any] = orjson.loads(frame)
        output = event["payload"].get("output")
        if not isinstance(output, Mapping):
            return frame
        left, whole = MAX_FRAME_BYTES, {}
        for slot, value in output.items():
            whole[slot], size = self._resolved(value, left)
            left -= size
        event["payload"]["output"] = whole
        return orjson.dumps(event)

    def _resolved(self, value: Any, most: int) -> tuple[Any, int]:
        """A value, or that of a stream with its text, whole if that can be; and the bytes that were read for it."""
        if is_blob(value):
            return self._read(value, most)
        if isinstance(value, Mapping) and "chunks" in value and is_blob(value.get("text")):
            text, size = self._read(value["text"], most)
            return {**value, "text": text}, size
        return value, 0

    def _read(self, reference: Mapping[str, Any], most: int) -> tuple[Any, int]:
        """Bytes have no form in JSON, so they stay a reference. So does what is too large, or not there any more."""
        size = reference.get("size")
        is_small = isinstance(size, int) and size <= min(MAX_VALUE_BYTES, most)
        if not is_small or reference.get("mime") != JSON_MIME:
            return reference, 0
        try:
            data = self._blobs.get_sync(reference["$blob"])
            # `size` is what a node said of a reference of its own.
            return (orjson.loads(data), len(data)) if len(data) <= min(MAX_VALUE_BYTES, most) else (reference, 0)
        except (ResourceError, ValueError):
            return reference, 0


def refers_to_values(frame: bytes) -> bool:
    """May the outputs in this event be references?"""
    return is_of_type(frame, "NODE_COMPLETE") and b'"$blob":' in frame
