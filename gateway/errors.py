"""The border to clients: every error becomes `{"error", "code", "details" | "problems"}`, without traceback or path."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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


class NotFound(InnkeeperError):
    code = "not_found"


class IdempotencyMismatch(InnkeeperError):
    """The same Idempotency-Key came with another body."""

    code = "idempotency_mismatch"


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
    (NotFound, 404),
    (EngineAway, 503),
    (BadRequest, 400),
)
_BY_CODE = {
    "malformed_json": 400,
    "resource_error": 404,
    "request_refused": 403,
    "workflow_not_found": 404,
    "document_too_large": 413,
    "after_beyond_end": 409,
    "event_log_unavailable": 503,
    "approval_not_found": 404,
    "approval_answered": 409,
    "approval_closed": 409,
    "invalid_answer": 422,
    "worker_unavailable": 503,
    "base_unusable": 409,
    "resource_refused": 403,
    "resource_not_found": 404,
    "resource_unreadable": 409,
    "resource_unwritable": 409,
    "resource_too_large": 413,
    "file_exists": 412,
    "storage_failed": 507,
}
_HTTP_CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    503: "unavailable",
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


def install(app: FastAPI) -> None:
    """Make `app` answer every error in our shape."""
    app.add_exception_handler(InnkeeperError, _ours)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(Exception, _unexpected)


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, InnkeeperError)
    status = status_of(error)
    if status == 500:
        return json_response(internal_error(error), 500)
    return json_response(body_of(error), status)


async def _unexpected(request: Request, error: Exception) -> Response:
    # Else the framework would answer with a page of its own; the Shield has ours.
    raise error


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = _HTTP_CODES.get(error.status_code, "http_error")
    sentence = {404: "there is nothing at", 405: "this method is not for"}.get(error.status_code)
    text = f"{sentence} {shown(request.url.path)}; /openapi.json lists what there is" if sentence else error.detail
    return json_response({"error": text, "code": code}, error.status_code, error.headers)


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # The offending value itself stays out: it may be a key.
    details = [{"where": ".".join(map(str, item["loc"])), "message": item["msg"]} for item in error.errors()]
    first = f"{details[0]['where']}: {details[0]['message']}" if details else "the request is not valid"
    return json_response({"error": first, "code": "bad_request", "details": {"fields": details}}, 400)


class Shield:
    """Outermost ASGI layer: an exception nobody expected becomes a 500 with a reference, or closes the socket."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] in ("http.response.start", "websocket.close")
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except ClientDisconnect:
            return  # it went away in the middle of its request: nobody is there to be answered
        except Exception as error:
            body = internal_error(error)
            if started:
                return
            if scope["type"] == "http":
                await json_response(body, 500)(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1011, "reason": "internal error"})
