"""Recorded runs of ComfyTavern, played through the real stack: gateway, Temporal server, worker.

The folder is `tests/vectors/data`, or `VECTORS_DIR`. Files whose graphs use node types that are not here are skipped.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from innkeeper.nodes.catalogue.plugins import load_catalogue
from innkeeper.nodes.definition import Retry
from innkeeper.nodes.errors import InvalidWorkflow
from innkeeper.workflows.compiler.compile import compile_document
from innkeeper.workflows.document.model import parse_document
from innkeeper.workflows.plan import RunPlan
from tests.effort import LONG
from tests.vectors.compare import is_rejected, is_stream, same, same_chunks
from tests.vectors.deviations import ASKED_AGAIN, EXTRA_OUTPUTS, OUR_OUTPUTS, SLOWED, SOFT_ERRORS_ARE_HARD
from tests.vectors.stack import PLUGINS, Stack

FOLDER = Path(os.environ.get("VECTORS_DIR") or Path(__file__).parent / "data")
CATALOGUE = load_catalogue([PLUGINS])
FILES = sorted(FOLDER.glob("*.json"))
BUILT = {
    "core:APISettings",
    "core:ApplyRegex",
    "core:CharacterCardLoader",
    "core:ContextBuilder",
    "core:CreateMessage",
    "core:GenericLlmRequest",
    "core:GroupInput",
    "core:GroupOutput",
    "core:History",
    "core:HistoryLoader",
    "core:MathOperation",
    "core:MatrixOperation",
    "core:MergeHistory",
    "core:MergeMessages",
    "core:OpenAI",
    "core:OpenAIChat",
    "core:PresetLoader",
    "core:RandomNumber",
    "core:RegexRuleLoader",
    "core:StreamAggregator",
    "core:StreamLogger",
    "core:StreamSuffixRelay",
    "core:TestWidgets",
    "core:TextMerge",
    "core:WorldBookLoader",
}


def _load(file: Path) -> dict[str, Any]:
    vector: dict[str, Any] = json.loads(file.read_text())
    return vector


def _missing_types(vector: dict[str, Any]) -> set[str]:
    nodes = [*(vector.get("payload") or {}).get("nodes", []), *(vector.get("storage") or {}).get("nodes", [])]
    types = {str(node.get("fullType") or node.get("type")) for node in nodes}
    return {name for name in types if not name.startswith("test:")} - BUILT


def _slow_down(document: dict[str, Any], factor: int) -> None:
    for node in document["nodes"]:
        values = node.get("inputs") or node.get("inputValues") or {}
        if "delay" in values:
            values["delay"] *= factor


async def worker_away(stack: Stack) -> None:
    """Have no worker for a moment, so that an interruption comes before the first node for certain: the next one needs
    seconds to start. One that was only stopped would be given the run all the same."""
    os.kill(stack.local.pids()["worker-1"], signal.SIGKILL)
    await asyncio.sleep(0.3)  # until the server knows


RUNNABLE = [file for file in FILES if _load(file).get("kind") != "scheduler" and not file.stem.startswith("group_")]
"""Groups are played by test_groups.py, in their stored form: their payloads show the defects of another flattening."""

STORED = [file for file in RUNNABLE if _load(file).get("storageRunnable")]
PLAYED = [(file, "payload") for file in RUNNABLE] + [(file, "storage") for file in (STORED if LONG else STORED[::4])]
"""Stored forms are compiled to the same plans, which test_both_forms_are_one_plan sees to, so some runs of them do."""


@pytest.mark.parametrize("file", STORED, ids=[file.stem for file in STORED])
def test_both_forms_are_one_plan(file: Path) -> None:
    """What a run does is in its plan: of a stored document only the name is added."""
    vector = _load(file)
    if missing := _missing_types(vector):
        pytest.skip(f"needs node types that are not built yet: {', '.join(sorted(missing))}")
    assert _compiled(vector["storage"]) == _compiled(vector["payload"])


def _compiled(raw: dict[str, Any]) -> RunPlan | list[tuple[str, ...]]:
    """The plan, without its name, or what is wrong with the document."""
    try:
        document = parse_document(raw)
        return replace(compile_document(document, CATALOGUE, secret_id=str).plan, workflow_name=None)
    except InvalidWorkflow as refused:
        return [(problem.code, problem.node or "", problem.slot or "") for problem in refused.problems]


@pytest.mark.parametrize(("file", "form"), PLAYED, ids=[f"{file.stem}-{form}" for file, form in PLAYED])
async def test_recorded_run(stack: Stack, file: Path, form: str) -> None:
    vector = _load(file)
    if missing := _missing_types(vector):
        pytest.skip(f"needs node types that are not built yet: {', '.join(sorted(missing))}")
    document = json.loads(json.dumps(vector[form]).replace("{{LLM_BASE}}", stack.models.url))
    stack.write_files(vector.get("files") or {})
    stack.write_channels(None if vector.get("noServices") else vector.get("channels"))
    _slow_down(document, SLOWED.get(file.stem, 1))
    exchanges = (vector.get("sane") or {}).get("llm") or vector.get("llm") or []
    # A node that fails asks again as often as it may, here without long pauses; what was recorded asked once.
    fails = file.stem in SOFT_ERRORS_ARE_HARD or _target(vector)["status"] == "error"
    stack.models.play(exchanges * 4 if fails else exchanges)
    for node in document["nodes"] if fails else ():
        node["retry"] = {"initialSeconds": 0.05}
    interrupt = (vector.get("interrupt") or {}).get("when")
    if interrupt == "before_first_node":
        await worker_away(stack)
        answer = await stack.submit(document)
        await stack.http.delete(f"/api/interrupt/{answer.json()['promptId']}")
        interrupt = None
    else:
        answer = await stack.submit(document)
    if answer.status_code == 422:
        check_refusal(vector, answer.json())
        return
    assert answer.status_code == 200, answer.text
    run = answer.json()["promptId"]
    async with asyncio.timeout(60):
        events = await stack.events(run, interrupt)
    await check_run(stack, file.stem, vector, run, events)


def check_refusal(vector: dict[str, Any], body: dict[str, Any]) -> None:
    """Refused runs had an error at each node that we name."""
    states = _target(vector)["nodeStates"]
    named = {problem["node"] for problem in body["problems"] if problem["level"] == "error"}
    failed = {node for node, state in states.items() if state == "error"}
    assert named, body
    assert named <= failed, body


async def check_run(stack: Stack, name: str, vector: dict[str, Any], run: str, events: list[dict[str, Any]]) -> None:
    target = _target(vector)
    status = await stack.status(run)
    if name in SOFT_ERRORS_ARE_HARD:
        assert status["status"] == "error"
        failed = [entry for entry in status["nodeStatus"].values() if entry["status"] == "error"]
        assert failed
        if name in ASKED_AGAIN:
            assert [entry["attempts"] for entry in failed] == [Retry().maximum_attempts]
        return
    assert status["status"] == target["status"], status
    assert stack.models.unmatched == []
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    if status["status"] == "interrupted":
        ended = {entry["status"] for entry in status["nodeStatus"].values()}
        assert ended <= {"interrupted", "complete"}
        assert "interrupted" in ended
        check_begun_streams(target, events)
        return
    check_states(target, status)
    for node, outputs in target["nodeOutputs"].items():
        if outputs is not None:
            await check_outputs(stack, run, node, outputs, status, events)
    await check_interface(target, events)


def _target(vector: dict[str, Any]) -> dict[str, Any]:
    """What must come out: of a recording that shows a defect its corrected form."""
    target = dict(vector.get("sane") or vector["expected"])
    for key in ("nodeStates", "nodeOutputs", "interfaceOutputs", "interfaceStreams"):
        if key not in target and key in vector["expected"]:
            target[key] = vector["expected"][key]
    states = target.get("nodeStates", {})
    mine = ((node, found[0]) for (name, node), found in OUR_OUTPUTS.items() if name == vector.get("name"))
    ours = {node: outputs for node, outputs in mine if node in states}
    return _with_ours(target, ours) if ours else target


def _with_ours(target: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """The target with our outputs of some nodes; a node without any fails, and with it the run."""
    states = dict(target["nodeStates"])
    for node, outputs in ours.items():
        was_error = states[node] == "error"
        states[node] = "error" if outputs is None else "complete" if was_error else states[node]
    status = "error" if "error" in states.values() else "complete"
    return {**target, "status": status, "nodeStates": states, "nodeOutputs": {**target["nodeOutputs"], **ours}}


def check_states(target: dict[str, Any], status: dict[str, Any]) -> None:
    got = {node: entry["status"] for node, entry in status["nodeStatus"].items()}
    expected = {node: state for node, state in target["nodeStates"].items() if state is not None}
    assert {node: got.get(node) for node in expected} == expected


async def check_outputs(
    stack: Stack, run: str, node: str, expected: dict[str, Any], status: dict[str, Any], events: list[dict[str, Any]]
) -> None:
    entry = status["nodeStatus"][node]
    if entry["status"] == "error":
        expected = {slot: value for slot, value in expected.items() if is_stream(value)}
    output = entry.get("output") or {}
    for slot, value in expected.items():
        if is_stream(value):
            # A bypassed node has no chunks of its own: its consumers get those of the stream in front of it.
            assert same_chunks(value.get("chunks", []), _chunks(events, node)), f"chunks of {node}.{slot}"
        elif not is_rejected(value) and value != {"$undefined": True}:
            got = await stack.resolved(run, node, output.get(slot), slot)
            assert same(value, got), f"{node}.{slot}: expected {value!r}, got {got!r}"
    unexpected = set(output) - set(expected) - set(EXTRA_OUTPUTS)
    assert not unexpected or entry["status"] == "error", f"{node} has outputs {unexpected}"


def check_begun_streams(target: dict[str, Any], events: list[dict[str, Any]]) -> None:
    """How far a stream came until it was interrupted is timing; as far as both came they are equal."""
    for node, outputs in target["nodeOutputs"].items():
        for slot, value in (outputs or {}).items():
            if is_stream(value):
                pairs = zip(_chunks(events, node), value.get("chunks", []), strict=False)
                assert all(got == expected for got, expected in pairs), f"chunks of {node}.{slot}"


def _chunks(events: list[dict[str, Any]], node: str) -> list[Any]:
    """The chunks of a node's last attempt."""
    chunks: list[Any] = []
    for event in events:
        payload = event["payload"]
        if event["type"] == "NODE_STREAM_RESET" and payload["nodeId"] == node:
            chunks.clear()
        elif event["type"] == "NODE_YIELD" and payload["sourceNodeId"] == node and "index" in payload:
            chunks.append(payload["yieldedContent"])
    return chunks


