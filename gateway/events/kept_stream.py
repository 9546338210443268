"""What a stream holds that its next attempt keeps, as that attempt is told it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from innkeeper.gateway.events.chunks import Found

MAX_KEPT_BYTES = 4_000_000
"""Of text and reasoning as JSON: an answer is one frame of the worker socket. Of a longer stream nothing is told."""
HOLE = "hole"
TOO_LARGE = "too_large"
REPEATED = "accumulated_text"
"""What the last chunk of an answer of a model repeats of the chunks before it."""


@dataclass
class KeptStreamReader:
    """Collects the chunks of a stream, page by page.

    Attributes:
        kinds: Types of the chunks; also HOLE (some of its chunks were dropped) and TOO_LARGE.
        chars: Characters of text and reasoning, by the attempt that sent them.
        usage, finish: Content of the last `usage_chunk` and `finish_reason_chunk`.
    """

    kinds: set[str] = field(default_factory=set)
    chars: dict[int, int] = field(default_factory=dict)
    usage: Any = None
    finish: Any = None
    _texts: dict[str, list[str]] = field(default_factory=lambda: {"text_chunk": [], "reasoning_chunk": []})
    _bytes: int = 0

    @property
    def is_too_large(self) -> bool:
        return TOO_LARGE in self.kinds

    def add(self, found: Found, expected: int, below: int) -> None:
        """`expected`: the index of the first chunk that was asked for; `below`: what is not asked for any more."""
        if (found.first if found.chunks else found.place.index) != expected:
            self.add_hole()
        for chunk, attempt in list(zip(found.chunks, found.attempts, strict=True))[: below - found.first]:
            self._add_chunk(chunk, attempt)

    def add_hole(self) -> None:
        self.kinds.add(HOLE)

    def to_json(self) -> dict[str, Any]:
        """As docs/worker-protocol.md has it."""
        text, reasoning = ("" if self.is_too_large else "".join(parts) for parts in self._texts.values())
        legs = [[attempt, chars] for attempt, chars in sorted(self.chars.items())]
        told = {"text": text, "reasoning": reasoning, "kinds": sorted(self.kinds), "legs": legs}
        optional = {"usage": self.usage, "finish": self.finish}
        return {**told, **{key: value for key, value in optional.items() if value is not None}}

    def _add_chunk(self, chunk: Mapping[str, Any], attempt: int) -> None:
        kind, content = str(chunk.get("type")), chunk.get("content")
        self.kinds.add(kind)
        if kind in self._texts and isinstance(content, str):
            self._texts[kind].append(content)
            self.chars[attempt] = self.chars.get(attempt, 0) + len(content)
            self._weigh(content)
        elif kind == "usage_chunk":
            self.usage = content
            self._weigh(content)
        elif kind == "finish_reason_chunk":
            self.finish = _without_repetition(content)
            self._weigh(self.finish)

    def _weigh(self, content: Any) -> None:
        self._bytes += len(orjson.dumps(content))
        if self._bytes > MAX_KEPT_BYTES:
            self.kinds.add(TOO_LARGE)
            self.usage = self.finish = None


def _without_repetition(content: Any) -> Any:
    if not isinstance(content, Mapping):
        return content
    return {key: value for key, value in content.items() if key != REPEATED}
