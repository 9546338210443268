"""The state of a run as its events tell it. Pure: events in, views out.

The console has a twin of it, and of `Activity`: `gateway/console/run/project.js`. Tests compare the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from innkeeper.gateway.events.activity import Activity
from innkeeper.gateway.moments import iso
from innkeeper.nodes.call import is_blob

JsonObject = dict[str, Any]
INTERFACE_NODE = "__WORKFLOW_INTERFACE_OUTPUTS__"
FINAL = frozenset({"complete", "error", "interrupted"})
TERMINAL_TYPES = frozenset({"NODE_COMPLETE", "NODE_ERROR", "NODE_SKIPPED", "NODE_BYPASSED", "NODE_INTERRUPTED"})

_UNTIL_NEXT_ATTEMPT = ("retryAt", "nextAttemptAt", "reason", "lastError")
MARKS = ("dead", "reused", "stale", "cached", "warnings")
"""Of a node that ended: outputs that will never come; outputs taken over from another run, from one of another graph;
from the result cache; what the node told its user."""


@dataclass
class RunView:
    """What the events so far say.

    Attributes:
        status: The last EXECUTION_STATUS_UPDATE, None before the first.
        nodes: Node path to `{status, output?, error?, attempts?, startedAt?, endedAt?, ...}`; until its next attempt
            begins a node has `retryAt` and `nextAttemptAt` (ISO, the same), `reason` (why it waits) and `lastError`
            (`{code, message}`).
        ended: Paths that have their terminal event.
        outputs: Interface outputs as announced, None before they were.
        approvals: Node path to `{promptId, nodeId, approvalId, kind, status, until, form, data, requiredAt, seq,
            answer?}` in the order they were asked for; `kind` is `approval` or `budget` (which has `scope`, `limit` and
            `used` too), `status` is `open`, `answered`, or `closed` (nobody answered).
        activity: What works and what waits now.
    """

    status: str | None = None
    error_info: JsonObject | None = None
    nodes: dict[str, JsonObject] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    outputs: JsonObject | None = None
    approvals: dict[str, JsonObject] = field(default_factory=dict)
    activity: Activity = field(default_factory=Activity)

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    def node(self, path: str) -> JsonObject:
        return self.nodes.setdefault(path, {})


def project(events: Iterable[Mapping[str, Any]]) -> RunView:
    """Fold a run's events, in order, into its state."""
    view = RunView()
    for event in events:
        apply(view, event)
    return view


def apply(view: RunView, event: Mapping[str, Any]) -> None:
    kind, payload, moment = event["type"], event["payload"], iso(event["ts"])
    if "nodeId" in payload:
        view.activity.apply(payload["nodeId"], kind, payload)
    if kind == "EXECUTION_STATUS_UPDATE":
        view.status, view.error_info = payload["status"], payload.get("errorInfo")
    elif kind == "NODE_COMPLETE" and payload["nodeId"] == INTERFACE_NODE:
        view.outputs = payload["output"]
    elif kind == "NODE_EXECUTING":
        _executing(view, payload, moment)
    elif kind == "NODE_PROGRESS":
        view.node(payload["nodeId"])["progress"] = {"value": payload["value"], "max": payload["max"]}
    elif kind == "NODE_WARNING" and payload["nodeId"] not in view.ended:
        _warning(view, payload)
    elif kind == "NODE_RETRY" and payload["nodeId"] not in view.ended:
        _retry(view, payload)
    elif kind in _WAIT and payload["nodeId"] not in view.ended:
        _WAIT[kind](view, event, moment)
    elif kind in TERMINAL_TYPES and payload["nodeId"] not in view.ended:
        _ended(view, kind, payload, moment)


def _executing(view: RunView, payload: Mapping[str, Any], moment: str) -> None:
    if payload["nodeId"] in view.ended:
        return
    node = view.node(payload["nodeId"])
    for passing in ("progress", "wait", *_UNTIL_NEXT_ATTEMPT):
        node.pop(passing, None)
    _close(view, payload["nodeId"], moment)
    node.update(status="running", attempts=payload.get("attempt", 1))
    node.setdefault("startedAt", moment)


def _retry(view: RunView, payload: Mapping[str, Any]) -> None:
    status = "waiting" if payload["kind"] == "wait" or payload.get("parked") else "running"
    error = {"code": payload["code"], "message": payload["message"]}
    told = {"nextAttemptAt": payload.get("nextAttemptAt", payload["retryAt"])}
    if payload.get("reason"):
        told["reason"] = payload["reason"]
    view.node(payload["nodeId"]).update(status=status, retryAt=payload["retryAt"], lastError=error, **told)


def _warning(view: RunView, payload: Mapping[str, Any]) -> None:
    """Told while the node runs. The warnings that come with its end replace these: they hold them, too."""
    node = view.node(payload["nodeId"])
    warning = {"code": payload["code"], "message": payload["message"]}
    known = node.get("warnings", [])
    node["warnings"] = known if warning in known else [*known, warning]


