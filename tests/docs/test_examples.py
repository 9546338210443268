"""Every JSON example of docs/ is what the code writes, and what the code reads."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import json
import re
import zlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from temporalio.exceptions import ActivityError, ApplicationError
from websockets.asyncio.client import connect

from innkeeper.activities.link.follower import Follower, StreamEnd
from innkeeper.activities.link.gateway_frame import read_frame
from innkeeper.activities.link.gateway_link import GatewayLink
from innkeeper.activities.link.node_attempt import NodeAttempt
from innkeeper.activities.link.pending_answers import Answer
from innkeeper.activities.link.retry_notice import RetryNotice
from innkeeper.gateway.api.models.runs import RunEvent
from innkeeper.gateway.deliveries.callback_message import RunFacts, message_of
from innkeeper.gateway.events import fence
from innkeeper.gateway.moments import from_iso
from innkeeper.gateway.process.temporal_server import free_port
from innkeeper.gateway.runs.admission import log_meta
from innkeeper.gateway.runs.reruns import read_request
from innkeeper.gateway.runs.run_callbacks import submitted_callback
from innkeeper.gateway.runs.view import project
from innkeeper.nodes.call import BUDGET_REACHED, NodeCall, NodeResult, is_blob
from innkeeper.nodes.kept_stream import KeptStream
from innkeeper.nodes.services.webhook_signing import signing_key
from innkeeper.nodes.worker_protocol import StartPlace
from innkeeper.workflows.engine import waiting
from innkeeper.workflows.engine.iteration_state import IterationState
from innkeeper.workflows.engine.parking import Before, Parking, answered
from innkeeper.workflows.engine.segment_runs import SegmentRuns
from innkeeper.workflows.engine.workflow_context import GraphLocation, RunStart, Wait, WorkflowContext
from innkeeper.workflows.plan import RunPlan
from tests.activities.fake_gateway import FakeGateway, until
from tests.docs.pages import DOCS, examples, json_blocks, table_rows
from tests.gateway.events.test_worker_socket import TOKEN, Gateway, Worker, serve

Json = dict[str, Any]
SAYS = examples()
RUN = "5f0c2a9be1d34477a810"
HISTORIES = DOCS.parent / "tests" / "histories"


def test_every_json_block_is_json_with_a_name_of_its_own() -> None:
    names = [name for _, name, _ in json_blocks()]
    assert [str(page) for page, name, _ in json_blocks() if not name] == []
    assert len(names) == len(set(names)) > 30
    for _, _, body in json_blocks():
        json.loads(body)


# --- worker-protocol.md, fence.md ---------------------------------------------------------------------------------

TURNS = {
    "first-attempt": "first-attempt-answer",
    "second-attempt": "second-attempt-answer",
    "late-chunk": "late-chunk-answer",
    "completion": "completion-answer",
    "third-attempt": "third-attempt-answer",
}


@contextlib.asynccontextmanager
async def greeted(folder: Path) -> AsyncIterator[tuple[Gateway, Worker]]:
    """A gateway with the log of the run, and the worker of the page, which has said its hello."""
    try:
        async with serve(folder) as gateway:
            await gateway.log.create_run(RUN, {})
            headers = {"Authorization": f"Bearer {TOKEN}"}
            async with connect(gateway.url, additional_headers=headers, proxy=None) as socket:
                worker = Worker(socket)
                await worker.raw(SAYS["hello"])
                assert orjson.loads(await socket.recv()) == SAYS["ready"]
                yield gateway, worker
    finally:
        # What the server leaves behind is reported by the garbage collector; in the middle of the report of a failed
        # test, that would hide the failure (Python 3.11).
        gc.collect()


async def say(worker: Worker, name: str) -> Json:
    """Send a frame of the page; gives what the gateway owes for it, in one frame."""
    worker.replies, worker.fenced = {}, []
    await worker.raw(SAYS[name])
    await worker.until_acked(SAYS[name]["m"][-1]["n"])
    given = {"ack": worker.acked, "replies": worker.replies, "fenced": worker.fenced}
    return {key: value for key, value in given.items() if value}


async def stored(gateway: Gateway) -> list[Json]:
    return [event.decode() for event in await gateway.log.read(RUN)]


def timeless(events: list[Json]) -> list[Json]:
    return [{**event, "ts": 0} for event in events]


async def test_conversation_goes_as_the_page_has_it(tmp_path: Path) -> None:
    async with greeted(tmp_path) as (gateway, worker):
        for asked, answered in TURNS.items():
            assert await say(worker, asked) == SAYS[answered]
        assert timeless(await stored(gateway)) == timeless(SAYS["stored-events"])
        await say(worker, "fact")
        assert (await stored(gateway))[-1]["type"] == "NODE_SKIPPED"
        await say(worker, "resumable")
        assert await say(worker, "resume") == SAYS["resume-answer"]
        await say(worker, "keepable")
        assert await say(worker, "keep") == SAYS["keep-answer"]


async def test_follower_of_the_page_gets_its_chunks_and_the_end(tmp_path: Path) -> None:
    async with greeted(tmp_path) as (gateway, worker):
        for name in TURNS:
            await say(worker, name)
        await worker.raw(SAYS["follow"])
        while not (worker.blocks and "end" in worker.blocks[-1]):
            await worker.receive()
        for name in ("got", "unfollow"):
            await worker.raw(SAYS[name])
        (block,) = SAYS["follow-answer"]["streams"]
        # The gateway may tell of the beginning before it has read the chunks.
        assert worker.blocks[-1] == block
        assert await gateway.sockets.drain(0) is False
        while not worker.drains:
            await worker.receive()
        assert {"drain": worker.drains[0]} == SAYS["drain"]
        await say(worker, "drained")


async def test_worker_takes_the_block_of_the_page() -> None:
    follower = Follower("f1", RUN, "story", report=lambda follower: None, restarted=asyncio.Event())
    assert follower.request() == SAYS["follow"]["follow"][0]
    (block,) = SAYS["follow-answer"]["streams"]
    follower.receive(block)
    found = await follower.next(follower.origin, contextlib.nullcontext)
    assert found == block["chunks"][0]
    assert (follower.origin, follower.end) == ((2, 0), StreamEnd("NODE_COMPLETE"))
    assert [follower.id, follower.consumed] == SAYS["got"]["got"][0]


async def test_worker_sends_the_messages_of_the_page_and_reads_its_answers() -> None:
    gateway = FakeGateway(free_port())
    messages = {message["n"]: message for name in TURNS for message in SAYS[name]["m"]}
    replies = {n: reply for name in TURNS.values() for n, reply in SAYS[name].get("replies", {}).items()}
    gateway.answer = lambda message: replies[str(message["n"])]
    await gateway.start()
    hello = SAYS["hello"]["hello"]
    link = GatewayLink(gateway.url, "t", hello["worker"], queues=hello["queues"])
    asked: list[tuple[str, bytes]] = []

    async def start(run: str, request: bytes) -> bool:
        asked.append((run, request))
        return True

    link.start_runs_by(StartPlace(**hello["starts"]), start)
    link.start()
    try:
        await link.connected.wait()
        (wanted,) = SAYS["run-start"]["starts"]
        await gateway.say(starts=[{**wanted, "until": 2**52}])
        await until(lambda: gateway.started == SAYS["run-started"]["started"])
        assert asked == [(wanted["run"], base64.b64decode(wanted["request"]))]
        first, second, third = (NodeAttempt(RUN, "story", (number, 0)) for number in (1, 2, 3))
        type_ = "core:OpenAIChat"
        link.open(first, type_)
        link.chunk(first, 0, {"type": "text_chunk", "content": "Once "})
        link.progress(first, 1, 2)
        assert await link.ask_open(second, type_) == Answer("ok")
        link.chunk(first, 1, {"type": "text_chunk", "content": "upon"})
        link.chunk(second, 0, {"type": "text_chunk", "content": "Long ago."})
        outputs = {"response": {"text": "Long ago.", "chunks": 1}}
        assert await link.complete(second, outputs, end=True)
        assert await link.ask_open(third, type_) == Answer("finished", 0, outputs)
        (payload,) = (message["payload"] for message in SAYS["fact"]["m"])
        link.fact(RUN, "translate", "NODE_SKIPPED", payload)
        await until(lambda: len(gateway.messages) == 9)
        assert gateway.messages == [*messages.values(), *SAYS["fact"]["m"]]
        assert gateway.connections[0].hello == hello
    finally:
        await link.stop(0)
        await gateway.stop()


def test_worker_reads_what_the_page_says_of_a_kept_stream() -> None:
    replies = read_frame(orjson.dumps(SAYS["keep-answer"]), 15)["replies"]
    kept = KeptStream("Once ", kinds=frozenset({"text_chunk"}), legs=((1, 5),))
    assert Answer.from_json(replies["15"]) == Answer("ok", 1, kept=kept)


# --- events.md ------------------------------------------------------------------------------------------------------


def fact(path: str, kind: str, **payload: Any) -> fence.Message:
    return fence.fact_message(path, kind, payload)


def announced(wait: Wait, **inputs: Any) -> fence.Message:
    return fence.fact_message(wait.path, *waiting.announcement(wait, inputs))


def logged(*messages: Mapping[str, Any], meta: Mapping[str, Any] | None = None) -> list[Json]:
    state = fence.RunLogState(meta or {})
    events: list[Json] = []
    for message in messages:
        for event in fence.decide(state, {"run": RUN, **message}, 1000).events:
            state.apply(event)
            events.append(orjson.loads(orjson.dumps(event)))
    return events


ERROR_INFO = SAYS["run-events"][4]["payload"]["errorInfo"]
FORM = SAYS["waits"][1]["payload"]["form"]
BUSY = RetryNotice(
    "overloaded_error",
    "the model is busy",
    "2030-01-31T14:05:00.000Z",
    "retry",
    "failure 1 of 4 (overloaded_error)",
    {"status": 529},
)


def out_of_budget() -> Parking:
    about = {"scope": "run", "limit": {"tokens": 50_000}, "used": {"tokens": 49_200}}
    about["needed"] = {"tokens": 2_055}
    told = {"attempt": 2, "retryable": False, "details": about, "parked": {"counted": {}}}
    error = ActivityError(
        "x", scheduled_event_id=1, started_event_id=2, identity="", activity_type="", activity_id="", retry_state=None
    )
    error.__cause__ = ApplicationError("the run may spend 50000 tokens", told, type=BUDGET_REACHED)
    found = Parking.of("story", error, Before(), spent_s=1, now=1_000)
    assert found is not None
    return found


OUT_OF_BUDGET = out_of_budget()
RAISED = {"approved": True, "values": {"tokens": 90_000}}


@pytest.mark.parametrize(
    ("name", "messages"),
    [
        (
            "run-events",
            [
                fence.status_message("running"),
                fence.status_message("paused"),
                fence.resumed_message("running"),
                fence.interface_outputs_message({"line": "Hello, traveller"}),
                fence.status_message("error", ERROR_INFO),
            ],
        ),
        (
            "node-ends",
            [
                fact(
                    "story",
                    "NODE_ERROR",
                    errorDetails={"message": "no answer", "code": "provider_error", "retryable": True},
                    attempts=4,
                ),
                fact("translate", "NODE_SKIPPED", reason="upstream_error", causeNodeId="story"),
                fact("merge", "NODE_BYPASSED", pseudoOutputs={"out": "x"}),
                fact("picture", "NODE_INTERRUPTED"),
            ],
        ),
        (
            "waits",
            [
                announced(Wait("paid", "event", name="payment")),
                announced(Wait("check", "approval", 1896076800.0, form=FORM), data={"title": "The keeper"}),
                fact(
                    "check",
                    "APPROVAL_ANSWERED",
                    approvalId="check",
                    answer={"approved": True, "values": {"title": "Wenna"}, "by": "me"},
                ),
            ],
        ),
        (
            "pauses",
            [
                {"t": "open", "path": "story", "epoch": [1, 0]},
                {"t": "retry", "path": "story", "epoch": [1, 0], **BUSY.to_wire()},
                {"t": "open", "path": "story", "epoch": [2, 0]},
                fence.fact_message("story", OUT_OF_BUDGET.event, OUT_OF_BUDGET.payload),
                fence.fact_message("story", *answered(OUT_OF_BUDGET.payload, RAISED)),
            ],
        ),
    ],
)
def test_events_are_what_the_log_makes_of_messages(name: str, messages: list[Json]) -> None:
    shown = ("seq", "ts", "type", "payload")  # beside what is for the log alone
    assert [{key: event[key] for key in shown} for event in logged(*messages)] == SAYS[name]
    project(SAYS[name])  # the gateway's own view reads them


def test_chunks_of_an_output_are_events_of_the_run_as_well() -> None:
    chat = [message for name in ("first-attempt", "second-attempt") for message in SAYS[name]["m"] if message["n"] != 3]
    events = logged(*chat, meta=SAYS["meta"])
    wanted = [event for event in events if event["type"].startswith("WORKFLOW_INTERFACE_")]
    assert wanted == SAYS["interface-events"]


def test_meta_of_a_run_is_what_the_gateway_writes() -> None:
    output = {"node": "story", "producer": "story", "slot": "response", "stream": True, "displayName": "Story"}
    assert log_meta({"outputs": {"text": output}, "keptStreams": ["story"]}) == SAYS["meta"]


def test_the_table_names_every_type_of_event() -> None:
    listed = {row[0] for row in table_rows((DOCS / "events.md").read_text(), "Types") if row[0].isupper()}
    written = {"NODE_STREAM_RESET", "WORKFLOW_INTERFACE_YIELD", "WORKFLOW_INTERFACE_RESET"}
    running = {fence.EXECUTING, fence.YIELD, fence.PROGRESS, fence.WARNING, fence.RETRY}
    assert listed == {fence.STATUS} | running | fence.TERMINAL | fence.ANNOUNCED | written
    of_the_schema = re.sub(r"A NODE_COMPLETE.*", "", RunEvent.__doc__ or "", flags=re.DOTALL)
    of_the_console = (DOCS.parent / "gateway/console/run/event_pages.js").read_text().partition("EVENT_TYPES = [")[2]
    for text in (of_the_schema, of_the_console.partition("]")[0]):
        assert set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", text)) == listed


def test_reference_has_the_address_that_clients_get() -> None:
    reference = SAYS["reference"]
    assert is_blob(reference)
    message = {"t": "open", "path": "story", "epoch": [1, 0]}
    bare = {key: value for key, value in reference.items() if key != "url"}
    complete = {"t": "complete", "path": "story", "epoch": [1, 0], "outputs": {"response": bare}, "end": False}
    assert logged(message, complete)[-1]["payload"]["output"] == {"response": reference}


# --- engine.md, control-flow.md, groups.md --------------------------------------------------------------------------


def recorded(name: str) -> dict[str, list[Any]]:
    """What a recorded history holds: event type to the values of its payloads."""
    found: dict[str, list[Any]] = {}
    for event in json.loads((HISTORIES / f"{name}.json").read_text())["events"]:
        for attributes in event.values():
            if not isinstance(attributes, dict):
                continue
            boxes = [attributes.get("input"), attributes.get("result"), (attributes.get("details") or {}).get("result")]
            for box in boxes:
                for payload in (box or {}).get("payloads", ()):
                    found.setdefault(event["eventType"], []).append(_decoded(base64.b64decode(payload["data"])))
    return found


def _decoded(data: bytes) -> Any:
    return orjson.loads(data if data[:1] in b'{["0123456789' else zlib.decompress(data))


HISTORY = recorded("segments_beside")


@pytest.mark.parametrize(
    ("name", "event", "index"),
    [
        ("plan", "WORKFLOW_EXECUTION_STARTED", 0),
        ("start", "WORKFLOW_EXECUTION_STARTED", 1),
        ("node-call", "ACTIVITY_TASK_SCHEDULED", 0),
        ("node-result", "ACTIVITY_TASK_COMPLETED", 0),
        ("segment-answer", "MARKER_RECORDED", 0),
        ("result", "WORKFLOW_EXECUTION_COMPLETED", 0),
    ],
)
def test_example_is_what_a_history_recorded(name: str, event: str, index: int) -> None:
    assert HISTORY[f"EVENT_TYPE_{event}"][index] == SAYS[name]


def test_code_reads_the_messages_of_the_engine() -> None:
    plan = RunPlan.decode(zlib.compress(orjson.dumps(SAYS["plan"])))
    assert plan.pack() == SAYS["plan"]
    assert RunStart(**SAYS["start"]) == RunStart()
    assert NodeCall(**SAYS["node-call"]).to_wire() == SAYS["node-call"]
    assert NodeResult(**SAYS["node-result"]).to_wire() == SAYS["node-result"]


def test_segment_call_is_what_the_interpreter_makes_of_the_plan() -> None:
    plan = RunPlan.decode(zlib.compress(orjson.dumps(SAYS["plan"])))
    runs = SegmentRuns(WorkflowContext(SAYS["node-call"]["run"], "default_user"), GraphLocation())
    nodes = [node for node in plan.nodes if node.id in ("a", "b", "bad", "lost")]
    assert runs.call(nodes, {}, 250) == SAYS["segment-call"]


def test_wait_and_repetition_are_read_as_the_pages_have_them() -> None:
    assert waiting.stored(Wait(**SAYS["wait"])) == SAYS["wait"]
    assert IterationState(**SAYS["repeat"]).to_json() == SAYS["repeat"]


# --- reruns.md ------------------------------------------------------------------------------------------------------


def test_rerun_requests_are_understood() -> None:
    asked = {name: read_request(SAYS[f"{name}-request"]) for name in ("rerun", "partial", "preview")}
    assert (asked["rerun"].base, asked["rerun"].request.from_nodes, asked["rerun"].no_cache) == (RUN, ("story",), True)
    assert asked["partial"].request.targets == ("line",)
    assert (asked["preview"].request.preview, asked["preview"].request.from_nodes) == (True, ("join",))


# --- callbacks.md -------------------------------------------------------------------------------------------------


def test_the_callback_of_the_page_is_one_and_its_secret_signs() -> None:
    callback = submitted_callback(SAYS["callback"])
    assert callback is not None
    assert callback.on == ("complete", "error", "waiting")
    assert signing_key(str(callback.secret)).kind == "mac"


def test_the_message_of_the_page_is_what_is_sent() -> None:
    facts = RunFacts(
        run=RUN,
        status="complete",
        at=from_iso("2026-11-30T08:00:00Z"),
        workflow_id="hello",
        workflow_name="Hello",
        outputs=("line",),
    )
    assert orjson.loads(message_of(facts)) == SAYS["callback-message"]
