"""What a client is told of an error: its status and body `{"error", "code", "details" | "problems"}`, without path."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from typing import Any

import orjson
from fastapi.responses import Response

from innkeeper.nodes.errors import InnkeeperError, InvalidWorkflow, RunError, RunNotActive, RunNotFound, RunStillActive

logger = logging.getLogger("innkeeper.gateway")

WS_UNAUTHORIZED = 4401
WS_FORBIDDEN = 4403
WS_TOO_SLOW = 4408
WS_TOO_FAST = 4429
WS_TOO_MANY = 1013
MAX_SHOWN_CHARS = 80


class BadRequest(InnkeeperError):
    """The request itself cannot be understood."""

    code = "bad_request"


class TooLarge(InnkeeperError):
    code = "too_large"


class UnsupportedMediaType(InnkeeperError):
    """The body has a form that is not read here."""

    code = "unsupported_media_type"


class NotFound(InnkeeperError):
    code = "not_found"


class NotEditable(InnkeeperError):
    """It is not changed over HTTP. The message says where it is."""

    code = "not_editable"


class IdempotencyMismatch(InnkeeperError):
    """The same Idempotency-Key came with another body."""

    code = "idempotency_mismatch"


class TooManyRuns(InnkeeperError):
    """So many runs wait that no further one is taken."""

    code = "too_many_waiting_runs"
    retryable = True


class EngineAway(InnkeeperError):
    """Temporal does not answer."""

    code = "engine_unavailable"
    retryable = True


# The first match wins: subclasses before their parents.
_STATUS: tuple[tuple[type[InnkeeperError], int], ...] = (
    (InvalidWorkflow, 422),
    (RunNotFound, 404),
    (RunNotActive, 409),
    (RunStillActive, 409),
    (IdempotencyMismatch, 422),
    (TooLarge, 413),
    (UnsupportedMediaType, 415),
    (NotFound, 404),
    (NotEditable, 409),
    (TooManyRuns, 429),
    (EngineAway, 503),
    (BadRequest, 400),
)
_BY_CODE = {
    "malformed_json": 400,
    "resource_error": 404,
    "request_refused": 403,
    "workflow_not_found": 404,
    "duplicate_workflow_id": 409,
    "workflow_damaged": 409,
    "id_taken": 409,
    "name_taken": 409,
    "project_exists": 409,
    "project_needed": 409,
    "version_changed": 409,
    "precondition_required": 428,
    "version_mismatch": 412,
    "document_too_large": 413,
    "after_beyond_end": 409,
    "event_log_unavailable": 503,
    "approval_not_found": 404,
    "approval_answered": 409,
    "approval_closed": 409,
    "invalid_answer": 422,
    "worker_unavailable": 503,
    "base_unusable": 409,
    "run_damaged": 409,
    "resource_refused": 403,
    "resource_not_found": 404,
    "resource_unreadable": 409,
    "resource_unwritable": 409,
    "resource_too_large": 413,
    "file_exists": 412,
    "precondition_failed": 412,
    "secret_too_large": 413,
    "channels_unusable": 409,
    "channels_damaged": 409,
    "too_many_channels": 409,
    "invalid_channel": 422,
    "models_not_listed": 502,
    "too_many_files": 409,
    "storage_failed": 507,
    "invalid_settings": 422,
    "plugin_load_failed": 422,
    "invalid_trigger": 422,
    "invalid_expression": 422,
    "too_many_deliveries": 429,
    "too_many_triggers": 409,
    "delivery_damaged": 409,
    "wrong_kind": 409,
    "trigger_disabled": 409,
    "webhook_refused": 401,
    "forbidden": 403,
    "unsupported_body": 415,
    "run_failed": 422,
}


def shown(text: str) -> str:
    """What a client sent, quoted for a sentence: escaped, and not longer than a sentence can bear."""
    return repr(text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}…")


def status_of(error: InnkeeperError) -> int:
    """The HTTP status of an error of ours."""
    if isinstance(error, InvalidWorkflow):
        codes = {problem.code for problem in error.problems if problem.level == "error"}
        return _BY_CODE.get(codes.pop(), 422) if len(codes) == 1 else 422
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return status
    return _BY_CODE.get(error.code, 400 if isinstance(error, RunError) else 500)


def body_of(error: InnkeeperError) -> dict[str, Any]:
    """What a client is told."""
    body: dict[str, Any] = {"error": error.message, "code": error.code}
    if isinstance(error, InvalidWorkflow):
        if len(error.problems) == 1:
            body["error"] = error.problems[0].message
        body["problems"] = [problem.to_json() for problem in error.problems]
    elif error.details:
        body["details"] = error.details
    return body


def told_of(error: Exception) -> dict[str, Any]:
    """What a client is told of any error. One that is a fault of ours is logged, and only its reference is told."""
    if isinstance(error, InnkeeperError) and status_of(error) != 500:
        return body_of(error)
    return internal_error(error)


def unsuccessful(body: Mapping[str, Any]) -> dict[str, Any]:
    """An error body for clients of ComfyTavern's, which look at `success` and `message`."""
    return {"success": False, "message": body["error"], **body}


def json_response(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    body = orjson.dumps(content, default=str)
    return Response(body, status, dict(headers or {}), media_type="application/json")


def internal_error(error: BaseException) -> dict[str, Any]:
    """Log what happened under a fresh reference and give the body that names it."""
    reference = secrets.token_hex(6)
    trace = (type(error), error, error.__traceback__)
    logger.error("unexpected error", extra={"event": "internal_error", "reference": reference}, exc_info=trace)
    return {
        "error": f"something went wrong inside the gateway; its log has the reference {reference}",
        "code": "internal_error",
        "details": {"reference": reference},
    }
