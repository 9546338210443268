"""How values travel between client, workflow and activities: JSON that keeps the order of keys.

The SDK's own converter sorts the keys of every object, so a `{"role", "content"}` that one node gave reached the next
one as `{"content", "role"}`. Ours writes what `orjson` can write, and with the standard library what it cannot: whole
numbers beyond 64 bits, halves of surrogate pairs, deep nesting. It reads all that the SDK's converter has ever written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, get_type_hints

import orjson
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    AdvancedJSONEncoder,
    BinaryNullPayloadConverter,
    BinaryPlainPayloadConverter,
    CompositePayloadConverter,
    DataConverter,
    EncodingPayloadConverter,
    value_to_type,
)

ENCODING = "json/plain"
"""The SDK's name: its converter, other languages and Temporal's UI read what ours writes."""
_FAST = {"encoding": ENCODING.encode(), "json": b"64"}
"""Written by orjson: no number in it is beyond 64 bits, so orjson may read it, which would make floats of such."""
_SLOW = {"encoding": ENCODING.encode()}


class OrderedJsonConverter(EncodingPayloadConverter):
    """JSON in the order it has. Dataclasses become objects of their fields."""

    @property
    def encoding(self) -> str:
        return ENCODING

    def to_payload(self, value: Any) -> Payload | None:
        try:
            return Payload(metadata=_FAST, data=orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS))
        except TypeError:  # the only kind that orjson raises
            text = json.dumps(value, cls=AdvancedJSONEncoder, separators=(",", ":"))
            return Payload(metadata=_SLOW, data=text.encode())

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        try:
            read = orjson.loads if "json" in payload.metadata else json.loads
            value = read(payload.data)
        except ValueError as error:
            raise RuntimeError("a payload is no JSON") from error
        return _typed(type_hint, value) if type_hint else value


def _typed(hint: type, value: Any) -> Any:
    """As the SDK does it, but for a dataclass: there it resolves all type hints anew, for each start of a workflow."""
    if not (isinstance(value, dict) and is_dataclass(hint)):
        return value_to_type(hint, value)
    try:
        given = {name: value_to_type(kind, value[name]) for name, kind in _hints(hint).items() if name in value}
        return hint(**given)
    except TypeError:
        return value_to_type(hint, value)  # its error names the field


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    """The type of each field of a dataclass."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


class InnkeeperPayloadConverter(CompositePayloadConverter):
    """Nothing, bytes, and JSON: all that we send."""

    def __init__(self) -> None:
        super().__init__(BinaryNullPayloadConverter(), BinaryPlainPayloadConverter(), OrderedJsonConverter())


DATA_CONVERTER = DataConverter(payload_converter_class=InnkeeperPayloadConverter)
"""For every client, worker and replayer of ours."""
