"""Whatever a worker sends: it is taken or refused, and everything else goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
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
from innkeeper.gateway.events.worker_socket import WorkerSockets
from innkeeper.gateway.events.writer import LogWriter, Source
from innkeeper.nodes.worker_protocol import MALFORMED
from tests.effort import examples, try_examples
from tests.fuzz.frames import MESSAGES, TO_GATEWAY, FakeSocket, open_writer
from tests.fuzz.frames import TOKEN as WORKER_TOKEN
from tests.odd_json import ANY, frames, places, with_value

Json = dict[str, Any]
RUN = "r"
VALID = tuple(message for message in MESSAGES if message["t"] != "drained")


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


async def is_well(writer: LogWriter, number: int) -> bool:
    """Another run is served, and this one can be read and folded again as after a restart."""
    answers = await writer.append(
        "other", [{"t": "open", "path": f"p{number}", "epoch": (1, 0), "type": "x", "reply": True}]
    )
    folded = await LogWriter(writer.log, Hub(writer.log))._load(RUN)
    state = await writer.state(RUN)
    return writer.healthy and answers[0] is not None and folded is not None and (state is None or folded == state)


async def test_any_message_leaves_the_log_healthy(tmp_path: Path) -> None:
    async with open_writer(tmp_path / "events.db") as writer:
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

    await try_examples(check)


async def test_any_frame_of_a_worker_leaves_the_log_healthy(tmp_path: Path) -> None:
    """Through the handler of its socket: what has no envelope, follows nothing or is no JSON never gets further."""
    async with open_writer(tmp_path / "events.db") as writer:
        sockets, number = WorkerSockets(writer, WORKER_TOKEN), 1000

        async def send(many: list[bytes]) -> None:
            nonlocal number
            number += 1
            await sockets.handle(FakeSocket(many))  # type: ignore[arg-type]
            assert await is_well(writer, number)

        await run_hypothesis(given(st.lists(frames(TO_GATEWAY), min_size=1, max_size=4)), send)


@pytest.mark.parametrize(
    "message",
    [
        {"t": "drained", "run": {"a": 1}, "token": 1},
        {"t": "drained", "run": ["r"]},
        {"t": "drained", "token": {"a": 1}},
        {"t": "drained", "token": "9"},
        {"t": "open", "run": ["r"]},
        {"t": ["open"], "run": "r"},
    ],
)
async def test_envelope_that_the_writer_cannot_rely_on_closes_its_connection_alone(
    tmp_path: Path, message: Json
) -> None:
    async with open_writer(tmp_path / "events.db") as writer:
        sockets, socket = WorkerSockets(writer, WORKER_TOKEN), FakeSocket([orjson.dumps({"m": [{"n": 1, **message}]})])
        await sockets.handle(socket)  # type: ignore[arg-type]
        assert socket.closed == MALFORMED
        assert await is_well(writer, 1)


async def test_message_that_was_given_up_is_acknowledged_whatever_its_epoch_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker would send it for ever, and nothing behind it."""
    async with open_writer(tmp_path / "events.db") as writer:
        sockets = WorkerSockets(writer, WORKER_TOKEN)
        frame = orjson.dumps({"m": [{"n": 7, "t": "open", "run": RUN, "path": ["n"], "epoch": 5, "type": "x"}]})
        for _ in range(2):
            socket = FakeSocket([frame], stays=True)
            async with asyncio.timeout(30):
                await sockets.handle(socket)  # type: ignore[arg-type]
        assert {"ack": 7} in socket.sent
        assert "acknowledging failed" not in caplog.text


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
    async with open_writer(tmp_path / "events.db") as writer:
        good, bad = ({"t": "open", "path": path, "epoch": (1, 0), "type": "x", "reply": True} for path in ("a", "bad"))
        with pytest.raises(ProtocolError):
            await writer.append(RUN, [good, bad])
        assert await is_well(writer, 1)
        assert [event.decode()["payload"].get("nodeId") for event in await writer.log.read(RUN)] == ["a"]


async def test_damaged_event_is_lost_alone(tmp_path: Path) -> None:
    async with open_writer(tmp_path / "events.db") as writer:
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
