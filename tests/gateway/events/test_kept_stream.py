"""What attempts are told of the streams that they keep: many at once, large ones, and logs with holes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.gateway.events import kept_stream
from innkeeper.gateway.events.fence import RunLogState, StoredStream, decide
from innkeeper.gateway.events.kept_stream import read_kept
from innkeeper.gateway.events.log import LogDamaged, LogUnavailable, StoredEvent, encode
from tests.effort import examples


@dataclass
class Log:
    """A log in memory. `fails`: what the next reads raise."""

    state: RunLogState = field(default_factory=RunLogState)
    events: list[StoredEvent] = field(default_factory=list)
    fails: list[Exception] = field(default_factory=list)
    reads: int = 0

    def send(self, kind: str, path: str, epoch: Sequence[int], **more: Any) -> Any:
        message = {"t": kind, "run": "r", "path": path, "epoch": list(epoch), **more}
        decision = decide(self.state, message, 1000)
        for event in decision.events:
            self.state.apply(event)
            self.events.append(StoredEvent(event["seq"], encode(event)))
        return decision.answer

    def say(self, path: str, epoch: Sequence[int], content: Any, kind: str = "text_chunk") -> None:
        node = self.state.nodes[path]
        self.send("chunk", path, epoch, i=node.next, chunk={"type": kind, "content": content})

    def kept(self, path: str, attempt: int) -> StoredStream:
        found: StoredStream = self.send("open", path, (attempt, 0), keep=True)["kept"]
        return found

    async def read(self, run: str, after: int = 0, limit: int = 1000, max_bytes: int = 0) -> list[StoredEvent]:
        self.reads += 1
        if self.fails:
            raise self.fails.pop(0)
        return [event for event in self.events if event.seq > after][:limit]


async def told(log: Log, *wanted: StoredStream) -> list[dict[str, Any]]:
    found = await read_kept(log, wanted)  # type: ignore[arg-type]  # all that is used of a log
    return [found[stream] for stream in wanted if stream in found]


async def test_many_streams_are_read_in_one_pass() -> None:
    log, paths = Log(), [f'n{index}/ü"' for index in range(50)]
    for path in paths:
        log.send("open", path, (1, 0))
    for index in range(60):
        for path in paths:
            log.say(path, (1, 0), f"{path}:{index} ")
    wanted = [log.kept(path, 2) for path in paths]
    texts = [found["text"] for found in await told(log, *wanted)]
    assert texts == ["".join(f"{path}:{index} " for index in range(60)) for path in paths]
    assert log.reads <= 5


async def test_a_stream_is_told_from_its_last_beginning_up_to_what_was_there_when_it_was_kept() -> None:
    log = Log()
    log.send("open", "n", (1, 0))
    log.say("n", (1, 0), "old")
    log.send("open", "n", (2, 0))
    log.say("n", (2, 0), "Hm", "reasoning_chunk")
    log.say("n", (2, 0), "Once ")
    kept = log.kept("n", 3)
    log.say("n", (3, 0), "upon")
    assert await told(log, kept) == [
        {"text": "Once ", "reasoning": "Hm", "kinds": ["reasoning_chunk", "text_chunk"], "legs": [[2, 7]]}
    ]
    [later] = await told(log, log.kept("n", 4))
    assert (later["text"], later["legs"]) == ("Once upon", [[2, 7], [3, 4]])


async def test_the_end_of_an_answer_is_told_without_its_text() -> None:
    log = Log()
    log.send("open", "n", (1, 0))
    log.say("n", (1, 0), "Once")
    for total in (3, 4):
        log.say("n", (1, 0), {"total_tokens": total}, "usage_chunk")
    log.say("n", (1, 0), {"finish_reason": "stop", "accumulated_text": "Once"}, "finish_reason_chunk")
    [found] = await told(log, log.kept("n", 2))
    assert (found["usage"], found["finish"]) == ({"total_tokens": 4}, {"finish_reason": "stop"})


async def test_what_a_node_yields_is_not_taken_for_another_nodes() -> None:
    log = Log()
    for path in ("n", "m"):
        log.send("open", path, (1, 0))
    log.say("n", (1, 0), "Once")
    odd = {"sourceNodeId": "n", "nodeId": "n", "type": "NODE_EXECUTING", "text": '"sourceNodeId":"n"'}
    log.say("m", (1, 0), odd, "custom")
    log.say("n", (1, 0), '"nodeId":"m"')
    n, m = log.kept("n", 2), log.kept("m", 2)
    assert [(found["text"], found["kinds"]) for found in await told(log, n, m)] == [
        ('Once"nodeId":"m"', ["text_chunk"]),
        ("", ["custom"]),
    ]


@pytest.mark.parametrize("what", ["gap in the middle", "gap at the end", "damaged event", "damaged log", "gone"])
async def test_a_stream_with_a_hole_says_so(what: str) -> None:
    log = Log()
    log.send("open", "n", (1, 0))
    log.say("n", (1, 0), "Once ")
    if what.startswith("gap"):
        log.send("gap", "n", (1, 0), **{"from": 1, "to": 5})
    if what != "gap at the end":
        log.say("n", (1, 0), "upon ")
        log.say("n", (1, 0), "a time")
    kept = log.kept("n", 2)
    if what == "damaged event":
        log.events[2] = StoredEvent(log.events[2].seq, log.events[2].line[:-40])
    elif what == "damaged log":
        log.fails = [LogDamaged("no")]
    elif what == "gone":
        log.events = []
    [found] = await told(log, kept)
    assert "hole" in found["kinds"]


async def test_a_log_that_cannot_be_read_for_a_moment_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_stream, "RETRY_S", 0.001)
    log = Log(fails=[LogUnavailable("busy")] * 3)
    log.send("open", "n", (1, 0))
    log.say("n", (1, 0), "Once")
    assert [found["text"] for found in await told(log, log.kept("n", 2))] == ["Once"]


async def test_a_stream_begun_anew_meanwhile_is_not_waited_for() -> None:
    log = Log()
    log.send("open", "n", (1, 0))
    log.say("n", (1, 0), "Once")
    kept = log.kept("n", 2)
    log.send("open", "n", (2, 1))
    log.say("n", (2, 1), "anew")
    wanted = StoredStream("r", "n", kept.after, 9)
    assert [found["text"] for found in await told(log, wanted)] == ["Once"]


async def test_streams_that_are_large_together_are_left_to_a_later_pass_but_never_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept_stream, "MAX_PASS_BYTES", 1000)
    log, paths = Log(), [f"n{index}" for index in range(5)]
    for path in paths:
        log.send("open", path, (1, 0))
        log.say(path, (1, 0), path * 300)
    wanted = [log.kept(path, 2) for path in paths]
    passes = 0
    while wanted:
        found = await read_kept(log, wanted)  # type: ignore[arg-type]  # as above
        assert found[wanted[0]]["text"] == wanted[0].path * 300
        wanted = [stream for stream in wanted if stream not in found]
        passes += 1
    assert 1 < passes <= 5


async def test_of_two_that_ask_for_one_node_the_first_is_told() -> None:
    log = Log()
    log.send("open", "n", (1, 0))
    log.say("n", (1, 0), "Once")
    first = log.kept("n", 2)
    log.say("n", (2, 0), " upon")
    second = log.kept("n", 3)
    assert [found["text"] for found in await told(log, first, second)] == ["Once"]
    assert [found["text"] for found in await told(log, second, first)] == ["Once upon"]


@examples(150)
@given(st.data())
def test_attempts_that_keep_or_begin_anew_leave_one_stream_for_every_reader(data: st.DataObject) -> None:
    """Attempts die at any chunk; each keeps what is there, or keeps it and then begins anew, or does not ask."""
    log, said = Log(), list[str]()
    log.send("open", "n", (1, 0))
    for attempt in range(1, data.draw(st.integers(2, 6))):
        epoch = (attempt, 0)
        if attempt > 1:
            way = data.draw(st.sampled_from(["keep", "anew", "plain"]))
            answer = log.send("open", "n", epoch, keep=way != "plain")
            assert ("kept" in answer, answer["next"]) == (way != "plain" and bool(said), len(said) * (way != "plain"))
            if way == "anew" and said:
                epoch = (attempt, 1)
                log.send("open", "n", epoch)
            said = said if way == "keep" else []
        for _ in range(data.draw(st.integers(0, 3))):
            said.append(f"{attempt}.{len(said)} ")
            log.say("n", epoch, said[-1])
    shown: list[str] = []
    for event in (stored.decode() for stored in log.events):
        if event["type"] == "NODE_STREAM_RESET":
            shown = []
        elif event["type"] == "NODE_YIELD":
            shown.append(event["payload"]["yieldedContent"]["content"])
    assert shown == said
