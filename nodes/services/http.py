"""The one guard for outgoing requests.

A name is resolved once, every address it has is checked, and the connection goes to a checked address.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Container, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit, urlunsplit

import httpcore2
import httpx2

from innkeeper.nodes.errors import RequestRefused, ResourceError
from innkeeper.nodes.hosts import is_loopback_name

AddressKind = Literal["public", "loopback", "private", "metadata", "link-local", "multicast", "unspecified", "reserved"]
Address = IPv4Address | IPv6Address
Endpoint = tuple[str, int]
"""Host name or address, in lower case and without brackets, and port."""

MAX_RESPONSE_BYTES = 64 * 1024 * 1024
RESOLVE_S = 15.0
_INFLATED_PART_BYTES = 256 * 1024
_FIRST_KIND = "innkeeper_first_kind"
UNREAD = "innkeeper_unread"
"""Extension of a request whose answer nobody reads: it may come in any encoding."""
_PORTS = {"http": 80, "https": 443}
_NAT64 = ip_network("64:ff9b::/96")
# Where clouds hand out credentials to whoever asks from inside; the last two lie outside the link-local block.
_METADATA = frozenset(
    ip_address(text) for text in ("169.254.169.254", "169.254.170.2", "fd00:ec2::254", "100.100.100.200")
)


@dataclass(frozen=True)
class AddressPolicy:
    """Which addresses outgoing requests may reach. Public ones always; of the others only what is named here.

    Attributes:
        allow_loopback: This machine (127.0.0.0/8, ::1).
        allow_private: Private networks (10/8, 172.16/12, 192.168/16, 100.64/10, fc00::/7).
        allowed_hosts: Hosts the operator vouches for, `name` or `name:port`, whatever their addresses are.
        gateway: Where our own gateway listens. It would take what a graph sends it for the user's own wish, so only
            the model under its `/demo` may be asked.
        allow_demo: That model may be asked wherever the gateway is.
        closed: Further services of our own (the Temporal server), which no node has to do with.
    """

    allow_loopback: bool = False
    allow_private: bool = False
    allowed_hosts: Container[str] = frozenset()
    gateway: Endpoint | None = None
    allow_demo: bool = False
    closed: frozenset[Endpoint] = frozenset()

    def check(self, host: str, port: int, addresses: Iterable[Address]) -> None:
        """Raises RequestRefused when one of the addresses of `host` is out of bounds."""
        if self._vouched_for(host, port):
            return
        addresses = list(addresses)
        own = self.closed | ({self.gateway} if self.gateway else frozenset())
        if any(_leads_to(endpoint, host, port, addresses) for endpoint in own):
            raise _own_service(host, port)
        for address in addresses:
            kind = address_kind(address)
            if not self._allows(kind):
                raise _request_refused(host, port, kind)

    def after(self, first: AddressKind) -> AddressPolicy:
        """What a redirect may reach when the first address was of this kind: a server outside must not send us to one
        inside, nor one on this machine to the network around it."""
        return replace(
            self,
            allow_loopback=self.allow_loopback and first == "loopback",
            allow_private=self.allow_private and first == "private",
            allowed_hosts=self.allowed_hosts if first in ("loopback", "private") else frozenset(),
        )

    def for_demo(self) -> AddressPolicy:
        """For requests that `is_demo` has looked at."""
        if not (self.gateway and self.allow_demo):
            return replace(self, gateway=None)
        name, port = self.gateway
        return replace(self, gateway=None, allowed_hosts=frozenset({f"{name}:{port}"}))

    def is_demo(self, port: int, path: str) -> bool:
        """Would it be the demo model, if our gateway listens there?"""
        is_below = path.startswith("/demo/") and ".." not in path.split("/")
        return self.gateway is not None and port == self.gateway[1] and is_below

    def _vouched_for(self, host: str, port: int) -> bool:
        name = host.lower().rstrip(".")
        return name in self.allowed_hosts or f"{name}:{port}" in self.allowed_hosts

    def _allows(self, kind: AddressKind) -> bool:
        allowed = {"public": True, "loopback": self.allow_loopback, "private": self.allow_private}
        return allowed.get(kind, False)


def _leads_to(endpoint: Endpoint, host: str, port: int, addresses: Iterable[Address]) -> bool:
    name, own_port = endpoint
    if port != own_port:
        return False
    # Every address of loopback leads to this machine, whatever name or form it has.
    is_here = name == "localhost" or _is_loopback(name)
    return host.lower().rstrip(".") == name or any(
        str(_unwrap(address)) == name or (is_here and address_kind(address) == "loopback") for address in addresses
    )


def _is_loopback(name: str) -> bool:
    try:
        return address_kind(ip_address(name)) == "loopback"
    except ValueError:
        return False


def _own_service(host: str, port: int) -> RequestRefused:
    return RequestRefused(
        f"request to {host!r} port {port} refused: Innkeeper itself listens there, and of it nodes may ask only "
        f"'/demo'; an entry '{host}:{port}' in INNKEEPER_NODE_ALLOWED_HOSTS allows it",
        details={"host": host, "port": port, "kind": "own"},
    )


def _request_refused(host: str, port: int, kind: AddressKind) -> RequestRefused:
    switch = {"loopback": "INNKEEPER_ALLOW_LOOPBACK=1", "private": "INNKEEPER_ALLOW_PRIVATE=1"}.get(kind)
    remedy = f"{switch} or " if switch else ""
    return RequestRefused(
        f"request to {host!r} port {port} refused: it leads to a {kind} address; "
        f"{remedy}an entry {host!r} in INNKEEPER_NODE_ALLOWED_HOSTS allows it",
        details={"host": host, "port": port, "kind": kind},
    )


def address_kind(address: Address) -> AddressKind:
    """What lies behind an address; an IPv4 address wrapped in IPv6 counts as itself."""
    address = _unwrap(address)
    if address in _METADATA:
        return "metadata"
    if address.is_loopback:
        return "loopback"
    if address.is_unspecified:
        return "unspecified"
    if address.is_multicast:
        return "multicast"
    if address.is_link_local:
        return "link-local"
    if address.is_reserved:
        return "reserved"
    site_local = isinstance(address, IPv6Address) and address.is_site_local
    return "public" if address.is_global and not site_local else "private"


def _unwrap(address: Address) -> Address:
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


class _GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Opens connections for the pool. It sits below Host header and TLS name, so both stay those of the URL.

    Every new connection comes through here, those of redirects too; a connection that is reused was checked.
    """

    def __init__(self, policy: AddressPolicy) -> None:
        self._policy = policy
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # the signature is the library's
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        addresses = await _resolve(host, port, timeout)
        self._policy.check(host, port, addresses)
        failure: httpcore2.ConnectError | httpcore2.ConnectTimeout | None = None
        for address in addresses:
            try:
                # The address, never the name: a second look-up could give another answer than the checked one.
                return await self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore2.ConnectError(f"no address for {host!r}")

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109  # the signature is the library's
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        raise RequestRefused("request to a Unix socket refused: only http and https addresses are allowed")

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


