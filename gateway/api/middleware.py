"""Who may talk to the gateway: Host and Origin of every request, the access token, and the size of bodies."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from innkeeper.gateway.api.cross_origin import CODEC_PREFIX, normal_origins
from innkeeper.gateway.errors import WS_FORBIDDEN, WS_UNAUTHORIZED, json_response
from innkeeper.gateway.settings import Settings
from innkeeper.nodes.hosts import is_loopback_name

OPEN_PATHS = frozenset({"/healthz", "/"})
CONSOLE_PREFIX = "/console/"
"""The page and its files hold no data. The page shows the token for each piece of data that it asks for."""
CLIENT_SOCKET = "/ws"
UPLOADS = (("PUT", "/api/files/"), ("POST", "/api/fam/upload/"))
"""Method and prefix of requests whose bodies are files."""
WORKER_PREFIX = "/internal/"
"""Workers have a token of their own, checked where they connect."""
DEMO_PREFIX = "/demo/"
HOOKS_PREFIX = "/hooks/"
"""Webhooks come from strangers. Their proof is checked where they arrive (`gateway/deliveries/webhooks.py`)."""
HOOK_BODY_BYTES = 5_000_000
FOREIGN_ORIGIN = "innkeeper.foreign_origin"
"""Key in the scope of a request to a webhook that comes from a web page which may not use the gateway."""
BODY_S = 30.0
BODY_BYTES_PER_S = 1_000
"""A body may take 30 s, and a second more for each 1,000 bytes that have come."""
LINGER_S = 5.0


class HostGuard:
    """Refuses requests whose Host or Origin is not ours: a web page elsewhere, or a name rebound to this machine.
    Pages elsewhere may lead here by links, and embed nothing.

    A webhook may be used by any page that can prove who it is: its request goes on with `FOREIGN_ORIGIN` in its scope.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._hosts = {name.lower().strip("[]") for name in (settings.host, *settings.allowed_hosts)}
        self._hosts -= {"0.0.0.0", "::", ""}
        self._origins = normal_origins(settings.allowed_origins)
        self._codec_origins = normal_origins(settings.codec_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        host = _address(f"//{hosts[0]}") if len(hosts) == 1 else None
        send = _guarding(send)
        if host is None or not self._knows(host.name):
            await _refuse(scope, receive, send, refusal=_FORBIDDEN, reason=_FOREIGN_HOST)
            return
        for_codec = scope["path"].startswith(CODEC_PREFIX)
        listed = self._codec_origins if for_codec else self._origins
        is_foreign = len(origins) > 1 or (bool(origins) and not self._allows(origins[0], host, listed))
        if is_foreign and not is_webhook(scope):
            setting = "INNKEEPER_CODEC_ORIGINS" if for_codec else "INNKEEPER_ALLOWED_ORIGINS"
            reason = f"this Origin may not use the gateway; add it to {setting}"
            await _refuse(scope, receive, send, refusal=_FORBIDDEN, reason=reason)
            return
        if not origins and _is_embedded(headers) and not is_webhook(scope):
            await _refuse(scope, receive, send, refusal=_FORBIDDEN, reason=_EMBEDDED)
            return
        await self._app({**scope, FOREIGN_ORIGIN: True} if is_foreign else scope, receive, send)

    def _allows(self, origin: str, host: _Address, listed: Collection[str]) -> bool:
        """Our own pages: of a host that is ours, at the port that was asked. On other ports live other programs."""
        if origin.rstrip("/").lower() in listed:
            return True
        found = _address(origin) if origin.lower().startswith(("http://", "https://")) else None
        if found is None or not self._knows(found.name):
            return False
        default = 443 if origin.lower().startswith("https://") else 80
        return (found.port or default) == (host.port or default)

    def _knows(self, name: str | None) -> bool:
        return name is not None and (name in self._hosts or is_loopback_name(name))


_EMBEDDED = "pages of other origins may not embed this; they may link to it"
_FOREIGN_HOST = "this Host is not served here; use localhost or add it to INNKEEPER_ALLOWED_HOSTS"


def _is_embedded(headers: Headers) -> bool:
    """Does a page of another origin load this as an image, a script or the like? Browsers send no Origin then, and keep
    the answer from the page; but the request itself may do something, or be dear."""
    is_elsewhere = headers.get("sec-fetch-site") in ("cross-site", "same-site")
    return is_elsewhere and headers.get("sec-fetch-mode") == "no-cors"


def is_webhook(scope: Scope) -> bool:
    """Is this a request to a webhook?"""
    return bool(scope["type"] == "http" and scope["path"].startswith(HOOKS_PREFIX))


_HEADERS = (
    (b"x-content-type-options", b"nosniff"),  # what a run gave is never a page or a script of ours
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
)
"""Of every answer that has no such header of its own."""
_NO_PAGE = (
    b"content-security-policy",
    b"default-src 'none'; require-trusted-types-for 'script'; trusted-types 'none'; frame-ancestors 'none'",
)
"""Of JSON, and so of all errors: whatever a browser takes it for, it runs nothing and stands in no frame. Front ends of
plugins, which may be pages, have the policy that they give themselves."""


def _guarding(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower(): value for name, value in message.get("headers", ())}
            is_json = present.get(b"content-type", b"").startswith(b"application/json")
            wanted = (*_HEADERS, _NO_PAGE) if is_json else _HEADERS
            missing = [header for header in wanted if header[0] not in present]
            message = {**message, "headers": [*message.get("headers", ()), *missing]}
        await send(message)

    return guarded


@dataclass(frozen=True)
class _Address:
    name: str
    port: int | None


def _address(url: str) -> _Address | None:
    """Host and port of `scheme://host[:port][/]`; None for anything else."""
    try:
        parts = urlsplit(url)
        port = parts.port  # raises on a port that is not a number
    except ValueError:
        return None
    if parts.username is not None or parts.path not in ("", "/") or not parts.hostname:
        return None
    return _Address(parts.hostname.lower(), port)


class AccessToken:
    """Asks for `Authorization: Bearer`, or `?token=` where a browser cannot set headers (WebSocket, EventSource).

    The socket of clients also takes a `?ticket=` (`take_ticket`), which need not be kept secret for long. Workers show
    the demo model `demo_token`, which opens nothing else.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str,
        demo_token: Callable[[], str],
        take_ticket: Callable[[str], bool] = lambda ticket: False,
    ) -> None:
        self._app = app
        self._token = token.encode()
        self._demo_token = demo_token
        self._take_ticket = take_ticket

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or self._admits(scope):
            await self._app(scope, receive, send)
            return
        reason = "an access token is needed: send 'Authorization: Bearer <token>'"
        await _refuse(scope, receive, send, refusal=_UNAUTHORIZED, reason=reason)

    def _admits(self, scope: Scope) -> bool:
        path = scope["path"]
        if path in OPEN_PATHS or path.startswith((WORKER_PREFIX, CONSOLE_PREFIX)) or is_webhook(scope):
            return True
        if (
            scope["type"] == "websocket"
            and path == CLIENT_SOCKET
            and any(map(self._take_ticket, _shown(scope, "ticket")))
        ):
            return True
        tokens = [self._token, *([self._demo_token().encode()] if path.startswith(DEMO_PREFIX) else [])]
        return any(hmac.compare_digest(shown.encode(), token) for shown in _shown_tokens(scope) for token in tokens)


def _shown_tokens(scope: Scope) -> Iterable[str]:
    kind, _, value = Headers(scope=scope).get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        yield value.strip()
    if scope["type"] == "websocket" or scope["path"].endswith("/events"):
        yield from _shown(scope, "token")


def _shown(scope: Scope, name: str) -> list[str]:
    return parse_qs(scope["query_string"].decode("latin-1")).get(name, [])


@dataclass(frozen=True)
class _Limit:
    size: int
    source: str

    @property
    def refusal(self) -> Response:
        reason = f"the request body is over the limit of {self.size} bytes ({self.source})"
        return _body_refusal(413, reason, "too_large", limit=self.size, unit="bytes")


class BodyLimit:
    """Counts a request body as it arrives; over the limit the answer is 413 and names it, 408 when it comes too slowly.

    Args:
        file_limit: The limit of uploads of files instead; the same when not given.
    """

    def __init__(self, app: ASGIApp, *, limit: int, file_limit: int | None = None) -> None:
        self._app = app
        self._limit = _Limit(limit, "INNKEEPER_MAX_BODY_BYTES")
        self._file_limit = self._limit if file_limit is None else _Limit(file_limit, "INNKEEPER_MAX_FILE_BYTES")
        self._hook_limit = min(self._limit, _Limit(HOOK_BODY_BYTES, "of a webhook"), key=lambda one: one.size)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limit_of(scope)
        announced = Headers(scope=scope).get("content-length", "0")
        if not announced.isdigit() or int(announced) > limit.size:
            await _answer(receive, send, limit.refusal)
            return
        await self._counted(limit, scope, receive, send)

    def _limit_of(self, scope: Scope) -> _Limit:
        if is_webhook(scope):
            return self._hook_limit
        is_upload = any(scope["method"] == method and scope["path"].startswith(prefix) for method, prefix in UPLOADS)
        return self._file_limit if is_upload else self._limit

    async def _counted(self, limit: _Limit, scope: Scope, receive: Receive, send: Send) -> None:
        seen, started, is_whole = 0, False, False
        began = time.monotonic()

        async def count() -> Message:
            nonlocal seen, is_whole
            if is_whole:  # only the end of the connection can come now, and it may take its time
                return await receive()
            left_s = began + BODY_S + seen / BODY_BYTES_PER_S - time.monotonic()
            try:
                async with asyncio.timeout(max(0.0, left_s)):
                    message = await receive()
            except TimeoutError:
                raise _BodyRefused(_TOO_SLOW) from None
            seen += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            if seen > limit.size:
                raise _BodyRefused(limit.refusal)
            return message

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, count, watch)
        except _BodyRefused as refused:
            if started:
                raise
            await _answer(receive, send, refused.response)


async def _answer(receive: Receive, send: Send, response: Response) -> None:
    """Answer, then take what is still sent for a while: hanging up at once would destroy the answer on its way."""
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            while (await receive()).get("more_body", False):
                pass
    await send({"type": "http.response.body", "body": b""})


def _body_refusal(status: int, reason: str, code: str, **details: Any) -> Response:
    return json_response({"error": reason, "code": code, "details": details}, status, {"connection": "close"})


_TOO_SLOW = _body_refusal(
    408,
    f"the request body came too slowly: send it within {BODY_S:.0f} s, or {BODY_BYTES_PER_S} bytes a second",
    "too_slow",
    seconds=BODY_S,
)


class _BodyRefused(BaseException):
    """Passes through handlers for ordinary exceptions on its way to BodyLimit."""

    def __init__(self, response: Response) -> None:
        self.response = response


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
        await _answer(receive, send, json_response({"error": reason, "code": refusal.code}, refusal.status))
        return
    await receive()
    # A refusal before the handshake reaches browsers as 1006 without a reason: accept, then say why.
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": refusal.close_code, "reason": reason[:120]})
