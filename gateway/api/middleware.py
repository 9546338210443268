"""Who may talk to the gateway: Host and Origin of every request, the access token, and the size of bodies."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from innkeeper.gateway.errors import WS_FORBIDDEN, WS_UNAUTHORIZED, json_response
from innkeeper.gateway.settings import Settings, is_loopback

OPEN_PATHS = frozenset({"/healthz"})
FILES_PREFIX = "/api/files/"
WORKER_PREFIX = "/internal/"
"""Workers have a token of their own, checked where they connect."""


class HostGuard:
    """Refuses requests whose Host or Origin is not ours: a web page elsewhere, or a name rebound to this machine."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._hosts = {name.lower().strip("[]") for name in (settings.host, *settings.allowed_hosts)}
        self._hosts -= {"0.0.0.0", "::", ""}
        self._origins = {origin.rstrip("/").lower() for origin in settings.allowed_origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reason = self._objection(scope) if scope["type"] in ("http", "websocket") else None
        if reason is None:
            await self._app(scope, receive, send)
        else:
            await _refuse(scope, receive, send, refusal=_FORBIDDEN, reason=reason)

    def _objection(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or not self._knows(_host_name(f"//{hosts[0]}")):
            return "this Host is not served here; use localhost or add it to INNKEEPER_ALLOWED_HOSTS"
        if len(origins) > 1 or (origins and not self._allows(origins[0])):
            return "this Origin may not use the gateway; add it to INNKEEPER_ALLOWED_ORIGINS"
        return None

    def _allows(self, origin: str) -> bool:
        if origin.rstrip("/").lower() in self._origins:
            return True
        return origin.lower().startswith(("http://", "https://")) and self._knows(_host_name(origin))

    def _knows(self, name: str | None) -> bool:
        return name is not None and (name in self._hosts or is_loopback(name))


def _host_name(address: str) -> str | None:
    try:
        parts = urlsplit(address)
        _ = parts.port  # raises on a port that is not a number
    except ValueError:
        return None
    if parts.username is not None or parts.path not in ("", "/"):
        return None
    return parts.hostname.lower() if parts.hostname else None


class AccessToken:
    """Asks for `Authorization: Bearer`, or `?token=` where a browser cannot set headers (WebSocket, EventSource)."""

    def __init__(self, app: ASGIApp, *, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or self._admits(scope):
            await self._app(scope, receive, send)
            return
        reason = "an access token is needed: send 'Authorization: Bearer <token>'"
        await _refuse(scope, receive, send, refusal=_UNAUTHORIZED, reason=reason)

    def _admits(self, scope: Scope) -> bool:
        path = scope["path"]
        if path in OPEN_PATHS or path.startswith(WORKER_PREFIX):
            return True
        return any(hmac.compare_digest(shown.encode(), self._token) for shown in _shown_tokens(scope))


def _shown_tokens(scope: Scope) -> Iterable[str]:
    kind, _, value = Headers(scope=scope).get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        yield value.strip()
    if scope["type"] == "websocket" or scope["path"].endswith("/events"):
        yield from parse_qs(scope["query_string"].decode("latin-1")).get("token", ())


@dataclass(frozen=True)
class _Limit:
    size: int
    setting: str


class BodyLimit:
    """Counts a request body as it arrives; over the limit the answer is 413 and names it.

    Args:
        file_limit: The limit of uploads of files instead; the same when not given.
    """

    def __init__(self, app: ASGIApp, *, limit: int, file_limit: int | None = None) -> None:
        self._app = app
        self._limit = _Limit(limit, "INNKEEPER_MAX_BODY_BYTES")
        self._file_limit = self._limit if file_limit is None else _Limit(file_limit, "INNKEEPER_MAX_FILE_BYTES")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_upload = scope["method"] == "PUT" and scope["path"].startswith(FILES_PREFIX)
        limit = self._file_limit if is_upload else self._limit
        announced = Headers(scope=scope).get("content-length", "0")
        if not announced.isdigit() or int(announced) > limit.size:
            await self._refuse(limit, scope, receive, send)
            return
        await self._counted(limit, scope, receive, send)

    async def _counted(self, limit: _Limit, scope: Scope, receive: Receive, send: Send) -> None:
        seen, started = 0, False

        async def count() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit.size:
                raise _BodyTooLarge
            return message

        async def watch(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, count, watch)
        except _BodyTooLarge:
            if started:
                raise
            await self._refuse(limit, scope, receive, send)

    async def _refuse(self, limit: _Limit, scope: Scope, receive: Receive, send: Send) -> None:
        reason = f"the request body is over the limit of {limit.size} bytes ({limit.setting})"
        details = {"limit": limit.size, "unit": "bytes"}
        body = {"error": reason, "code": "too_large", "details": details}
        response = json_response(body, 413, {"connection": "close"})
        await response(scope, receive, send)


class _BodyTooLarge(BaseException):
    """Passes through handlers for ordinary exceptions on its way to BodyLimit."""


@dataclass(frozen=True)
class _Refusal:
    """What a client without access is told: `status` over HTTP, `close_code` over a WebSocket."""

    status: int
    close_code: int
    code: str


_UNAUTHORIZED = _Refusal(401, WS_UNAUTHORIZED, "unauthorized")
_FORBIDDEN = _Refusal(403, WS_FORBIDDEN, "forbidden")


async def _refuse(scope: Scope, receive: Receive, send: Send, *, refusal: _Refusal, reason: str) -> None:
    if scope["type"] == "http":
        await json_response({"error": reason, "code": refusal.code}, refusal.status)(scope, receive, send)
        return
    await receive()
    # A refusal before the handshake reaches browsers as 1006 without a reason: accept, then say why.
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": refusal.close_code, "reason": reason[:120]})
