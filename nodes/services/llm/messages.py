"""A conversation, read from the OpenAI-like messages that graphs carry; each protocol writes it its own way. Pure.

| in a message | becomes |
|---|---|
| `content` text, parts `text`, `input_text`, `output_text`, `refusal` | `TextPart` |
| parts `image_url`, `input_image`, `image` | `MediaPart("image")` |
| parts `input_audio`, `audio_url` | `MediaPart("audio")` |
| parts `file`, `input_file`, `file_url`, `document` | `MediaPart("file")` |
| `tool_calls`, parts `tool_use`; role `tool` or `function`, parts `tool_result` | `ToolUse`; `ToolResult` |
| `thinking_blocks`, `reasoning_content`, `reasoning`, parts `thinking`, `redacted_thinking`, `reasoning` | `Thought` |

What is none of these is refused: a model that is not told of a part would answer another question.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.json_values import InvalidJson, dump_json, read_json, text_or_empty

Role = Literal["system", "user", "assistant", "tool"]
MediaKind = Literal["image", "audio", "file"]

UNSUPPORTED_PART = "unsupported_part"
"""Code of the error for a part that one protocol has no form for; another one may."""
MAX_PARTS = 10_000
"""Of one message."""
MAX_DATA_URI_HEAD = 1_000
"""Characters of its type and options."""
_DATA_URI = re.compile(r"data:(?P<mime>[\w.+-]+/[\w.+-]+)?(?P<options>(;[^,;]*)*)", re.IGNORECASE)
_LOOKED_AT = 8_192
_URL_SAFE = str.maketrans("-_", "+/")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]*={0,2}")
_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
}
_TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
_MEDIA_PARTS: Mapping[str, MediaKind] = {
    "image_url": "image",
    "input_image": "image",
    "image": "image",
    "input_audio": "audio",
    "audio_url": "audio",
    "file": "file",
    "input_file": "file",
    "file_url": "file",
    "document": "file",
}
_THOUGHT_PARTS = frozenset({"thinking", "redacted_thinking", "reasoning"})
_KNOWN_PARTS = (*_TEXT_PARTS, *_MEDIA_PARTS, *sorted(_THOUGHT_PARTS), "tool_use", "tool_result")


@dataclass(frozen=True, slots=True)
class TextPart:
    text: str


@dataclass(frozen=True, slots=True)
class MediaPart:
    """An image, a recording or a document.

    Attributes:
        mime: Its media type; "" when nobody told it.
        data: Its bytes in base64; "" when it is elsewhere.
        uri: The data URI that it came as, else "": tens of megabytes are not put together anew.
        url: Where it is, else "": an http(s) URL, or what the provider itself gave as the address of an upload.
        file_id: Its name at the provider, else "".
        detail: How closely an image is looked at, in OpenAI's words.
        place: Where it stands, for errors: `messages[0].content[1]`.
    """

    kind: MediaKind
    mime: str = ""
    data: str = ""
    url: str = ""
    file_id: str = ""
    name: str = ""
    detail: str = ""
    place: str = ""
    uri: str = ""

    @property
    def data_uri(self) -> str:
        return self.uri or f"data:{self.mime or 'application/octet-stream'};base64,{self.data}"

    def decoded_text(self) -> str:
        """The text of a text file."""
        return base64.b64decode(self.data + "==").decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Thought:
    """What the model thought in an earlier turn.

    Attributes:
        signature: The provider's proof that it is unchanged; only with it a thought can be sent back.
        hidden: The provider's encrypted form of a thought that it does not show.
        id: The provider's name of it.
    """

    text: str = ""
    signature: str = ""
    hidden: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A call of a tool. `arguments` is a JSON text; `signature` the proof that Gemini asks for."""

    id: str
    name: str
    arguments: str = "{}"
    signature: str = ""
    place: str = ""

    def argument_object(self) -> dict[str, Any]:
        """Raises NodeInputError when the arguments are no JSON object."""
        try:
            value = read_json(self.arguments) if self.arguments.strip() else {}
        except InvalidJson:
            value = None
        if not isinstance(value, dict):
            raise NodeInputError(f"{self.place}: the arguments of the tool call {self.name!r} are no JSON object")
        return value


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gave. `id` is that of its call; `name` that of the tool, where it is known."""

    id: str
    name: str = ""
    parts: tuple[TextPart | MediaPart, ...] = ()
    is_error: bool = False

    @property
    def text(self) -> str:
        return "\n".join(part.text for part in self.parts if isinstance(part, TextPart))


Part = TextPart | MediaPart | Thought | ToolUse | ToolResult


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `name`: who speaks, where several do."""

    role: Role
    parts: tuple[Part, ...]
    name: str = ""

    @property
    def text(self) -> str:
        return "\n".join(part.text for part in self.parts if isinstance(part, TextPart))


def read_messages(messages: Sequence[Mapping[str, Any]]) -> tuple[Message, ...]:
    """The conversation of OpenAI-like messages.

    Results of tools get the name of the tool from the call they belong to.

    Raises:
        NodeInputError: Something cannot be understood; the message names its place.
    """
    read = tuple(_message(item, f"messages[{index}]") for index, item in enumerate(messages))
    return tuple(_with_tool_names(read))


