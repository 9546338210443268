"""How many tokens a request may take, before anybody has counted them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.nodes.node import ChatRequest

CHARS_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 4
TOKENS_PER_IMAGE = 1_000
USUAL_OUTPUT_TOKENS = 1_024
"""Of a request that does not say how long its answer may be."""
OUTPUT_LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
"""Parameters that say how many tokens an answer may have."""


def estimate_input(request: ChatRequest) -> int:
    """Tokens of the messages: a token takes about four bytes of text, which counts Chinese for more than English."""
    messages = sum(TOKENS_PER_MESSAGE + _content(message.get("content")) for message in request.messages)
    return messages + estimate_text(request.prefix)


def estimate_output(request: ChatRequest) -> int:
    """The most tokens that the answer may have."""
    found = (request.parameters.get(name) for name in OUTPUT_LIMITS)
    given = next((value for value in found if isinstance(value, int) and not isinstance(value, bool)), None)
    return USUAL_OUTPUT_TOKENS if given is None else max(given, 0)


def estimate_text(text: str) -> int:
    """Tokens of a text."""
    return -(-len(text.encode(errors="replace")) // CHARS_PER_TOKEN)


def _content(content: Any) -> int:
    if isinstance(content, str):
        return estimate_text(content)
    if not isinstance(content, list):
        return 0
    return sum(_part(part) for part in content if isinstance(part, Mapping))


def _part(part: Mapping[str, Any]) -> int:
    text = part.get("text")
    return estimate_text(text) if isinstance(text, str) else TOKENS_PER_IMAGE
