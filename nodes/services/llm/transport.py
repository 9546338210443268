"""How requests to model servers travel: one transport for all protocols, below the address guard."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpcore2
import httpx2

from innkeeper.nodes.errors import NodeError, NodeInputError, ProviderError, ResourceError
from innkeeper.nodes.json_values import NotJsonData, encode_json
from innkeeper.nodes.services.header_text import is_header_name, unsendable_at
from innkeeper.nodes.services.http import DIRECT, AddressPolicy, GuardedTransport, Network
from innkeeper.nodes.services.llm.errors import ConnectionKind, bad_answer, transport_error
from innkeeper.nodes.services.llm.wire import WireRequest

CONNECT_TIMEOUT_S = 15.0
MAX_REDIRECTS = 5
MAX_ERROR_BYTES = 256 * 1024
MAX_STREAM_BYTES = 1024 * 1024 * 1024
"""Of one answer. A piece of a word may come with kilobytes of probabilities, and nobody holds them."""
# What was meant for one server only, such as its key, does not go on to the next.
_FOR_EVERY_SERVER = frozenset({"accept", "content-type", "user-agent", "idempotency-key"})
_KEEPING_THE_METHOD = (307, 308)
_BECOMING_GET = (301, 302, 303)


@dataclass
class Answer:
    """The answer of a server whose body is not read yet. Must be closed.

    Attributes:
        headers: With names in lower case.
        is_delimited: It says where its body ends, so that one that breaks off is known as such.
    """

    status: int
    headers: Mapping[str, str]
    host: str
    _response: httpx2.Response

    @property
    def is_delimited(self) -> bool:
        return "content-length" in self.headers or "transfer-encoding" in self.headers

    @property
    def keeps_open(self) -> bool:
        """The connection serves further requests when the body was read to its end."""
        return "close" not in self.headers.get("connection", "").lower()

    async def parts(self) -> AsyncGenerator[bytes]:
        """The body as it comes. Raises ProviderError of kind `reset` or `closed`, or `bad_answer` when too large."""
        assert isinstance(self._response.stream, httpx2.AsyncByteStream)
        with _errors(self.host):
            async for part in self._response.stream:
                yield part

    async def start(self, limit: int = MAX_ERROR_BYTES) -> bytes:
        """The beginning of the body, for an error to be read from; what came of it when it breaks off."""
        found = b""
        try:
            async for part in self.parts():
                found += part
                if len(found) >= limit:
                    break
        except ProviderError:
            pass  # the status tells more than how the body of an error ended
        return found[:limit]

    async def aclose(self) -> None:
        await self._response.aclose()


class LlmTransport:
    """Sends requests through one pool of connections. No key outlives its request, and no cookie is kept.

    Nothing of the process's environment reaches a provider: no proxy, no header, no key.
    """

    def __init__(self, policy: AddressPolicy, network: Network = DIRECT) -> None:
        self._policy = policy
        self._network = network
        self._guarded: GuardedTransport | None = None

    async def send(self, request: WireRequest) -> Answer:
        """The answer, whatever its status, once its head is there. Redirects that keep the method are followed.

        Raises:
            ProviderError: `connection_error` with `details.kind`, `timeout_error`, a redirect that cannot be followed.
            RequestRefused: It leads to an address that is not allowed.
            NodeInputError: The URL is none, a header cannot be sent, or the body is not JSON.
        """
        host = urlsplit(request.url).hostname or request.url
        sent = _prepared(request)
        for _ in range(MAX_REDIRECTS + 1):
            with _errors(host):
                response = await self._transport().handle_async_request(sent)
            location = response.headers.get("location")
            if location is None or response.status_code not in (*_KEEPING_THE_METHOD, *_BECOMING_GET):
                headers = {name.lower(): value for name, value in response.headers.items()}
                return Answer(response.status_code, headers, host, response)
            await response.aclose()
            target = _target(host, sent, location)
            if sent.method != "GET" and response.status_code not in _KEEPING_THE_METHOD:
                raise _moved(host, response.status_code, target)
            sent = _redirected(sent, target)
        raise bad_answer(host, f"redirects more than {MAX_REDIRECTS} times; check the base URL", code="not_found_error")

    async def aclose(self) -> None:
        if self._guarded is not None:
            await self._guarded.aclose()
            self._guarded = None

    def _transport(self) -> GuardedTransport:
        if self._guarded is None:
            self._guarded = GuardedTransport(self._policy, max_response_bytes=MAX_STREAM_BYTES, network=self._network)
        return self._guarded


def _prepared(request: WireRequest) -> httpx2.Request:
    headers = {"User-Agent": "innkeeper", **{name: _sendable(name, value) for name, value in request.headers.items()}}
    content = None
    if request.body is not None:
        headers.setdefault("Content-Type", "application/json")
        try:
            content = encode_json(request.body).data
        except NotJsonData as error:
            raise NodeInputError(f"the request cannot be sent: it {error}") from error
    # Times are the driver's: it knows what is silence and what is an answer that takes long.
    timeout = {"connect": CONNECT_TIMEOUT_S, "read": None, "write": None, "pool": None}
    try:
        return httpx2.Request(
            "GET" if content is None else "POST",
            request.url,
            headers=headers,
            content=content,
            extensions={"timeout": timeout},
        )
    except (httpx2.InvalidURL, ValueError) as error:  # of names that no domain can have
        raise NodeInputError("base_url is not an http or https URL") from error


def _sendable(name: str, value: str) -> str:
    """A header's value without white space around it. Raises NodeInputError when it cannot travel in a header."""
    if not is_header_name(name):
        raise NodeInputError(f"{name!r} is no name that a header may have")
    value = value.strip()
    wrong = unsendable_at(value)
    if wrong is not None:
        raise NodeInputError(
            f"the header {name!r} cannot be sent: character {wrong + 1} of its {len(value)} is none that a header may "
            f"hold; if it holds a key, copy the key again",
        )
    return value


