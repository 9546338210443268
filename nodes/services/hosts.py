"""Host names as people and URLs write them: are two the same?"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

_HOST = re.compile(r"[\w.:\[\]-]+")


def same_host(host: str, allowed: str) -> bool:
    """Same name, and same port where both name one. What is not plainly a host (`name` or `name:port`) fits nothing."""
    first, second = _split_host(host), _split_host(allowed)
    if first is None or second is None or first[0] != second[0]:
        return False
    return first[1] is None or second[1] is None or first[1] == second[1]


def _split_host(host: str) -> tuple[str, int | None] | None:
    # Nothing but names, numbers and brackets: clients disagree on where the host of `a\@b` or `a#@b` ends.
    if not _HOST.fullmatch(host):
        return None
    try:
        parts = urlsplit(f"//{host}")
        return (_bare(parts.hostname), parts.port) if parts.hostname else None
    except ValueError:
        return None


def host_of(url: str) -> str | None:
    """`name:port` of a URL, the port always told: another port of the same machine is another service."""
    try:
        parts = urlsplit(url)
        host = _bare(parts.hostname)
        return f"{host}:{parts.port or (80 if parts.scheme == 'http' else 443)}" if host else None
    except ValueError:
        return None


def _bare(name: str | None) -> str:
    name = (name or "").rstrip(".")
    return f"[{name}]" if ":" in name else name


def is_loopback(host: str) -> bool:
    """Does this name or address mean this machine only?"""
    name = host.strip("[]")
    if name.lower() == "localhost" or name.lower().endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
