"""Log lines for the start, the end and the errors of runs and nodes, derived from committed events."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any

import orjson

from innkeeper.gateway.events.log import Batch, frame_of
from innkeeper.gateway.events.sqlite import SqliteEventLog

logger = logging.getLogger("innkeeper.runs")

_TOLD = re.compile(
    rb'"type":"(EXECUTION_STATUS_UPDATE|NODE_EXECUTING|NODE_COMPLETE|NODE_ERROR|NODE_SKIPPED|NODE_BYPASSED'
    rb'|NODE_INTERRUPTED)"'
)
_HEAD = 100


class NarratedLog(SqliteEventLog):
    """The event log, telling about runs and nodes as they are committed. Never any content."""

    async def append(self, batches: Sequence[Batch]) -> None:
        await super().append(batches)
        if not logger.isEnabledFor(logging.INFO):
            return
        for batch in batches:
            for line in batch.lines:
                if _TOLD.search(line, 0, _HEAD):
                    _tell(orjson.loads(frame_of(line)))


def _tell(event: dict[str, Any]) -> None:
    kind, payload = event["type"], event["payload"]
    told: dict[str, Any] = {"event": kind.lower(), "run": payload["promptId"]}
    if kind == "EXECUTION_STATUS_UPDATE":
        info = payload.get("errorInfo") or {}
        failed = payload["status"] == "error"
        told |= {"event": f"run_{payload['status']}", "status": payload["status"], "code": info.get("code")}
        logger.log(logging.ERROR if failed else logging.INFO, "run %s", payload["status"], extra=told)
        return
    told |= {"node": payload["nodeId"], "attempt": payload.get("attempt") or payload.get("attempts")}
    if kind == "NODE_ERROR":
        told["code"] = (payload.get("errorDetails") or {}).get("code")
        logger.error("node failed", extra=told)
    else:
        logger.info("node %s", kind.removeprefix("NODE_").lower(), extra=told)
