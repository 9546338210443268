"""Addresses of a protocol's requests, whichever form of the base URL people paste. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from innkeeper.nodes.errors import NodeInputError

_VERSION = re.compile(r"/v\d+\w*$")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]*")


def base_of(base_url: str, *, cut: tuple[str, ...] = ()) -> str:
    """The base URL without slashes at its end, and without the paths in `cut`, which requests add themselves.

    Raises:
        NodeInputError: It is no http(s) URL, or has a query.
    """
    base = base_url.strip().rstrip("/")
    try:
        parts = urlsplit(base)
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        is_web = False
    if not is_web or "?" in base or "#" in base:
        raise NodeInputError(
            "base_url is not an http or https URL without '?' and '#'; it looks like 'https://host/v1'"
        )
    ending = next((path for path in cut if base.endswith(path)), "")
    return base.removesuffix(ending).rstrip("/")


def versioned(base: str, version: str) -> str:
    """With the version of the API at its end, unless it names one."""
    return base if _VERSION.search(base) else f"{base}/{version}"


def with_query(url: str, query: Mapping[str, str]) -> str:
    """The URL with these parameters behind those it has."""
    if not query:
        return url
    more = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query.items())
    return f"{url}{'&' if '?' in url else '?'}{more}"


def model_path(model: str) -> str:
    """`models/NAME`, for protocols that have the model in their path. `tunedModels/NAME` and such stay as they are.

    Raises:
        NodeInputError: The name would lead to another path.
    """
    parts = model.split("/")
    if len(parts) > 2 or not all(_MODEL.fullmatch(part) for part in parts):
        raise NodeInputError("'model' holds characters that no name of a model has here; it looks like 'gemini-pro'")
    return model if len(parts) == 2 else f"models/{model}"
