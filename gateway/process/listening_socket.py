"""The gateway's listening socket: made before the gateway starts, so that it keeps its port when it is restarted."""

from __future__ import annotations

import errno
import socket

from innkeeper.nodes.errors import InnkeeperError

BACKLOG = 2048
UNREAD_MS = 60_000
"""A peer that takes nothing of what was sent for so long is gone, also for the system (Linux)."""


class CannotListen(InnkeeperError):
    """The address cannot be listened on."""

    code = "cannot_listen"


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 takes a free one.

    Raises:
        CannotListen: The port is taken or not allowed, or the host is not ours.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return _bound(socket.socket(family, kind, protocol), address)
    except OSError as error:
        raise CannotListen(_sentence(host, port, error)) from error


def _bound(sock: socket.socket, address: tuple[object, ...]) -> socket.socket:
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # connections inherit it
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _sentence(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is taken by another program: stop that one or choose another port with --port "
            "(0 takes a free one)"
        )
    if error.errno == errno.EACCES:
        return f"port {port} needs special rights: choose one above 1023 with --port"
    return f"cannot listen on {host}:{port} ({error.strerror or error}): choose another --host or --port"


def url_of(sock: socket.socket) -> str:
    """The address under which this machine reaches a listening socket."""
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
