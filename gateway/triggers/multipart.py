"""Forms with files (multipart/form-data), read in memory: the body is bounded before."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from innkeeper.gateway.triggers.forms import TooManyFields

_QUIET = logging.Logger("innkeeper.gateway.triggers.multipart", logging.CRITICAL)
"""The parser's own would write a line for each broken form, and anybody can send many."""


class InvalidMultipart(ValueError):
    """A body is no form, or breaks off."""


@dataclass
class Part:
    """One field of a form.

    Attributes:
        filename: As the sender names it: never a path of ours. None for a field without a file.
    """

    name: str = ""
    filename: str | None = None
    mime: str = ""
    data: bytearray = field(default_factory=bytearray)


def read_multipart(content_type: bytes, body: bytes, max_fields: int) -> list[Part]:
    """The fields and files of a form, in order.

    Raises:
        InvalidMultipart: The boundary is missing, or the body is broken.
        TooManyFields: There are more than `max_fields`.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise InvalidMultipart("the boundary of the form is missing in Content-Type")
    reader = _Reader(max_fields)
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        parser.logger = _QUIET
        parser.write(body)
        parser.finalize()
    except FormParserError:
        raise InvalidMultipart("the form is broken") from None
    if not reader.is_complete:
        raise InvalidMultipart("the form breaks off before its end")
    return reader.parts


class _Reader:
    """Collects parts from the calls of the parser."""

    def __init__(self, max_fields: int) -> None:
        self.parts: list[Part] = []
        self.is_complete = False
        self._max_fields = max_fields
        self._name = self._value = b""

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_part_data": self._data,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.parts) == self._max_fields:
            raise TooManyFields(f"more than {self._max_fields} fields")
        self.parts.append(Part())

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        part, name = self.parts[-1], self._name.lower()
        if name == b"content-disposition":
            _, options = parse_options_header(self._value)
            filename = options.get(b"filename")
            part.name = options.get(b"name", b"").decode("utf-8", "replace")
            part.filename = None if filename is None else filename.decode("utf-8", "replace")
        elif name == b"content-type":
            part.mime = self._value.decode("latin-1").strip()
        self._name = self._value = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].data += data[start:end]

    def _end(self) -> None:
        self.is_complete = True