def _target(host: str, request: httpx2.Request, location: str) -> httpx2.URL:
    try:
        url = httpx2.URL(urljoin(str(request.url), location))
    except (ValueError, httpx2.InvalidURL):
        url = httpx2.URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise bad_answer(host, "redirects to what is no http or https URL; check the base URL", code="not_found_error")
    return url


def _redirected(request: httpx2.Request, url: httpx2.URL) -> httpx2.Request:
    is_same = (url.scheme, url.host, url.port) == (request.url.scheme, request.url.host, request.url.port)
    kept = {name: value for name, value in request.headers.items() if is_same or name.lower() in _FOR_EVERY_SERVER}
    kept.pop("host", None)
    # The extensions remember where the first request went, which bounds what a redirect may reach.
    return httpx2.Request(request.method, url, headers=kept, content=request.content, extensions=request.extensions)


def _moved(host: str, status: int, target: httpx2.URL) -> ProviderError:
    # Without the query and the name and password, which may be secrets.
    place = f"{target.scheme}://{target.netloc.decode('ascii', 'replace')}{target.path}"[:300]
    return bad_answer(
        host, f"answered {status}: it sends requests on to {place!r}; make that the base URL", code="not_found_error"
    )


@contextmanager
def _errors(host: str) -> Iterator[None]:
    """Turn what the HTTP library raises into our errors."""
    try:
        yield
    except (httpx2.HTTPError, httpcore2.NetworkError, httpcore2.ProtocolError, ssl.SSLError) as error:
        raise connection_error(host, error) from None
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
        raise NodeInputError("base_url is not an http or https URL") from error
    except ResourceError as error:
        raise bad_answer(host, f"sent an answer that cannot be taken: {error.message}") from error


def connection_error(host: str, error: Exception) -> NodeError:
    """The error for a request that the network ended, by its kind."""
    if isinstance(error, httpx2.UnsupportedProtocol):
        return NodeInputError("base_url is not an http or https URL")
    chain = list(_causes(error))
    if isinstance(error, httpx2.ConnectTimeout) and not any(isinstance(one, socket.gaierror) for one in chain):
        late = transport_error(
            host, "timeout_error", f"took no connection within {CONNECT_TIMEOUT_S:g} s; check the base URL"
        )
        late.details |= {"limit": "connect", "seconds": CONNECT_TIMEOUT_S}
        return late
    kind = _kind(error, chain)
    failure = transport_error(host, "connection_error", _sentence(kind, chain), kind)
    # Neither mends itself in a few seconds, and the same sentence four times helps nobody.
    if kind == "tls" and (_certificate(chain) or _is_plain_http(chain)):
        failure.retryable = False
    return failure


def _kind(error: Exception, chain: list[BaseException]) -> ConnectionKind:
    if any(isinstance(one, httpx2.ProxyError | httpcore2.ProxyError) for one in chain):
        return "proxy"
    if any(isinstance(one, socket.gaierror | UnicodeError) for one in chain):
        return "dns"
    if any(isinstance(one, ssl.SSLError) for one in chain):
        return "tls"
    if isinstance(error, httpx2.ConnectError):
        return "refused" if not any(isinstance(one, ConnectionResetError) for one in chain) else "reset"
    if isinstance(error, httpx2.ReadError | httpx2.WriteError):
        return "reset"
    return "closed"


def _sentence(kind: ConnectionKind, chain: list[BaseException]) -> str:
    certificate = _certificate(chain)
    if certificate:
        return (
            f"shows a certificate that is not trusted ({certificate.verify_message}); if its authority is your own, "
            f"name the file of that in INNKEEPER_LLM_CA_BUNDLE"
        )
    if kind == "tls" and _is_plain_http(chain):
        return "does not speak TLS; if the server has none, the base URL begins with http://"
    return _SENTENCES[kind]


_SENTENCES: dict[ConnectionKind, str] = {
    "refused": "does not take connections; check that the server runs, and the host and port of the base URL",
    "dns": "cannot be found: its name does not resolve; check the spelling of the base URL, and the network",
    "tls": "ended the TLS handshake; check the base URL, and what stands between here and there",
    "reset": "reset the connection before the answer was whole",
    "closed": "closed the connection before the answer was whole",
    "proxy": "cannot be reached through the proxy; check INNKEEPER_LLM_PROXY",
}


def _certificate(chain: list[BaseException]) -> ssl.SSLCertVerificationError | None:
    return next((one for one in chain if isinstance(one, ssl.SSLCertVerificationError)), None)


def _is_plain_http(chain: list[BaseException]) -> bool:
    reasons = {str(getattr(one, "reason", "")) for one in chain if isinstance(one, ssl.SSLError)}
    return bool(reasons & {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL"})


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what led to it, also inside groups of errors."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]


def with_additions(request: WireRequest, headers: Mapping[str, str], query: Mapping[str, str]) -> WireRequest:
    """The request with what a channel adds to every one."""
    if not headers and not query:
        return request
    try:
        url = httpx2.URL(request.url)
    except (httpx2.InvalidURL, ValueError) as error:  # of names that no domain can have
        raise NodeInputError("base_url is not an http or https URL") from error
    names = {name.lower() for name in headers}
    kept = {name: value for name, value in request.headers.items() if name.lower() not in names}
    return replace(
        request, url=str(url.copy_merge_params(dict(query))) if query else request.url, headers={**kept, **headers}
    )
