"""CloudEvents 1.0 as HTTP brings them. Pure.

| mode | is told by | the event is in |
|---|---|---|
| structured | `Content-Type: application/cloudevents+json` | the body, a JSON object |
| batch | `Content-Type: application/cloudevents-batch+json` | the body, a list of them |
| binary | a header `ce-id`, `ce-source`, `ce-specversion` or `ce-type` | headers `ce-…`; the body is its data |
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from urllib.parse import unquote_to_bytes

from innkeeper.gateway.errors import BadRequest, TooLarge, UnsupportedMediaType
from innkeeper.gateway.triggers.headers import DoubledHeader, Headers
from innkeeper.gateway.triggers.payload import Limits, PayloadError, PayloadErrorKind, RawRequest, read_payload
from innkeeper.nodes.errors import InnkeeperError
from innkeeper.nodes.json_values import InvalidJson, read_json

Mode = Literal["structured", "batch", "binary"]
Attribute = str | int | bool

STRUCTURED_TYPE = "application/cloudevents+json"
BATCH_TYPE = "application/cloudevents-batch+json"
MAX_BATCH = 100
MAX_ATTRIBUTES = 50
MAX_ATTRIBUTE_CHARS = 2_000
REQUIRED = ("id", "source", "specversion", "type")
_PREFIX = "ce-"
_NAME = re.compile(r"[a-z0-9]+")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+\s*(;.*)?", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_INTEGERS = range(-(2**31), 2**31)


class InvalidCloudEvent(BadRequest):
    """What came as a CloudEvent is none."""

    code = "invalid_cloud_event"


@dataclass(frozen=True)
class CloudEvent:
    """One event.

    Attributes:
        attributes: The other attributes that are set, extensions included.
        data: JSON; text of a content type that is text, else the bytes in base64.
        is_base64: `data` is base64 of bytes.
    """

    id: str
    source: str
    type: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    data: Any = None
    is_base64: bool = False


def mode_of(headers: Headers) -> Mode | None:
    """The mode in which a request brings CloudEvents; None: it brings none.

    Raises:
        InvalidCloudEvent: The header Content-Type came twice.
        UnsupportedMediaType: CloudEvents in a format that is not read here.
    """
    mime = _content_type(headers).partition(";")[0].strip().lower()
    if mime == STRUCTURED_TYPE:
        return "structured"
    if mime == BATCH_TYPE:
        return "batch"
    if mime.startswith("application/cloudevents"):
        raise UnsupportedMediaType(f"CloudEvents are read as {STRUCTURED_TYPE!r}, {BATCH_TYPE!r} or in binary mode")
    return "binary" if any(f"{_PREFIX}{name}" in headers for name in REQUIRED) else None


def read_structured(body: bytes, max_data_bytes: int) -> CloudEvent:
    """The event in a body of JSON. Raises as `event_of`."""
    return event_of(_json(body), max_data_bytes)


def read_batch(body: bytes) -> list[Any]:
    """The events of a batch, none of them looked at yet (`event_of`).

    Raises:
        InvalidCloudEvent: The body is no list.
        TooLarge: It has more than `MAX_BATCH` events.
    """
    events = _json(body)
    if not isinstance(events, list):
        raise InvalidCloudEvent("a batch of CloudEvents must be a JSON list")
    if len(events) > MAX_BATCH:
        raise TooLarge(f"a batch has at most {MAX_BATCH} events, this one has {len(events)}: send several")
    return events


def event_of(value: Any, max_data_bytes: int) -> CloudEvent:
    """The event in a JSON value. Raises InvalidCloudEvent, TooLarge."""
    if not isinstance(value, Mapping):
        raise InvalidCloudEvent("a CloudEvent must be a JSON object")
    given = {name: item for name, item in value.items() if item is not None}
    if "data" in given and "data_base64" in given:
        raise InvalidCloudEvent("a CloudEvent has 'data' or 'data_base64', not both")
    attributes = _checked({name: item for name, item in given.items() if name not in ("data", "data_base64")})
    kind = attributes.get("datacontenttype")
    if "data_base64" in given:
        data, is_base64 = _data_of(_bytes_of(given["data_base64"]), str(kind or ""), max_data_bytes)
    else:
        data, is_base64 = given.get("data"), False
    return _event(attributes, data, is_base64)


def read_binary(headers: Headers, body: bytes, max_data_bytes: int) -> CloudEvent:
    """The event in the headers of a request, whose body is its data.

    Raises:
        InvalidCloudEvent, TooLarge.
        UnsupportedMediaType: The body is compressed.
    """
    found: dict[str, Attribute] = dict(_header_attributes(headers))
    if "datacontenttype" in found:
        raise InvalidCloudEvent("in binary mode 'Content-Type' is the type of the data: leave out 'ce-datacontenttype'")
    content_type = _content_type(headers)
    attributes = _checked({**found, **({"datacontenttype": content_type} if content_type else {})})
    encoding = (_one(headers, "content-encoding") or b"").decode("latin-1")
    data, is_base64 = _data_of(body, content_type, max_data_bytes, encoding)
    return _event(attributes, data, is_base64)


def _event(attributes: Mapping[str, Attribute], data: Any, is_base64: bool) -> CloudEvent:
    others = {name: value for name, value in attributes.items() if name not in REQUIRED}
    return CloudEvent(
        str(attributes["id"]), str(attributes["source"]), str(attributes["type"]), others, data, is_base64
    )


# --- attributes -----------------------------------------------------------------------------------------------------


def _header_attributes(headers: Headers) -> Iterator[tuple[str, str]]:
    for name, values in headers.items():
        if name.startswith(_PREFIX):
            if len(values) > 1:
                raise InvalidCloudEvent(f"the header {name[:100]!r} came {len(values)} times")
            yield name.removeprefix(_PREFIX), header_value(values[0])


def header_value(raw: bytes) -> str:
    """The value of an attribute in a header: quotes are taken off, then it is percent-decoded once.

    Raises:
        InvalidCloudEvent: It is no UTF-8 then.

    Example:
        >>> header_value(b"Euro%20%E2%82%AC")
        'Euro €'
    """
    unquoted = _QUOTED.sub(lambda found: re.sub(r"\\(.)", r"\1", found[1]), raw.decode("latin-1"))
    try:
        return unquote_to_bytes(unquoted.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise InvalidCloudEvent("the value of a 'ce-' header is no UTF-8 once it is percent-decoded") from None


def _checked(attributes: Mapping[str, Any]) -> dict[str, Attribute]:
    if missing := [name for name in REQUIRED if name not in attributes]:
        raise InvalidCloudEvent(f"the CloudEvent lacks {missing[0]!r}; it needs {', '.join(map(repr, REQUIRED))}")
    if len(attributes) > MAX_ATTRIBUTES:
        raise InvalidCloudEvent(f"a CloudEvent has at most {MAX_ATTRIBUTES} attributes, this one has {len(attributes)}")
    if attributes["specversion"] != "1.0":
        raise InvalidCloudEvent("'specversion' must be '1.0': other versions of CloudEvents are not read")
    return {name: _attribute(name, value) for name, value in attributes.items()}


def _attribute(name: str, value: Any) -> Attribute:
    if not _NAME.fullmatch(name) or name == "data":
        raise InvalidCloudEvent(f"an attribute has a name of a-z and 0-9, not {name[:80]!r}")
    if name in _TEXTS:
        allowed, is_right = _TEXTS[name]
        if not (isinstance(value, str) and value and is_right(value)):
            raise InvalidCloudEvent(f"{name!r} must be {allowed}")
    if isinstance(value, str):
        if _CONTROL.search(value) or len(value) > MAX_ATTRIBUTE_CHARS:
            raise InvalidCloudEvent(
                f"{name!r} must be a text of at most {MAX_ATTRIBUTE_CHARS} characters without control characters"
            )
        return value
    if isinstance(value, bool) or (isinstance(value, int) and value in _INTEGERS):
        return value
    raise InvalidCloudEvent(f"{name!r} must be a text, true, false or a whole number of 32 bits")


def _is_moment(text: str) -> bool:
    try:
        return bool(_MOMENT.fullmatch(text)) and datetime.fromisoformat(text.upper()).tzinfo is not None
    except ValueError:
        return False


_TEXTS: Mapping[str, tuple[str, Callable[[str], object]]] = {
    "id": ("a text that is not empty", bool),
    "type": ("a text that is not empty", bool),
    "subject": ("a text that is not empty", bool),
    "source": ("a URI reference without spaces", lambda text: not re.search(r"\s", text)),
    "dataschema": ("a URI without spaces", lambda text: not re.search(r"\s", text)),
    "datacontenttype": ("a media type such as 'application/json'", _MEDIA_TYPE.fullmatch),
    "time": ("a moment as RFC 3339 writes it, with its offset", _is_moment),
}
"""Attributes of the standard: what they must be, and what tells."""


# --- data -----------------------------------------------------------------------------------------------------------


def _data_of(data: bytes, content_type: str, max_bytes: int, encoding: str = "") -> tuple[Any, bool]:
    """What bytes of a content type mean, and whether that is base64. JSON and text are read, others are not."""
    headers = [("content-type", content_type)] * bool(content_type) + [("content-encoding", encoding)] * bool(encoding)
    found = read_payload(RawRequest(headers, data), limits=Limits(max_body_bytes=max_bytes))
    if isinstance(found, PayloadError):
        raise _refused(found)
    if found.files:
        return base64.b64encode(data).decode(), True
    return found.body, False


def _refused(error: PayloadError) -> InnkeeperError:
    message = error.message.replace("the body", "the data of the event")
    if error.kind is PayloadErrorKind.TOO_LARGE:
        return TooLarge(message)
    if error.kind is PayloadErrorKind.UNSUPPORTED:
        return UnsupportedMediaType(message)
    return InvalidCloudEvent(message)


def _bytes_of(text: object) -> bytes:
    try:
        if isinstance(text, str):
            return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):  # ValueError: it is not ASCII
        pass
    raise InvalidCloudEvent("'data_base64' must be base64")


def _json(body: bytes) -> Any:
    try:
        return read_json(body)
    except InvalidJson as error:
        raise InvalidCloudEvent(f"the body is no JSON that can be read: {error.reason}") from None


def _content_type(headers: Headers) -> str:
    return (_one(headers, "content-type") or b"").decode("latin-1")


def _one(headers: Headers, name: str) -> bytes | None:
    try:
        return headers.one(name)
    except DoubledHeader as error:
        raise InvalidCloudEvent(str(error)) from None
