"""Taking a secret out of what a server answers: some repeat the key they were asked with."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from innkeeper.nodes.process.redaction import MASK as MASK

MIN_SECRET_CHARS = 6
MAX_WORD_CHARS = 16
_PLAIN_WORD = re.compile(r"[a-z]+(-[a-z]+)*")


def forms_of(secret: str) -> tuple[str, ...]:
    """How an answer may repeat a secret: as it is, in JSON, in a URL; the longest first.

    None for what is short, and for plain words: people type `ollama` where a server asks for any key, and answers
    about it must stay whole.
    """
    is_word = len(secret) < MAX_WORD_CHARS and _PLAIN_WORD.fullmatch(secret) is not None
    if len(secret) < MIN_SECRET_CHARS or is_word:
        return ()
    # Half of a surrogate pair has no place in a URL.
    in_url = quote(secret, safe="", errors="replace"), quote(secret, errors="replace")
    forms = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], *in_url}
    return tuple(sorted(forms, key=lambda form: (-len(form), form)))


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


class TextMask:
    """Masks a text that comes in pieces: what may be the beginning of a secret waits for the next piece."""

    def __init__(self, forms: tuple[str, ...]) -> None:
        self._forms = forms
        self._held = ""

    def feed(self, text: str) -> str:
        """What of the text so far may go out."""
        text = str(mask(self._held + text, self._forms))
        length = max((_overlap(text, form) for form in self._forms), default=0)
        self._held = text[len(text) - length :]
        return text[: len(text) - length]

    def end(self) -> str:
        """What was held back: it was no secret."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, form: str) -> int:
    """How many characters at the end of the text are a beginning of `form`, the whole of it apart."""
    return next((n for n in range(min(len(form) - 1, len(text)), 0, -1) if text.endswith(form[:n])), 0)
