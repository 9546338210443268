"""What must hold for every run after chaos, by its viewers, log, Temporal history and the file of executions."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from temporalio.client import Client

from innkeeper.gateway.client import GatewayClient
from tests.crash.chaos.kinds import Plan
from tests.crash.chaos.storm import Told
from tests.crash.chaos.viewers import StreamViewer

Json = dict[str, Any]
ENDS = {
    "NODE_COMPLETE": "complete",
    "NODE_ERROR": "error",
    "NODE_SKIPPED": "skipped",
    "NODE_BYPASSED": "skipped",
    "NODE_INTERRUPTED": "interrupted",
}
OUTPUTS = "__WORKFLOW_INTERFACE_OUTPUTS__"


@dataclass(frozen=True)
class Execution:
    """One line of the file in which nodes write down that they are executed."""

    run: str
    path: str
    attempt: int
    pid: int
    at_ms: int


class LogView(StreamViewer):
    """One who reads the whole log after the end: how each node ended, when, and in which attempt."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: dict[str, str] = {}
        self.ended_ms: dict[str, int] = {}
        self.attempts: dict[str, int] = {}
        self.resets = 0
        self.answers: Counter[str] = Counter()
        self.reused: set[str] = set()

    def apply(self, event: Json) -> None:
        super().apply(event)
        self.resets += event["type"] == "NODE_STREAM_RESET"
        if event["type"] == "APPROVAL_ANSWERED":
            self.answers[event["payload"]["approvalId"]] += 1
        if event["type"] in ENDS and event["payload"]["nodeId"] != OUTPUTS:
            payload = event["payload"]
            path = payload["nodeId"]
            self.ends[path], self.ended_ms[path] = ENDS[event["type"]], event["ts"]
            self.attempts[path] = payload.get("attempt", 0)
            if payload.get("reused"):
                self.reused.add(path)

    @property
    def was_disturbed(self) -> bool:
        """Did a node begin more than once?"""
        return self.executing.total() > len(self.executing)


@dataclass
class Evidence:
    """What is known of a run when all is over."""

    told: Told
    log: LogView
    status: Json
    result: Json
    """Of the Temporal workflow."""
    nodes: Json
    """Its node table."""
    executions: list[Execution] = field(default_factory=list)


def read_executions(trace: Path) -> dict[str, list[Execution]]:
    """All executions by run."""
    found = defaultdict(list)
    if not trace.exists():
        return found
    for line in trace.read_text().splitlines():
        run, path, attempt, pid, at_ms = line.split(" ")
        found[run].append(Execution(run, path, int(attempt), int(pid), int(at_ms)))
    return found


async def gather_evidence(told: Told, client: GatewayClient, temporal: Client, blobs: Path) -> Evidence:
    """Read everything that is kept of a run that has ended."""
    log = LogView()
    async for event in client.events(told.run):
        log.apply(event)
    status = await client.status(told.run)
    status["outputs"] = {key: await client.fetch(value) for key, value in (status.get("outputs") or {}).items()}
    result = await temporal.get_workflow_handle(told.run).result()
    nodes = result.get("nodes")
    if nodes is None:
        sha = result["nodes_ref"]["$blob"]
        nodes = json.loads((await asyncio.to_thread(next, blobs.rglob(f"{sha}*"))).read_bytes())
    return Evidence(told, log, status, result, nodes)


def complaints(seen: Evidence) -> Iterator[str]:
    """Everything that is wrong with a run."""
    yield from _wrong_outcome(seen.told.plan, seen)
    yield from _wrong_views(seen)
    yield from _wrong_ends(seen)
    yield from _wrong_executions(seen)


