"""Media that messages only name, fetched before a request is made: files of the user, and web addresses.

A protocol says which addresses its provider fetches itself (`remote_media`); all others are put into the message.
"""

from __future__ import annotations

import asyncio
import base64
import mimetypes
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from innkeeper.nodes.errors import InnkeeperError, NodeInputError, ProviderError, RequestRefused, ResourceError
from innkeeper.nodes.node import ChatRequest, Http, HttpRequest, Resources
from innkeeper.nodes.services.llm.messages import MediaPart, is_media_part, media_of

MAX_MEDIA = 64
MAX_BYTES = 20 * 1024 * 1024
MAX_BYTES_IN_ALL = 50 * 1024 * 1024
FETCH_S = 60.0
"""For all media of one request."""
_FILES = ("user://", "shared://")
_WEB = ("http://", "https://")
_IN_A_THREAD = 512 * 1024
_IMAGES = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))
_SOUNDS = ((b"ID3", "audio/mpeg"), (b"\xff\xfb", "audio/mpeg"), (b"\xff\xf3", "audio/mpeg"), (b"OggS", "audio/ogg"))
_OF_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}


class MediaLoader:
    """Puts the media that messages name into them. What was fetched is kept for the next channel that is asked.

    Args:
        resources: The files of the user whose node it is.
        http: Web requests to where nodes may send them.
    """

    def __init__(self, resources: Resources, http: Http) -> None:
        self._resources = resources
        self._http = http
        self._fetched: dict[tuple[str, str], MediaPart] = {}

    async def loaded(self, request: ChatRequest, taken: Sequence[str]) -> ChatRequest:
        """The request with all media in it, but for addresses that begin with one of `taken`.

        Raises:
            NodeInputError: Media cannot be used: too many, too large, of another type, not there. Names the place.
            RequestRefused, ProviderError: A web address is not allowed, or does not answer now.
        """
        if not any(isinstance(message.get("content"), list) for message in request.messages):
            return request
        found = _Bounds()
        try:
            async with asyncio.timeout(FETCH_S):
                messages = [
                    await self._message(message, index, taken, found) for index, message in enumerate(request.messages)
                ]
        except TimeoutError:
            message = f"the media of the messages were not fetched within {FETCH_S:.0f} s"
            raise ProviderError(message, code="timeout_error", retryable=True) from None
        return replace(request, messages=messages)

    async def _message(
        self, message: dict[str, Any], index: int, taken: Sequence[str], bounds: _Bounds
    ) -> dict[str, Any]:
        content = message.get("content")
        if not isinstance(content, list):
            return message
        place = f"messages[{index}].content"
        return {**message, "content": await self._parts(content, place, taken, bounds)}

    async def _parts(self, parts: list[Any], place: str, taken: Sequence[str], bounds: _Bounds) -> list[Any]:
        return [await self._part(part, f"{place}[{number}]", taken, bounds) for number, part in enumerate(parts)]

    async def _part(self, part: Any, place: str, taken: Sequence[str], bounds: _Bounds) -> Any:
        if isinstance(part, Mapping) and isinstance(part.get("content"), list):  # what a tool gave
            return {**part, "content": await self._parts(part["content"], f"{place}.content", taken, bounds)}
        if not is_media_part(part):
            return part
        media = media_of(part, place)
        if not media.url or media.url.startswith(tuple(taken)):
            bounds.add(media)
            return part
        key = media.kind, media.url
        if key not in self._fetched:
            self._fetched[key] = await self._fetch(media)
        whole = replace(self._fetched[key], detail=media.detail, place=place)
        bounds.add(whole)
        return _written(whole)

    async def _fetch(self, media: MediaPart) -> MediaPart:
        if media.url.startswith(_FILES):
            data, told = await self._file(media), mimetypes.guess_type(media.url)[0] or ""
        elif media.url.startswith(_WEB):
            data, told = await self._web(media)
        else:
            raise NodeInputError(f"{media.place}: its address is none of {', '.join((*_FILES, *_WEB))}")
        name = media.name or media.url.partition("?")[0].rpartition("/")[2][:200]
        mime = mime_of(media.kind, data, media.mime or told)
        if not mime:
            raise NodeInputError(f"{media.place}: it is no {media.kind} of a type that is known here")
        return replace(media, mime=mime, data=await _base64(data), url="", name=name)

    async def _file(self, media: MediaPart) -> bytes:
        try:
            return await self._resources.read_bytes(media.url, max_bytes=MAX_BYTES)
        except ResourceError as error:
            raise NodeInputError(f"{media.place}: {error.message}", details={"code": error.code}) from None

    async def _web(self, media: MediaPart) -> tuple[bytes, str]:
        """The bytes and the type that the server tells. No message holds the path: it may be a key to the file."""
        host = urlsplit(media.url).hostname or ""
        try:
            answer = await self._http.request(HttpRequest("GET", media.url, timeout_s=FETCH_S))
        except (RequestRefused, ProviderError) as error:
            raise _placed(error, media.place) from None
        except (NodeInputError, ResourceError) as error:
            raise NodeInputError(f"{media.place}: {error.message}") from None
        if answer.status == 429 or answer.status >= 500:
            message = f"{media.place}: the server at {host} answered {answer.status}"
            raise ProviderError(message, code="server_error", details={"host": host}, retryable=True)
        if answer.status != 200:
            raise NodeInputError(f"{media.place}: the server at {host} answered {answer.status}")
        told = next((value for name, value in answer.headers.items() if name.lower() == "content-type"), "")
        return answer.body, told.partition(";")[0].strip().lower()


