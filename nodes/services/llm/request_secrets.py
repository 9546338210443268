"""What of a request must not come back in an answer or an error. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import parse_qsl, urlsplit

from innkeeper.nodes.node import ChatRequest

_SECRET_NAME = re.compile(r"(?i)key|token|secret|pass|auth|sig|code")


def keys_of(ask: ChatRequest) -> tuple[str, ...]:
    """The key, and what by its name is one in headers and query. Others, such as a version, people need to see."""
    named = (*ask.traits.headers.items(), *_query(ask))
    return (ask.api_key, *(value for name, value in named if _SECRET_NAME.search(name)))


def secrets_of(ask: ChatRequest) -> tuple[str, ...]:
    """What no error may quote: the keys, and all headers of a channel."""
    return (*keys_of(ask), *ask.traits.headers.values())


def _query(ask: ChatRequest) -> Iterator[tuple[str, str]]:
    with suppress(ValueError):  # it is no URL, which the protocol tells
        yield from parse_qsl(urlsplit(ask.base_url).query)
    yield from ask.traits.query.items()