def _message(item: Any, place: str) -> Message:
    said = item.get("role") if isinstance(item, Mapping) else None
    role = _ROLES.get(said) if isinstance(said, str) else None
    if role is None:
        raise NodeInputError(f"{place}: there is no known 'role'; roles are {', '.join(_ROLES)}")
    parts = tuple(_content(item.get("content"), f"{place}.content"))
    name = text_or_empty(item.get("name"))
    if role == "tool":
        id_ = text_or_empty(item.get("tool_call_id"))
        inner = tuple(part for part in parts if isinstance(part, TextPart | MediaPart))
        whole = any(isinstance(part, ToolResult) for part in parts)
        return Message(role, parts if whole else (ToolResult(id_, name, inner, item.get("is_error") is True),))
    if role == "assistant":
        parts = (*_thoughts(item, place), *parts, *_tool_calls(item.get("tool_calls"), f"{place}.tool_calls"))
    return Message(role, parts, name)


def _content(content: Any, place: str) -> Iterator[Part]:
    if content is None:
        return
    if isinstance(content, str):
        yield TextPart(content)
        return
    if not isinstance(content, list) or len(content) > MAX_PARTS:
        raise NodeInputError(f"{place} must be a text, a list of at most {MAX_PARTS} parts, or null")
    for index, part in enumerate(content):
        yield _part(part, f"{place}[{index}]")


def _part(part: Any, place: str) -> Part:
    if isinstance(part, str):
        return TextPart(part)
    kind = part.get("type") if isinstance(part, Mapping) else None
    if not isinstance(kind, str) or kind not in _KNOWN_PARTS:
        found = f"the type {kind[:40]!r}" if isinstance(kind, str) else "no type"
        raise NodeInputError(f"{place} has {found}; parts are {', '.join(_KNOWN_PARTS)}")
    if kind in _TEXT_PARTS:
        return TextPart(_text(part, _TEXT_PARTS[kind], place))
    if kind in _MEDIA_PARTS:
        return media_of(part, place)
    if kind in _THOUGHT_PARTS:
        return _thought(part)
    if kind == "tool_use":
        return ToolUse(
            _text(part, "id", place), _text(part, "name", place), dump_json(part.get("input") or {}), "", place
        )
    inner = tuple(_content(part.get("content"), f"{place}.content"))
    parts = tuple(item for item in inner if isinstance(item, TextPart | MediaPart))
    return ToolResult(_text(part, "tool_use_id", place), "", parts, part.get("is_error") is True)


def _text(part: Mapping[str, Any], key: str, place: str) -> str:
    value = part.get(key)
    if not isinstance(value, str):
        raise NodeInputError(f"{place}.{key} must be a text")
    return value


# --- media ----------------------------------------------------------------------------------------------------------


def is_media_part(part: Any) -> bool:
    """Whether a part of a message is an image, a recording or a file."""
    kind = part.get("type") if isinstance(part, Mapping) else None
    return isinstance(kind, str) and kind in _MEDIA_PARTS


def media_of(part: Mapping[str, Any], place: str) -> MediaPart:
    """The media of a part. Raises NodeInputError when it names none."""
    kind_of_part = part["type"]
    kind = _MEDIA_PARTS[kind_of_part]
    inner = part.get(kind_of_part, part.get("source"))
    fields: Mapping[str, Any] = {**part, **inner} if isinstance(inner, Mapping) else {**part, "url": inner}
    blank = MediaPart(
        kind,
        name=_first_text(fields, "filename", "name", "title"),
        detail=_first_text(fields, "detail"),
        file_id=_first_text(fields, "file_id"),
        place=place,
    )
    if blank.file_id:
        return blank
    found = _first_text(fields, "file_data", "data", "url", "image_url", "file_url", "audio_url")
    if not found:
        raise NodeInputError(
            f"{place} names no {kind}: give a data URI, an http(s) URL, or a user:// or shared:// path"
        )
    mime = _first_text(fields, "mime_type", "media_type", "mimeType") or _mime_of_format(fields.get("format"))
    return _located(blank, found, mime)


def _located(blank: MediaPart, found: str, mime: str) -> MediaPart:
    if found[:5].lower() == "data:":
        head, _, data = found.partition(",")
        match = _DATA_URI.fullmatch(head) if len(head) <= MAX_DATA_URI_HEAD else None
        if match is None or "base64" not in match["options"].lower():
            raise NodeInputError(f"{blank.place}: its data URI is not base64")
        checked = _checked_base64(data, blank.place)
        # One whose type was told beside it, or with another alphabet, is written anew.
        uri = found if match["mime"] and checked is data else ""
        return replace(blank, mime=(match["mime"] or mime).lower(), data=checked, uri=uri)
    if "://" in found[:64]:
        return replace(blank, mime=mime, url=found)
    return replace(blank, mime=mime, data=_checked_base64(found, blank.place))


