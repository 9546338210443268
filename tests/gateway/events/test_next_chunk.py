"""The short way of a chunk gives what the general way gives: the same log, answers, frames and streams."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.gateway.events import writer as writer_module
from innkeeper.gateway.events.fence import OPEN_RUN_BYTES, ProtocolError, RunLogState, decide, status_message
from innkeeper.gateway.events.hub import Hub
from innkeeper.gateway.events.log import encode
from innkeeper.gateway.events.next_chunk import take_next_chunk
from innkeeper.gateway.events.sqlite import SqliteEventLog
from innkeeper.gateway.events.writer import LogWriter, Result, Source
from tests.effort import examples
from tests.gateway.events.test_any_message import run_hypothesis
from tests.odd_json import ANY, NO_JSON, places, with_value

Json = dict[str, Any]
RUN = "r"
PATHS = ("n", "m", 'a/"ü"')
INTERFACE = {"interface_streams": {"m": [["out", None]]}}
EPOCHS = ([1, 0], [1, 1], [2, 0])
KINDS = ("open", *["chunk"] * 12, "odd", "gap", "end", "complete")
RESUMES: list[Json] = [{}, {}, {}, {"resume": [1, 0]}]
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)


@st.composite
def conversations(draw: st.DrawFn) -> list[Json]:
    """Messages of a few nodes. Most chunks are the next ones; the others repeat, leave out, or are of other epochs."""
    epochs = {path: draw(st.sampled_from(EPOCHS)) for path in PATHS}
    messages = [_message(draw, "open", {"run": RUN, "path": path, "epoch": epoch}, 0) for path, epoch in epochs.items()]
    sent = dict.fromkeys(PATHS, 0)
    for _ in range(draw(st.integers(1, 30))):
        path, kind = draw(st.sampled_from(PATHS)), draw(st.sampled_from(KINDS))
        is_of_open_epoch = draw(st.integers(0, 9)) > 0
        epoch = epochs[path] if is_of_open_epoch and kind != "open" else draw(st.sampled_from(EPOCHS))
        index = max(0, sent[path] + draw(st.sampled_from([0] * 12 + [-1, 1])))
        if kind == "open":
            epochs[path], sent[path] = epoch, 0
        elif kind == "chunk":
            sent[path] = index + 1
        messages.append(_message(draw, kind, {"run": RUN, "path": path, "epoch": epoch}, index))
    return messages


def _message(draw: st.DrawFn, kind: str, address: Json, index: int) -> Json:
    if kind == "open":
        return {**address, "t": "open", "type": "x", "reply": True, **draw(st.sampled_from(RESUMES))}
    if kind == "gap":
        return {**address, "t": "gap", "from": index, "to": index + draw(st.integers(0, 2))}
    if kind == "complete":
        return {**address, "t": "complete", "outputs": {}, "end": draw(st.booleans())}
    content: Any = draw(TEXTS)
    if kind == "end":
        return {**address, "t": "chunk", "i": index, "chunk": {"type": "finish_reason_chunk", "content": content}}
    chunk = {"type": draw(st.sampled_from(["text_chunk", "reasoning_chunk", "own"])), "content": content}
    message = {
        **address,
        "t": "chunk",
        "i": index,
        "chunk": draw(st.sampled_from([chunk] * 5 + [{**chunk, "extra": 1}])),
    }
    if draw(st.integers(0, 9)) == 0:
        message["u"] = draw(st.integers(0, 5))
    if kind == "odd":
        # Not of "t" and "run", which the socket checks.
        place = draw(st.sampled_from([place for place in places(message)[1:] if place[0] not in ("t", "run")]))
        message = with_value(message, place, draw(ANY | NO_JSON))
    return message


@dataclass
class Folded:
    """A run's log in memory."""

    short: bool
    meta: Mapping[str, Any]
    lines: list[bytes] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = RunLogState(self.meta)

    def send(self, message: Json) -> bool:
        """Take a message; was it the short way?"""
        event = take_next_chunk(self.state, message, 7) if self.short and message["t"] == "chunk" else None
        if event is not None:
            self.lines.append(event.line)
            self.answers.append(None)
            return True
        try:
            decision = decide(self.state, message, 7)
            lines = [encode(event) for event in decision.events]
        except (ProtocolError, TypeError) as error:
            self.answers.append(str(error))
            return False
        for event in decision.events:
            self.state.apply(event)
        self.state.size += sum(map(len, lines))
        self.lines += lines
        self.answers.append(decision.answer)
        return False


@examples(3000)
@given(st.sampled_from([{}, INTERFACE]), conversations())
def test_lines_answers_and_state_are_those_of_the_general_way(meta: Mapping[str, Any], messages: list[Json]) -> None:
    general, short = Folded(False, meta), Folded(True, meta)
    for message in messages:
        general.send(message)
        short.send(message)
    assert short.lines == general.lines
    assert short.answers == general.answers
    assert short.state == general.state
    assert short.state.size == general.state.size


OPENED: Json = {"t": "open", "run": RUN, "path": "n", "epoch": [1, 0], "type": "x"}
CHUNK: Json = {
    "t": "chunk", "run": RUN, "path": "n", "epoch": [1, 0], "i": 0, "chunk": {"type": "text_chunk", "content": "a"}
}  # fmt: skip