async def check_interface(target: dict[str, Any], events: list[dict[str, Any]]) -> None:
    expected = target.get("interfaceOutputs")
    if expected is None:
        return
    got = next(
        event["payload"]["output"]
        for event in events
        if event["type"] == "NODE_COMPLETE" and event["payload"]["nodeId"] == "__WORKFLOW_INTERFACE_OUTPUTS__"
    )
    for key, value in expected.items():
        if is_stream(value):
            assert isinstance(got[key], str), "an unflagged stream output gives its collected text"
        else:
            assert same(value, got.get(key)), f"{key}: {got.get(key)!r}"
    for key, chunks in (target.get("interfaceStreams") or {}).items():
        # The recording ends each interface stream with a synthetic chunk; ours ends with an empty, unindexed frame.
        assert _interface_chunks(events, key) == chunks[:-1]


def _interface_chunks(events: list[dict[str, Any]], key: str) -> list[Any]:
    payloads = [event["payload"] for event in events if event["type"] == "WORKFLOW_INTERFACE_YIELD"]
    mine = [payload for payload in payloads if payload["interfaceOutputKey"] == key]
    assert [payload["isLastChunk"] for payload in mine].count(True) == 1
    assert mine[-1]["isLastChunk"]
    ends_itself = mine[-1]["yieldedContent"].get("content") != ""
    return [payload["yieldedContent"] for payload in (mine if ends_itself else mine[:-1])]


def test_every_listed_deviation_has_its_file() -> None:
    names = {file.stem for file in (Path(__file__).parent / "data").glob("*.json")}
    assert set(SOFT_ERRORS_ARE_HARD) | set(SLOWED) | {name for name, _ in OUR_OUTPUTS} <= names
