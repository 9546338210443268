"""Log lines for the start, the end and the errors of runs and nodes: an observer of committed events."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from innkeeper.gateway.events.fence import COMPLETE, ERROR, EXECUTING, STATUS, Event
from innkeeper.nodes.process.logging import Entry, log_lines

logger = logging.getLogger("innkeeper.runs")

_AUDITED = frozenset({STATUS, EXECUTING, COMPLETE, ERROR, "NODE_SKIPPED", "NODE_BYPASSED", "NODE_INTERRUPTED"})


def audit(events: Sequence[Event]) -> None:
    """Log what was committed of one run. Never any content."""
    if logger.isEnabledFor(logging.INFO):
        log_lines(logger, [_entry(event["type"], event["payload"]) for event in events if event["type"] in _AUDITED])


def _entry(kind: str, payload: dict[str, Any]) -> Entry:
    fields: dict[str, Any] = {"event": kind.lower(), "run": payload["promptId"]}
    if kind == STATUS:
        status, info = payload["status"], payload.get("errorInfo") or {}
        fields |= {"event": f"run_{status}", "status": status, "code": info.get("code")}
        return Entry(logging.ERROR if status == "error" else logging.INFO, f"run {status}", fields)
    fields |= {"node": payload["nodeId"], "attempt": payload.get("attempt") or payload.get("attempts")}
    if kind == ERROR:
        fields["code"] = (payload.get("errorDetails") or {}).get("code")
        return Entry(logging.ERROR, "node failed", fields)
    return Entry(logging.INFO, f"node {kind.removeprefix('NODE_').lower()}", fields)
