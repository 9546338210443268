"""Taking secrets out of what a server answers or a node gives: some repeat the key they were asked with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import orjson

from innkeeper.nodes.node import Chunk, ChunkType
from innkeeper.nodes.process.redaction import MASK as MASK

MIN_SECRET_CHARS = 6
MAX_WORD_CHARS = 16
JSON_LEVELS = 3
"""JSON in texts of JSON: messages of a chat, arguments of a tool call."""
_PLAIN_WORD = re.compile(r"[a-z]+(-[a-z]+)*")
_SCHEME = re.compile(r"^(?i:bearer|basic|token|apikey)\s+")


def forms_of(secret: str) -> tuple[str, ...]:
    """How an answer may repeat a secret: as it is, in JSON, in a URL; the longest first.

    None for what is short, and for plain words: people type `ollama` where a server asks for any key, and answers
    about it must stay whole. White space around it is left out: a key is sent without it.
    """
    secret = secret.strip()
    is_word = len(secret) < MAX_WORD_CHARS and _PLAIN_WORD.fullmatch(secret) is not None
    if len(secret) < MIN_SECRET_CHARS or is_word:
        return ()
    # Half of a surrogate pair has no place in a URL.
    in_url = quote(secret, safe="", errors="replace"), quote(secret, errors="replace")
    forms = {secret, *in_url}
    for ascii_only in (True, False):
        text = secret
        for _ in range(JSON_LEVELS):
            text = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
            forms.add(text)
    return tuple(sorted(forms, key=lambda form: (-len(form), form)))


def forms_of_all(secrets: Iterable[str]) -> tuple[str, ...]:
    """The forms of several secrets, the longest first. Of an `Authorization` header also those of the key in it."""
    parts = {part for secret in secrets for part in (secret, _SCHEME.sub("", secret, count=1))}
    return tuple(sorted({form for part in parts for form in forms_of(part)}, key=lambda form: (-len(form), form)))


def mask(value: Any, forms: tuple[str, ...]) -> Any:
    """JSON data without these texts, in keys as in values."""
    if not forms:
        return value
    if isinstance(value, str):
        for form in forms:
            value = value.replace(form, MASK)
        return value
    if isinstance(value, Mapping):
        return {mask(key, forms): mask(item, forms) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mask(item, forms) for item in value]
    return value


def mask_json(data: bytes, forms: tuple[str, ...]) -> bytes:
    """JSON text without these texts; the same bytes when it holds none, which costs only a search."""
    written = {form: json.dumps(form, ensure_ascii=False)[1:-1] for form in forms}
    if not any(text.encode(errors="replace") in data for pair in written.items() for text in pair):
        return data
    return orjson.dumps(mask(orjson.loads(data), forms))


class TextMask:
    """Masks a text that comes in pieces: what may be the beginning of a secret waits for the next piece.

    Attributes:
        forms: The texts to mask; may be replaced.
        has_masked: One was found.
    """

    def __init__(self, forms: tuple[str, ...]) -> None:
        self.forms = forms
        self.has_masked = False
        self._held = ""

    def feed(self, text: str) -> str:
        """What of the text so far may go out."""
        given = self._held + text
        text = str(mask(given, self.forms))
        self.has_masked = self.has_masked or text != given
        length = max((begun_at_end(text, form) for form in self.forms), default=0)
        self._held = text[len(text) - length :]
        return text[: len(text) - length]

    def end(self) -> str:
        """What was held back: it was no secret."""
        held, self._held = self._held, ""
        return held


class ChunkMask:
    """Masks the chunks of a stream, also a secret that is split over several pieces of the text."""

    def __init__(self, forms: tuple[str, ...] = ()) -> None:
        self._forms = forms
        # A text each: pieces of one do not go on in the other.
        self._texts: dict[ChunkType, TextMask] = {"text_chunk": TextMask(forms), "reasoning_chunk": TextMask(forms)}
        self._arguments: dict[int, TextMask] = {}
        self._in_data = False

    @property
    def has_masked(self) -> bool:
        """A secret was found."""
        return self._in_data or any(text.has_masked for text in self._all())

    def add(self, forms: tuple[str, ...]) -> None:
        """Mask further texts from here on."""
        self._forms = tuple(sorted({*self._forms, *forms}, key=lambda form: (-len(form), form)))
        for text in self._all():
            text.forms = self._forms

    def feed(self, chunk: Chunk) -> list[Chunk]:
        """What may go out now: nothing while a text may be the beginning of a secret."""
        if not self._forms:
            return [chunk]
        content, extra = mask((chunk.content, chunk.extra), self._forms)
        if chunk.type in self._texts and isinstance(chunk.content, str):
            content = self._texts[chunk.type].feed(chunk.content)
            return [Chunk(chunk.type, content, extra)] if content or not chunk.content else []
        self._in_data = self._in_data or content != chunk.content
        if chunk.type == "tool_call_chunk" and isinstance(chunk.content, Mapping):
            content = {**content, **self._argument(chunk.content)}
        # A stream ends with such a chunk: no text may come behind it.
        held = self.end() if chunk.type in ("finish_reason_chunk", "error_chunk") else []
        return [*held, Chunk(chunk.type, content, extra)]

    def end(self) -> list[Chunk]:
        """What was held back."""
        if not self._forms:
            return []
        rests = [(kind, text.end()) for kind, text in self._texts.items()]
        calls = [(index, text.end()) for index, text in self._arguments.items()]
        return [
            *(Chunk(kind, rest) for kind, rest in rests if rest),
            *(Chunk("tool_call_chunk", {"index": index, "arguments": rest}) for index, rest in calls if rest),
        ]

    def _argument(self, call: Mapping[str, Any]) -> dict[str, str]:
        """What of a tool's arguments may go out: each call has a text of its own."""
        index, piece = call.get("index"), call.get("arguments")
        if not isinstance(index, int) or not isinstance(piece, str):
            return {}
        text = self._arguments.setdefault(index, TextMask(self._forms))
        return {"arguments": text.feed(piece)}

    def _all(self) -> list[TextMask]:
        return [*self._texts.values(), *self._arguments.values()]


def begun_at_end(text: str, form: str) -> int:
    """How many characters at the end of the text are a beginning of `form`, the whole of it apart."""
    return next((n for n in range(min(len(form) - 1, len(text)), 0, -1) if text.endswith(form[:n])), 0)
