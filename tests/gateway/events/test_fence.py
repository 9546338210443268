from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.gateway.events.fence import (
    ANNOUNCED,
    EXECUTING,
    FENCED,
    GAP_SPAN,
    MAX_RESUMED_TEXT,
    OPEN_RUN_BYTES,
    PROGRESS,
    RETRY,
    TERMINAL,
    Decision,
    Event,
    MalformedMessage,
    ProtocolError,
    RunLogState,
    StoredOutputs,
    StoredStream,
    StoredText,
    decide,
    fact_message,
    fold,
    interface_outputs_message,
    status_message,
)
from innkeeper.gateway.events.log import StoredEvent, encode
from tests.effort import examples


@dataclass
class Log:
    """A log in memory: decides, applies, keeps what would be stored."""

    meta: Mapping[str, Any] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = RunLogState(self.meta)

    def send(self, message: Mapping[str, Any]) -> Decision:
        decision = decide(self.state, {"run": "r", **message}, 1000)
        for event in decision.events:
            self.state.apply(event)
            self.events.append(event)
        return decision

    def stored(self) -> list[Event]:
        return [StoredEvent(event["seq"], encode(event)).decode() for event in self.events]

    def types(self) -> list[str]:
        return [event["type"] for event in self.events]


def opened(epoch: Sequence[int] = (1, 0), path: str = "n") -> dict[str, Any]:
    return {"t": "open", "path": path, "epoch": list(epoch), "type": "core:X", "reply": True}


def chunk(i: int, epoch: Sequence[int] = (1, 0), kind: str = "text_chunk", path: str = "n") -> dict[str, Any]:
    content = f"{epoch}:{i}"
    return {"t": "chunk", "path": path, "epoch": list(epoch), "i": i, "chunk": {"type": kind, "content": content}}


def complete(epoch: Sequence[int] = (1, 0), end: bool = False, path: str = "n", **outputs: Any) -> dict[str, Any]:
    return {"t": "complete", "path": path, "epoch": list(epoch), "outputs": outputs, "end": end}


# --- one rule at a time -------------------------------------------------------------------------------------------


def test_first_open_is_told_as_executing() -> None:
    log = Log()
    assert log.send(opened()).answer == {"s": "ok", "next": 0}
    assert log.stored() == [
        {
            "seq": 1,
            "ts": 1000,
            "type": "NODE_EXECUTING",
            "payload": {"promptId": "r", "nodeId": "n", "attempt": 1},
            "e": [1, 0],
        }
    ]


def test_higher_epoch_resets_and_starts_counting_anew() -> None:
    log = Log()
    log.send(opened())
    log.send(chunk(0))
    assert log.send(opened((1, 1))).answer == {"s": "ok", "next": 0}
    assert log.send(chunk(0, (1, 1))).disposition == "logged"
    assert log.types() == ["NODE_EXECUTING", "NODE_YIELD", "NODE_STREAM_RESET", "NODE_EXECUTING", "NODE_YIELD"]


def test_equal_open_is_a_resend_and_says_what_the_log_has() -> None:
    log = Log()
    log.send(opened())
    log.send(chunk(0))
    decision = log.send(opened())
    assert (decision.events, decision.answer) == ((), {"s": "ok", "next": 1})


def test_lower_epoch_is_fenced_whatever_it_sends() -> None:
    log = Log()
    log.send(opened((2, 0)))
    before = len(log.events)
    lower: list[Mapping[str, Any]] = [
        opened((1, 5)),
        chunk(0, (1, 5)),
        complete((1, 5)),
        {"t": "gap", "path": "n", "epoch": [1, 5], "from": 0, "to": 3},
        {"t": "progress", "path": "n", "epoch": [1, 5], "value": 1, "max": 2},
    ]
    for message in lower:
        assert log.send(message).answer == FENCED
    assert len(log.events) == before


def finished(log: Log, path: str = "n") -> dict[str, Any]:
    return {"s": "finished", "outputs": StoredOutputs("r", log.state.nodes[path].completed)}


def test_finished_node_is_answered_with_the_place_of_its_outputs() -> None:
    log = Log()
    blob = {"$blob": "ab", "size": 9, "mime": "text/plain", "preview": "x"}
    log.send(opened())
    log.send(complete(out=blob, n=1))
    assert log.events[-1]["payload"]["output"]["out"]["url"] == "/api/prompt/r/outputs/n/out"
    assert log.state.nodes["n"].completed == log.events[-1]["seq"]
    assert log.send(opened((2, 0))).answer == finished(log)
    assert log.send(opened((1, 0))).answer == finished(log)
    assert log.send(chunk(0, (2, 0))).answer == FENCED
    assert log.send(complete(out="again")).answer is None
    assert fold(log.stored()) == log.state


