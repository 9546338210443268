"""The two projections of a run, the gateway's and the page's, make the same of the same logs."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from innkeeper.gateway.runs.view import project
from tests.console.tools import deno
from tests.console.views import told

Json = dict[str, Any]
FOLD = Path(__file__).with_name("fold.js")
LOGS = sorted((Path(__file__).parent / "logs").glob("*.json"))
PATHS = ("a", "b", "g", "g/b", "g/b/c", "each/7/w", "each", "__proto__", "constructor", "图", "\U0001f600", "\ufb00")
RANDOM_LOGS = 400


@pytest.mark.parametrize("file", LOGS, ids=lambda file: file.stem)
def test_recorded_log_gives_the_recorded_view(file: Path) -> None:
    recorded = json.loads(file.read_text())
    assert json.loads(json.dumps(told(project(recorded["events"])))) == recorded["view"]


def test_recorded_logs_hold_what_happens_to_runs() -> None:
    events = [event for file in LOGS for event in json.loads(file.read_text())["events"]]
    kinds = {event["type"] for event in events}
    assert kinds >= {"NODE_YIELD", "NODE_RETRY", "NODE_ERROR", "NODE_SKIPPED", "NODE_INTERRUPTED", "APPROVAL_ANSWERED"}
    assert kinds >= {"NODE_WAITING", "WORKFLOW_INTERFACE_YIELD", "EXECUTION_STATUS_UPDATE"}


def test_page_and_gateway_make_the_same_of_logs_made_at_random() -> None:
    """Every prefix counts as well: whoever looks in the middle of a run sees what the gateway sees."""
    logs = [_random_log(random.Random(seed)) for seed in range(RANDOM_LOGS)]
    logs += [log[: len(log) // 2] for log in logs]
    found = subprocess.run(
        (deno(), "run", "--quiet", "--no-remote", FOLD),
        input=json.dumps(logs),
        capture_output=True,
        text=True,
        check=True,
    )
    for log, view in zip(logs, json.loads(found.stdout), strict=True):
        assert view == json.loads(json.dumps(told(project(log)))), log


def _random_log(chance: random.Random) -> list[Json]:
    ts = 1_764_432_000_000
    events = []
    for seq in range(1, chance.randrange(2, 60)):
        ts += chance.randrange(3000)
        kind = chance.choice(tuple(PAYLOADS))
        payload = PAYLOADS[kind](chance, chance.choice(PATHS))
        events.append({"seq": seq, "ts": ts, "type": kind, "payload": {**payload, "promptId": "r"}})
    return events


def _some(chance: random.Random, **fields: Any) -> Json:
    """Some of these fields."""
    return {key: value for key, value in fields.items() if chance.random() < 0.5}


def _marks(chance: random.Random) -> Json:
    lists = {"dead": chance.choice([[], ["x"]]), "warnings": chance.choice([[], [{"code": "c", "message": "m"}]])}
    flags = {key: chance.choice([True, False]) for key in ("reused", "stale", "cached")}
    return _some(chance, **lists, **flags, attempt=chance.randrange(1, 4))


def _output(chance: random.Random) -> Json:
    return chance.choice([{}, {"text": "t"}, {"__proto__": {"a": 1}, "n": 1.5, "none": None, "list": [{}, []]}])


def _retry(chance: random.Random, path: str) -> Json:
    told = {"code": "busy", "message": "try later", "retryAt": "2030-01-31T14:05:00.000Z"}
    more = _some(chance, parked=chance.choice([True, False]), reason=chance.choice(["", "so"]), nextAttemptAt="2030")
    return {"nodeId": path, "attempt": 1, "kind": chance.choice(["retry", "wait"]), **told, **more}


def _asks(chance: random.Random, path: str) -> Json:
    more = _some(chance, form=[{"key": "k"}], data={"d": 1}, kind=chance.choice(["approval", "budget"]), attempt=2)
    return {"nodeId": path, "approvalId": path, "until": None, **more}


def _status(chance: random.Random, path: str) -> Json:
    status = chance.choice(["queued", "running", "paused", "interrupting", "complete", "error", "interrupted"])
    return {"status": status, **_some(chance, errorInfo={"message": "m", "code": "c", "nodes": [{"nodeId": path}]})}


def _complete(chance: random.Random, path: str) -> Json:
    node = chance.choice([path] * 9 + ["__WORKFLOW_INTERFACE_OUTPUTS__"])
    return {"nodeId": node, "output": _output(chance), **_marks(chance)}


PAYLOADS = {
    "EXECUTION_STATUS_UPDATE": _status,
    "NODE_EXECUTING": lambda chance, path: {"nodeId": path, **_some(chance, attempt=chance.randrange(1, 4))},
    "NODE_PROGRESS": lambda chance, path: {"nodeId": path, "value": chance.random(), "max": 1},
    "NODE_WARNING": lambda chance, path: {"nodeId": path, "code": chance.choice("ab"), "message": "m"},
    "NODE_STREAM_RESET": lambda chance, path: {"nodeId": path, "attempt": 2},
    "NODE_RETRY": _retry,
    "NODE_WAITING": lambda chance, path: {
        "nodeId": path,
        "kind": chance.choice(["delay", "until", "event"]),
        "until": None,
        **_some(chance, name=chance.choice(["", "go"])),
    },
    "APPROVAL_REQUIRED": _asks,
    "BUDGET_REACHED": _asks,
    "APPROVAL_ANSWERED": lambda chance, path: {
        "nodeId": path,
        **_some(chance, attempt=chance.choice([1, 2]), answer={"approved": True}),
    },
    "NODE_COMPLETE": _complete,
    "NODE_ERROR": lambda chance, path: {
        "nodeId": path,
        "errorDetails": {"message": "m", "code": "c"},
        **_some(chance, attempts=chance.randrange(3)),
    },
    "NODE_SKIPPED": lambda chance, path: {"nodeId": path, **_some(chance, reason="no_value", causeNodeId="a")},
    "NODE_BYPASSED": lambda chance, path: {"nodeId": path, "pseudoOutputs": _output(chance), **_marks(chance)},
    "NODE_INTERRUPTED": lambda chance, path: {"nodeId": path},
    "NODE_YIELD": lambda chance, path: {
        "sourceNodeId": path,
        "yieldedContent": {"type": "text_chunk", "content": "t"},
        "isLastChunk": False,
        "index": 0,
    },
    "WORKFLOW_INTERFACE_YIELD": lambda chance, path: {
        "interfaceOutputKey": path,
        "yieldedContent": {"type": "text_chunk", "content": "t"},
        "isLastChunk": False,
    },
}
