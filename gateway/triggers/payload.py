"""What the mapping and the filter of a trigger see of a request. Read after its proof was verified.

| Content-Type | `kind` | `body` |
|---|---|---|
| `application/json`, `…+json` | `json` | the value |
| `application/x-www-form-urlencoded`, `multipart/form-data` | `form` | fields by name; files stand in `files` |
| `text/…`, XML, YAML | `text` | the text |
| none | `json`, `text` or `binary` | by what the bytes are |
| any other | `binary` | null; the bytes stand in `files` |
| any, without a body | `empty` | null |
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from innkeeper.gateway.triggers.forms import TooManyFields, fields_of, read_urlencoded, with_payload_read
from innkeeper.gateway.triggers.headers import DoubledHeader, Headers, RawHeaders
from innkeeper.gateway.triggers.multipart import InvalidMultipart, read_multipart
from innkeeper.nodes.json_values import MAX_DEPTH, InvalidJson, TooDeep, read_json

Kind = Literal["json", "form", "text", "binary", "empty"]

ALWAYS_HIDDEN = frozenset({"authorization", "proxy-authorization", "cookie"})
"""Headers that prove something elsewhere, whatever the scheme of the trigger."""
_TEXT_TYPES = frozenset({"application/xml", "application/yaml", "application/x-yaml", "application/x-ndjson"})
# Python knows codecs that are no character sets, and some whose time grows with the square of the text.
_CHARSETS = frozenset({"ascii", "utf-8", "utf-16", "utf-16-le", "utf-16-be", "iso8859-1", "iso8859-15", "cp1252"})
_CHARSET = re.compile(rb"charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)


@dataclass(frozen=True)
class Limits:
    """Bounds of one request.

    Attributes:
        max_fields: Of a form (files included), of the query and of the headers, each.
        max_depth: Objects and lists nested in JSON.
    """

    max_body_bytes: int = 5_000_000
    max_query_bytes: int = 16_000
    max_header_bytes: int = 64_000
    max_fields: int = 1_000
    max_depth: int = MAX_DEPTH


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class RawRequest:
    """A request as it came; `query` is what stands after the question mark."""

    headers: RawHeaders
    body: bytes
    query: bytes = b""


@dataclass(frozen=True)
class ReceivedFile:
    """Bytes to be stored by the caller.

    Attributes:
        field: Name of the form's field; empty when it is the whole body.
        filename: As the sender names it, never to be used as a path; None when it gives none.
    """

    field: str
    filename: str | None
    mime: str
    data: bytes


@dataclass(frozen=True)
class Payload:
    """A request that could be read."""

    kind: Kind
    content_type: str
    body: Any
    query: dict[str, str | list[str]]
    headers: dict[str, str | list[str]]
    files: tuple[ReceivedFile, ...] = field(default=())

    def view(self, stored_files: Sequence[object] = ()) -> dict[str, Any]:
        """JSON data for JMESPath. `stored_files` is what the caller made of `files`, in the same order."""
        return {
            "kind": self.kind,
            "content_type": self.content_type,
            "body": self.body,
            "files": list(stored_files),
            "query": self.query,
            "headers": self.headers,
        }


class PayloadErrorKind(StrEnum):
    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"
    MALFORMED = "malformed"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True)
class PayloadError:
    """Why a request cannot be read. The message holds nothing of the request."""

    kind: PayloadErrorKind
    message: str


def read_payload(
    request: RawRequest, *, hidden_headers: Collection[str] = (), limits: Limits = DEFAULT_LIMITS
) -> Payload | PayloadError:
    """Read a request; whatever bytes it holds, it does not raise.

    Args:
        hidden_headers: Lower-case names of the headers that hold the proof (`Scheme.secret_headers`).
    """
    try:
        return _Reader(request, limits).payload(ALWAYS_HIDDEN.union(hidden_headers))
    except _Unreadable as error:
        return error.told
    except TooManyFields as error:
        return PayloadError(PayloadErrorKind.TOO_LARGE, f"the request has {error}")
    except TooDeep as error:
        return PayloadError(PayloadErrorKind.TOO_DEEP, f"the body cannot be read: {error.reason}")
    except InvalidJson as error:
        return PayloadError(PayloadErrorKind.MALFORMED, f"the body is no valid JSON{_place(error)}")
    except (DoubledHeader, InvalidMultipart) as error:
        return PayloadError(PayloadErrorKind.MALFORMED, str(error))


class _Unreadable(Exception):
    def __init__(self, kind: PayloadErrorKind, message: str) -> None:
        super().__init__(message)
        self.told = PayloadError(kind, message)


def _place(error: InvalidJson) -> str:
    return "" if error.position is None else f" (line {error.position[0]}, column {error.position[1]})"


@dataclass(frozen=True)
class _Content:
    """What a body is read to."""

    kind: Kind
    body: Any = None
    files: tuple[ReceivedFile, ...] = ()


class _Reader:
    def __init__(self, request: RawRequest, limits: Limits) -> None:
        self._request = request
        self._limits = limits
        self._headers = Headers(request.headers)

    def payload(self, hidden: Collection[str]) -> Payload:
        headers = self._visible_headers(hidden)
        self._check_size("query", len(self._request.query), self._limits.max_query_bytes)
        query = read_urlencoded(self._request.query, self._limits.max_fields)
        content_type = self._headers.one("content-type") or b""
        self._check_size("body", len(self._request.body), self._limits.max_body_bytes)
        self._check_encoding()
        content = self._content(content_type)
        shown_type = content_type.decode("utf-8", "replace")
        return Payload(content.kind, shown_type, content.body, query, headers, content.files)

    def _visible_headers(self, hidden: Collection[str]) -> dict[str, str | list[str]]:
        pairs = [(name, value) for name, values in self._headers.items() for value in values]
        self._check_size("headers", sum(len(name) + len(value) for name, value in pairs), self._limits.max_header_bytes)
        if len(pairs) > self._limits.max_fields:
            raise TooManyFields(f"more than {self._limits.max_fields} headers")
        values: dict[str, list[str]] = {}
        for name, value in pairs:
            if name not in hidden:
                plain = name.encode("utf-8", "replace").decode("utf-8")
                values.setdefault(plain, []).append(value.decode("utf-8", "replace"))
        return {name: found if len(found) > 1 else found[0] for name, found in values.items()}

    def _check_size(self, what: str, size: int, most: int) -> None:
        if size > most:
            raise _Unreadable(
                PayloadErrorKind.TOO_LARGE, f"the request has {size} bytes of {what}; at most {most} are allowed"
            )

    def _check_encoding(self) -> None:
        encoding = self._headers.one("content-encoding") or b"identity"
        if encoding.lower() != b"identity":
            # A few compressed bytes can stand for gigabytes, and no sender that we know compresses webhooks.
            raise _Unreadable(PayloadErrorKind.UNSUPPORTED, "compressed bodies (Content-Encoding) are not accepted")

    def _content(self, content_type: bytes) -> _Content:
        body = self._request.body
        if not body:
            return _Content("empty")
        mime = content_type.partition(b";")[0].strip().lower().decode("utf-8", "replace")
        if not mime:
            return self._guessed(body)
        if mime == "application/json" or mime.endswith("+json"):
            return _Content("json", self._json(body))
        if mime == "application/x-www-form-urlencoded":
            return self._form(read_urlencoded(body, self._limits.max_fields))
        if mime == "multipart/form-data":
            return self._multipart(content_type)
        if mime.startswith("text/") or mime.endswith("+xml") or mime in _TEXT_TYPES:
            return _Content("text", body.decode(_charset(content_type), "replace"))
        return _binary(mime, body)

    def _guessed(self, body: bytes) -> _Content:
        if body.lstrip()[:1] in (b"{", b"["):
            try:
                return _Content("json", self._json(body))
            except TooDeep:
                raise
            except InvalidJson:
                pass
        try:
            return _Content("text", body.decode("utf-8-sig"))
        except UnicodeDecodeError:
            return _binary("application/octet-stream", body)

    def _json(self, body: bytes) -> Any:
        return read_json(body.removeprefix(codecs.BOM_UTF8), max_depth=self._limits.max_depth)

    def _form(self, fields: dict[str, str | list[str]], files: tuple[ReceivedFile, ...] = ()) -> _Content:
        return _Content("form", with_payload_read(fields, self._limits.max_depth), files)

    def _multipart(self, content_type: bytes) -> _Content:
        parts = read_multipart(content_type, self._request.body, self._limits.max_fields)
        texts = ((part.name, part.data.decode("utf-8", "replace")) for part in parts if part.filename is None)
        files = tuple(
            ReceivedFile(part.name, part.filename, part.mime or "application/octet-stream", bytes(part.data))
            for part in parts
            if part.filename is not None
        )
        return self._form(fields_of(texts), files)


def _binary(mime: str, body: bytes) -> _Content:
    return _Content("binary", files=(ReceivedFile("", None, mime, body),))


def _charset(content_type: bytes) -> str:
    found = _CHARSET.search(content_type)
    try:
        name = codecs.lookup(found[1].decode("ascii", "replace")).name if found else "utf-8"
    except LookupError:
        name = "utf-8"
    # The mark that some files begin with is no part of the text.
    return name if name in _CHARSETS and name != "utf-8" else "utf-8-sig"