@pytest.mark.parametrize("kind", ["NODE_ERROR", "NODE_SKIPPED", "NODE_INTERRUPTED"])
def test_open_of_a_node_that_ended_otherwise_is_fenced(kind: str) -> None:
    log = Log()
    log.send(opened())
    log.send(fact_message("n", kind, {}))
    assert log.send(opened((2, 0))).answer == FENCED
    assert log.send(chunk(0)).answer == FENCED


def test_chunk_above_next_or_of_an_unopened_epoch_is_a_protocol_error() -> None:
    log = Log()
    with pytest.raises(ProtocolError, match="never opened"):
        log.send(chunk(0))
    log.send(opened())
    with pytest.raises(ProtocolError, match="chunk 1 came before chunk 0"):
        log.send(chunk(1))
    for message in (chunk(0, (2, 0)), complete((2, 0))):
        with pytest.raises(ProtocolError, match="never opened"):
            log.send(message)
    assert log.types() == ["NODE_EXECUTING"]


def test_gap_advances_next_and_hides_what_was_known() -> None:
    log = Log()
    log.send(opened())
    log.send(chunk(0))
    log.send({"t": "gap", "path": "n", "epoch": [1, 0], "from": 0, "to": 4})
    assert log.events[-1]["payload"]["gap"] == {"from": 1, "to": 4}
    assert "yieldedContent" not in log.events[-1]["payload"]
    assert log.send({"t": "gap", "path": "n", "epoch": [1, 0], "from": 2, "to": 4}).disposition == "resend"
    assert log.send(chunk(5)).disposition == "logged"
    with pytest.raises(ProtocolError):
        log.send({"t": "gap", "path": "n", "epoch": [1, 0], "from": 7, "to": 9})


def test_completed_stream_gets_exactly_one_end() -> None:
    own_end, added_end = Log(), Log()
    for log, kind in ((own_end, "finish_reason_chunk"), (added_end, "text_chunk")):
        log.send(opened())
        log.send(chunk(0, kind=kind))
        log.send(complete(end=kind == "text_chunk"))
    yields = [event["payload"] for event in added_end.events if event["type"] == "NODE_YIELD"]
    assert [payload["isLastChunk"] for payload in yields] == [False, True]
    assert yields[1]["yieldedContent"] == {"type": "finish_reason_chunk", "content": ""}
    assert "index" not in yields[1]
    assert [event["payload"]["isLastChunk"] for event in own_end.events if event["type"] == "NODE_YIELD"] == [True]
    assert added_end.types()[-2:] == ["NODE_YIELD", "NODE_COMPLETE"]


def test_stream_without_a_chunk_still_ends() -> None:
    log = Log()
    log.send(opened())
    log.send(complete(end=True))
    assert log.types() == ["NODE_EXECUTING", "NODE_YIELD", "NODE_COMPLETE"]


def test_stream_that_goes_on_after_its_end_is_kept_but_ends_once() -> None:
    log = Log()
    log.send(opened())
    for i, kind in enumerate(("finish_reason_chunk", "usage_chunk", "finish_reason_chunk")):
        log.send(chunk(i, kind=kind))
    log.send(complete(end=True))
    lasts = [event["payload"]["isLastChunk"] for event in log.events if event["type"] == "NODE_YIELD"]
    assert lasts == [True, False, False]


def test_failed_stream_ends_with_the_error() -> None:
    log = Log()
    log.send(opened())
    log.send(chunk(0))
    details = {"message": "no more", "code": "server_error", "retryable": True}
    log.send(fact_message("n", "NODE_ERROR", {"errorDetails": details, "attempts": 3}))
    end, error = log.events[-2:]
    assert end["payload"]["yieldedContent"] == {
        "type": "error_chunk",
        "content": {"message": "no more", "code": "server_error"},
    }
    assert end["payload"]["isLastChunk"] is True
    assert error["payload"] == {"promptId": "r", "nodeId": "n", "errorDetails": details, "attempts": 3}


def test_interrupted_stream_ends_as_interrupted() -> None:
    log = Log()
    log.send(opened())
    log.send(chunk(0))
    log.send(fact_message("n", "NODE_INTERRUPTED", {}))
    content = log.events[-2]["payload"]["yieldedContent"]
    assert content == {"type": "finish_reason_chunk", "content": "interrupted"}


