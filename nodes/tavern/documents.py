"""Bytes of users' files to text, in whatever encoding it came, and to JSON values within bounds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from innkeeper.nodes.json_values import MAX_DEPTH, InvalidJson, TooDeep, json_depth, read_json
from innkeeper.nodes.tavern.environment import FormatError

MAX_TEXT_BYTES = 32 * 1024 * 1024
_BOMS = (
    (b"\xef\xbb\xbf", "utf-8", "byte_order_mark", "UTF-8 byte order mark left out"),
    (b"\xff\xfe", "utf-16-le", "utf_16", "text is UTF-16, not UTF-8"),
    (b"\xfe\xff", "utf-16-be", "utf_16", "text is UTF-16, not UTF-8"),
)
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
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


def with_code(code: str, warnings: Iterable[str]) -> list[str]:
    """The warnings, of which those without a code of their own get this one."""
    return [warning if isinstance(warning, CodedWarning) else CodedWarning(code, warning) for warning in warnings]


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
    """The value of a JSON text, by the rules of `nodes.json_values`.

    Raises:
        FormatError: Not JSON (with line and column), nested deeper than `MAX_DEPTH`, or a number out of range.
    """
    try:
        return read_json(text)
    except TooDeep:
        raise too_deep() from None
    except InvalidJson as error:
        raise FormatError(_json_problem(text, error)) from None


def _json_problem(text: str, error: InvalidJson) -> str:
    if not text.strip():
        return "the text is empty; expected JSON"
    if error.position is None:
        return f"not valid JSON: {error.reason}"
    line, column, offset = error.position
    ended = " (the text ends too early)" if offset >= len(text.rstrip()) else ""
    return f"not valid JSON at line {line}, column {column}: {error.reason}{ended}"


def check_depth(value: Any) -> None:
    """Raises FormatError when lists and objects are nested deeper than `MAX_DEPTH`."""
    if json_depth(value) > MAX_DEPTH:
        raise too_deep()


def too_deep() -> FormatError:
    return FormatError(f"the document is nested more than {MAX_DEPTH} levels deep")
