"""Answers every error in our shape, whoever raised it: our code, the framework, or a bug."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from innkeeper.gateway.errors import body_of, internal_error, json_response, shown, status_of
from innkeeper.nodes.errors import InnkeeperError

_HTTP_CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    503: "unavailable",
}
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


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
    status, path, headers = error.status_code, shown(request.url.path), dict(error.headers or {})
    text = error.detail
    if status == 404:
        text = f"there is nothing at {path}; /openapi.json lists what there is"
    elif status == 405:
        headers["Allow"] = ", ".join(_allowed_methods(request))
        text = f"Method not allowed for {path}; allowed: {headers['Allow']}; /openapi.json lists what there is"
    return json_response({"error": text, "code": _HTTP_CODES.get(status, "http_error")}, status, headers)


def _allowed_methods(request: Request) -> list[str]:
    """The framework names those of the first route only; a path may have several."""
    return [
        method
        for method in _METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.router.routes
        )
    ]


async def _validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # The offending value itself stays out: it may be a key.
    details = [{"where": ".".join(map(str, item["loc"])), "message": item["msg"]} for item in error.errors()]
    first = f"{details[0]['where']}: {details[0]['message']}" if details else "the request is not valid"
    return json_response({"error": first, "code": "bad_request", "details": {"fields": details}}, 400)


class Shield:
    """ASGI layer around all that can fail: the unexpected becomes a 500 with a reference, or closes the socket."""

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