def test_fact_about_a_node_that_streamed_nothing_has_no_end_frame() -> None:
    log = Log()
    log.send(opened())
    log.send(fact_message("n", "NODE_ERROR", {"errorDetails": {"message": "m"}}))
    log.send(fact_message("m", "NODE_SKIPPED", {"reason": "upstream_error", "causeNodeId": "n"}))
    assert log.types() == ["NODE_EXECUTING", "NODE_ERROR", "NODE_SKIPPED"]


@pytest.mark.parametrize("kind", [*sorted(TERMINAL), "complete"])
def test_log_takes_nothing_more_of_a_node_that_has_ended(kind: str) -> None:
    """A run whose nodes have all ended is closed without waiting for what workers may still hold."""
    log = Log()
    log.send(opened())
    log.send(chunk(0))
    fact = fact_message("n", kind, {"pseudoOutputs": {}, "errorDetails": {}})
    log.send(complete(x=1) if kind == "complete" else fact)
    of_node = {"path": "n", "epoch": [1, 0]}
    why = {"code": "c", "message": "m"}
    late: list[Mapping[str, Any]] = [
        *(opened(epoch) for epoch in ((1, 0), (1, 1), (2, 0))),
        *(chunk(i, kind=kind) for i in range(3) for kind in ("text_chunk", "finish_reason_chunk")),
        {"t": "gap", **of_node, "from": 1, "to": 9},
        {"t": "progress", **of_node, "value": 1, "max": 2},
        {"t": "warning", **of_node, **why},
        {"t": "retry", **of_node, **why, "retryAt": "2026-01-01T00:00:00Z", "kind": "retry"},
        complete(x=2),
        *(fact_message("n", type, {"value": 1}) for type in (*TERMINAL, *ANNOUNCED, EXECUTING, PROGRESS, RETRY)),
    ]
    before = list(log.events)
    for message in late:
        log.send(message)
    assert log.events == before


def test_nothing_follows_the_final_status() -> None:
    log = Log()
    for status in ("queued", "running", "running", "queued"):
        log.send(status_message(status))
    log.send(opened())
    log.send(opened(path="m"))
    log.send(complete(x=1))
    for _ in range(2):
        log.send(interface_outputs_message({"text": "hi"}))
        log.send(status_message("error", {"message": "m failed"}))
    assert [event["payload"].get("status") for event in log.events if "status" in event["payload"]] == [
        "queued",
        "running",
        "error",
    ]
    assert log.types()[-2:] == ["NODE_COMPLETE", "EXECUTION_STATUS_UPDATE"]
    late = [chunk(0, path="m"), opened((2, 0), "m"), opened(path="new"), fact_message("m", "NODE_ERROR", {})]
    assert [log.send(message).answer for message in late] == [FENCED, FENCED, FENCED, None]
    assert all(log.send(message).disposition == "late" for message in [*late, status_message("complete")])
    assert log.send(opened((2, 0))).answer == {
        "s": "finished",
        "outputs": StoredOutputs("r", log.state.nodes["n"].completed),
    }


def test_interface_streams_repeat_every_frame_under_their_name() -> None:
    log = Log({"interface_streams": {"n": [["story", "Story"], ["raw", None]]}})
    log.send(opened())
    log.send(chunk(0))
    log.send(opened((2, 0)))
    log.send(chunk(0, (2, 0)))
    log.send(complete((2, 0), end=True))
    copies = [event for event in log.events if event["type"].startswith("WORKFLOW_INTERFACE")]
    assert [(event["type"], event["payload"]["interfaceOutputKey"]) for event in copies] == [
        ("WORKFLOW_INTERFACE_YIELD", "story"),
        ("WORKFLOW_INTERFACE_YIELD", "raw"),
        ("WORKFLOW_INTERFACE_RESET", "story"),
        ("WORKFLOW_INTERFACE_RESET", "raw"),
    ] + [("WORKFLOW_INTERFACE_YIELD", "story"), ("WORKFLOW_INTERFACE_YIELD", "raw")] * 2
    assert copies[0]["payload"] == {
        "promptId": "r",
        "interfaceOutputKey": "story",
        "interfaceOutputDisplayName": "Story",
        "yieldedContent": {"type": "text_chunk", "content": "(1, 0):0"},
        "isLastChunk": False,
    }
    assert copies[-1]["payload"]["isLastChunk"] is True


