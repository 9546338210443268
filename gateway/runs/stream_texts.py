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
KEPT_CHARS_OF_RUN = 2_000_000
"""Beyond, of all texts of a run shorter ends are kept: a run may have thousands of open streams."""
MAX_PARTS = 1000
"""A text of many small pieces takes many times its length: they are joined now and then."""
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
            self.cut(KEPT_CHARS)
        elif len(self.parts) > MAX_PARTS:
            self.parts = ["".join(self.parts)]

    def cut(self, most: int) -> None:
        """Keep at most so many characters, one or more, of the end."""
        if self.chars > most:
            self.parts = ["".join(self.parts)[-most:]]
            self.chars, self.is_cut = most, True

    def to_json(self) -> dict[str, object]:
        return {"text": "".join(self.parts), **({"textCut": True} if self.is_cut else {})}


@dataclass
class StreamTexts:
    """The texts of one run, up to the event `seq`."""

    seq: int = 0
    by_node: dict[str, StreamText] = field(default_factory=dict)
    _chars: int = 0

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
                self._chars -= self.by_node.pop(payload["nodeId"], StreamText()).chars
                return
            text = self.by_node.setdefault(payload["sourceNodeId"], StreamText())
            if "gap" in payload:
                text.is_cut = True
            elif payload["yieldedContent"].get("type") == "text_chunk":
                before = text.chars
                text.add(str(payload["yieldedContent"]["content"]))
                self._chars += text.chars - before
                self._make_room()

    def _make_room(self) -> None:
        """In large steps, for it looks at all texts."""
        if self._chars <= KEPT_CHARS_OF_RUN:
            return
        share = max(1, KEPT_CHARS_OF_RUN // 2 // len(self.by_node))
        for text in self.by_node.values():
            text.cut(share)
        self._chars = sum(text.chars for text in self.by_node.values())
