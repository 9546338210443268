"""What a projection says, as JSON: the form in which that of the gateway and that of the page are compared."""

from __future__ import annotations

from typing import Any

from innkeeper.gateway.runs.view import RunView


def told(view: RunView) -> dict[str, Any]:
    """The whole of a view. Sets are sorted; approvals keep their order."""
    waiting = {path: list(wait) for path, wait in view.activity.waiting.items()}
    return {
        "status": view.status,
        "errorInfo": view.error_info,
        "nodes": view.nodes,
        "ended": sorted(view.ended),
        "outputs": view.outputs,
        "approvals": list(view.approvals.values()),
        "activity": {
            "working": sorted(view.activity.working),
            "waiting": waiting,
            "onlyWaits": view.activity.only_waits,
        },
    }