def test_open_run_over_its_size_keeps_gaps_instead_of_chunks() -> None:
    log = Log({"kept_streams": ["read"]})
    for path in ("n", "read"):
        log.send(opened(path=path))
        log.send(chunk(0, path=path))
    log.state.size = OPEN_RUN_BYTES + 1
    for i in range(1, 50):
        log.send(chunk(i))
        assert log.send(chunk(i, path="read")).disposition == "logged"
    log.send(complete(end=True))
    yields = [e["payload"] for e in log.events if e["type"] == "NODE_YIELD" and e["payload"]["sourceNodeId"] == "n"]
    assert [payload.get("gap") for payload in yields] == [None, {"from": 1, "to": GAP_SPAN}, None]
    assert yields[-1]["isLastChunk"] is True


@pytest.mark.parametrize(
    "message",
    [
        {"t": "nonsense", "path": "n"},
        {},
        {"t": "open", "path": "n"},
        {"t": "open", "path": "n", "epoch": [1]},
        {"t": "open", "path": "", "epoch": [1, 0]},
        {"t": "open", "path": "n", "epoch": ["1", 0]},
        {"t": "chunk", "path": "n", "epoch": [1, 0], "i": -1, "chunk": {"type": "x"}},
        {"t": "chunk", "path": "n", "epoch": [1, 0], "i": 0, "chunk": "text"},
        {"t": "complete", "path": "n", "epoch": [1, 0]},
        {"t": "complete", "path": "n", "epoch": [1, 0], "outputs": [1]},
        {"t": "fact", "path": "n", "type": "NODE_YIELD", "payload": {}},
        {"t": "status", "status": "odd"},
    ],
)
def test_malformed_message_is_refused_and_changes_nothing(message: Mapping[str, Any]) -> None:
    log = Log()
    log.send(opened())
    with pytest.raises(MalformedMessage):
        log.send(message)
    assert len(log.events) == 1


# --- resuming -----------------------------------------------------------------------------------------------------


def resumed(epoch: Sequence[int], origin: Sequence[int] = (1, 0)) -> dict[str, Any]:
    return {**opened(epoch), "resume": list(origin)}


def relayed(i: int, epoch: Sequence[int], used: int | None, content: str = "x") -> dict[str, Any]:
    message = {"t": "chunk", "path": "n", "epoch": list(epoch), "i": i}
    return {**message, "chunk": {"type": "text_chunk", "content": content}, "u": used}


def test_resumed_epoch_goes_on_with_the_chunks_that_are_there() -> None:
    log = Log()
    assert log.send(resumed((1, 0))).answer == {"s": "ok", "next": 0, "used": 0, "text": ""}
    log.send(relayed(0, (1, 0), 2))
    log.send(relayed(1, (1, 0), 3))
    answer = {"s": "ok", "next": 2, "used": 3, "text": StoredText("r", "n", 1, 2)}
    assert log.send(resumed((2, 0))).answer == answer
    assert log.send(resumed((2, 0))).answer == answer
    assert log.send(relayed(1, (1, 0), 3)).answer == FENCED
    log.send(relayed(2, (2, 0), 4))
    log.send(complete((2, 0), end=True))
    assert log.types() == [
        "NODE_EXECUTING",
        *["NODE_YIELD"] * 2,
        "NODE_EXECUTING",
        *["NODE_YIELD"] * 2,
        "NODE_COMPLETE",
    ]
    assert log.state.nodes["n"].origin == (1, 0)
    assert fold(log.stored()) == log.state
    public = [StoredEvent(event["seq"], encode(event)).frame for event in log.events]
    assert not any(key in orjson.loads(frame) for frame in public for key in ("e", "i", "u", "in", "kept"))


