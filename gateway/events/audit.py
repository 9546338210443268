"""Log lines for the start, the end and the errors of runs and nodes: an observer of committed events."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from innkeeper.gateway.events.fence import COMPLETE, ERROR, EXECUTING, STATUS, Event

logger = logging.getLogger("innkeeper.runs")

_AUDITED = frozenset({STATUS, EXECUTING, COMPLETE, ERROR, "NODE_SKIPPED", "NODE_BYPASSED", "NODE_INTERRUPTED"})


def audit(events: Sequence[Event]) -> None:
    """Log what was committed of one run. Never any content."""
    if not logger.isEnabledFor(logging.INFO):
        return
    for event in events:
        if event["type"] in _AUDITED:
            _log(event["type"], event["payload"])


def _log(kind: str, payload: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"event": kind.lower(), "run": payload["promptId"]}
    if kind == STATUS:
        info = payload.get("errorInfo") or {}
        failed = payload["status"] == "error"
        fields |= {"event": f"run_{payload['status']}", "status": payload["status"], "code": info.get("code")}
        logger.log(logging.ERROR if failed else logging.INFO, "run %s", payload["status"], extra=fields)
        return
    fields |= {"node": payload["nodeId"], "attempt": payload.get("attempt") or payload.get("attempts")}
    if kind == ERROR:
        fields["code"] = (payload.get("errorDetails") or {}).get("code")
        logger.error("node failed", extra=fields)
    else:
        logger.info("node %s", kind.removeprefix("NODE_").lower(), extra=fields)
