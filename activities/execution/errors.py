"""The border between our errors and Temporal's: what is raised in a node becomes an ApplicationError."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from innkeeper.activities.execution.retry_rules import code_and_retryable
from innkeeper.activities.sanitize import MAX_MESSAGE_CHARS, json_details, printable, warnings_of
from innkeeper.nodes.errors import InnkeeperError
from innkeeper.nodes.node import MAX_WARNING_CHARS
from innkeeper.nodes.services.masking import begun_at_end, forms_of_all
from innkeeper.nodes.traces import full_trace, trace_of, where_of

log = logging.getLogger("innkeeper.node")

MAX_TRACE_CHARS = 7_000
"""Of the end of a traceback in the log, one line of which takes 8,192 characters of one text."""
MAX_REDACTED_CHARS = 10 * MAX_MESSAGE_CHARS
"""Of a longer text only the beginning is looked through for secrets, which takes the worker's loop."""
SHORT_SECRET_CHARS = 6
MIN_PART_CHARS = 3
"""Of a secret, at a cut: less than that is the end of many texts, and helps nobody."""
_KEY_LIKE = re.compile(r"\b(?:sk|pk|rk|key|ghp|xox[a-z])[-_][A-Za-z0-9_\-]{8,}|(?i:bearer)\s+[A-Za-z0-9._\-]{8,}")


def redact(value: Any, secrets: Iterable[str] = ()) -> Any:
    """JSON data with the secrets in use, and whatever looks like a key, taken out of every text.

    A secret is found as it is, in JSON and in a URL.
    """
    known = tuple(filter(None, secrets))
    # The longest first: one that is part of another would leave the rest of it.
    return _redacted(value, tuple(sorted({*known, *forms_of_all(known)}, key=len, reverse=True)))


def _redacted(value: Any, secrets: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        for secret in secrets:
            value = _without(secret, value)
        return _KEY_LIKE.sub("***", value)
    if isinstance(value, Mapping):
        return {_redacted(str(key), secrets): _redacted(item, secrets) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_redacted(item, secrets) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else _redacted(str(value), secrets)


def _without(secret: str, text: str) -> str:
    """A short secret only where it stands by itself: it may be a letter of every other word."""
    if len(secret) >= SHORT_SECRET_CHARS:
        return text.replace(secret, "***")
    return re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", text)


def message_of(value: object, secrets: Iterable[str] = ()) -> str:
    """What a node says, as a text without secrets of at most `MAX_MESSAGE_CHARS`."""
    known = tuple(secrets)
    text = printable(value, MAX_REDACTED_CHARS + 1)
    clean: str = redact(text, known)
    if len(text) > MAX_REDACTED_CHARS:
        # Half a secret may stand at the cut, where it is not found; what stands before it may have become short.
        clean = clean[: max(0, len(clean) - max(map(len, known), default=0))]
    return clean[:MAX_MESSAGE_CHARS]


def clean_warnings(told: Iterable[object], secrets: Iterable[str]) -> list[dict[str, str]]:
    """The warnings of a node without secrets."""
    warnings = warnings_of(told)
    if not warnings:
        return []
    known = tuple(secrets)
    forms = forms_of_all(known)
    return [redact({**item, "message": _whole(item["message"], forms)}, known) for item in warnings]


def _whole(message: str, forms: tuple[str, ...]) -> str:
    """A warning is cut where the node gives it: then it may end with a part of a secret, which nobody recognises."""
    if not message.endswith("\u2026") and len(message) < MAX_WARNING_CHARS:
        return message
    body = message.removesuffix("\u2026")
    part = max((begun_at_end(body, form) for form in forms), default=0)
    return f"{body[: len(body) - part]}\u2026" if part >= MIN_PART_CHARS else message


def failure(
    error: Exception,
    *,
    attempt: int,
    last: bool,
    non_retryable: Iterable[str] = (),
    secrets: Iterable[str] = (),
    delay_s: float | None = None,
) -> ApplicationError:
    """The failure of one attempt.

    Args:
        last: No further attempt is allowed, so it is final.
        delay_s: How long to wait before the next one; None leaves that to the activity's policy.
    """
    code, retryable = code_and_retryable(error, non_retryable)
    if isinstance(error, InnkeeperError):
        message = error.message
    else:
        message = f"{type(error).__name__}: {printable(error, MAX_REDACTED_CHARS)}"
    info: dict[str, Any] = {"attempt": attempt, "retryable": retryable}
    if details := _details_of(error):
        info["details"] = redact(details, secrets)
    return ApplicationError(
        message_of(message, secrets),
        info,
        type=redact(code, secrets),
        non_retryable=last or not retryable,
        next_retry_delay=None if delay_s is None or last or not retryable else timedelta(seconds=delay_s),
        # We log the end of nodes ourselves, without tracebacks that may hold content.
        category=ApplicationErrorCategory.BENIGN,
    )


def _details_of(error: Exception) -> dict[str, Any]:
    """What an error says of itself, and the place in the author's code (`where`) of what she did not raise on purpose,
    with the way that led there (`trace`)."""
    if isinstance(error, InnkeeperError):
        where = where_of(error, only_plugins=True)
        known = json_details(error.details) if error.details else {}
        return {"where": where, **known} if where else known
    where = where_of(error)
    return {"where": where, "trace": trace_of(error)} if where else {}


def log_fault(error: Exception, *, run: str, node: str, attempt: int, secrets: Iterable[str] = ()) -> None:
    """The whole traceback of an exception that nobody raised on purpose, in the log of this worker."""
    if isinstance(error, InnkeeperError):
        return
    told = {"run": run, "node": node, "attempt": attempt, "where": where_of(error)}
    trace = redact(full_trace(error, MAX_TRACE_CHARS), secrets)
    log.warning("a node raised %s", type(error).__name__, extra={**told, "traceback": trace})
