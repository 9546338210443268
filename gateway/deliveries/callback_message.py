"""What is told of a run: one small JSON object with links to the rest. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import orjson

from innkeeper.gateway.moments import iso
from innkeeper.gateway.runs.view import INTERFACE_NODE, output_url

JsonObject = dict[str, Any]
MAX_BYTES = 20_000
"""Receivers take messages of this size; what is larger is behind the links."""
MAX_NAME_CHARS = 200
MAX_ERROR_CHARS = 1_000
MAX_OUTPUTS = 50
WAITING = "waiting"
WAITS = frozenset({"approval", "budget", "event"})
"""Kinds of waits for somebody outside."""


@dataclass(frozen=True)
class RunFacts:
    """What a message says of its run.

    Attributes:
        at: When it ended, or began to wait; milliseconds since 1970.
        error: `{"message", "code"}` of a run that failed.
        outputs: Names of its interface outputs.
        wait: What it waits for: the payload of the event that says so.
    """

    run: str
    status: str
    at: int
    workflow_id: str | None = None
    workflow_name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    error: Mapping[str, Any] | None = None
    outputs: tuple[str, ...] = ()
    wait: Mapping[str, Any] | None = None


def message_of(facts: RunFacts) -> bytes:
    """The body of a message, at most MAX_BYTES: what does not fit is left out, the least needed first."""
    data = _data(facts)
    for drop in ((), ("links", "outputs"), ("labels",), ("wait",)):
        _without(data, drop)
        message = {"type": f"run.{facts.status}", "timestamp": iso(facts.at), "data": data}
        body = orjson.dumps(message)
        if len(body) <= MAX_BYTES:
            break
    return body


def _without(data: JsonObject, path: tuple[str, ...]) -> None:
    if path:
        inner = data
        for key in path[:-1]:
            inner = inner[key]
        inner.pop(path[-1], None)


def _data(facts: RunFacts) -> JsonObject:
    url = f"/api/prompt/{quote(facts.run, safe='')}"
    links: JsonObject = {"run": url}
    if facts.outputs:
        links["outputs"] = {name: output_url(facts.run, INTERFACE_NODE, name) for name in facts.outputs[:MAX_OUTPUTS]}
    if facts.wait is not None:
        links["approvals"] = f"{url}/approvals"
    data: JsonObject = {
        "runId": facts.run,
        "status": facts.status,
        "workflowId": facts.workflow_id,
        "workflowName": facts.workflow_name and facts.workflow_name[:MAX_NAME_CHARS],
        "labels": dict(facts.labels),
        "error": facts.error and _error(facts.error),
        "wait": facts.wait and _wait(facts.wait),
        "links": links,
    }
    return {key: value for key, value in data.items() if value is not None}


def _error(error: Mapping[str, Any]) -> JsonObject:
    return {"message": str(error.get("message", ""))[:MAX_ERROR_CHARS], "code": str(error.get("code", ""))}


def _wait(payload: Mapping[str, Any]) -> JsonObject:
    """Without the data that somebody is to approve: it may be large, and is not for everybody."""
    keys = ("kind", "nodeId", "approvalId", "name", "until", "scope", "limit", "used")
    return {key: payload[key] for key in keys if payload.get(key) is not None}


def wait_event(wait: Mapping[str, Any], node: str) -> str:
    """By what a wait of a node is known among the messages of its run: a node waits once, or once in an attempt."""
    kind = f"{wait['kind']} {wait['attempt']}" if "attempt" in wait else str(wait["kind"])
    return f"{WAITING}-{hashlib.sha256(f'{kind}:{node}'.encode()).hexdigest()[:16]}"


def shown_event(event: str) -> str:
    """What a receiver asked to be told of, of the name by which a message is known."""
    return event.partition("-")[0]


def message_id(run: str, position: int, event: str) -> str:
    """By what a receiver knows a message: its `webhook-id`, also when it is sent anew."""
    return f"callback-{run}-{position}-{event}"


def workflow_id(run: str, position: int, event: str, sends: int) -> str:
    """Temporal's id of the workflow that sends a message; each time that a user has it sent anew it is another one."""
    first = message_id(run, position, event)
    return first if sends == 1 else f"{first}-{sends}"
