"""What the open streams of a run have said so far, for whoever asks for its status while it runs."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from innkeeper.gateway.events.activity import ENDS
from innkeeper.gateway.events.fence import YIELD
from innkeeper.gateway.events.log import EventLog, StoredEvent

KEPT_CHARS = 100_000
"""Of a longer text the end is kept; the whole comes with the end of its node."""
RESET = "NODE_STREAM_RESET"
PAGE = 1000
_HEAD_BYTES = 120
_TYPES = tuple(f'"type":"{kind}"'.encode() for kind in (YIELD, RESET, *sorted(ENDS)))


@dataclass
class StreamText:
    """The text of one stream. `is_cut`: its beginning is not kept."""

    parts: list[str] = field(default_factory=list)
    chars: int = 0
    is_cut: bool = False

    def add(self, text: str) -> None:
        self.parts.append(text)
        self.chars += len(text)
        if self.chars > 2 * KEPT_CHARS:
            self.parts = ["".join(self.parts)[-KEPT_CHARS:]]
            self.chars, self.is_cut = KEPT_CHARS, True

    def to_json(self) -> dict[str, object]:
        return {"text": "".join(self.parts), **({"textCut": True} if self.is_cut else {})}


@dataclass
class StreamTexts:
    """The texts of one run, up to the event `seq`."""

    seq: int = 0
    by_node: dict[str, StreamText] = field(default_factory=dict)

    async def read_to(self, log: EventLog, run: str, seq: int) -> Mapping[str, StreamText]:
        """Follow the log up to this event."""
        while self.seq < seq and (page := await log.read(run, self.seq, PAGE)):
            for event in page:
                if event.seq > seq:
                    return self.by_node
                self._follow(event)
                self.seq = event.seq
        return self.by_node

    def _follow(self, event: StoredEvent) -> None:
        """One that is damaged is lost, the others are not."""
        if not any(kind in event.line[:_HEAD_BYTES] for kind in _TYPES):
            return
        with contextlib.suppress(ValueError, TypeError, LookupError, AttributeError):
            told = event.decode()
            kind, payload = told["type"], told["payload"]
            if kind != YIELD:
                self.by_node.pop(payload["nodeId"], None)
                return
            text = self.by_node.setdefault(payload["sourceNodeId"], StreamText())
            if "gap" in payload:
                text.is_cut = True
            elif payload["yieldedContent"].get("type") == "text_chunk":
                text.add(str(payload["yieldedContent"]["content"]))
