"""What a provider's error says, whatever its form. Pure.

Forms: `{"error": {...}}` (OpenAI, Azure, OpenRouter, Anthropic), a list of those (Gemini), `{"error": "text"}` (Ollama,
Hugging Face), `{"object": "error", "message": ...}` (vLLM), `{"detail": ...}` with a text or a list (FastAPI), plain
text, and HTML pages, of which the title is taken.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from innkeeper.nodes.json_values import text_or_empty, whole_text
from innkeeper.nodes.process.redaction import MASK, Redactor
from innkeeper.nodes.services.masking import mask

MAX_CHARS = 500
_MAX_READ_CHARS = 20_000
# A code of this form is no key, whoever wrote it.
_PLAIN_WORD = re.compile(r"[a-z]+(_[a-z]+){0,7}")
_NUMBER = re.compile(r"\d{3,6}")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_TITLE = re.compile(r"(?is)<title[^>]*>(.{0,1000}?)</title")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_HEADER_ECHO = re.compile(
    r"""(?i)(["']?(?:proxy-)?(?:authorization|x-api-key|api-key|x-goog-api-key|(?:set-)?cookie)["']?\s*[:=]\s*)"""
    r"""(?:"[^"]*"|'[^']*'|[^\r\n,;}\]]+)"""
)
_LOOKS_LIKE_A_KEY = Redactor()


@dataclass(frozen=True)
class Told:
    """What an error says.

    Attributes:
        words: Codes and types in it, in lower case, the most exact one first.
        message: Its sentence, as it was written; "" for none.
        param: The parameter at fault; "" for none.
        status: The HTTP status that stands in it as a code.
    """

    words: tuple[str, ...] = ()
    message: str = ""
    param: str = ""
    status: int | None = None


def told(body: object) -> Told:
    """What an error says. `body`: JSON data, or the text of what is no JSON."""
    if isinstance(body, list):
        return told(body[0]) if body and not isinstance(body[0], list) else Told()
    if isinstance(body, str):
        return Told(message=_plain_text(body))
    if not isinstance(body, Mapping):
        return Told()
    inner = body.get("error") or body
    if isinstance(inner, str):
        return Told(_words(body), inner)
    if not isinstance(inner, Mapping):
        inner = body
    message, param = _sentence(inner)
    raw = _upstream(inner)
    return Told(
        words=_words(inner),
        message=f"{message} ({raw})" if message and raw else message or raw,
        param=param or text_or_empty(inner.get("param")),
        status=_status(inner),
    )


def is_error(body: object) -> bool:
    """Does JSON data that should be an answer say that there was an error?"""
    if isinstance(body, list):
        return bool(body) and is_error(body[0])
    if not isinstance(body, Mapping) or body.get("choices"):
        return isinstance(body, Mapping) and bool(body.get("error"))
    return bool(body.get("error") or body.get("detail") or body.get("object") == "error" or body.get("type") == "error")


def quoted(text: str, secrets: tuple[str, ...]) -> str:
    """A provider's words as they may be shown: one line of at most 500 characters, without keys and headers.

    `secrets`: Forms of what must not be shown (`nodes.services.masking.forms_of_all`).
    """
    text = str(mask(whole_text(text[:_MAX_READ_CHARS]), secrets))
    text = _LOOKS_LIKE_A_KEY(_HEADER_ECHO.sub(rf"\1{MASK}", text))
    text = _CONTROL.sub(" ", text).strip()
    return text if len(text) <= MAX_CHARS else f"{text[: MAX_CHARS - 1]}\u2026"


def _sentence(inner: Mapping[str, Any]) -> tuple[str, str]:
    """The message, and the parameter that FastAPI names beside it."""
    for key in ("message", "detail", "msg", "error_description", "title"):
        value = inner.get(key)
        if isinstance(value, str) and value:
            return value, ""
        if isinstance(value, list):
            return _of_list(value)
        if isinstance(value, Mapping):
            return told(value).message, ""
    return "", ""


def _of_list(items: list[Any]) -> tuple[str, str]:
    """FastAPI's `[{"loc": ["body", "top_k"], "msg": "..."}]`."""
    complaints = [item for item in items[:5] if isinstance(item, Mapping)]
    places = [".".join(str(step)[:100] for step in _list(item.get("loc")) if step != "body") for item in complaints]
    texts = [text_or_empty(item.get("msg") or item.get("message")) for item in complaints]
    both = zip(places, texts, strict=True)
    message = "; ".join(f"{place}: {text}" if place else text for place, text in both if text)
    return message or "; ".join(item for item in items[:5] if isinstance(item, str)), places[0] if places else ""


def _upstream(inner: Mapping[str, Any]) -> str:
    """What the server behind a router said (OpenRouter)."""
    metadata = inner.get("metadata")
    return text_or_empty(metadata.get("raw")) if isinstance(metadata, Mapping) else ""


def _words(inner: Mapping[str, Any]) -> tuple[str, ...]:
    values = [inner.get(key) for key in ("code", "type", "status", "error_type", "reason")]
    deeper = inner.get("innererror")
    details = inner.get("details")
    values += [deeper.get("code")] if isinstance(deeper, Mapping) else []
    values += [item.get("reason") for item in _list(details)[:5] if isinstance(item, Mapping)]
    return tuple(dict.fromkeys(word for value in values if (word := _word(value))))


def _word(value: object) -> str:
    if not isinstance(value, str) or len(value) > 64:
        return ""
    word = _CAMEL.sub("_", value.strip()).lower().replace("-", "_")
    return word if _PLAIN_WORD.fullmatch(word) else ""


def _status(inner: Mapping[str, Any]) -> int | None:
    for key in ("code", "status", "status_code", "statusCode"):
        value = inner.get(key)
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            value = int(value)
        if isinstance(value, int) and 400 <= value < 600:
            return value
    return None


def _plain_text(text: str) -> str:
    text = text[:_MAX_READ_CHARS].strip()
    if not text.startswith("<"):
        return text
    title = _TITLE.search(text)
    return html.unescape(title[1]).strip() if title else ""


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