def _wrong_outcome(plan: Plan, seen: Evidence) -> Iterator[str]:
    status, nodes = seen.status, seen.status["nodeStatus"]
    if status["status"] != plan.status:
        yield f"it ended {status['status']!r}, not {plan.status!r}: {status.get('errorInfo')}"
    if plan.outputs and status["outputs"] | plan.outputs != status["outputs"]:
        yield f"its outputs are {status['outputs']!r}, not {plan.outputs!r}"
    ends = {path: nodes.get(path, {}).get("status") for path in plan.ends}
    if ends != plan.ends:
        yield f"its nodes ended {_difference(ends, plan.ends)}"
    if uncached := [path for path in plan.cached if not nodes[path].get("cached")]:
        yield f"not from the cache: {uncached}"
    warnings = {path: len(node["warnings"]) for path, node in nodes.items() if node.get("warnings")}
    if warnings != dict.fromkeys(plan.warned, 1):
        yield f"warnings: {warnings}, wanted one of each of {plan.warned}"


def _wrong_views(seen: Evidence) -> Iterator[str]:
    """Every viewer was told the log, and the log holds every chunk once."""
    plan = seen.told.plan
    for number, viewer in enumerate(seen.told.viewers):
        if viewer.digest.digest() != seen.log.digest.digest():
            yield f"viewer {number} was told something else than the log: {viewer.seq} events of {seen.log.seq}"
    texts = {path: seen.log.text(path) for path in plan.streams}
    if texts != plan.streams:
        yield f"chunks: {_difference(texts, plan.streams)}"
    if plan.stream_outputs and seen.log.outputs != plan.stream_outputs:
        yield f"stream outputs: {_difference(seen.log.outputs, plan.stream_outputs)}"
    if plan.stream_outputs and sorted(seen.log.ended_outputs) != sorted(plan.stream_outputs):
        yield f"ends of stream outputs: {seen.log.ended_outputs}"


def _wrong_ends(seen: Evidence) -> Iterator[str]:
    """One terminal event for each node and for the run, the same as in the history and in the stored result."""
    if twice := {path: count for path, count in seen.log.terminal.items() if count != 1}:
        yield f"terminal events: {twice}"
    if answers := {approval: count for approval, count in seen.log.answers.items() if count != 1}:
        yield f"answers: {answers}"
    if open_nodes := seen.log.executing.keys() - seen.log.ends.keys():
        yield f"nodes without an end: {sorted(open_nodes)}"
    stored = {path: node["status"] for path, node in seen.status["nodeStatus"].items()}
    if stored != seen.log.ends:
        yield f"result and log: {_difference(stored, seen.log.ends)}"
    history = {path: node["status"] for path, node in seen.nodes.items()}
    logged = {path: seen.log.ends.get(path, "nothing") for path in history}
    if {path: end.replace("bypassed", "skipped") for path, end in history.items()} != logged:
        yield f"history and log: {_difference(history, logged)}"
    if seen.result["status"] != seen.log.status:
        yield f"history says {seen.result['status']!r}, the log {seen.log.status!r}"
    if differs := seen.status.get("differs"):
        yield f"log and result disagree about {differs}"


def _wrong_executions(seen: Evidence) -> Iterator[str]:
    """Nothing is executed once its end is logged, apart from attempts that were superseded before they began."""
    for line in seen.executions:
        ended = seen.log.ended_ms.get(line.path)
        if ended is not None and line.at_ms > ended and line.attempt >= seen.log.attempts[line.path] > 0:
            yield f"executed {line.at_ms - ended} ms after its end: {line}"
    per_attempt = Counter((line.path, line.attempt, line.pid) for line in seen.executions)
    if twice := [key for key, count in per_attempt.items() if count > 1]:
        yield f"executed twice in one attempt: {twice}"
    executed = {line.path for line in seen.executions}
    allowed = seen.told.plan.executed
    if allowed is not None and not executed <= set(allowed):
        yield f"executed although taken over: {sorted(executed - set(allowed))}"
    if reused := executed & seen.log.reused:
        yield f"executed although reused: {sorted(reused)}"


def _difference(found: Json, wanted: Json) -> Json:
    """Where two tables differ: found and wanted."""
    keys = sorted(found.keys() | wanted.keys())
    return {key: (found.get(key), wanted.get(key)) for key in keys if found.get(key) != wanted.get(key)}