@dataclass
class _Bounds:
    """What the media of one request take."""

    count: int = 0
    size: int = 0

    def add(self, media: MediaPart) -> None:
        size = len(media.data) * 3 // 4
        self.count, self.size = self.count + 1, self.size + size
        if size > MAX_BYTES:
            raise NodeInputError(f"{media.place} has more than {MAX_BYTES} bytes")
        if self.count > MAX_MEDIA or self.size > MAX_BYTES_IN_ALL:
            raise NodeInputError(
                f"{media.place}: one request has at most {MAX_MEDIA} media of {MAX_BYTES_IN_ALL} bytes in all"
            )


def _placed(error: RequestRefused | ProviderError, place: str) -> InnkeeperError:
    message = f"{place}: {error.message}"
    if isinstance(error, ProviderError):
        return ProviderError(message, code=error.code, details=error.details, retryable=error.retryable)
    return RequestRefused(message, details=error.details)


async def _base64(data: bytes) -> str:
    # Tens of milliseconds for a large file, in which nothing else would run.
    encoded = await asyncio.to_thread(base64.b64encode, data) if len(data) > _IN_A_THREAD else base64.b64encode(data)
    return encoded.decode("ascii")


def mime_of(kind: str, data: bytes, told: str) -> str:
    """The media type by the bytes, else the type that was told; "" when they are not of this kind.

    An image must look like one: a message could name any file otherwise, and read it in the model's answer.
    """
    seen = next(_seen(data), "")
    if kind == "image":
        return seen if seen.startswith("image/") else ""
    if kind == "audio":
        return seen if seen.startswith("audio/") else told if told.startswith("audio/") else ""
    return seen or told or ("text/plain" if _is_text(data) else "application/octet-stream")


def _seen(data: bytes) -> Iterator[str]:
    yield from (mime for start, mime in (*_IMAGES, *_SOUNDS, (b"%PDF-", "application/pdf")) if data.startswith(start))
    if data.startswith(b"RIFF") and data[8:12] in _OF_RIFF:
        yield _OF_RIFF[data[8:12]]


def _is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


def _written(media: MediaPart) -> dict[str, Any]:
    """The part in the form of OpenAI's chat completions, which all protocols read."""
    if media.kind == "image":
        detail = {"detail": media.detail} if media.detail else {}
        return {"type": "image_url", "image_url": {"url": media.data_uri, **detail}}
    if media.kind == "audio":
        kind = {"audio/mpeg": "mp3"}.get(media.mime, media.mime.removeprefix("audio/"))
        return {"type": "input_audio", "input_audio": {"data": media.data, "format": kind}}
    return {"type": "file", "file": {"filename": media.name or "file", "file_data": media.data_uri}}
