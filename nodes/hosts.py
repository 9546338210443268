"""Host names as people and URLs write them: are two the same?"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

DEMO_MODEL = "demo"
"""Stands where the address of a model server does: the demo model of the gateway that the worker belongs to."""
_HOST = re.compile(r"[\w.:\[\]-]+")
_DOUBTFUL = re.compile(r"[\\\s\x00-\x1f\x7f]")


def is_demo_model(address: object) -> bool:
    """Does this address name the demo model?"""
    return isinstance(address, str) and address.strip().lower() == DEMO_MODEL


def same_host(host: str, allowed: str) -> bool:
    """Same name, and same port where both name one. What is not plainly a host (`name` or `name:port`) fits nothing."""
    first, second = _split_host(host), _split_host(allowed)
    if first is None or second is None or first[0] != second[0]:
        return False
    return first[1] is None or second[1] is None or first[1] == second[1]


def is_loopback_name(host: str) -> bool:
    """Does this name or address mean this machine only?"""
    name = host.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_plain_host(host: str) -> bool:
    """Is it a host (`name` or `name:port`) and nothing else?"""
    return _split_host(host) is not None


def web_host_of(url: object) -> str | None:
    """`name:port` of an http or https URL that every program reads alike; None for everything else."""
    if not isinstance(url, str) or not url.strip().lower().startswith(("http://", "https://")):
        return None
    # Programs disagree on where a host ends behind such characters.
    host = None if _DOUBTFUL.search(url.strip()) else host_of(url.strip())
    return host if host is not None and is_plain_host(host) else None


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