def _spoiled(what: str, log: Log) -> dict[str, Any]:
    """Two chunks of a stream that cannot be resumed, and the open that would."""
    log.send({**resumed((1, 0)), "resume": None} if what == "input unknown" else resumed((1, 0)))
    log.send(relayed(0, (1, 0), 1))
    if what == "hole":
        log.send({"t": "gap", "path": "n", "epoch": [1, 0], "from": 1, "to": 1})
    elif what == "progress unknown":
        log.send(relayed(1, (1, 0), None))
    elif what == "too much text":
        log.send(relayed(1, (1, 0), 2, "\n" * (MAX_RESUMED_TEXT // 2)))
    else:
        log.send(relayed(1, (1, 0), 2))
    return opened((2, 0)) if what == "not asked" else resumed((2, 0), (1, 1) if what == "input anew" else (1, 0))


@pytest.mark.parametrize(
    "what", ["input anew", "input unknown", "hole", "progress unknown", "too much text", "not asked"]
)
def test_stream_that_cannot_be_resumed_begins_anew(what: str) -> None:
    log = Log()
    answer = log.send(_spoiled(what, log)).answer
    assert answer == {"s": "ok", "next": 0, **({} if what == "not asked" else {"used": 0, "text": ""})}
    assert log.types()[-2:] == ["NODE_STREAM_RESET", "NODE_EXECUTING"]
    assert log.state.nodes["n"].origin == (2, 0)
    assert fold(log.stored()) == log.state


def test_finished_node_is_not_resumed() -> None:
    log = Log()
    log.send(resumed((1, 0)))
    log.send(relayed(0, (1, 0), 1))
    log.send(complete(out="x"))
    assert log.send(resumed((2, 0))).answer == {
        "s": "finished",
        "outputs": StoredOutputs("r", log.state.nodes["n"].completed),
    }


@examples(300)
@given(st.data())
def test_relay_that_resumes_shows_every_reader_one_stream(data: st.DataObject) -> None:
    """Attempts die at any chunk; their input may begin anew; readers come at any time and keep their place."""
    log, origin, attempt = Log({"interface_streams": {"n": [["out", None]]}}), (1, 0), 0
    for attempt in range(1, data.draw(st.integers(1, 6)) + 1):
        if data.draw(st.integers(0, 3)) == 0:
            origin = (origin[0] + 1, 0)
        answer = log.send(resumed((attempt, 0), origin)).answer
        assert answer is not None
        used = answer["used"]
        for i in range(answer["next"], answer["next"] + data.draw(st.integers(0, 4))):
            used += 1
            for _ in range(data.draw(st.integers(1, 2))):
                log.send(relayed(i, (attempt, 0), used, f"{origin}:{used} "))
        if data.draw(st.booleans()):
            log.state = fold(log.stored(), log.meta)
    log.send(complete((attempt, 0), end=True))
    shown = [p for p in _shown(log.events, "n") if "index" in p]
    assert [p["index"] for p in shown] == list(range(len(shown)))
    # Every input chunk is relayed exactly once, whichever attempt did it.
    assert [p["yieldedContent"]["content"] for p in shown] == [f"{origin}:{n} " for n in range(1, len(shown) + 1)]
    copies = 0
    for event in log.events:
        if event["type"] == "WORKFLOW_INTERFACE_RESET":
            copies = 0
        copies += event["type"] == "WORKFLOW_INTERFACE_YIELD"
    assert copies == len(shown) + 1


# --- keeping --------------------------------------------------------------------------------------------------------


def keeping(epoch: Sequence[int]) -> dict[str, Any]:
    return {**opened(epoch), "keep": True}


def test_a_stream_that_is_kept_goes_on_without_a_reset() -> None:
    log = Log({"interface_streams": {"n": [["out", None]]}})
    log.send(opened())
    log.send(chunk(0))
    answer = {"s": "ok", "next": 1, "kept": StoredStream("r", "n", 1, 1)}
    assert log.send(keeping((2, 0))).answer == answer
    assert log.send(keeping((2, 0))).answer == answer  # a resend is told the same
    assert log.send(chunk(1)).answer == FENCED
    assert log.send(chunk(1, (2, 0))).disposition == "logged"
    assert log.send(keeping((3, 0))).answer == {"s": "ok", "next": 2, "kept": StoredStream("r", "n", 1, 2)}
    assert not any("RESET" in kind for kind in log.types())
    assert fold(log.stored(), log.meta) == log.state


def test_who_cannot_go_on_resets_the_stream_in_the_next_generation_once() -> None:
    log = Log()
    log.send(opened())
    log.send(chunk(0))
    log.send(keeping((2, 0)))
    assert log.send(opened((2, 1))).answer == {"s": "ok", "next": 0}
    assert log.send(chunk(0, (2, 1))).disposition == "logged"
    assert log.types().count("NODE_STREAM_RESET") == 1
    # A later attempt keeps what has come since.
    began = [event["seq"] for event in log.events if event["type"] == "NODE_EXECUTING"][-1]
    assert log.send(keeping((3, 0))).answer == {"s": "ok", "next": 1, "kept": StoredStream("r", "n", began, 1)}


@pytest.mark.parametrize("before", [[], [opened()]], ids=["nothing", "no chunk"])
def test_without_a_chunk_there_is_nothing_to_keep(before: list[dict[str, Any]]) -> None:
    log = Log()
    for message in before:
        log.send(message)
    for _ in range(2):
        assert log.send(keeping((2, 0))).answer == {"s": "ok", "next": 0}
    log.send(chunk(0, (2, 0)))
    assert log.send(keeping((2, 0))).answer == {"s": "ok", "next": 1}  # its own chunk is not an earlier one's
    assert log.types().count("NODE_STREAM_RESET") == len(before)


def test_a_stream_that_had_ended_is_kept_and_not_ended_again() -> None:
    log = Log()
    log.send(opened())
    log.send(chunk(0))
    log.send(chunk(1, kind="finish_reason_chunk"))
    log.send(keeping((2, 0)))
    log.send(complete((2, 0), out="x"))
    assert sum(event["payload"].get("isLastChunk", False) for event in log.events) == 1


@pytest.mark.parametrize("keep", [False, 1, "true", None])
def test_only_true_keeps(keep: Any) -> None:
    log = Log()
    log.send(opened())
    log.send(chunk(0))
    assert log.send({**opened((2, 0)), "keep": keep}).answer == {"s": "ok", "next": 0}
    assert "NODE_STREAM_RESET" in log.types()


def test_a_finished_or_newer_node_is_not_kept() -> None:
    log = Log()
    log.send(opened((3, 0)))
    log.send(chunk(0, (3, 0)))
    assert log.send(keeping((2, 0))).answer == FENCED
    log.send(complete((3, 0), out="x"))
    answer = log.send(keeping((4, 0))).answer
    assert answer is not None
    assert answer["s"] == "finished"


# --- any interleaving -----------------------------------------------------------------------------------------------

PATHS = ("a", "b/c")


@st.composite
def attempts(draw: st.DrawFn) -> list[list[dict[str, Any]]]:
    """Per attempt what its worker sends, in its order; attempts are sent at the same time (zombies)."""
    sources = []
    for path in PATHS:
        epochs = draw(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2)), unique=True, max_size=4))
        for epoch in epochs:
            sources.append(_attempt(draw, path, epoch))
    facts = draw(st.lists(st.sampled_from(("NODE_ERROR", "NODE_INTERRUPTED")), max_size=2))
    sources.extend([{**fact_message(PATHS[i], kind, {})}] for i, kind in enumerate(facts))
    return sources


