"""Turns whatever code hands to a logger into bounded JSON values without secrets. Nothing here raises."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

from innkeeper.nodes.process.redaction import MASK, Redactor, names_a_secret

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]

MAX_TEXT_CHARS = 8_192
MAX_LINE_CHARS = 32_768
MAX_VALUES = 500
"""Values in one line, those inside lists and objects included."""
MAX_DEPTH = 6
_MARGIN_CHARS = 200
"""Read beyond a cut, so that a key there is still recognised as one."""
_CUT = "..."


class LogValues:
    """The values of one log line: what does not fit any more is cut and says so.

    Args:
        redact: Masks secrets in each text.
    """

    def __init__(self, redact: Redactor) -> None:
        self._redact = redact
        self._values_left = MAX_VALUES
        self._chars_left = MAX_LINE_CHARS

    @property
    def are_full(self) -> bool:
        """The line holds as much as it may."""
        return self._values_left <= 0 or self._chars_left <= 0

    def value(self, value: object, depth: int = 0) -> JsonValue:
        """A JSON value for any object: exceptions as their type, unknown objects as their text."""
        self._values_left -= 1
        if self._values_left < 0 or depth > MAX_DEPTH:
            return _CUT
        if type(value) is str:  # most are; the patterns below cost as much as all the rest of a line
            return self.text(value)
        try:
            return self._value(value, depth)
        except Exception:  # __str__, __iter__ and the like are anybody's code
            return self.text(f"<unprintable {type(value).__name__}>")

    def member(self, key: object, value: object, depth: int = 0) -> tuple[str, JsonValue]:
        """A key with its value, which is masked when the key names a secret. Numbers stay: they count tokens."""
        name = self.value(key, MAX_DEPTH)
        if not isinstance(name, str):
            name = str(name)
        if value is not None and not isinstance(value, bool | int | float) and names_a_secret(name):
            return name, MASK
        return name, self.value(value, depth)

    def text(self, text: str) -> str:
        """A text of at most MAX_TEXT_CHARS, redacted, that UTF-8 can hold."""
        limit = MAX_TEXT_CHARS if self._chars_left > MAX_TEXT_CHARS else max(0, self._chars_left)
        clean = well_formed(self._redact(text) if len(text) <= limit else self._cut(text, limit))
        self._chars_left -= len(clean)
        return clean

    def _cut(self, text: str, limit: int) -> str:
        margin = max(_MARGIN_CHARS, self._redact.longest)
        # The end of the piece may hold a part of a secret, which nobody recognises: it is dropped after redaction.
        piece = self._redact(text[: limit + margin])
        return f"{piece[: max(0, min(limit, len(piece) - margin))]}{_CUT} ({len(text)} characters, cut)"

    def _value(self, value: object, depth: int) -> JsonValue:
        match value:
            case None | bool():
                return value
            case str():
                return self.text(str.__str__(value))
            case int() | float():
                return self._number(value)
            case BaseException():
                return self.text(type(value).__name__)  # its text may be content of a user
            case Mapping():
                pairs = itertools.islice(value.items(), self._values_left + 1)
                return dict(self.member(key, inner, depth + 1) for key, inner in pairs)
            case list() | tuple() | set() | frozenset():
                return [self.value(inner, depth + 1) for inner in itertools.islice(value, self._values_left + 1)]
            case _:
                return self.text(str(value))

    def _number(self, value: float) -> JsonValue:
        number = float(value) if isinstance(value, float) else int(value)
        if isinstance(number, int) and number.bit_length() > 63:
            return f"<number of {number.bit_length()} bits>"  # writing it in decimal may take for ever
        if not math.isfinite(number):
            return str(number)
        text = str(number)
        return number if self._redact(text) == text else MASK


def well_formed(text: str) -> str:
    """The text with lone surrogates, which UTF-8 does not know, written as `\\udc80`."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
