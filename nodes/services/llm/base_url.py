"""Addresses of model servers as people paste them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from innkeeper.nodes.errors import NodeInputError

_ENDPOINTS = ("/chat/completions", "/completions", "/responses", "/models", "/messages", "/api/chat")


@dataclass(frozen=True)
class BaseUrl:
    """Where a server's paths begin, without a slash at the end, and what stands in the query of every request."""

    url: str
    query: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return self.with_path("")

    def with_path(self, path: str, query: Mapping[str, str] | None = None) -> str:
        """The URL of one path; `query` adds to the query and replaces what has the same name."""
        pairs = {**dict(self.query), **(query or {})}
        return f"{self.url}{path}" + (f"?{urlencode(pairs, quote_via=quote)}" if pairs else "")


def base_url_of(text: str) -> BaseUrl:
    """The address in the form that paths can be added to.

    White space around it, slashes at its end and the path of an endpoint (`/chat/completions`) are left out; a query
    (`?api-version=...`) is kept for all requests.

    Raises:
        NodeInputError: It is no http or https URL, or one with a fragment, a name or a password.

    Example:
        >>> str(base_url_of(" https://host/v1/chat/completions?api-version=1 "))
        'https://host/v1?api-version=1'
    """
    try:
        parts = urlsplit(text.strip())
        is_usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise _not_usable() from None
    if not is_usable or parts.scheme not in ("http", "https") or "#" in text or "@" in parts.netloc:
        raise _not_usable()
    if any(not value for _, value in pairs):
        raise _not_usable()
    path = _without_endpoint(parts.path)
    return BaseUrl(urlunsplit((parts.scheme, parts.netloc, path, "", "")), tuple(pairs))


def _without_endpoint(path: str) -> str:
    path = path.rstrip("/")
    for endpoint in _ENDPOINTS:
        if path.endswith(endpoint):
            return path.removesuffix(endpoint).rstrip("/")
    return path


def _not_usable() -> NodeInputError:
    return NodeInputError(
        "base_url is not an http or https URL of a model server; it looks like 'https://host/v1', with a query such "
        "as '?api-version=2024-10-21' where the server needs one, and without '#', name or password"
    )