async def _resolve(host: str, port: int, timeout_s: float | None) -> list[Address]:
    try:
        async with asyncio.timeout(timeout_s):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        raise httpcore2.ConnectTimeout(f"the name {host!r} was not resolved in time") from error
    except (OSError, UnicodeError) as error:
        raise httpcore2.ConnectError(f"the name {host!r} cannot be resolved") from error
    return list(dict.fromkeys(ip_address(str(entry[4][0])) for entry in found))


class _Inflater:
    """Unpacks gzip and deflate, in parts of bounded size: a few kilobytes may hold gigabytes."""

    def __init__(self, encoding: str) -> None:
        self._is_gzip = encoding == "gzip"
        self._zlib = zlib.decompressobj(wbits=31 if self._is_gzip else 15)
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Raises ResourceError when it is not packed so."""
        while data:
            part, data = self._inflated(data), self._zlib.unconsumed_tail
            if part:
                yield part
            if self._zlib.eof:
                data = self._zlib.unused_data
                # A gzip body may be several ones; what else stands behind the end is of no interest.
                if not (self._is_gzip and data.startswith(b"\x1f\x8b")):
                    return
                self._zlib = zlib.decompressobj(wbits=31)

    def _inflated(self, data: bytes) -> bytes:
        try:
            part = self._zlib.decompress(data, _INFLATED_PART_BYTES)
        except zlib.error as error:
            if self._begun or self._is_gzip:
                message = "the answer is not packed as its Content-Encoding says"
                raise ResourceError(message, code="response_refused") from error
            # Some servers send deflate without the zlib header that the standard asks for.
            self._zlib = zlib.decompressobj(wbits=-15)
            self._begun = True
            return self._inflated(data)
        self._begun = True
        return part


class _InflatedStream(httpx2.AsyncByteStream):
    """A response body, unpacked."""

    def __init__(self, inner: httpx2.AsyncByteStream, encoding: str) -> None:
        self._inner = inner
        self._inflater = _Inflater(encoding)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for packed in self._inner:
            for part in self._inflater.feed(packed):
                yield part
                if len(part) == _INFLATED_PART_BYTES:
                    await asyncio.sleep(0)  # a small piece may hold many such parts: others must run between them

    async def aclose(self) -> None:
        await self._inner.aclose()


class _LimitedStream(httpx2.AsyncByteStream):
    """A response body that ends with an error at the limit instead of filling the memory."""

    def __init__(self, inner: httpx2.AsyncByteStream, limit: int) -> None:
        self._inner = inner
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        seen = 0
        async for part in self._inner:
            seen += len(part)
            if seen > self._limit:
                raise ResourceError(f"the response is larger than {self._limit} bytes", code="response_too_large")
            yield part

    async def aclose(self) -> None:
        await self._inner.aclose()


@dataclass(frozen=True)
class Network:
    """What stands between this machine and the servers outside.

    Attributes:
        proxy: URL of the operator's own HTTP proxy, through which public addresses are reached; "" for none. Those of
            the environment never count: a graph's request must not leave by a way that nobody chose for it.
        ca_bundle: PEM file of further authorities whose certificates are trusted.
    """

    proxy: str = ""
    ca_bundle: Path | None = None

    def tls(self) -> ssl.SSLContext:
        """Raises OSError (ssl.SSLError is one) when the file cannot be read."""
        return _tls(self.ca_bundle)


DIRECT = Network()


class GuardedTransport(httpx2.AsyncBaseTransport):
    """The transport of every HTTP client in this project.

    Redirects, which keep the extensions of their first request, and requests to the demo model have bounds of their
    own. Each kind has connections of its own, too: one that was opened within wider bounds would serve without a check.

    With a proxy, what is not public here goes straight and is guarded as ever: a model server at home is no business of
    the proxy. The rest goes through it, also names that cannot be resolved here, as behind many proxies: it resolves
    them itself, so beyond it the proxy's own rules are the bounds, and a name that changes its address is its affair.
    """

    def __init__(
        self, policy: AddressPolicy, *, max_response_bytes: int = MAX_RESPONSE_BYTES, network: Network = DIRECT
    ) -> None:
        self._policy = policy
        self._limit = max_response_bytes
        self._network = network
        self._transports: dict[tuple[AddressKind | None, bool], _PoolTransport] = {}
        self._proxied: _PoolTransport | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        first: AddressKind | None = request.extensions.get(_FIRST_KIND)
        port = request.url.port or _PORTS.get(request.url.scheme, 0)
        outside = await _outside(request.url.host) if self._network.proxy else None
        if outside is not None:
            self._policy.check(request.url.host, port, outside)  # our own services may have public addresses
            # The peer would be the proxy, which is a private address as a rule.
            request.extensions[_FIRST_KIND] = "public"
            return await self._through_proxy().handle_async_request(request)
        is_demo = first in (None, "loopback") and self._policy.is_demo(port, request.url.path)
        response = await self._transport(first, is_demo).handle_async_request(request)
        if first is None:
            request.extensions[_FIRST_KIND] = _kind_of_peer(response)
        return response

    async def aclose(self) -> None:
        transports, self._transports = list(self._transports.values()), {}
        if self._proxied is not None:
            transports.append(self._proxied)
            self._proxied = None
        for transport in transports:
            await transport.aclose()

    def _transport(self, first: AddressKind | None, is_demo: bool) -> _PoolTransport:
        key = first, is_demo
        if key not in self._transports:
            policy = self._policy if first is None else self._policy.after(first)
            guard = _GuardedBackend(policy.for_demo() if is_demo else policy)
            self._transports[key] = _PoolTransport(guard, self._limit, self._network.tls())
        return self._transports[key]

    def _through_proxy(self) -> _PoolTransport:
        if self._proxied is None:
            proxy = _proxy(self._network.proxy)
            # The operator named it: its address needs no permission.
            plain = httpcore2.AnyIOBackend()
            self._proxied = _PoolTransport(plain, self._limit, self._network.tls(), proxy)
        return self._proxied


async def _outside(host: str) -> list[Address] | None:
    """The addresses of a host that is public, none when it is unknown here; None for everything else."""
    if is_loopback_name(host):
        return None
    try:
        addresses = await _resolve(host.strip("[]"), 0, RESOLVE_S)
    except (httpcore2.ConnectTimeout, httpcore2.ConnectError):
        return [] if "." in host else None  # a bare word is a name of the local network
    return addresses if all(address_kind(address) == "public" for address in addresses) else None


def _proxy(url: str) -> httpcore2.Proxy:
    parts = urlsplit(url)
    name, password = unquote(parts.username or ""), unquote(parts.password or "")
    bare = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], "", "", ""))
    return httpcore2.Proxy(bare, auth=(name, password) if name else None)


def _kind_of_peer(response: httpx2.Response) -> AddressKind:
    """Where the answer came from; "public", which allows least, when that cannot be told."""
    stream = response.extensions.get("network_stream")
    peer = stream.get_extra_info("server_addr") if stream is not None else None
    try:
        return address_kind(ip_address(str(peer[0]).partition("%")[0])) if peer else "public"
    except ValueError:
        return "public"


class _PoolTransport(httpx2.AsyncHTTPTransport):
    """Connections of one kind.

    Asks for uncompressed answers; takes gzip and deflate from servers that do not listen, so that the limit counts
    what really ends up in memory.
    """

    def __init__(
        self,
        backend: httpcore2.AsyncNetworkBackend,
        limit: int,
        tls: ssl.SSLContext,
        proxy: httpcore2.Proxy | None = None,
    ) -> None:
        super().__init__(verify=tls)
        self._limit = limit
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=1000,
            max_keepalive_connections=100,
            keepalive_expiry=30.0,
            network_backend=backend,
            proxy=proxy,
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.headers["Accept-Encoding"] = "identity"
        response = await super().handle_async_request(request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower().removeprefix("x-")
        if encoding in ("gzip", "deflate") and UNREAD not in request.extensions:
            response.stream = _InflatedStream(response.stream, encoding)
            # The client would unpack it once more, and without bounds.
            del response.headers["Content-Encoding"]
        elif not (encoding in ("identity", "") or UNREAD in request.extensions):
            await response.aclose()
            raise ResourceError(
                f"{request.url.host!r} sent a compressed answer although asked not to, and in a way that is not read "
                f"here; gzip and deflate are",
                code="response_refused",
            )
        response.stream = _LimitedStream(response.stream, self._limit)
        return response


@cache
def _tls(ca_bundle: Path | None = None) -> ssl.SSLContext:
    # Loading the root certificates takes tens of milliseconds: once per process.
    context = httpx2.create_ssl_context()
    if ca_bundle is not None:
        context.load_verify_locations(cafile=str(ca_bundle))
    return context
