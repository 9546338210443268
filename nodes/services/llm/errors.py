"""One vocabulary for what providers answer: which code, and whether trying again may help.

Messages and details are our own words, a status and a short code: what a provider writes may quote the key or
the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from innkeeper.nodes.errors import NodeError, NodeMustWait, ProviderError

ErrorCode = Literal[
    "authentication_error",
    "permission_error",
    "invalid_request_error",
    "not_found_error",
    "rate_limit_error",
    "context_length_error",
    "content_filter",
    "timeout_error",
    "connection_error",
    "server_error",
    "cancelled",
]
"""The words of reference llm 5. `cancelled` is told by the engine, as the status of an interrupted node."""

MAX_WAIT_S = 300.0
MIN_WAIT_S = 1.0
_RETRYABLE_STATUS = frozenset({408, 409, 425, 429})
_BY_STATUS: dict[int, ErrorCode] = {
    401: "authentication_error",
    402: "permission_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "server_error",
    425: "server_error",
    429: "rate_limit_error",
    504: "timeout_error",
}
_BY_PROVIDER_CODE: dict[str, ErrorCode] = {
    "context_length_exceeded": "context_length_error",
    "string_above_max_length": "context_length_error",
    "content_filter": "content_filter",
    "content_policy_violation": "content_filter",
    "insufficient_quota": "rate_limit_error",
    "rate_limit_exceeded": "rate_limit_error",
    "rate_limit_error": "rate_limit_error",
    "invalid_api_key": "authentication_error",
    "authentication_error": "authentication_error",
    "model_not_found": "not_found_error",
    "not_found_error": "not_found_error",
    "permission_error": "permission_error",
    "invalid_request_error": "invalid_request_error",
}
_HELPS_LATER: frozenset[ErrorCode] = frozenset(
    {"rate_limit_error", "timeout_error", "connection_error", "server_error"}
)
# Lower-case words only: a code of this form is no key, whoever wrote it.
_PLAIN_WORD = re.compile(r"[a-z]+(_[a-z]+){0,7}")
_HINTS: dict[ErrorCode, str] = {
    "authentication_error": "check the API key",
    "permission_error": "the key may not do this",
    "not_found_error": "check the base URL and the model's name",
    "invalid_request_error": "check the model, its parameters and the messages",
    "context_length_error": "the messages are too long for this model",
    "content_filter": "the provider's content filter refused it",
}


def status_error(
    host: str, status: int, headers: Mapping[str, str], body: object, *, now: datetime | None = None
) -> NodeError:
    """The error for an HTTP status of 400 or more. A 429 that says how long to wait is no failure but a wait."""
    word = _provider_word(body)
    code = _code(status, word)
    # By the server's own clock, if it tells it: this machine's may be a day off.
    retry_after = _retry_after(headers, _date(headers.get("date")) or now or datetime.now(UTC))
    out_of_quota = word == "insufficient_quota"
    message = f"the provider at {host} answered {status}{f' ({word})' if word else ''}{_hint(code, out_of_quota)}"
    details = {"host": host, "status": status, "provider_code": word}
    if status == 429 and retry_after is not None and not out_of_quota:
        return NodeMustWait(message, delay_s=retry_after, details=details)
    retryable = (status in _RETRYABLE_STATUS or status >= 500) and not out_of_quota
    return ProviderError(message, code=code, details=details, retryable=retryable, retry_after=retry_after)


def stream_error(host: str, body: object) -> ProviderError:
    """The error for an error object that a provider sends in the middle of a stream."""
    word, status = _provider_word(body), _status_within(body)
    code: ErrorCode = _BY_PROVIDER_CODE.get(word or "") or (_code(status, word) if status else "server_error")
    retryable = code in _HELPS_LATER and word != "insufficient_quota"
    message = f"the provider at {host} ended the stream with an error{f' ({word})' if word else ''}"
    details = {"host": host, "provider_code": word} | ({"status": status} if status else {})
    return ProviderError(message, code=code, details=details, retryable=retryable)


def transport_error(host: str, code: ErrorCode, what: str) -> ProviderError:
    """The error for a call that got no proper answer."""
    return ProviderError(
        f"the provider at {host} {what}", code=code, details={"host": host}, retryable=code in _HELPS_LATER
    )


def unusable_answer(host: str, what: str) -> ProviderError:
    """The error for an answer that is no chat completion; the same request would get the same again."""
    return ProviderError(f"the provider at {host} {what}", code="server_error", details={"host": host}, retryable=False)


def _code(status: int, word: str | None) -> ErrorCode:
    if status in (400, 413, 422) and word in _BY_PROVIDER_CODE:
        return _BY_PROVIDER_CODE[word]
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return "server_error" if status >= 500 else "invalid_request_error"


def _hint(code: ErrorCode, out_of_quota: bool) -> str:
    hint = "the account has no quota left" if out_of_quota else _HINTS.get(code)
    return f"; {hint}" if hint else ""


def _provider_word(body: object) -> str | None:
    """The provider's own code, when it is a plain word; else its type."""
    if not isinstance(body, Mapping):
        return None
    inner: Any = body.get("error", body)
    if not isinstance(inner, Mapping):
        return None
    for key in ("code", "type"):
        value = inner.get(key)
        if isinstance(value, str) and len(value) <= 64 and _PLAIN_WORD.fullmatch(value):
            return value
    return None


def _status_within(body: object) -> int | None:
    """The HTTP status that some providers put into the error object of a stream, as its code."""
    inner: Any = body.get("error", body) if isinstance(body, Mapping) else None
    status = inner.get("code") if isinstance(inner, Mapping) else None
    return status if isinstance(status, int) and 400 <= status < 600 else None


def _retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds to wait, between 1 and 300: a wait is not counted, so none may spin; None when nothing usable is said."""
    milliseconds = _non_negative_number(headers.get("retry-after-ms"))
    seconds = milliseconds / 1000 if milliseconds is not None else _seconds(headers.get("retry-after"), now)
    return None if seconds is None else min(max(seconds, MIN_WAIT_S), MAX_WAIT_S)


def _seconds(text: str | None, now: datetime) -> float | None:
    number = _non_negative_number(text)
    if number is not None or text is None:
        return number
    when = _date(text)
    return None if when is None else when.timestamp() - now.timestamp()


def _date(text: str | None) -> datetime | None:
    try:
        when = parsedate_to_datetime(text) if text else None
    except ValueError:
        return None
    return when.replace(tzinfo=UTC) if when is not None and when.tzinfo is None else when


def _non_negative_number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return None
    # `nan` and `inf` are floats too.
    return value if value is not None and 0 <= value < 1e9 else None
