"""One vocabulary for what providers answer: which code, and whether trying again may help.

The message is a sentence of ours, which says what to do, then the provider's own words, marked as such and without
keys (`provider_words.quoted`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from innkeeper.nodes.errors import InnkeeperError, NodeError, NodeMustWait, ProviderError
from innkeeper.nodes.services.llm.provider_words import Told, quoted, told
from innkeeper.nodes.services.llm.retry_hints import retry_hint

ErrorCode = Literal[
    "authentication_error",
    "billing_error",
    "permission_error",
    "not_found_error",
    "context_length_error",
    "content_filter",
    "invalid_request_error",
    "rate_limit_error",
    "overloaded_error",
    "timeout_error",
    "connection_error",
    "bad_answer",
    "server_error",
    "cancelled",
]
"""`cancelled` is told by the engine, as the status of an interrupted node."""

ConnectionKind = Literal["refused", "dns", "tls", "reset", "closed", "proxy"]
_NEVER_SENT: frozenset[ConnectionKind] = frozenset({"refused", "dns", "tls", "proxy"})

_BY_STATUS: dict[int, ErrorCode] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "not_found_error",
    408: "timeout_error",
    409: "server_error",
    425: "server_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    524: "timeout_error",
    529: "overloaded_error",
}
_BY_WORD: dict[str, ErrorCode] = {
    "context_length_exceeded": "context_length_error",
    "string_above_max_length": "context_length_error",
    "exceed_context_size_error": "context_length_error",
    "content_filter": "content_filter",
    "content_policy_violation": "content_filter",
    "responsible_aipolicy_violation": "content_filter",
    "data_inspection_failed": "content_filter",
    "refusal": "content_filter",
    "insufficient_quota": "billing_error",
    "insufficient_balance": "billing_error",
    "billing_error": "billing_error",
    "billing_not_active": "billing_error",
    "invalid_api_key": "authentication_error",
    "api_key_invalid": "authentication_error",
    "authentication_error": "authentication_error",
    "unauthenticated": "authentication_error",
    "permission_error": "permission_error",
    "permission_denied": "permission_error",
    "model_not_found": "not_found_error",
    "not_found_error": "not_found_error",
    "rate_limit_exceeded": "rate_limit_error",
    "rate_limit_error": "rate_limit_error",
    "resource_exhausted": "rate_limit_error",
    "too_many_requests": "rate_limit_error",
    "overloaded_error": "overloaded_error",
    "unavailable": "overloaded_error",
    "unavailable_error": "overloaded_error",
    "service_unavailable": "overloaded_error",
    "timeout_error": "timeout_error",
    "deadline_exceeded": "timeout_error",
    "invalid_request_error": "invalid_request_error",
    "bad_request_error": "invalid_request_error",
    "invalid_argument": "invalid_request_error",
    "server_error": "server_error",
    "api_error": "server_error",
    "internal_server_error": "server_error",
}
# Says less than a sentence beside it: many servers write it for everything that they refuse.
_VAGUE: frozenset[ErrorCode] = frozenset({"invalid_request_error", "server_error"})
_SENTENCE_PATTERNS: tuple[tuple[str, ErrorCode], ...] = (
    (
        r"context (length|window|size)|maximum context|prompt is too long|input is too long|too many input tokens"
        r"|reduce the length of the messages|exceeds? the (available|maximum) (context|number of tokens)",
        "context_length_error",
    ),
    (r"api key not valid|(invalid|incorrect|missing|no) (api.?key|auth|token)|unauthori[sz]ed", "authentication_error"),
    (
        r"insufficient (balance|credits?|funds|quota)|(exceeded your current|out of|no) quota|quota exceeded"
        r"|credit balance|not enough credits|payment required",
        "billing_error",
    ),
    (r"content (management )?policy|content.?filter|blocked by .{0,40}safety", "content_filter"),
    (r"rate.?limit|too many requests|request limit reached", "rate_limit_error"),
    (r"overloaded|no capacity|at capacity|server (is )?busy", "overloaded_error"),
    (r"(loading model|model .{0,60}(is|currently) (currently )?loading)", "overloaded_error"),
    (r"model .{0,100}(not found|does not exist|is not loaded)|no such model|unknown model", "not_found_error"),
)
_BY_SENTENCE = tuple((re.compile(pattern, re.IGNORECASE), code) for pattern, code in _SENTENCE_PATTERNS)
_LOADING = re.compile(r"(?i)loading model|model .{0,100}\bloading\b|\bis (currently |still )?loading")
_HELPS_LATER: frozenset[ErrorCode] = frozenset(
    {"rate_limit_error", "overloaded_error", "timeout_error", "connection_error", "server_error"}
)
_MAY_ASK_TO_WAIT = frozenset({429, 503, 529})
_HINTS: dict[ErrorCode, str] = {
    "authentication_error": "check the API key",
    "billing_error": "the account has no money or quota left",
    "permission_error": "the key may not do this",
    "not_found_error": "check the base URL and the model's name",
    "invalid_request_error": "check the model, its parameters and the messages",
    "context_length_error": "the messages are too long for this model",
    "content_filter": "the provider's content filter refused it",
    "rate_limit_error": "too many requests or tokens in its time",
    "overloaded_error": "it has no room now",
}


@dataclass(frozen=True)
class Refusal:
    """An error that a provider answered.

    Attributes:
        status: Of the HTTP answer, or the one that an error in an answer of 200 stands for; None when none is told.
        headers: With names in lower case.
        body: The error as JSON, or the text of what is no JSON.
        in_answer: It came in place of an answer, or in the middle of one, under the status 200.
        may_wait: No text has come before it.
    """

    status: int | None
    headers: Mapping[str, str]
    body: object
    in_answer: bool = False
    may_wait: bool = True


def refused(host: str, refusal: Refusal, *, secrets: tuple[str, ...] = (), now: datetime | None = None) -> NodeError:
    """The error for what a provider refuses; one that says how long to wait is no failure but a wait.

    Args:
        secrets: Forms of what the provider may have been sent and nobody may see.
    """
    words = told(refusal.body)
    status = refusal.status if not refusal.in_answer or refusal.status else words.status
    wait_s = retry_hint(refusal.headers, refusal.body, now or datetime.now(UTC), is_over_limit=status == 429)
    code = _code(status, words, wait_s)
    details: dict[str, Any] = {"host": host, "provider_code": words.words[0] if words.words else None}
    details |= {"status": status} if status else {}
    details |= _words(words, secrets)
    message = _sentence(host, refusal, status, code, details)
    retryable = code in _HELPS_LATER
    if wait_s is not None and retryable and refusal.may_wait and status in _MAY_ASK_TO_WAIT:
        return NodeMustWait(message, delay_s=wait_s, details=details | {"code": code})
    return ProviderError(message, code=code, details=details, retryable=retryable, retry_after=wait_s)


def is_loading(error: NodeError) -> bool:
    """Does the provider say that it is still loading the model?"""
    return error.details.get("status") == 503 and bool(_LOADING.search(error.details.get("provider_message") or ""))


def transport_error(host: str, code: ErrorCode, what: str, kind: ConnectionKind | None = None) -> ProviderError:
    """The error for a call that got no proper answer."""
    details = {"host": host} | ({"kind": kind} if kind else {})
    return ProviderError(f"the provider at {host} {what}", code=code, details=details, retryable=code in _HELPS_LATER)


def has_reached_nobody(error: InnkeeperError) -> bool:
    """Is it sure that no provider has seen the request, so that none can charge for it?"""
    return error.details.get("kind") in _NEVER_SENT or error.details.get("limit") == "connect"


def bad_answer(host: str, what: str, *, code: ErrorCode = "bad_answer", words: str = "") -> ProviderError:
    """The error for an answer that is of no use; the same request would be paid again and get the same.

    Args:
        words: The provider's, as `provider_words.quoted` gives them.
    """
    details: dict[str, Any] = {"host": host} | ({"provider_message": words} if words else {})
    says = f'; the provider says: "{words}"' if words else ""
    return ProviderError(f"the provider at {host} {what}{says}", code=code, details=details, retryable=False)


def _sentence(host: str, refusal: Refusal, status: int | None, code: ErrorCode, details: Mapping[str, Any]) -> str:
    word, param = details["provider_code"], details.get("param")
    in_brackets = f" ({word})" if word else ""
    hint = f"; {_HINTS[code]}" if code in _HINTS else ""
    at = f" (parameter {param})" if param else ""
    message = details.get("provider_message")
    says = f'; the provider says: "{message}"' if message else ""
    reason = f"{in_brackets}{hint}{at}{says}"
    if refusal.in_answer:
        return f"the provider at {host} reported {status or 'an error'} within its answer{reason}"
    return f"the provider at {host} answered {status}{reason}"


def _words(words: Told, secrets: tuple[str, ...]) -> dict[str, Any]:
    message, param = quoted(words.message, secrets), quoted(words.param, secrets)
    return ({"provider_message": message} if message else {}) | ({"param": param} if param else {})


def _code(status: int | None, words: Told, wait_s: float | None) -> ErrorCode:
    by_word = _first_code(words.words)
    by_sentence = _of_sentence(words.message)
    # Some call a limit of the minute a quota in their sentence: money does not come back in seconds.
    is_limit = wait_s is not None or by_word == "rate_limit_error"
    if by_word == "billing_error" or (by_sentence == "billing_error" and not is_limit):
        return "billing_error"
    if status in (None, 400, 413, 422) or (status == 500 and by_sentence == "context_length_error"):
        exact = by_word if by_word not in (None, *_VAGUE) else by_sentence or by_word
        if exact:
            return "rate_limit_error" if exact == "billing_error" else exact
    if status is None:
        return "server_error"
    return _BY_STATUS.get(status) or ("server_error" if status >= 500 else "invalid_request_error")


def _first_code(words: tuple[str, ...]) -> ErrorCode | None:
    known = [_BY_WORD[word] for word in words if word in _BY_WORD]
    return next((code for code in known if code not in _VAGUE), known[0] if known else None)


def _of_sentence(text: str) -> ErrorCode | None:
    text = text[:2_000]
    return next((code for pattern, code in _BY_SENTENCE if pattern.search(text)), None)