def _attempt(draw: st.DrawFn, path: str, epoch: tuple[int, int]) -> list[dict[str, Any]]:
    count = draw(st.integers(0, 5))
    messages = [opened(epoch, path), *(chunk(i, epoch, path=path) for i in range(count))]
    if count >= 3 and draw(st.booleans()):
        messages[2:4] = [{"t": "gap", "path": path, "epoch": list(epoch), "from": 1, "to": 2}]
    own_end = draw(st.booleans())
    if own_end:
        messages.append(chunk(count, epoch, "finish_reason_chunk", path))
    if draw(st.booleans()):
        messages.append(complete(epoch, end=not own_end, path=path, epoch_of=list(epoch)))
    return messages


def _deliver(log: Log, data: st.DataObject, sources: list[list[dict[str, Any]]]) -> None:
    """Every source in its own order, mixed; now and then one reconnects and resends from somewhere before."""
    position = [0] * len(sources)
    reconnects = 0
    closes_at = data.draw(st.one_of(st.none(), st.integers(0, 30)))
    step = 0
    while any(place < len(source) for place, source in zip(position, sources, strict=True)):
        if step == closes_at:
            log.send(status_message("interrupted"))
        step += 1
        pending = [index for index, source in enumerate(sources) if position[index] < len(source)]
        chosen = data.draw(st.sampled_from(pending))
        log.send(sources[chosen][position[chosen]])
        position[chosen] += 1
        if reconnects < 6 and data.draw(st.integers(0, 4)) == 0:
            position[chosen] = data.draw(st.integers(0, position[chosen]))
            reconnects += 1


def _shown(events: Sequence[Event], path: str) -> list[Any]:
    """What a reader holds in the end who drops everything of a node on its reset."""
    held: list[Any] = []
    for event in events:
        payload = event["payload"]
        if event["type"] == "NODE_STREAM_RESET" and payload["nodeId"] == path:
            held = []
        elif event["type"] == "NODE_YIELD" and payload["sourceNodeId"] == path:
            held.append(payload)
    return held


