"""A client that watches a run through everything, as a browser would: it applies what it is told, nothing else."""

from __future__ import annotations

from collections import Counter
from typing import Any

TERMINAL = frozenset({"NODE_COMPLETE", "NODE_ERROR", "NODE_SKIPPED", "NODE_BYPASSED", "NODE_INTERRUPTED"})


class Viewer:
    """What one viewer sees of a run. `apply` raises AssertionError as soon as the order is wrong."""

    def __init__(self) -> None:
        self.seq = 0
        self.types: list[str] = []
        self.chunks: dict[str, list[dict[str, Any]]] = {}
        self.terminal: Counter[str] = Counter()
        self.executing: Counter[str] = Counter()
        self.status = ""
        self.first_chunk: dict[str, int] = {}
        self.ended: dict[str, int] = {}

    def apply(self, event: dict[str, Any]) -> None:
        assert event["seq"] == self.seq + 1, f"after {self.seq} came {event['seq']}"
        self.seq = event["seq"]
        kind, payload = event["type"], event["payload"]
        self.types.append(kind)
        known = ("", "queued", "running", "paused", "interrupting")
        assert self.status in known, f"{kind} after the final status"
        if kind == "EXECUTION_STATUS_UPDATE":
            self.status = payload["status"]
        elif kind == "NODE_EXECUTING":
            self.executing[payload["nodeId"]] += 1
        elif kind == "NODE_STREAM_RESET":
            self.chunks.pop(payload["nodeId"], None)
        elif kind == "NODE_YIELD" and "index" in payload:
            mine = self.chunks.setdefault(payload["sourceNodeId"], [])
            assert payload["index"] == len(mine), f"chunk {payload['index']} after {len(mine)} chunks"
            mine.append(payload["yieldedContent"])
            self.first_chunk.setdefault(payload["sourceNodeId"], self.seq)
        elif kind in TERMINAL:
            self.terminal[payload["nodeId"]] += 1
            self.ended[payload["nodeId"]] = self.seq

    def text(self, node: str) -> str:
        return "".join(chunk["content"] for chunk in self.chunks.get(node, ()) if chunk["type"] == "text_chunk")
