"""Bytes of users' files to text, in whatever encoding it came, and to JSON values within bounds."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from innkeeper.nodes.tavern.environment import FormatError

MAX_TEXT_BYTES = 32 * 1024 * 1024
MAX_DEPTH = 100
MAX_INTEGER, _MAX_DIGITS = 2**63, 20
_BOMS = (
    (b"\xef\xbb\xbf", "utf-8", "byte_order_mark", "UTF-8 byte order mark left out"),
    (b"\xff\xfe", "utf-16-le", "utf_16", "text is UTF-16, not UTF-8"),
    (b"\xfe\xff", "utf-16-be", "utf_16", "text is UTF-16, not UTF-8"),
)
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_KINDS = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "an array",
    bytes: "bytes",
}


class CodedWarning(str):
    """A warning for the user that also has a code for programs (`not_utf8`)."""

    code: str

    def __new__(cls, code: str, message: str) -> CodedWarning:
        warning = super().__new__(cls, message)
        warning.code = code
        return warning


def warnings_json(warnings: Iterable[str], default_code: str) -> list[dict[str, str]]:
    """Warnings as `{"code", "message"}`; those without a code of their own get `default_code`."""
    return [{"code": getattr(warning, "code", default_code), "message": str(warning)} for warning in warnings]


@dataclass(frozen=True)
class Decoded:
    """A text and what had to be overlooked to read it."""

    text: str
    warnings: tuple[str, ...] = ()


def kind_of(value: Any) -> str:
    """What a JSON value is, for messages: `an array`.

    Example:
        >>> [kind_of(value) for value in (None, 1.5, [], {})]
        ['null', 'a number', 'an array', 'an object']
    """
    return _KINDS.get(type(value), "an object")


def refuse_lfs_pointer(data: bytes) -> None:
    """Raise FormatError for what Git LFS leaves in place of a file that was not downloaded."""
    if data.startswith(_LFS_POINTER):
        raise FormatError("this is a Git LFS pointer, not the file itself; download the file (`git lfs pull`)")


def decode(data: bytes) -> Decoded:
    """UTF-8, with or without a byte order mark, or UTF-16 with one. Other bytes become U+FFFD, with a warning.

    Raises:
        FormatError: More than `MAX_TEXT_BYTES`, or a pointer that Git LFS left in place of the file.
    """
    refuse_lfs_pointer(data)
    if len(data) > MAX_TEXT_BYTES:
        raise FormatError(f"the text has {len(data)} bytes, over the limit of {MAX_TEXT_BYTES}")
    for mark, encoding, code, warning in _BOMS:
        if data.startswith(mark):
            text, warnings = _decode(data[len(mark) :], encoding, len(mark))
            return Decoded(text, (CodedWarning(code, warning), *warnings))
    return Decoded(*_decode(data, "utf-8", 0))


def _decode(data: bytes, encoding: str, start: int) -> tuple[str, tuple[str, ...]]:
    try:
        return data.decode(encoding), ()
    except UnicodeDecodeError as error:
        warning = f"text is not {encoding.upper()} at byte {start + error.start}; what cannot be read became U+FFFD"
        return data.decode(encoding, "replace"), (CodedWarning("not_utf8", warning),)


def parse_json(text: str) -> Any:
    """The value of a JSON text. Lone surrogates become U+FFFD; whole numbers past 64 bits become floats.

    Raises:
        FormatError: Not JSON (with line and column), nested deeper than `MAX_DEPTH`, or a number out of range.
    """
    try:
        value = json.loads(text, parse_int=_integer, parse_float=_float, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise FormatError(_json_problem(error)) from None
    except RecursionError:
        raise too_deep() from None
    check_depth(value)
    return without_surrogates(value) if _ESCAPED_SURROGATE.search(text) else value


def _json_problem(error: json.JSONDecodeError) -> str:
    if not error.doc.strip():
        return "the text is empty; expected JSON"
    ended = " (the text ends too early)" if error.pos >= len(error.doc.rstrip()) else ""
    return f"not valid JSON at line {error.lineno}, column {error.colno}: {error.msg}{ended}"


def _integer(digits: str) -> int | float:
    # Longer ones are not converted exactly: that takes the square of their length.
    number = int(digits) if len(digits) <= _MAX_DIGITS else _float(digits)
    return number if abs(number) < MAX_INTEGER else float(number)


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise FormatError("the JSON holds a number that is out of range")
    return number


def _refuse_constant(name: str) -> None:
    raise FormatError(f"not valid JSON: it holds {name}")


def check_depth(value: Any, limit: int = MAX_DEPTH) -> None:
    """Raises FormatError when lists and objects are nested deeper than `limit`."""
    level: list[Any] = [value] if isinstance(value, list | dict) else []
    for _ in range(limit):
        if not level:
            return
        level = [inner for outer in level for inner in _items(outer) if isinstance(inner, list | dict)]
    if level:
        raise too_deep()


def _items(value: list[Any] | dict[str, Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def too_deep() -> FormatError:
    return FormatError(f"the document is nested more than {MAX_DEPTH} levels deep")


def without_surrogates(value: Any) -> Any:
    """The value with U+FFFD for half characters, which no UTF-8 text can hold. Checked for depth before."""
    if isinstance(value, str):
        return SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {without_surrogates(key): without_surrogates(item) for key, item in value.items()}
    return value