def _check_reader(log: Log, path: str, sources: Sequence[Sequence[Mapping[str, Any]]]) -> None:
    node = log.state.nodes.get(path)
    if node is None or node.epoch is None:
        assert _shown(log.events, path) == []
        return
    sent = next(s for s in sources if s[0]["path"] == path and s[0].get("epoch") == list(node.epoch))
    expected = [message["chunk"]["content"] if "chunk" in message else "gap" for message in sent if _streams(message)]
    shown = _shown(log.events, path)
    indexed = [p["yieldedContent"]["content"] if "index" in p else "gap" for p in shown if "index" in p or "gap" in p]
    assert indexed == expected[: len(indexed)]
    if node.terminal == "NODE_COMPLETE":
        assert indexed == expected
        assert log.events[node.completed - 1]["payload"]["output"] == {"epoch_of": list(node.epoch)}
    lasts = [payload["isLastChunk"] for payload in shown]
    assert not any(lasts[:-1])
    if node.terminal is not None and shown:
        assert lasts[-1]


def _streams(message: Mapping[str, Any]) -> bool:
    return message["t"] in ("chunk", "gap")


@examples(400)
@given(st.data(), attempts(), st.booleans())
def test_any_interleaving_of_attempts_and_resends_leaves_one_story(
    data: st.DataObject, sources: list[list[dict[str, Any]]], has_interface: bool
) -> None:
    log = Log({"interface_streams": {"a": [["out", "Out"]]}} if has_interface else {})
    _deliver(log, data, sources)
    assert [event["seq"] for event in log.events] == list(range(1, len(log.events) + 1))
    for path in PATHS:
        ends = [e for e in log.events if e["type"] in TERMINAL and e["payload"]["nodeId"] == path]
        assert len(ends) <= 1
        if ends:
            after = log.events[ends[0]["seq"] :]
            assert not [e for e in after if path in (e["payload"].get("nodeId"), e["payload"].get("sourceNodeId"))]
        _check_reader(log, path, sources)
    finals = [e["seq"] for e in log.events if e["type"] == "EXECUTION_STATUS_UPDATE"]
    assert finals in ([], [len(log.events)])
    assert fold(log.stored(), log.meta) == log.state


@examples(100)
@given(st.data(), attempts())
def test_state_folded_in_the_middle_decides_the_same(data: st.DataObject, sources: list[list[dict[str, Any]]]) -> None:
    """A gateway that restarts between any two messages goes on as if it had not."""
    log = Log()
    for message in [message for source in sources for message in source]:
        restarted = fold(log.stored())
        again = _outcome(restarted, message)
        assert again == _outcome(log.state, message)
        if not isinstance(again, str):
            log.send(message)


def _outcome(state: RunLogState, message: Mapping[str, Any]) -> bytes | str:
    try:
        decision = decide(state, {"run": "r", **message}, 5)
    except ProtocolError as error:
        return error.code
    return orjson.dumps([list(decision.events), decision.answer, decision.disposition])


def test_warnings_of_a_completed_node_are_in_its_event_and_absent_when_there_are_none() -> None:
    log = Log()
    warnings = [{"code": "odd", "message": "the last line broke off"}]
    for path, told in (("n", {"warnings": warnings}), ("q", {})):
        log.send(opened(path=path))
        log.send({"t": "complete", "path": path, "epoch": [1, 0], "outputs": {}, "end": False, **told})
    with_warnings, without = (event["payload"] for event in log.events if event["type"] == "NODE_COMPLETE")
    assert with_warnings["warnings"] == warnings
    assert "warnings" not in without


def retried(epoch: Sequence[int] = (1, 0), **fields: Any) -> dict[str, Any]:
    told = {"code": "overloaded", "message": "busy", "retryAt": "2026-01-01T00:00:00.000Z", "kind": "retry"}
    return {"t": "retry", "path": "n", "epoch": list(epoch), **told, **fields}


def test_a_retry_is_told_once_per_epoch_and_the_node_goes_on() -> None:
    log = Log()
    log.send(opened())
    assert log.send(retried()).disposition == "logged"
    assert log.send(retried()).disposition == "resend"
    log.send(opened((2, 0)))
    log.send(retried((2, 0), kind="wait"))
    log.send({"t": "complete", "path": "n", "epoch": [2, 0], "outputs": {}, "end": False})
    told = [event["payload"] for event in log.events if event["type"] == "NODE_RETRY"]
    assert [(payload["attempt"], payload["kind"]) for payload in told] == [(1, "retry"), (2, "wait")]
    assert told[0] == {
        "promptId": "r",
        "nodeId": "n",
        "attempt": 1,
        "code": "overloaded",
        "message": "busy",
        "retryAt": "2026-01-01T00:00:00.000Z",
        "kind": "retry",
        # What a worker of an older version does not say.
        "errorDetails": {"message": "busy", "code": "overloaded"},
        "nextAttemptAt": "2026-01-01T00:00:00.000Z",
        "reason": "busy",
    }
    assert log.types()[-1] == "NODE_COMPLETE"
    assert fold(log.stored()) == log.state