def _checked_base64(data: str, place: str) -> str:
    # Of a long one the ends only: to look at every character of a video would hold the event loop.
    looked_at = data if len(data) <= _LOOKED_AT else data[: _LOOKED_AT // 2] + data[-_LOOKED_AT // 2 :]
    if not data or not data.isascii() or not _BASE64.fullmatch(looked_at):
        raise NodeInputError(f"{place}: its data is no base64, no data URI and no address")
    return data.translate(_URL_SAFE) if "-" in data or "_" in data else data


def _mime_of_format(value: Any) -> str:
    """`wav` and `mp3` of OpenAI's audio parts."""
    if not isinstance(value, str) or not value:
        return ""
    return value if "/" in value else {"mp3": "audio/mpeg"}.get(value, f"audio/{value}")


def _first_text(fields: Mapping[str, Any], *names: str) -> str:
    return next((value for name in names if isinstance(value := fields.get(name), str) and value), "")


# --- what the model said ----------------------------------------------------------------------------------------------


def _thoughts(item: Mapping[str, Any], place: str) -> Iterator[Thought]:
    blocks = item.get("thinking_blocks")
    if isinstance(blocks, list) and blocks:
        for index, block in enumerate(blocks):
            if not isinstance(block, Mapping):
                raise NodeInputError(f"{place}.thinking_blocks[{index}] must be an object")
            yield _thought(block)
        return
    text = _first_text(item, "reasoning_content", "reasoning")
    if text:
        yield Thought(text)


def _thought(part: Mapping[str, Any]) -> Thought:
    text = _first_text(part, "thinking", "text", "reasoning")
    pieces = part.get("summary") or part.get("content") or part.get("thinking")
    if not text and isinstance(pieces, list):
        text = "\n\n".join(_first_text(piece, "text") for piece in pieces if isinstance(piece, Mapping))
    hidden = _first_text(part, "data", "encrypted_content")
    return Thought(text, _first_text(part, "signature"), hidden, _first_text(part, "id"))


def _tool_calls(calls: Any, place: str) -> Iterator[ToolUse]:
    if calls is None:
        return
    if not isinstance(calls, list):
        raise NodeInputError(f"{place} must be a list")
    for index, call in enumerate(calls):
        function = call.get("function") if isinstance(call, Mapping) else None
        name = function.get("name") if isinstance(function, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(name, str) or not name:
            raise NodeInputError(f"{place}[{index}] names no function")
        arguments = function.get("arguments")
        # Ollama gives an object where OpenAI gives its text.
        text = arguments if isinstance(arguments, str) else dump_json(arguments or {})
        yield ToolUse(text_or_empty(call.get("id")), name, text, _signature(call), f"{place}[{index}]")


def _signature(call: Mapping[str, Any]) -> str:
    """Of Gemini, where Google's own OpenAI-compatible servers put it."""
    extra = call.get("extra_content")
    google = extra.get("google") if isinstance(extra, Mapping) else None
    return _first_text(google, "thought_signature") if isinstance(google, Mapping) else ""


def _with_tool_names(messages: Sequence[Message]) -> Iterator[Message]:
    names: dict[str, str] = {}
    for message in messages:
        names |= {part.id: part.name for part in message.parts if isinstance(part, ToolUse) and part.id}
        parts = tuple(_named(part, names) if isinstance(part, ToolResult) else part for part in message.parts)
        yield replace(message, parts=parts)


def _named(result: ToolResult, names: Mapping[str, str]) -> ToolResult:
    return result if result.name else replace(result, name=names.get(result.id, ""))


# --- what several protocols do alike ----------------------------------------------------------------------------------


def split_system(messages: Sequence[Message]) -> tuple[str, tuple[Message, ...]]:
    """The system's text at the beginning, and the turns, for protocols that tell the system apart.

    Later messages of the system become turns of the user, so that they stay in their place. When nobody else speaks,
    all of them do: there is no request without a turn.
    """
    first = next((index for index, message in enumerate(messages) if message.role != "system"), 0)
    turns = tuple(replace(item, role="user") if item.role == "system" else item for item in messages[first:])
    return "\n\n".join(spoken(message).text for message in messages[:first] if message.text.strip()), turns


def spoken(message: Message) -> Message:
    """For protocols without names: the speaker stands before the text, as `name: text`."""
    if not message.name:
        return message
    start = f"{message.name}: "
    for index, part in enumerate(message.parts):
        if isinstance(part, TextPart):
            text = part.text if part.text.startswith(start) else start + part.text
            return replace(message, parts=(*message.parts[:index], TextPart(text), *message.parts[index + 1 :]))
    return message


def unsupported(part: MediaPart, protocol: str, takes: str) -> NodeInputError:
    """A part that the protocol has no form for."""
    what = f"{part.kind} of type {part.mime}" if part.mime else part.kind
    message = f"{part.place}: the protocol {protocol!r} takes no {what}; it takes {takes}"
    return NodeInputError(message, code=UNSUPPORTED_PART)
