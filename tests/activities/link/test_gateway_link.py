"""The worker's socket against a real gateway socket: what is sent, kept, resent, dropped and waited for."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import Any

import pytest

from innkeeper.activities.link import connection as link_connection
from innkeeper.activities.link import stream_limits
from innkeeper.activities.link.frame_gap import LEAST_GAP_S
from innkeeper.activities.link.gateway_link import GatewayLink, NullLink
from innkeeper.activities.link.node_attempt import NodeAttempt
from innkeeper.activities.link.pending_answers import Answer
from innkeeper.nodes.errors import InvalidNode
from innkeeper.nodes.worker_protocol import PROTOCOL_VERSION, UNSUPPORTED_VERSION
from tests.activities.fake_gateway import MAX_FRAME, TOKEN, FakeGateway, until

FIRST = (1, 0)
A = NodeAttempt("r", "a", FIRST)
B = NodeAttempt("r", "b", FIRST)


def text(content: str) -> dict[str, Any]:
    return {"type": "text_chunk", "content": content}


def assert_empty(link: GatewayLink) -> None:
    """Nothing is remembered of what is over."""
    assert not link._queue
    assert link._limits.pending == 0
    assert not link._limits
    assert not link._answers
    assert not link._fence_callbacks


async def finished(link: GatewayLink, gateway: FakeGateway) -> None:
    """Until everything sent so far is acknowledged."""
    await until(lambda: not link._queue)


# --- frames and order ---------------------------------------------------------------------------------------------


async def test_hello_comes_first_with_token_worker_and_queues(gateway: FakeGateway, link: GatewayLink) -> None:
    await until(lambda: bool(gateway.connections))
    assert gateway.tokens == [f"Bearer {TOKEN}"]
    hello = gateway.connections[0].hello
    assert hello["worker"] == "worker-1"
    assert isinstance(hello["queues"], list)
    assert hello["protocol"] == PROTOCOL_VERSION


async def test_messages_arrive_in_order_with_rising_numbers(gateway: FakeGateway, link: GatewayLink) -> None:
    await link.connected.wait()
    link.open(A, "t:x")
    link.chunk(A, 0, text("one"))
    link.progress(A, 1, 2)
    link.fact("r", "b", "NODE_SKIPPED", {"reason": "upstream_error"})
    assert await link.complete(A, {"out": 1}, end=True)
    epoch = list(FIRST)
    assert gateway.messages == [
        {"n": 1, "t": "open", "run": "r", "path": "a", "epoch": epoch, "type": "t:x", "reply": False},
        {"n": 2, "t": "chunk", "run": "r", "path": "a", "epoch": epoch, "i": 0, "chunk": text("one")},
        {"n": 3, "t": "progress", "run": "r", "path": "a", "epoch": epoch, "value": 1, "max": 2},
        {"n": 4, "t": "fact", "run": "r", "path": "b", "type": "NODE_SKIPPED", "payload": {"reason": "upstream_error"}},
        {"n": 5, "t": "complete", "run": "r", "path": "a", "epoch": epoch, "outputs": {"out": 1}, "end": True},
    ]


async def test_what_is_pending_travels_in_one_frame(gateway: FakeGateway, link: GatewayLink) -> None:
    await link.connected.wait()
    for index in range(100):
        link.chunk(A, index, text("x"))
    await finished(link, gateway)
    assert len(gateway.connections[0].frames) == 1


async def test_messages_of_many_turns_share_few_frames(gateway: FakeGateway, link: GatewayLink) -> None:
    await link.connected.wait()
    began = time.monotonic()
    for index in range(300):
        link.chunk(A, index, text("x"))
        await asyncio.sleep(0)
    took_s = time.monotonic() - began
    await finished(link, gateway)
    assert len(gateway.connections[0].frames) <= took_s / LEAST_GAP_S + 2


async def test_a_beginning_goes_with_its_end_or_after_a_moment_by_itself(
    gateway: FakeGateway, link: GatewayLink
) -> None:
    await link.connected.wait()
    link.open(A, "t:x")
    assert await link.complete(A, {}, end=False)
    link.open(B, "t:x")
    await finished(link, gateway)
    frames = [[message["t"] for message in frame] for frame in gateway.connections[0].frames]
    assert frames == [["open", "complete"], ["open"]]


async def test_much_at_once_is_split_into_frames_the_gateway_takes(gateway: FakeGateway, link: GatewayLink) -> None:
    await link.connected.wait()
    for stream in range(6):
        for index in range(3):
            link.chunk(NodeAttempt("r", f"s{stream}", FIRST), index, text("x" * 1_000_000))
    await finished(link, gateway)
    assert len(gateway.connections) == 1
    assert len(gateway.connections[0].frames) > 2
    assert len(gateway.messages) == 18


async def test_a_chunk_over_the_frame_limit_does_not_block_the_worker(gateway: FakeGateway, link: GatewayLink) -> None:
    link.open(NodeAttempt("r", "big", FIRST), "t:x")
    with pytest.raises(InvalidNode, match="over the limit"):
        link.chunk(NodeAttempt("r", "big", FIRST), 0, text("x" * (MAX_FRAME + 1_000)))
    # Another node must not wait behind a frame that the gateway will never take.
    async with asyncio.timeout(30):
        assert await link.complete(NodeAttempt("r", "other", FIRST), {}, end=False)


async def test_a_message_that_is_not_data_is_refused_and_leaves_no_hole(
    gateway: FakeGateway, link: GatewayLink
) -> None:
    link.open(A, "t:x")
    with pytest.raises(InvalidNode):
        link.chunk(A, 0, {"type": "custom", "content": object()})
    assert await link.complete(A, {}, end=False)
    assert [message["n"] for message in gateway.messages] == [1, 2]
    assert_empty(link)


# --- acknowledgement and resending --------------------------------------------------------------------------------


async def test_complete_waits_for_a_cumulative_acknowledgement(gateway: FakeGateway, link: GatewayLink) -> None:
    gateway.holds = lambda message: True
    link.open(A, "t:x")
    waiting = asyncio.create_task(link.complete(A, {}, end=False))
    await until(lambda: bool(gateway.sent("complete")))
    await gateway.say(ack=1)
    await until(lambda: len(link._queue) == 1)
    assert not waiting.done()
    await gateway.say(ack=2)
    assert await waiting
    assert_empty(link)


async def test_unacknowledged_messages_are_resent_with_their_numbers(gateway: FakeGateway, link: GatewayLink) -> None:
    gateway.holds = lambda message: message["n"] > 3
    for index in range(6):
        link.chunk(A, index, text(str(index)))
    await until(lambda: len(gateway.messages) == 6)
    await until(lambda: len(link._queue) == 3)
    gateway.drop()
    gateway.holds = lambda message: False
    await finished(link, gateway)
    again = gateway.connections[1].messages
    assert [message["n"] for message in again] == [4, 5, 6]
    assert again == gateway.connections[0].messages[3:]


async def test_numbers_rise_across_connections(gateway: FakeGateway, link: GatewayLink) -> None:
    link.open(A, "t:x")
    await finished(link, gateway)
    gateway.drop()
    link.open(B, "t:x")
    await finished(link, gateway)
    assert [message["n"] for message in gateway.connections[-1].messages] == [2]


async def test_what_was_sent_before_the_first_connection_is_kept(gateway: FakeGateway) -> None:
    await gateway.stop()
    link = GatewayLink(gateway.url, TOKEN, "early", flush_timeout_s=5)
    link.start()
    link.open(A, "t:x")
    waiting = asyncio.create_task(link.complete(A, {}, end=False))
    await asyncio.sleep(0.1)
    await gateway.start()
    assert await waiting
    assert gateway.kinds("a") == ["open", "complete"]
    await link.stop()


async def test_repeated_drops_lose_and_reorder_nothing(gateway: FakeGateway, link: GatewayLink) -> None:
    for index in range(300):
        link.chunk(A, index, text(str(index)))
        if index % 60 == 30:
            await asyncio.sleep(0.02)
            gateway.drop()
        await asyncio.sleep(0)
    await finished(link, gateway)
    assert [message["i"] for message in gateway.messages] == list(range(300))
    for connection in gateway.connections:
        numbers = [message["n"] for message in connection.messages]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True
    assert_empty(link)


async def test_closed_for_an_index_above_next_it_resends_everything(gateway: FakeGateway, link: GatewayLink) -> None:
    gateway.holds = lambda message: True
    for index in range(3):
        link.chunk(A, index, text("x"))
    await until(lambda: len(gateway.messages) == 3)
    gateway.holds = lambda message: False
    await gateway.connections[0].socket.close(4409)
    await finished(link, gateway)
    assert [message["i"] for message in gateway.connections[1].messages] == [0, 1, 2]


async def test_many_streams_at_once_keep_their_order(gateway: FakeGateway, link: GatewayLink) -> None:
    async def stream(path: str) -> bool:
        link.open(NodeAttempt("r", path, FIRST), "t:x")
        for index in range(40):
            link.chunk(NodeAttempt("r", path, FIRST), index, text(f"{path}{index}"))
            await asyncio.sleep(0)
        return await link.complete(NodeAttempt("r", path, FIRST), {}, end=True)

    assert all(await asyncio.gather(*(stream(f"s{number}") for number in range(50))))
    by_path: dict[str, list[str]] = defaultdict(list)
    for message in gateway.messages:
        by_path[message["path"]].append(message["t"] if message["t"] != "chunk" else message["i"])
    assert all(seen == ["open", *range(40), "complete"] for seen in by_path.values())
    assert len(by_path) == 50
    assert_empty(link)


# --- OPEN, fence, drain -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"s": "ok", "next": 3}, Answer("ok", 3)),
        ({"s": "fenced"}, Answer("fenced")),
        ({"s": "finished", "outputs": {"out": 7}}, Answer("finished", 0, {"out": 7})),
    ],
)
async def test_ask_open_gives_the_answer_of_the_log(
    gateway: FakeGateway, link: GatewayLink, answer: dict[str, Any], expected: Answer
) -> None:
    gateway.answer = lambda message: answer
    assert await link.ask_open(NodeAttempt("r", "a", (2, 0)), "t:x") == expected
    assert gateway.sent("open")[0]["reply"] is True
    await finished(link, gateway)
    assert_empty(link)


async def test_open_is_answered_after_a_dropped_connection(gateway: FakeGateway, link: GatewayLink) -> None:
    gateway.holds = lambda message: True
    asking = asyncio.create_task(link.ask_open(NodeAttempt("r", "a", (2, 0)), "t:x"))
    await until(lambda: bool(gateway.sent("open")))
    gateway.drop()
    gateway.holds = lambda message: False
    assert (await asking).status == "ok"


async def test_a_later_attempt_waits_at_most_the_flush_timeout_for_a_silent_gateway(
    gateway: FakeGateway, link: GatewayLink
) -> None:
    gateway.holds = lambda message: True
    async with asyncio.timeout(30):
        assert (await link.ask_open(NodeAttempt("r", "a", (2, 0)), "t:x")).status == "away"


async def test_fence_calls_back_the_named_epoch_only(gateway: FakeGateway, link: GatewayLink) -> None:
    called: list[str] = []
    link.on_fenced(NodeAttempt("r", "a", (1, 0)), lambda: called.append("first"))
    link.on_fenced(NodeAttempt("r", "a", (2, 0)), lambda: called.append("second"))
    link.on_fenced(NodeAttempt("q", "a", (1, 0)), lambda: called.append("other run"))
    await link.connected.wait()
    await until(lambda: bool(gateway.connections))
    await gateway.fence(A)
    await until(lambda: bool(called))
    await link.complete(NodeAttempt("r", "a", (2, 0)), {}, end=False)
    assert called == ["first"]


async def test_a_forgotten_fence_calls_nobody(gateway: FakeGateway, link: GatewayLink) -> None:
    called: list[str] = []
    link.on_fenced(A, lambda: called.append("too late"))()
    await until(lambda: bool(gateway.connections))
    await gateway.fence(A)
    await link.complete(B, {}, end=False)
    assert not called
    assert_empty(link)


async def test_drain_is_answered_behind_what_was_queued(gateway: FakeGateway, link: GatewayLink) -> None:
    await until(lambda: bool(gateway.connections))
    for index in range(20):
        link.chunk(A, index, text("x"))
    await gateway.say(drain="t-1")
    await until(lambda: bool(gateway.sent("drained")))
    drained = gateway.messages[-1]
    assert (drained["t"], drained["token"]) == ("drained", "t-1")
    assert gateway.kinds()[:20] == ["chunk"] * 20
    await finished(link, gateway)
    assert_empty(link)


# --- a gateway that is away ---------------------------------------------------------------------------------------


async def test_nobody_waits_longer_than_the_flush_timeout(gateway: FakeGateway, link: GatewayLink) -> None:
    await link.connected.wait()
    await gateway.stop()
    began = asyncio.get_running_loop().time()
    waiting = [link.complete(NodeAttempt("r", f"n{number}", FIRST), {}, end=False) for number in range(40)]
    asked, *logged = await asyncio.gather(link.ask_open(NodeAttempt("r", "x", (2, 0)), "t:x"), *waiting)
    assert logged == [False] * 40
    assert asked.status == "away"
    assert 0.2 < asyncio.get_running_loop().time() - began < 6  # one after the other they would wait 12 s


async def test_during_a_long_outage_nobody_waits_at_all(gateway: FakeGateway, link: GatewayLink) -> None:
    await link.connected.wait()
    await gateway.stop()
    assert not await link.complete(A, {}, end=False)
    began = asyncio.get_running_loop().time()
    for number in range(50):
        assert not await link.complete(NodeAttempt("r", f"n{number}", FIRST), {}, end=False)
        assert (await link.ask_open(NodeAttempt("r", f"o{number}", (2, 0)), "t:x")).status == "away"
    assert asyncio.get_running_loop().time() - began < 6  # of the 30 s of all their timeouts


async def test_after_the_outage_everything_arrives_and_waiting_is_back(gateway: FakeGateway, link: GatewayLink) -> None:
    await link.connected.wait()
    await gateway.stop()
    assert not await link.complete(A, {"out": 1}, end=False)
    await gateway.start()
    await link.connected.wait()
    assert await link.complete(B, {"out": 2}, end=False)
    assert [message["outputs"] for message in gateway.sent("complete")] == [{"out": 1}, {"out": 2}]
    assert_empty(link)


async def test_a_short_outage_is_waited_for(gateway: FakeGateway) -> None:
    link = GatewayLink(gateway.url, TOKEN, "patient", flush_timeout_s=5)
    link.start()
    await link.connected.wait()
    await gateway.stop()
    waiting = asyncio.create_task(link.complete(A, {}, end=False))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await gateway.start()
    assert await waiting
    await link.stop()


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_token_leaves_the_worker_alive(gateway: FakeGateway, status: int) -> None:
    gateway.refuse_status = status
    link = GatewayLink(gateway.url, "wrong", "worker-1", flush_timeout_s=0.1)
    link.start()
    assert not await link.complete(A, {}, end=False)
    gateway.refuse_status = None  # the operator has put the right token in place
    await until(lambda: bool(gateway.sent("complete")))
    await link.stop()


async def test_a_wrong_token_counts_as_an_outage(gateway: FakeGateway) -> None:
    gateway.close_code = 4401
    link = GatewayLink(gateway.url, "wrong", "worker-1", flush_timeout_s=0.2)
    link.start()
    try:
        async with asyncio.timeout(30):
            assert not await link.complete(A, {}, end=False)
    finally:
        await link.stop(drain_s=0)


async def test_a_gateway_that_accepts_slowly_is_reached(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_connection, "OPEN_S", (0.05, 0.05, 0.1, 5.0))
    gateway.upgrade_s = 0.3
    link = GatewayLink(gateway.url, TOKEN, "worker-1")
    link.start()
    try:
        await until(link.connected.is_set, 10)
    finally:
        await link.stop(drain_s=0)
    assert gateway.tries >= 3


async def test_a_gateway_that_closes_at_once_is_not_called_all_the_time(gateway: FakeGateway) -> None:
    gateway.close_code = 4401
    link = GatewayLink(gateway.url, "wrong", "worker-1", flush_timeout_s=0.2)
    link.start()
    await asyncio.sleep(1.5)
    await until(lambda: gateway.tries >= 2)
    await link.stop(drain_s=0)
    assert gateway.tries <= 8  # 0.05 + 0.1 + 0.2 + 0.4 + 0.8 s


@pytest.mark.parametrize(
    ("refusal", "reason"), [({"close_code": 4401}, "wrong token"), ({"refuse_status": 403}, "status 403")]
)
async def test_a_refusal_is_told_to_the_operator_once(
    gateway: FakeGateway, caplog: pytest.LogCaptureFixture, refusal: dict[str, int], reason: str
) -> None:
    for name, value in refusal.items():
        setattr(gateway, name, value)
    link = GatewayLink(gateway.url, "wrong", "worker-1", flush_timeout_s=5)
    link.start()
    await until(lambda: gateway.tries > 3)
    await link.stop(drain_s=0)
    told = [record for record in caplog.records if "refused this worker" in record.getMessage()]
    assert [record.levelname for record in told] == ["WARNING"]
    assert reason in told[0].getMessage()


def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "4426" in record.getMessage()]


async def test_the_reason_of_a_refusal_is_logged_once_until_the_gateway_has_served_the_worker(
    gateway: FakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.close_code, gateway.close_reason = UNSUPPORTED_VERSION, "upgrade the worker"
    link = GatewayLink(gateway.url, TOKEN, "worker-1", flush_timeout_s=5)
    link.start()
    link.open(A, "t:x")
    await until(lambda: gateway.tries > 3)
    assert refusals(caplog) == ["the gateway closed the socket: 4426 upgrade the worker; the worker keeps trying"]
    gateway.close_code = None
    await until(lambda: bool(gateway.sent("open")))
    gateway.close_code = UNSUPPORTED_VERSION
    gateway.drop()
    await until(lambda: len(refusals(caplog)) > 1)
    await link.stop(drain_s=0)
    assert {record.levelname for record in caplog.records if record.getMessage() in refusals(caplog)} == {"WARNING"}


@pytest.mark.parametrize("data", [b"not json", b"[]", b'{"replies": {"1": 7}, "fenced": [[1]]}'])
async def test_a_frame_it_cannot_read_does_not_end_the_link(
    gateway: FakeGateway, link: GatewayLink, data: bytes
) -> None:
    await until(lambda: bool(gateway.connections))
    await gateway.connections[0].socket.send(data)
    await asyncio.sleep(0.1)
    async with asyncio.timeout(30):
        assert await link.complete(A, {}, end=False)


# --- bounds -------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_limits, "MAX_STREAM_PENDING", 10_000)
    monkeypatch.setattr(stream_limits, "MAX_PENDING", 40_000)


def test_bounds_are_those_of_the_design() -> None:
    assert stream_limits.MAX_STREAM_PENDING == 4_000_000
    assert stream_limits.MAX_PENDING == 64_000_000


@pytest.mark.usefixtures("small_bounds")
async def test_over_its_bound_a_stream_gets_one_gap_and_goes_on(gateway: FakeGateway, link: GatewayLink) -> None:
    gateway.holds = lambda message: True
    for index in range(30):
        link.chunk(A, index, text("x" * 1_000))
    await until(lambda: bool(gateway.messages))
    await gateway.release()
    await finished(link, gateway)
    for index in range(30, 33):
        link.chunk(A, index, text("y"))
    assert await link.complete(A, {}, end=True)
    arrived = [message["i"] for message in gateway.sent("chunk")]
    (gap,) = gateway.sent("gap")
    before = gap["from"]
    assert 8 <= before <= 12
    assert arrived == [*range(before), 30, 31, 32]
    assert (gap["epoch"], gap["to"]) == ([1, 0], 29)
    # The gap stands where the chunks are missing.
    assert gateway.kinds() == ["chunk"] * before + ["gap"] + ["chunk"] * 3 + ["complete"]
    assert_empty(link)


@pytest.mark.usefixtures("small_bounds")
async def test_a_gap_at_the_end_stands_before_the_end(gateway: FakeGateway, link: GatewayLink) -> None:
    gateway.holds = lambda message: True
    for index in range(30):
        link.chunk(A, index, text("x" * 1_000))
    waiting = asyncio.create_task(link.complete(A, {}, end=True))
    await until(lambda: bool(gateway.sent("complete")))
    assert gateway.kinds()[-2:] == ["gap", "complete"]
    assert gateway.sent("gap")[0]["to"] == 29
    await gateway.release()
    assert await waiting
    assert_empty(link)


@pytest.mark.usefixtures("small_bounds")
async def test_a_full_stream_leaves_room_for_others(gateway: FakeGateway, link: GatewayLink) -> None:
    gateway.holds = lambda message: True
    for index in range(30):
        link.chunk(NodeAttempt("r", "loud", FIRST), index, text("x" * 1_000))
    for index in range(3):
        link.chunk(NodeAttempt("r", "quiet", FIRST), index, text("z"))
    await until(lambda: len(gateway.sent("chunk", "quiet")) == 3)
    await gateway.release()


@pytest.mark.usefixtures("small_bounds")
async def test_the_worker_as_a_whole_is_bounded(gateway: FakeGateway, link: GatewayLink) -> None:
    gateway.holds = lambda message: True
    for index in range(20):
        for stream in range(20):
            link.chunk(NodeAttempt("r", f"s{stream}", FIRST), index, text("x" * 1_000))
    assert link._limits.pending < 45_000
    await until(lambda: bool(gateway.messages))
    await gateway.release()
    for stream in range(20):
        link.close_stream(NodeAttempt("r", f"s{stream}", FIRST))
    await finished(link, gateway)
    for stream in range(20):
        own = [message for message in gateway.messages if message["path"] == f"s{stream}"]
        sent = [message["i"] if message["t"] == "chunk" else (message["from"], message["to"]) for message in own]
        *chunks, gap = sent
        assert chunks == list(range(len(chunks)))
        assert gap == (len(chunks), 19)
    assert_empty(link)


@pytest.mark.usefixtures("small_bounds")
async def test_a_gap_belongs_to_the_epoch_that_dropped(gateway: FakeGateway, link: GatewayLink) -> None:
    """Two attempts of one node in one worker: the older one is not fenced yet when the newer one streams."""
    gateway.holds = lambda message: True
    for index in range(30):
        link.chunk(NodeAttempt("r", "a", (1, 0)), index, text("x" * 1_000))
    await until(lambda: bool(gateway.messages))
    await gateway.release()
    await finished(link, gateway)
    for index in range(3):
        link.chunk(NodeAttempt("r", "a", (2, 0)), index, text("new"))
    link.close_stream(NodeAttempt("r", "a", (2, 0)))
    await finished(link, gateway)
    newer = [message for message in gateway.messages if message["epoch"] == [2, 0]]
    assert [(message["t"], message.get("i")) for message in newer] == [("chunk", 0), ("chunk", 1), ("chunk", 2)]


@pytest.mark.usefixtures("small_bounds")
async def test_control_messages_are_never_dropped(gateway: FakeGateway, link: GatewayLink) -> None:
    gateway.holds = lambda message: True
    for index in range(100):
        link.chunk(A, index, text("x" * 1_000))
    link.open(B, "t:x")
    link.fact("r", "c", "NODE_ERROR", {"errorDetails": {}})
    await until(lambda: gateway.kinds()[-2:] == ["open", "fact"])
    await gateway.release()


# --- the end ------------------------------------------------------------------------------------------------------


async def test_stop_sends_what_is_left(gateway: FakeGateway, link: GatewayLink) -> None:
    await link.connected.wait()
    for index in range(500):
        link.chunk(A, index, text("x"))
    await link.stop()
    assert len(gateway.sent("chunk")) == 500
    assert_empty(link)


@pytest.mark.parametrize("silent", [True, False])
async def test_stop_does_not_hang_on_a_silent_or_absent_gateway(
    gateway: FakeGateway, link: GatewayLink, silent: bool
) -> None:
    await link.connected.wait()
    gateway.holds = lambda message: True
    if not silent:
        await gateway.stop()
    link.open(A, "t:x")
    async with asyncio.timeout(30):
        await link.stop(drain_s=0.2)


async def test_null_link_sends_nothing_and_waits_for_nothing() -> None:
    link = NullLink()
    link.start()
    link.open(A, "t:x")
    link.chunk(A, 0, text("x"))
    assert (await link.ask_open(NodeAttempt("r", "a", (2, 0)), "t:x")).status == "away"
    assert await link.complete(A, {}, end=True)
    assert_empty(link)
    await link.stop()


async def test_a_fact_with_data_that_the_wire_cannot_hold_is_mended_and_sent(
    link: GatewayLink, gateway: FakeGateway
) -> None:
    link.fact("r", "n", "NODE_ERROR", {"errorDetails": {"message": "half \ud83d", "details": {"x": 10**30}}})
    await until(lambda: bool(gateway.sent("fact", "n")))
    details = gateway.sent("fact", "n")[0]["payload"]["errorDetails"]
    assert details == {"message": "half \ufffd", "details": {"x": 1e30}}


async def test_while_the_gateway_is_away_too_long_only_what_nobody_can_reconstruct_is_kept(
    link: GatewayLink, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("innkeeper.activities.link.outgoing_queue.MAX_WAITING", 20_000)
    await until(lambda: link.connected.is_set())
    await gateway.stop()
    for number in range(1_000):
        link.fact("r", f"c{number}", "NODE_EXECUTING", {})
        link.fact("r", f"c{number}", "NODE_COMPLETE", {"output": {"x": "y" * 100}})
    kept = len(link._queue)
    assert kept < 200
    open_first = NodeAttempt("r", "late", FIRST)
    link.open(open_first, "core:X")
    assert link.send_complete(open_first, {"out": 1}) is None
    assert not await link.complete(open_first, {"out": 1}, end=False)
    for kind in ("NODE_ERROR", "NODE_SKIPPED", "NODE_INTERRUPTED", "NODE_WAITING", "APPROVAL_REQUIRED"):
        link.fact("r", kind, kind, {})
    awaited = asyncio.create_task(link.complete(A, {}, end=True, is_awaited=True))
    await asyncio.sleep(0)
    assert len(link._queue) == kept + 7
    assert sum("wait for the gateway" in record.getMessage() for record in caplog.records) == 1
    await gateway.start()
    assert await awaited
    assert [message["type"] for message in gateway.sent("fact")][-1] == "APPROVAL_REQUIRED"
    # What comes after the outage is told again.
    assert await link.complete(B, {}, end=False)
