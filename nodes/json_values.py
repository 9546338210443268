"""JSON from outside, read and written in one place, and small questions about JSON values that many ask. Pure.

| from outside | becomes |
|---|---|
| half of a surrogate pair, which no UTF-8 text can hold | U+FFFD |
| integer beyond 64 bits | float |
| NaN, Infinity, number that no float can hold | refused in JSON text; null in a value |
| more than `MAX_DEPTH` (text) or `MAX_VALUE_DEPTH` (value) levels | refused |
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeGuard

import orjson

MAX_DEPTH = 100
"""Objects and lists nested in each other, the outermost included, in JSON that users write or load."""
MAX_VALUE_DEPTH = 200
"""The same in what nodes and other servers give. orjson writes 254 levels; messages around a value add some."""
MAX_CHECKED_BYTES = 1_000_000
"""A larger value is not searched for NaN: that would hold the event loop."""
MIN_INTEGER, MAX_INTEGER = -(2**63), 2**64 - 1
_MAX_DIGITS = 20
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_WRITTEN_AS_THEY_ARE = orjson.OPT_PASSTHROUGH_DATACLASS

TEXT_CHANGED = "half characters became U+FFFD"
INTEGER_CHANGED = "integers beyond 64 bits became floats"
NUMBER_CHANGED = "NaN, infinite or too large numbers became null"
KEY_CHANGED = "keys that are no text became text"


class InvalidJson(ValueError):
    """A text is no JSON, or not within the bounds.

    Attributes:
        reason: What is wrong, without the text's own words.
        position: Line, column (both from 1) and offset, where the JSON breaks off; None where that is not known.
    """

    def __init__(self, reason: str, position: tuple[int, int, int] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.position = position


class TooDeep(InvalidJson):
    """JSON is nested deeper than allowed."""


class InvalidNumber(InvalidJson):
    """It would be JSON but for NaN, Infinity or a number that no float can hold."""


class NotJsonData(ValueError):
    """A value that JSON has no form for. The message says what it holds, for a sentence that begins with its name."""


class Encoded(NamedTuple):
    """JSON, and what of the value had to change to become JSON (`TEXT_CHANGED`, ...)."""

    data: bytes
    changes: tuple[str, ...] = ()


# --- reading --------------------------------------------------------------------------------------------------------


def read_json(text: str | bytes, *, max_depth: int = MAX_DEPTH) -> Any:
    """The value of JSON text from outside, safe to store and to send.

    Raises:
        InvalidJson: No JSON, or bytes that are no UTF-8.
        InvalidNumber: NaN, Infinity or a number that no float can hold.
        TooDeep: Nested deeper than `max_depth`.

    Example:
        >>> read_json('["\\\\ud83d", 123456789012345678901234567890]')
        ['�', 1.2345678901234568e+29]
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        place = error.lineno, error.colno, error.pos
        return _read_slowly(text if isinstance(text, str) else _decoded(text), max_depth, place)
    if _containers(text) > max_depth:
        check_depth(value, max_depth)
    return value


def _containers(text: str | bytes) -> int:
    """At most so many objects and lists are in JSON text."""
    return text.count("[") + text.count("{") if isinstance(text, str) else text.count(b"[") + text.count(b"{")


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        place = before.count("\n") + 1, len(before) - before.rfind("\n"), len(before)
        raise InvalidJson("it is not UTF-8", place) from None


