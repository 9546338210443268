"""Requests of nodes to where the operator allows them to go: `nodes.node.Http`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from innkeeper.nodes.errors import NodeInputError, ProviderError
from innkeeper.nodes.node import HttpRequest, HttpResponse
from innkeeper.nodes.services.header_text import is_header_name

if TYPE_CHECKING:
    import httpx2

    from innkeeper.nodes.services.http import AddressPolicy

MAX_RESPONSE_BYTES = 16 * 1024 * 1024
MAX_REDIRECTS = 5
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
REPEATABLE_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
"""What a server that keeps to HTTP can be asked twice without doing it twice."""

_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_PLAIN_PLACE = re.compile(r"[\w.:\[\]-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# These belong to the connection, which is ours.
_OWN_HEADERS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# All that another server is told when one sends us there: the others may hold keys under any name.
_FOLLOWING_HEADERS = frozenset(
    {"accept", "accept-language", "content-type", "content-length", "host", "transfer-encoding", "user-agent"}
)


class GuardedHttp:
    """One pool of connections for all nodes: no proxies, no cookies, no credentials of the environment.

    Args:
        policy: Which addresses may be reached, by redirects too.
        max_response_bytes: Larger answers are refused.
    """

    def __init__(self, policy: AddressPolicy, *, max_response_bytes: int = MAX_RESPONSE_BYTES) -> None:
        self._policy = policy
        self._limit = max_response_bytes
        self._client: httpx2.AsyncClient | None = None

    async def request(self, request: HttpRequest) -> HttpResponse:
        """Ask once, following up to 5 redirects; any status is an answer. `timeout_s` bounds all of it.

        Headers of the connection (`Host`, `Content-Length`, ...) are left out. A redirect to another origin gets none
        of the caller's headers but those that describe content.

        Raises:
            NodeInputError: URL, method or headers cannot be sent.
            RequestRefused: The address, or that of a redirect, is not allowed.
            ProviderError: Not reached or broken off (`connection_error`), too late (`timeout_error`), sent in circles
                (`too_many_redirects`). Retryable when the method is repeatable.
            ResourceError: The answer is over the limit.
        """
        host = check_url(request.url)
        headers = _checked_headers(request.headers)
        _check_method(request.method)
        async with _web_errors(host, request.method in REPEATABLE_METHODS), asyncio.timeout(request.timeout_s):
            client = self._pool()
            first = client.build_request(
                request.method, request.url, headers=headers, content=request.body or None, timeout=request.timeout_s
            )
            return await _followed(client, first, host)

    async def post_unread(
        self, url: str, body: bytes, headers: Mapping[str, str], *, timeout_s: float
    ) -> tuple[int, Mapping[str, str]]:
        """POST once, and give the answer's status and headers. Its body is not read, and no redirect is followed.

        Raises:
            NodeInputError, RequestRefused, ProviderError: As `request`.
        """
        from innkeeper.nodes.services.http import UNREAD

        host = check_url(url)
        checked = _checked_headers(headers)
        async with _web_errors(host, True), asyncio.timeout(timeout_s):
            client = self._pool()
            request = client.build_request(
                "POST", url, headers=checked, content=body, timeout=timeout_s, extensions={UNREAD: True}
            )
            response = await client.send(request, stream=True, follow_redirects=False)
            await response.aclose()
            return response.status_code, response.headers

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _pool(self) -> httpx2.AsyncClient:
        if self._client is None:
            import httpx2

            from innkeeper.nodes.services.http import GuardedTransport

            self._client = httpx2.AsyncClient(
                transport=GuardedTransport(self._policy, max_response_bytes=self._limit),
                trust_env=False,
                # The pool is shared: a cookie would carry from one user's request to another's.
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
                headers={"User-Agent": "innkeeper"},
            )
        return self._client


def check_url(url: object) -> str:
    """`name:port` of an http(s) URL, the port always told. Raises NodeInputError when it is not plainly one."""
    place = None
    if isinstance(url, str) and not _CONTROL.search(url):
        place = _place(url)
    if place is None:
        raise NodeInputError("'url' is not an http or https URL without a user name; it looks like 'https://host/path'")
    return place


def _place(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    # Programs disagree on where the host of `a\@b` ends, and keys go where this one says.
    if port is None or not parts.hostname or not _PLAIN_PLACE.fullmatch(parts.netloc):
        return None
    return f"[{parts.hostname}]:{port}" if ":" in parts.hostname else f"{parts.hostname}:{port}"


def _check_method(method: str) -> None:
    if method not in METHODS:
        raise NodeInputError(f"the method is not one of {', '.join(METHODS)}")


def _checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not is_header_name(name):
            raise NodeInputError("a header's name may hold letters, digits and '-'; another character was found")
        if not _HEADER_VALUE.fullmatch(value):
            raise NodeInputError(f"the value of header {name!r} holds a line break or a character that is not ASCII")
    return {name: value for name, value in headers.items() if name.lower() not in _OWN_HEADERS}


async def _followed(client: httpx2.AsyncClient, request: httpx2.Request, host: str) -> HttpResponse:
    for _ in range(MAX_REDIRECTS + 1):
        response = await client.send(request, follow_redirects=False)
        following = response.next_request
        if following is None:
            return HttpResponse(response.status_code, dict(response.headers), response.content)
        check_url(str(following.url))
        if _origin(following) != _origin(request):
            for name in set(following.headers) - _FOLLOWING_HEADERS:
                del following.headers[name]
        request = following
    message = f"{host} sent the request on more than {MAX_REDIRECTS} times"
    raise ProviderError(message, code="too_many_redirects", details={"host": host}, retryable=False)


def _origin(request: httpx2.Request) -> tuple[str, str, int | None]:
    return request.url.scheme, request.url.host, request.url.port


@asynccontextmanager
async def _web_errors(host: str, repeatable: bool) -> AsyncIterator[None]:
    """Turn what the client library raises into our errors."""
    import httpx2

    def failed(code: str, what: str) -> ProviderError:
        return ProviderError(f"the server at {host} {what}", code=code, details={"host": host}, retryable=repeatable)

    try:
        yield
    except (TimeoutError, httpx2.TimeoutException):
        raise failed("timeout_error", "did not answer in time") from None
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, UnicodeError):
        raise NodeInputError("the request, or where it was sent on to, is not valid HTTP") from None
    except (httpx2.NetworkError, httpx2.ConnectError):
        raise failed("connection_error", "cannot be reached, or broke off") from None
    except (httpx2.RemoteProtocolError, httpx2.DecodingError):
        raise failed("connection_error", "does not answer as a web server does") from None
