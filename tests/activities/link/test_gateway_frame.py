"""Whatever the gateway sends: a frame is taken whole or refused whole, and the worker's link goes on."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given

from innkeeper.activities.link import connection
from innkeeper.activities.link.gateway_frame import MalformedFrame, read_frame
from innkeeper.activities.link.gateway_link import GatewayLink
from innkeeper.activities.link.node_attempt import NodeAttempt
from tests.activities.fake_gateway import FakeGateway, until
from tests.effort import examples, try_examples
from tests.fuzz.frames import TO_WORKER, WorkerEnd
from tests.odd_json import frames

A = NodeAttempt("r", "a", (1, 0))
GOOD_START = {"run": "r", "until": 1, "request": "eA=="}
GOOD_BLOCK = {"id": "f1", "origin": [1, 0], "i": 0, "chunks": [{"type": "text_chunk"}]}


@pytest.mark.parametrize("frame", TO_WORKER)
def test_frames_of_the_protocol_are_read(frame: Any) -> None:
    assert read_frame(json.dumps(frame), 8) == frame


@pytest.mark.parametrize(
    "frame",
    [
        [],
        {"ack": 9},  # of 8 messages
        {"ack": True},
        {"ack": 1.0},
        {"ack": None},
        {"ack": 2**70},
        {"drain": {"a": 1}},
        {"drain": "x" * 1000},
        {"reload": 5},
        {"reload": "x" * 1000},
        {"starts": {"run": "r"}},
        {"starts": ["r"]},
        {"starts": [{**GOOD_START, "run": 5}]},
        {"starts": [{**GOOD_START, "run": "r" * 1000}]},
        {"starts": [{**GOOD_START, "until": "1"}]},
        {"starts": [{"run": "r", "until": 1}]},
        {"starts": [{**GOOD_START, "request": "x" * 400_000}]},
        {"replies": []},
        {"replies": {"x": {"s": "ok"}}},
        {"replies": {"1": {"s": "other"}}},
        {"replies": {"1": {"s": ["ok"]}}},
        {"replies": {"1": {"s": "ok", "next": "3"}}},
        {"replies": {"1": {"s": "ok", "text": 3}}},
        {"replies": {"1": {"s": "finished", "outputs": "x"}}},
        {"replies": {"1": {"s": "ok", "kept": "x"}}},
        {"replies": {"1": {"s": "ok", "kept": {"text": 3}}}},
        {"replies": {"1": {"s": "ok", "kept": {"reasoning": ["x"]}}}},
        {"replies": {"1": {"s": "ok", "kept": {"kinds": [["x"]]}}}},
        {"replies": {"1": {"s": "ok", "kept": {"legs": [[1]]}}}},
        {"replies": {"1": {"s": "ok", "kept": {"legs": [[1, -1]]}}}},
        {"fenced": [["r", "n"]]},
        {"fenced": [["r", ["n"], [1, 0]]]},
        {"fenced": [["r", "n", [[1], 0]]]},
        {"fenced": "abc"},
        {"streams": {"id": "f1"}},
        {"streams": [{"origin": [1, 0]}]},
        {"streams": [{**GOOD_BLOCK, "origin": [1, 0, 0]}]},
        {"streams": [{**GOOD_BLOCK, "i": -1}]},
        {"streams": [{**GOOD_BLOCK, "i": 2**63}]},
        {"streams": [{**GOOD_BLOCK, "chunks": "abc"}]},
        {"streams": [{**GOOD_BLOCK, "chunks": [{"content": "no type"}]}]},
        {"streams": [{**GOOD_BLOCK, "end": {"type": "NODE_ERROR", "error": "boom"}}]},
    ],
)
def test_field_of_another_shape_refuses_the_frame(frame: Any) -> None:
    with pytest.raises(MalformedFrame):
        read_frame(json.dumps(frame), 8)


async def test_nothing_of_a_malformed_frame_is_taken() -> None:
    """What was taken before the fault could not be taken back."""
    end = WorkerEnd()
    assert not end.receive(json.dumps({"ack": 3, "streams": [GOOD_BLOCK, {**GOOD_BLOCK, "i": "x"}], "drain": 1}))
    assert (len(end.link._queue), end.followers[0].received) == (8, 0)
    await end.close()


async def test_any_frame_leaves_the_link_able_to_take_and_send_the_next() -> None:
    loop = asyncio.get_running_loop()

    async def converse(data: bytes) -> None:
        end = WorkerEnd()
        end.receive(data)
        await end.check()
        await end.close()

    @examples(400)
    @given(frames(TO_WORKER))
    def check(data: bytes) -> None:
        asyncio.run_coroutine_threadsafe(converse(data), loop).result(30)

    await try_examples(check)


@pytest.mark.parametrize(
    "data", [b"\xff", "no JSON", "[1]", '{"ack": [1]}', '{"ack": 1e400}', "[" * 3000, '{"fenced": [[{}, {}, {}]]}']
)
async def test_socket_that_sent_an_unreadable_frame_is_followed_by_another(
    gateway: FakeGateway, link: GatewayLink, data: bytes | str, caplog: pytest.LogCaptureFixture
) -> None:
    await link.connected.wait()
    await gateway.connections[0].socket.send(data)
    await until(lambda: len(gateway.connections) == 2)
    link.open(A, "t:x")
    assert await link.complete(A, {"out": 1}, end=False)
    assert "the gateway sent a frame that cannot be read" in caplog.text


async def test_unreadable_frame_that_comes_again_is_waited_for_longer(
    gateway: FakeGateway, link: GatewayLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every connection begins well: without a pause they would follow each other 20 times a second."""
    waited: list[float] = []
    sleep = asyncio.sleep

    async def slept(delay: float) -> None:
        if asyncio.current_task() is link._connection._task:
            waited.append(delay)
        await sleep(delay)

    monkeypatch.setattr(connection, "_RECONNECT_S", (0.01, 0.1, 1.0))
    monkeypatch.setattr(connection.asyncio, "sleep", slept)
    for number in range(1, 4):
        await until(lambda: len(gateway.connections) == number)  # noqa: B023  # awaited at once
        await gateway.connections[-1].socket.send("[]")
    await until(lambda: len(waited) == 3)
    assert [round(delay, 2 - place) for place, delay in enumerate(waited)] == [0.01, 0.1, 1]


async def test_defect_in_taking_a_frame_does_not_end_the_link(
    gateway: FakeGateway, link: GatewayLink, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody would start it anew, and the worker would be deaf."""

    def broken() -> None:
        raise RuntimeError("a defect")

    await link.connected.wait()
    forget = link.on_fenced(A, broken)
    await gateway.fence(A)
    await until(lambda: len(gateway.connections) == 2)
    forget()
    link.open(A, "t:x")
    assert await link.complete(A, {"out": 1}, end=False)
    assert "nobody expected" in caplog.text
