"""CORS: which web pages of other origins may read answers. Only those that INNKEEPER_ALLOWED_ORIGINS names, and of
`/codec/` those that INNKEEPER_CODEC_ORIGINS names."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
REQUEST_HEADERS = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "If-Range",
    "Last-Event-ID",
    "Range",
)
"""Request headers that the routes read and that a page may not set without asking."""
EXPOSED_HEADERS = (
    "Accept-Ranges",
    "Allow",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Innkeeper-Run",
    "Innkeeper-Updates",
    "Link",
    "Location",
    "Retry-After",
)
"""Headers of our answers that a page cannot read unless they are named."""
CODEC_PREFIX = "/codec/"
"""What Temporal's web page asks: it gets nothing else, and the pages that get all else get nothing of this."""
CODEC_HEADERS = ("Authorization", "Content-Type", "X-Namespace")
PREFLIGHT_S = 600
"""How long a browser may remember the answer to a preflight."""


def _preflight(methods: Iterable[str], headers: Iterable[str]) -> dict[str, str]:
    return {
        "Access-Control-Allow-Methods": ", ".join(methods),
        "Access-Control-Allow-Headers": ", ".join(headers),
        "Access-Control-Max-Age": str(PREFLIGHT_S),
        # A listed page on the internet may call a gateway on this machine; some browsers ask for that, too.
        "Access-Control-Allow-Private-Network": "true",
        "Vary": "Origin",
    }


_PREFLIGHT = _preflight(METHODS, REQUEST_HEADERS)
_CODEC_PREFLIGHT = _preflight(("POST",), CODEC_HEADERS)


class CrossOrigin:
    """Answers preflights of listed origins and lets their pages read answers.

    It stands behind `HostGuard`, which refuses all other foreign origins, and in front of the access token, which no
    preflight carries. Cookies play no part: a page shows the token in `Authorization`.

    Args:
        origins: `https://example.org`, compared whole. Without any, answers stay as they are.
        codec_origins: The same for `/codec/`.
    """

    def __init__(self, app: ASGIApp, *, origins: Iterable[str], codec_origins: Iterable[str] = ()) -> None:
        self._app = app
        self._origins = normal_origins(origins)
        self._codec_origins = normal_origins(codec_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for_codec = scope["type"] == "http" and scope["path"].startswith(CODEC_PREFIX)
        origins = self._codec_origins if for_codec else self._origins
        if scope["type"] != "http" or not origins:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        listed = origin if origin in origins else None
        if listed is not None and scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            allowed = _CODEC_PREFLIGHT if for_codec else _PREFLIGHT
            answer = Response(status_code=204, headers={**allowed, "Access-Control-Allow-Origin": listed})
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, _readable_by(listed, send))


def normal_origins(origins: Iterable[str]) -> frozenset[str]:
    """Origins as they are compared."""
    return frozenset(origin.rstrip("/").lower() for origin in origins)


def _readable_by(origin: str | None, send: Send) -> Send:
    """`send` that lets pages of `origin` read the answer. Caches must not give one origin the answer of another."""

    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=[*message.get("headers", ())])
            headers.add_vary_header("Origin")
            if origin is not None:
                headers["Access-Control-Allow-Origin"] = origin
                headers["Access-Control-Expose-Headers"] = ", ".join(EXPOSED_HEADERS)
            message = {**message, "headers": headers.raw}
        await send(message)

    return with_headers