def test_a_retry_says_why_and_what_the_error_said() -> None:
    log = Log()
    log.send(opened())
    log.send(retried(reason="failure 1 of 4", details={"status": 503}, parked=True))
    payload = log.events[-1]["payload"]
    assert (payload["reason"], payload["parked"]) == ("failure 1 of 4", True)
    assert payload["errorDetails"] == {"message": "busy", "code": "overloaded", "details": {"status": 503}}


def retry_fact(attempt: int) -> dict[str, Any]:
    told = {"code": "waiting", "message": "full", "retryAt": "2026-01-01T00:00:00.000Z", "kind": "wait"}
    return fact_message("n", "NODE_RETRY", {"attempt": attempt, **told})


def test_a_retry_that_the_run_tells_counts_once_and_only_of_the_attempt_that_counts() -> None:
    log = Log()
    assert log.send(retry_fact(1)).disposition == "resend"  # nothing has begun
    log.send(opened())
    assert [log.send(retry_fact(1)).disposition for _ in range(2)] == ["logged", "resend"]
    assert log.send(retried()).disposition == "resend"
    log.send(opened((2, 0)))
    log.send(retried((2, 0)))
    assert [log.send(retry_fact(attempt)).disposition for attempt in (1, 2, 3)] == ["resend"] * 3
    assert log.types().count("NODE_RETRY") == 2
    assert fold(log.stored()) == log.state


def budget_fact(attempt: int) -> dict[str, Any]:
    return fact_message("n", "BUDGET_REACHED", {"kind": "budget", "approvalId": "n", "attempt": attempt})


def budget_answer(attempt: int) -> dict[str, Any]:
    return fact_message("n", "APPROVAL_ANSWERED", {"approvalId": "n", "answer": {}, "attempt": attempt})


def test_a_budget_is_asked_for_once_in_each_attempt_and_so_is_the_answer() -> None:
    log = Log()
    assert log.send(budget_fact(1)).disposition == "resend"
    log.send(opened())
    assert log.send(budget_answer(1)).disposition == "resend"  # to what was not asked
    assert [log.send(budget_fact(1)).disposition for _ in range(2)] == ["logged", "resend"]
    log.send(opened((2, 0)))
    # The next attempt may be heard of before the answer that led to it.
    assert [log.send(budget_answer(1)).disposition for _ in range(2)] == ["logged", "resend"]
    assert log.send(budget_fact(1)).disposition == "resend"
    assert [log.send(budget_fact(2)).disposition for _ in range(2)] == ["logged", "resend"]
    assert log.send(budget_answer(1)).disposition == "resend"
    assert log.send(budget_answer(2)).disposition == "logged"
    assert fold(log.stored()) == log.state


def test_a_retry_of_an_attempt_that_does_not_count_any_more_is_dropped() -> None:
    log = Log()
    log.send(opened((2, 0)))
    assert log.send(retried((1, 0))).answer == FENCED
    log.send(fact_message("n", "NODE_ERROR", {"errorDetails": {}}))
    assert log.send(retried((2, 0))).answer == FENCED
    assert "NODE_RETRY" not in log.types()


@pytest.mark.parametrize(
    "odd", [{"kind": "soon"}, {"retryAt": 5}, {"code": ""}, {"message": None}, {"reason": 5}, {"details": "x"}]
)
def test_a_retry_that_cannot_be_read_is_malformed(odd: dict[str, Any]) -> None:
    log = Log()
    log.send(opened())
    with pytest.raises(MalformedMessage):
        log.send(retried(**odd))


def test_a_warning_of_a_running_node_is_told_and_one_of_an_older_attempt_is_not() -> None:
    log = Log()
    log.send(opened((2, 0)))
    warning = {"t": "warning", "path": "n", "code": "node_blocks", "message": "at n.py:7"}
    assert log.send({**warning, "epoch": [1, 0]}).answer == FENCED
    log.send({**warning, "epoch": [2, 0]})
    (told,) = [event["payload"] for event in log.events if event["type"] == "NODE_WARNING"]
    assert told == {"promptId": "r", "nodeId": "n", "attempt": 2, "code": "node_blocks", "message": "at n.py:7"}
    assert fold(log.stored()) == log.state
