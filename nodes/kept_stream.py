"""What an earlier attempt of a node has sent to its stream, as the log tells the attempt that keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class KeptStream:
    """The chunks of the stream so far.

    Attributes:
        text, reasoning: Of its `text_chunk`s and `reasoning_chunk`s, put together.
        kinds: Types of its chunks; `hole`: some were dropped, `too_large`: text and reasoning are not told.
        legs: `(attempt, characters of text and reasoning)` of each attempt that has sent some.
        usage, finish: Content of the last `usage_chunk` and `finish_reason_chunk` (without `accumulated_text`).
    """

    text: str = ""
    reasoning: str = ""
    kinds: frozenset[str] = frozenset()
    legs: tuple[tuple[int, int], ...] = ()
    usage: Any = None
    finish: Any = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> KeptStream:
        return cls(
            text=data.get("text") or "",
            reasoning=data.get("reasoning") or "",
            kinds=frozenset(data.get("kinds") or ()),
            legs=tuple((attempt, chars) for attempt, chars in data.get("legs") or ()),
            usage=data.get("usage"),
            finish=data.get("finish"),
        )