def _ended(view: RunView, kind: str, payload: Mapping[str, Any], moment: str) -> None:
    path = payload["nodeId"]
    view.ended.add(path)
    node = view.node(path)
    for passing in ("progress", "wait", *_UNTIL_NEXT_ATTEMPT):
        node.pop(passing, None)
    node.update(_END[kind](payload), endedAt=moment)
    _close(view, path, moment)


def _close(view: RunView, path: str, moment: str) -> None:
    """Whatever the node has asked is not asked any more."""
    asked = view.approvals.get(path)
    if asked is not None and asked["status"] == "open":
        asked.update(status="closed", closedAt=moment)


def _waiting(view: RunView, event: Mapping[str, Any], moment: str) -> None:
    payload = event["payload"]
    wait = {key: value for key, value in payload.items() if key not in ("promptId", "nodeId")}
    view.node(payload["nodeId"]).update(status="waiting", wait=wait)


def _approval_required(view: RunView, event: Mapping[str, Any], moment: str) -> None:
    _waiting(view, event, moment)
    # A node that asks again does so at the end: pages of the list go on behind a number.
    view.approvals.pop(event["payload"]["nodeId"], None)
    asked = {"kind": "approval", "form": [], "data": None, **event["payload"]}
    view.approvals[asked["nodeId"]] = {**asked, "status": "open", "requiredAt": moment, "seq": event["seq"]}


def _approval_answered(view: RunView, event: Mapping[str, Any], moment: str) -> None:
    path = event["payload"]["nodeId"]
    asked = view.approvals.get(path, {})
    if asked.get("attempt") != event["payload"].get("attempt", asked.get("attempt")):
        return  # it has asked again meanwhile
    node = view.node(path)
    if node.pop("wait", None) is not None:
        node["status"] = "running"
    answered = {"status": "answered", "answer": event["payload"].get("answer"), "answeredAt": moment}
    view.approvals.setdefault(path, {"approvalId": path, "nodeId": path, "seq": event["seq"]}).update(answered)


_WAIT: dict[str, Callable[[RunView, Mapping[str, Any], str], None]] = {
    "NODE_WAITING": _waiting,
    "APPROVAL_REQUIRED": _approval_required,
    "BUDGET_REACHED": _approval_required,
    "APPROVAL_ANSWERED": _approval_answered,
}


def marks(source: Mapping[str, Any]) -> JsonObject:
    """What else is said of a node that has given its outputs."""
    return {key: source[key] for key in MARKS if source.get(key)}


def _error(payload: Mapping[str, Any]) -> JsonObject:
    ended: JsonObject = {"status": "error", "error": payload["errorDetails"]}
    return {**ended, "attempts": payload["attempts"]} if payload.get("attempts") else ended


_END: dict[str, Callable[[Mapping[str, Any]], JsonObject]] = {
    "NODE_COMPLETE": lambda payload: {
        "status": "complete",
        "output": payload["output"],
        "attempts": payload.get("attempt", 1),
        **marks(payload),
    },
    "NODE_ERROR": _error,
    "NODE_SKIPPED": lambda payload: {
        "status": "skipped",
        "reason": payload.get("reason"),
        "cause": payload.get("causeNodeId"),
    },
    # To clients a bypassed node counts as skipped, although it gave values.
    "NODE_BYPASSED": lambda payload: {
        "status": "skipped",
        "reason": "bypassed",
        "output": payload["pseudoOutputs"],
        **marks(payload),
    },
    "NODE_INTERRUPTED": lambda payload: {"status": "interrupted"},
}


# --- what clients see of values -----------------------------------------------------------------------------------


def for_clients(run: str, path: str, output: Mapping[str, Any]) -> JsonObject:
    """A node's outputs with an address for every value that is stored apart; of streams text and count."""
    return {slot: _shown(value, output_url(run, path, slot)) for slot, value in output.items()}


def nodes_for_clients(run: str, nodes: Mapping[str, JsonObject]) -> dict[str, JsonObject]:
    """A table of node states as clients see it."""
    return {
        path: {**node, "output": for_clients(run, path, node["output"])} if node.get("output") else dict(node)
        for path, node in nodes.items()
    }


def output_url(run: str, path: str, slot: str) -> str:
    return f"/api/prompt/{quote(run, safe='')}/outputs/{quote(path)}/{quote(slot, safe='')}"


def is_stream_value(value: Any) -> bool:
    """Is this what a stream slot collected: `{"text", "chunks"[, "items"]}`?"""
    return isinstance(value, Mapping) and value.keys() - {"items"} == {"text", "chunks"}


def _shown(value: Any, url: str) -> Any:
    if is_blob(value):
        return {**value, "url": url}
    if is_stream_value(value):
        text = value["text"]
        return {"text": {**text, "url": url} if is_blob(text) else text, "chunks": value["chunks"]}
    return value
