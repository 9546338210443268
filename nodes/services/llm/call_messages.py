"""Calls as gateway and workers tell each other of them: JSON with bounds, for neither trusts foreign numbers. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from innkeeper.nodes.json_values import whole_text
from innkeeper.nodes.node import PRIORITIES, USUAL_PRIORITY
from innkeeper.nodes.services.llm.call_gate import CallEnd, CallOrigin, CallStart, Outcome
from innkeeper.nodes.services.llm.token_usage import COUNTS, DETAILS, MAX_COUNT

MAX_TEXT_CHARS = 512
MAX_HEADERS = 20
MAX_SECONDS = 1e9
_HEADERS = ("x-ratelimit-", "anthropic-ratelimit-", "retry-after")

JsonObject = dict[str, Any]


def start_to_json(start: CallStart) -> JsonObject:
    """As `start_from_json` reads it."""
    return {
        "id": _text(start.id),
        **_origin_to_json(start.origin),
        "channel": _text(start.channel),
        "host": _text(start.host),
        "adapter": _text(start.adapter),
        "model": _text(start.model),
        "key": _text(start.key),
        "inputTokens": _count(start.input_tokens),
        "outputTokens": _count(start.output_tokens),
        "priority": _priority(start.priority),
    }


def start_from_json(told: Mapping[str, Any]) -> CallStart:
    """A start without anything that it must not have.

    Raises:
        ValueError: It has no id.
    """
    return CallStart(
        id=_id(told),
        origin=_origin(told),
        channel=_text(told.get("channel")),
        host=_text(told.get("host")),
        adapter=_text(told.get("adapter")),
        model=_text(told.get("model")),
        key=_text(told.get("key")),
        input_tokens=_count(told.get("inputTokens")),
        output_tokens=_count(told.get("outputTokens")),
        priority=_priority(told.get("priority")),
    )


def end_to_json(end: CallEnd) -> JsonObject:
    """As `end_from_json` reads it."""
    return {
        "id": _text(end.id),
        "outcome": end.outcome,
        "code": _text(end.code),
        "model": _text(end.model),
        "usage": _usage(end.usage),
        "outputChars": _count(end.output_chars),
        "retryAfterS": _seconds(end.retry_after_s),
        "headers": _headers(end.headers),
        "firstMs": _optional(end.first_ms),
        "wholeMs": _optional(end.whole_ms),
        "lostOf": None if end.lost_of is None else _origin_to_json(end.lost_of),
    }


def end_from_json(told: Mapping[str, Any]) -> CallEnd:
    """An end without anything that it must not have.

    Raises:
        ValueError: It has no id, or no outcome that is known.
    """
    outcome: Outcome | None = next((word for word in get_args(Outcome) if word == told.get("outcome")), None)
    if outcome is None:
        raise ValueError(f"'outcome' must be one of {', '.join(get_args(Outcome))}")
    lost_of = told.get("lostOf")
    return CallEnd(
        id=_id(told),
        outcome=outcome,
        code=_text(told.get("code")),
        model=_text(told.get("model")),
        usage=_usage(told.get("usage")),
        output_chars=_count(told.get("outputChars")),
        retry_after_s=_seconds(told.get("retryAfterS")),
        headers=_headers(told.get("headers")),
        first_ms=_optional(told.get("firstMs")),
        whole_ms=_optional(told.get("wholeMs")),
        lost_of=_origin(lost_of) if isinstance(lost_of, Mapping) else None,
    )


def ids_from_json(told: object) -> list[str]:
    """Ids of calls.

    Raises:
        ValueError: It is no list of texts.
    """
    if not isinstance(told, list) or not all(isinstance(id, str) for id in told):
        raise ValueError("'ids' must be a list of texts")
    return told


def _id(told: Mapping[str, Any]) -> str:
    id = _text(told.get("id"))
    if not id:
        raise ValueError("'id' must be a text that is not empty")
    return id


def _origin_to_json(origin: CallOrigin) -> JsonObject:
    return {
        "run": _text(origin.run),
        "node": _text(origin.node),
        "attempt": _count(origin.attempt),
        "user": _text(origin.user),
    }


def _origin(told: Mapping[str, Any]) -> CallOrigin:
    return CallOrigin(
        _text(told.get("run")),
        _text(told.get("node")),
        max(_count(told.get("attempt")), 1),
        _text(told.get("user")) or CallOrigin.user,
    )


def _text(value: object) -> str:
    # Half a pair of UTF-16 cannot be sent, and a model's name may hold one.
    return whole_text(value[:MAX_TEXT_CHARS]) if isinstance(value, str) else ""


def _count(value: object) -> int:
    """Of tokens or characters. What is more than there can be is taken for as much."""
    return min(max(value, 0), MAX_COUNT) if isinstance(value, int) and not isinstance(value, bool) else 0


def _priority(value: object) -> int:
    """A gateway or a worker of another version tells none; a node of a plugin may say anything."""
    if isinstance(value, bool) or not isinstance(value, int):
        return USUAL_PRIORITY
    first, last = PRIORITIES
    return min(max(value, first), last)


def _optional(value: object) -> int | None:
    return _count(value) if isinstance(value, int) else None


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return None
    return float(min(max(value, 0), MAX_SECONDS))


def _usage(told: object) -> JsonObject | None:
    if not isinstance(told, Mapping):
        return None
    found: JsonObject = {name: _count(told[name]) for name in COUNTS if isinstance(told.get(name), int)}
    for name, inner in DETAILS.items():
        details = told.get(name)
        if isinstance(details, Mapping) and isinstance(details.get(inner), int):
            found[name] = {inner: _count(details[inner])}
    return found


def _headers(told: object) -> dict[str, str]:
    if not isinstance(told, Mapping):
        return {}
    known = ((_text(name).lower(), value) for name, value in told.items())
    return dict(_first((name, _text(value)) for name, value in known if name.startswith(_HEADERS)))


def _first(items: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [item for item, _ in zip(items, range(MAX_HEADERS), strict=False)]
