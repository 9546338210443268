"""Whatever a worker sends: it is taken or refused, and everything else goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.gateway.events import writer as writer_module
from innkeeper.gateway.events.fence import ProtocolError, RunLogState, decide
from innkeeper.gateway.events.hub import Hub
from innkeeper.gateway.events.log import LogUnavailable
from innkeeper.gateway.events.sqlite import SqliteEventLog
from innkeeper.gateway.events.writer import LogWriter, Source
from tests.effort import examples

Json = dict[str, Any]
RUN = "r"
VALID: tuple[Json, ...] = (
    {"t": "open", "path": "n", "epoch": [1, 0], "type": "core:TextMerge", "reply": True, "resume": None},
    {"t": "chunk", "path": "n", "epoch": [1, 0], "i": 0, "chunk": {"type": "text_chunk", "content": "a"}, "u": 1},
    {"t": "gap", "path": "n", "epoch": [1, 0], "from": 0, "to": 3},
    {"t": "progress", "path": "n", "epoch": [1, 0], "value": 1, "max": 2},
    {"t": "complete", "path": "n", "epoch": [1, 0], "outputs": {"text": "x"}, "end": True, "cached": True},
    {"t": "complete", "path": "n", "epoch": [1, 0], "outputs": {}, "warnings": [{"code": "a", "message": "b"}]},
    {"t": "warning", "path": "n", "epoch": [1, 0], "code": "a", "message": "b"},
    {"t": "retry", "path": "n", "epoch": [1, 0], "code": "a", "message": "b", "retryAt": "2026", "kind": "wait"},
    {"t": "fact", "path": "m", "type": "NODE_ERROR", "payload": {"errorDetails": {"code": "x", "message": "y"}}},
    {"t": "fact", "path": "m", "type": "NODE_SKIPPED", "payload": {"reason": "dead", "output": {}}},
    {"t": "fact", "path": "m", "type": "NODE_EXECUTING", "payload": {"attempt": 1}},
    {"t": "fact", "path": "m", "type": "NODE_PROGRESS", "payload": {"value": 1, "max": 3}},
    {"t": "fact", "path": "m", "type": "NODE_WAITING", "payload": {"kind": "event", "until": None}},
    {"t": "fact", "path": "m", "type": "APPROVAL_REQUIRED", "payload": {"data": {"$blob": "x"}, "form": []}},
    {"t": "fact", "path": "m", "type": "APPROVAL_ANSWERED", "payload": {"approvalId": "m", "answer": {}}},
    {"t": "fact", "path": "m", "type": "NODE_BYPASSED", "payload": {"pseudoOutputs": {"a": 1}}},
    {"t": "status", "status": "running", "errorInfo": {"message": "x"}},
)
ODD = st.sampled_from(
    [None, True, 0, -1, 1.5, 2**53, 2**63, 2**64 - 1, 10**20, 1e308, "", "x", "\x00", "💥" * 50, "9" * 400, [], [1],
     [1, 0], [[1], 0], [1, 0, 0], [None, None], ["1", "0"], [True, False], {}, {"a": 1}, {"$blob": 1}, [[[]]]]
)  # fmt: skip
ANY = st.recursive(
    ODD | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8"), max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


def with_value(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = with_value(copied[path[0]], path[1:], new)
    return copied


@st.composite
def messages(draw: st.DrawFn) -> Json:
    """A message with something odd in it, as it comes out of JSON; its envelope is what the socket lets through."""
    message = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(places(message)[1:]))
        message = with_value(message, place, draw(ANY))
        if not isinstance(message.get("t"), str):
            message["t"] = "open"
    if draw(st.booleans()):
        message = {key: value for key, value in message.items() if draw(st.booleans()) or key == "t"}
    sent = orjson.dumps(message, option=orjson.OPT_NON_STR_KEYS) if _fits(message) else b'{"t": "open"}'
    return {**orjson.loads(sent), "n": 1, "run": RUN}


def _fits(message: Mapping[str, Any]) -> bool:
    try:
        orjson.dumps(message)
    except TypeError:
        return False
    return True


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[LogWriter]:
    log = await SqliteEventLog.open(folder / "events.db")
    writer = LogWriter(log, Hub(log))
    await writer.start()
    for run in (RUN, "other"):
        await writer.create_run(run, {"interface_streams": {"n": [["k", None]]}})
    try:
        yield writer
    finally:
        await writer.stop()
        await log.close()


async def is_well(writer: LogWriter, number: int) -> bool:
    """Another run is served, and this one can be read and folded again as after a restart."""
    answers = await writer.append(
        "other", [{"t": "open", "path": f"p{number}", "epoch": (1, 0), "type": "x", "reply": True}]
    )
    folded = await LogWriter(writer.log, Hub(writer.log))._load(RUN)
    state = await writer.state(RUN)
    return writer.healthy and answers[0] is not None and folded is not None and (state is None or folded == state)


async def test_any_message_leaves_the_log_healthy(tmp_path: Path) -> None:
    async with opened(tmp_path) as writer:
        number = 0

        async def send(many: list[Json]) -> None:
            nonlocal number
            number += 1
            source = Source()
            writer.submit(many, lambda results: None, source=source)
            assert await is_well(writer, number)

        given_any = given(
            st.lists(
                messages() | st.sampled_from(VALID).map(lambda m: {**m, "n": 1, "run": RUN}), min_size=1, max_size=8
            )
        )
        await run_hypothesis(given_any, send)


async def run_hypothesis(strategy: Any, work: Any) -> None:
    """Hypothesis drives an async check in the running loop's place, through a thread that waits for it."""
    loop = asyncio.get_running_loop()

    @examples(200)
    @strategy
    def check(value: Any) -> None:
        asyncio.run_coroutine_threadsafe(work(value), loop).result(30)

    await asyncio.to_thread(check)