def test_next_chunk_of_the_open_epoch_goes_the_short_way() -> None:
    """The property above would hold as well if nothing ever went it."""
    log = Folded(True, {"interface_streams": {"other": [["out", None]]}})
    assert not log.send(OPENED)
    assert log.send(CHUNK)
    assert log.send({**CHUNK, "i": 1, "chunk": {"type": "reasoning_chunk", "content": "ü\t\n"}})
    assert not log.send({**OPENED, "epoch": [2, 0]})
    assert log.send({**CHUNK, "epoch": [2, 0]})


@pytest.mark.parametrize(
    "odd",
    [
        {"path": ["n"]},
        {"path": {"n": 1}},
        {"path": None},
        {"epoch": [True, 0]},
        {"epoch": [1.0, 0]},
        {"epoch": [1, 0, 0]},
        {"epoch": "10"},
        {"i": False},
        {"i": 0.0},
        {"i": 1},
        {"u": 0},
        {"chunk": {"type": "finish_reason_chunk", "content": ""}},
        {"chunk": {"type": ["text_chunk"], "content": "a"}},
        {"chunk": {"type": "text_chunk", "content": {"a": 1}}},
        {"chunk": {"type": "text_chunk", "content": "\ud800"}},
        {"chunk": {"type": "text_chunk", "text": "a"}},
    ],
)
def test_what_is_not_exactly_the_next_chunk_is_left_to_the_general_way(odd: Json) -> None:
    log = Folded(True, {})
    log.send(OPENED)
    before = log.state.last_seq
    assert take_next_chunk(log.state, {**CHUNK, **odd}, 7) is None
    assert (log.state.last_seq, log.state.nodes["n"].next) == (before, 0)


def test_state_that_wants_more_of_a_chunk_is_left_to_the_general_way() -> None:
    resumable, ended, closed, large = (Folded(True, {}) for _ in range(4))
    for log in (ended, closed, large):
        log.send(OPENED)
    resumable.send({**OPENED, "resume": [1, 0]})
    ended.send({**OPENED, "t": "complete", "outputs": {}})
    closed.send({**status_message("error"), "run": RUN})
    large.state.size = OPEN_RUN_BYTES + 1
    interface = Folded(True, {"interface_streams": {"n": [["out", None]]}})
    interface.send(OPENED)
    for log in (resumable, ended, closed, large, interface):
        assert take_next_chunk(log.state, CHUNK, 7) is None


# --- through the writer ---------------------------------------------------------------------------------------------


@dataclass
class Written:
    """What a writer has made of a conversation."""

    results: list[list[str]]
    rows: list[tuple[Any, ...]]
    frames: list[tuple[int, bytes]]
    streams: dict[str, list[Any]]
    counters: dict[str, int]


async def written(path: Path, meta: Mapping[str, Any], batches: Sequence[Sequence[Json]]) -> Written:
    """Have a writer take batches, each as one submission, while one reader follows the run and one each stream."""
    log = await SqliteEventLog.open(path)
    await log.create_run(RUN, meta)
    hub = Hub(log)
    writer = LogWriter(log, hub, clock_ms=lambda: 7)
    await writer.start()
    frames: list[tuple[int, bytes]] = []

    async def follow() -> None:
        async for page in hub.follow(RUN):
            frames.extend(page)

    tails = {node: writer.streams.join(RUN, node, lambda: None) for node in PATHS}
    following = asyncio.create_task(follow())
    results: list[list[str]] = []
    source = Source()
    try:
        await asyncio.sleep(0.01)
        for batch in batches:
            source = Source(source.suspects, source.lost)
            done: asyncio.Future[Sequence[Result]] = asyncio.get_running_loop().create_future()
            writer.submit(batch, done.set_result, source=source)
            results.append([str(result) for result in await asyncio.wait_for(done, 30)])
        await writer.close_run(RUN, [status_message("complete")])
        await asyncio.wait_for(following, 30)
        rows = await log._threads.read(lambda: log._reader.execute("SELECT * FROM rows ORDER BY rowid").fetchall())
        streams = {
            node: [stream.origin, stream.next, stream.end, stream.ring.first, stream.ring._chunks]
            for node, (_, stream) in tails.items()
        }
        return Written(results, rows, frames, streams, dict(writer.counters))
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        for tail, _ in tails.values():
            tail.stop()
        await writer.stop()
        await log.close()


async def test_rows_acknowledgements_and_what_is_published_are_those_of_the_general_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, short_events = 0, 0

    def counting(*args: Any) -> Any:
        nonlocal short_events
        event = take_next_chunk(*args)
        short_events += event is not None
        return event

    async def compare(value: tuple[Mapping[str, Any], list[Json], int]) -> None:
        nonlocal number
        number += 1
        meta, messages, size = value
        sent = [{**message, "n": n} for n, message in enumerate(messages, 1) if _is_json(message)]
        batches = [sent[start : start + size] for start in range(0, len(sent), size)]
        monkeypatch.setattr(writer_module, "take_next_chunk", lambda *args: None)
        general = await written(tmp_path / f"general-{number}.db", meta, batches)
        monkeypatch.setattr(writer_module, "take_next_chunk", counting)
        assert await written(tmp_path / f"short-{number}.db", meta, batches) == general

    strategy = given(st.tuples(st.sampled_from([{}, INTERFACE]), conversations(), st.integers(1, 8)))
    await run_hypothesis(strategy, compare)
    assert short_events > number


def _is_json(message: Json) -> bool:
    with contextlib.suppress(TypeError):
        return bool(orjson.dumps(message))
    return False