def _read_slowly(text: str, max_depth: int, refused_at: tuple[int, int, int]) -> Any:
    """What orjson refuses: half characters, and whatever is no JSON, with a better word on why."""
    is_broken = _ESCAPED_SURROGATE.search(text) or _SURROGATE.search(text)
    try:
        value = json.loads(text, parse_int=_integer, parse_float=_float, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise InvalidJson(error.msg, (error.lineno, error.colno, error.pos)) from None
    except InvalidNumber as error:
        # Else orjson may have stumbled over half a character before.
        raise InvalidNumber(error.reason, None if is_broken else refused_at) from None
    except RecursionError:
        raise _too_deep(max_depth) from None
    check_depth(value, max_depth)
    return without_surrogates(value) if is_broken else value


def _integer(digits: str) -> int | float:
    # Longer ones are not converted exactly: that takes the square of their length.
    number = int(digits) if len(digits) <= _MAX_DIGITS else _float(digits)
    return number if MIN_INTEGER <= number <= MAX_INTEGER else float(number)


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise InvalidNumber("it holds a number that is out of range")
    return number


def _refuse(constant: str) -> None:
    raise InvalidNumber(f"it holds {constant}")


def json_depth(value: Any) -> int:
    """How many objects and lists are nested in each other; 0 for a scalar."""
    return _depth_of(value, math.inf)


def check_depth(value: Any, max_depth: int = MAX_DEPTH) -> None:
    """Raises TooDeep when objects and lists are nested deeper than `max_depth`."""
    if _depth_of(value, max_depth) > max_depth:
        raise _too_deep(max_depth)


def _depth_of(value: Any, enough: float) -> int:
    depth = 0
    level = [value] if isinstance(value, dict | list | tuple) else []
    while level and depth <= enough:
        depth += 1
        level = [child for item in level for child in _items(item) if isinstance(child, dict | list | tuple)]
    return depth


def _items(value: dict[Any, Any] | list[Any] | tuple[Any, ...]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _too_deep(max_depth: int) -> TooDeep:
    return TooDeep(f"it is nested more than {max_depth} levels deep")


# --- text that may hold halves of surrogate pairs ---------------------------------------------------------------------


def whole_text(text: str) -> str:
    """The text with halves of a surrogate pair that stand together as one character, and U+FFFD for single ones.

    Example:
        >>> [whole_text(text) for text in ("a", chr(0xD83D) + chr(0xDE00), chr(0xD83D) + "x")]
        ['a', '😀', '�x']
    """
    if text.isascii() or not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def without_surrogates(value: Any) -> Any:
    """JSON data with whole texts (`whole_text`). Checked for depth before."""
    if isinstance(value, str):
        return whole_text(value)
    if isinstance(value, list):
        return [without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {without_surrogates(key): without_surrogates(item) for key, item in value.items()}
    return value


class TextJoiner:
    """Makes a text whole that comes in pieces: the first half of a character waits for the next piece."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """What may go out by now."""
        text, self._held = self._held + piece, ""
        if "\ud800" <= text[-1:] <= "\udbff":
            text, self._held = text[:-1], text[-1]
        return whole_text(text)

    def end(self) -> str:
        """What was held back: its other half never came."""
        held, self._held = self._held, ""
        return whole_text(held)


# --- writing --------------------------------------------------------------------------------------------------------


def encode_json(value: Any, *, max_depth: int = MAX_VALUE_DEPTH) -> Encoded:
    """Any value as JSON that every reader takes. Moments, UUIDs and members of enumerations become texts or values.

    Raises:
        NotJsonData: It holds something else (bytes, a set, a secret), itself, or more levels than `max_depth`.
    """
    try:
        data = orjson.dumps(value, option=_WRITTEN_AS_THEY_ARE)
    except TypeError:
        copy = _Copy(max_depth)
        return Encoded(orjson.dumps(copy.of(value)), tuple(copy.changes))
    if _containers(data) > max_depth and len(data) <= MAX_CHECKED_BYTES:
        _check_value_depth(value, max_depth)
    # orjson writes NaN as null without a word.
    if b"null" in data and len(data) <= MAX_CHECKED_BYTES and _holds_non_finite(value):
        return Encoded(data, (NUMBER_CHANGED,))
    return Encoded(data)


def mended(value: Any, *, max_depth: int = MAX_VALUE_DEPTH) -> Any:
    """A copy of a value as a reader of its JSON sees it. Raises NotJsonData as `encode_json`."""
    return orjson.loads(encode_json(value, max_depth=max_depth).data)


def json_size(value: Any) -> int:
    """Bytes of JSON, also of what orjson refuses."""
    try:
        return len(orjson.dumps(value))
    except TypeError:
        return len(json.dumps(value, default=str))


def _check_value_depth(value: Any, max_depth: int) -> None:
    if _depth_of(value, max_depth) > max_depth:
        raise _nested(max_depth)


def _nested(max_depth: int) -> NotJsonData:
    return NotJsonData(f"is nested more than {max_depth} levels deep, or holds itself")


def _holds_non_finite(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)  # several times faster than looking at each item here
    except ValueError:
        return True
    except TypeError:  # moments and the like, which only orjson writes
        return _finds_non_finite(value)
    return False


def _finds_non_finite(value: Any) -> bool:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, float) and not math.isfinite(item):
            return True
        if isinstance(item, dict | list | tuple):
            stack.extend(_items(item))
    return False


class _Copy:
    """Copies a value to JSON data and notes what it changes on the way."""

    def __init__(self, max_depth: int) -> None:
        self.changes: dict[str, None] = {}
        self._max_depth = max_depth

    def of(self, value: Any, depth: int = 0) -> Any:
        if depth == self._max_depth and isinstance(value, Mapping | list | tuple):
            raise _nested(self._max_depth)
        if isinstance(value, Mapping):
            return self._object(value, depth + 1)
        if isinstance(value, list | tuple):
            return [self.of(item, depth + 1) for item in value]
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self._number(value)
        return self._other(value)

    def _object(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        copy: dict[str, Any] = {}
        for key, item in value.items():
            text = self._text(key) if isinstance(key, str) else self._key(key)
            if text in copy:
                raise NotJsonData("holds an object with two keys that are the same text")
            copy[text] = self.of(item, depth)
        return copy

    def _key(self, key: Any) -> str:
        if key is not None and not isinstance(key, bool | int | float):
            raise NotJsonData(f"holds an object with a key of type {type(key).__name__}; give texts as keys")
        self.changes[KEY_CHANGED] = None
        return json.dumps(key)

    def _text(self, text: str) -> str:
        whole = whole_text(text)
        if whole != text:
            self.changes[TEXT_CHANGED] = None
        return whole

    def _number(self, number: int | float) -> int | float | None:
        if isinstance(number, int) and MIN_INTEGER <= number <= MAX_INTEGER:
            return number
        try:
            as_float = float(number)
        except OverflowError:
            as_float = math.inf
        if not math.isfinite(as_float):
            self.changes[NUMBER_CHANGED] = None
            return None
        if isinstance(number, int):
            self.changes[INTEGER_CHANGED] = None
        return as_float

    def _other(self, value: Any) -> Any:
        try:
            return orjson.loads(orjson.dumps(value, option=_WRITTEN_AS_THEY_ARE))
        except TypeError:
            raise NotJsonData(f"holds a value of type {type(value).__name__}{_hint(value)}") from None


def _hint(value: Any) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return "; bytes travel as a whole output, or encoded as text"
    if isinstance(value, set | frozenset):
        return "; give a list"
    return ""


def dump_json(value: Any, *, allow_nan: bool = True) -> str:
    """Write JSON as compactly as a browser does, other scripts unescaped.

    Raises:
        TypeError: It holds what JSON has not.
        ValueError: It holds itself, or, with `allow_nan` false, a number that JSON does not have.
    """
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=allow_nan)


# --- small questions --------------------------------------------------------------------------------------------------


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether a value is a finite number. True and false are none, though Python counts them as 1 and 0.

    Example:
        >>> [is_number(value) for value in (0, 1.5, 10**400, True, float("nan"), "1")]
        [True, True, True, False, False, False]
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # Not `math.isfinite` for both: it cannot take an integer of more than 308 digits.
    return isinstance(value, int) or math.isfinite(value)


def text_or_empty(value: Any) -> str:
    """The text itself, and no text in place of everything else."""
    return value if isinstance(value, str) else ""


def texts_of(value: Any) -> tuple[str, ...]:
    """The texts in a list, without its other items; nothing when it is no list."""
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()