@examples(2000)
@given(messages())
def test_deciding_raises_nothing_but_refusals(message: Json) -> None:
    state = RunLogState({})
    try:
        decision = decide(state, message, 0)
    except ProtocolError:
        return
    for event in decision.events:
        state.apply(orjson.loads(orjson.dumps(event)))


async def test_message_that_breaks_the_rules_in_a_new_way_is_refused_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect of ours in deciding one message must not stop the log for everybody."""

    def broken(state: Any, message: Mapping[str, Any], now_ms: int) -> Any:
        if message.get("path") == "bad":
            raise ZeroDivisionError
        return decide(state, message, now_ms)

    monkeypatch.setattr(writer_module, "decide", broken)
    async with opened(tmp_path) as writer:
        good, bad = ({"t": "open", "path": path, "epoch": (1, 0), "type": "x", "reply": True} for path in ("a", "bad"))
        with pytest.raises(ProtocolError):
            await writer.append(RUN, [good, bad])
        assert await is_well(writer, 1)
        assert [event.decode()["payload"].get("nodeId") for event in await writer.log.read(RUN)] == ["a"]


async def test_damaged_event_is_lost_alone(tmp_path: Path) -> None:
    async with opened(tmp_path) as writer:
        for path in ("a", "b", "c"):
            await writer.append(RUN, [{"t": "open", "path": path, "epoch": (1, 0), "type": "x", "reply": True}])
        log = writer.log
        assert isinstance(log, SqliteEventLog)

        def damage(db: Any) -> None:
            ((place, body),) = db.execute("SELECT rowid, body FROM rows WHERE run = ? AND first_seq = 2", (RUN,))
            db.execute("UPDATE rows SET body = ? WHERE rowid = ?", (b"\xff" + bytes(body)[1:], place))

        await log._commit(damage)
        state = await LogWriter(log, Hub(log))._load(RUN)
        assert state is not None
        assert (set(state.nodes), state.last_seq) == ({"a", "c"}, 3)


def test_log_unavailable_is_no_defect() -> None:
    assert not issubclass(LogUnavailable, ProtocolError)
