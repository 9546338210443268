from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from innkeeper.activities.link import connection as link_connection
from innkeeper.activities.link.gateway_link import GatewayLink
from innkeeper.activities.link.node_attempt import NodeAttempt
from innkeeper.gateway.events.hub import Hub
from innkeeper.gateway.events.sqlite import SqliteEventLog
from innkeeper.gateway.events.worker_socket import WorkerSockets
from innkeeper.gateway.events.writer import LogWriter
from innkeeper.nodes.worker_protocol import PROTOCOL_VERSION

TOKEN = "a worker's token"


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.005)
    pytest.fail("it did not happen in time")


@dataclass
class Gateway:
    log: SqliteEventLog
    writer: LogWriter
    sockets: WorkerSockets
    url: str

    async def events(self, run: str = "r") -> list[dict[str, Any]]:
        return [event.decode() for event in await self.log.read(run)]


@asynccontextmanager
async def serve(folder: Path, ws: Any = "websockets-sansio", **limits: int) -> AsyncIterator[Gateway]:
    log = await SqliteEventLog.open(folder / "events.db")
    await log.create_run("r", {})
    writer = LogWriter(log, Hub(log))
    await writer.start()
    sockets = WorkerSockets(writer, TOKEN, **limits)
    app = Starlette(routes=[WebSocketRoute("/internal/worker", sockets.handle)])
    config = uvicorn.Config(
        app,
        "127.0.0.1",
        0,
        ws=ws,
        ws_per_message_deflate=False,
        ws_max_size=9_000_000,
        # Its task would outlive the test and be destroyed within another one.
        lifespan="off",
        log_level="critical",
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Gateway(log, writer, sockets, f"ws://127.0.0.1:{port}/internal/worker")
    finally:
        server.should_exit = True
        server.force_exit = True
        await running
        await writer.stop()
        await log.close()


@pytest.fixture(params=["websockets-sansio"])
async def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with serve(tmp_path, request.param) as gateway:
        yield gateway


@dataclass
class Worker:
    """The worker's end of the wire, by hand."""

    socket: ClientConnection
    acked: int = 0
    replies: dict[str, Any] = field(default_factory=dict)
    fenced: list[Any] = field(default_factory=list)
    drains: list[int] = field(default_factory=list)
    interrupted: list[list[str]] = field(default_factory=list)
    blocks: list[dict[str, Any]] = field(default_factory=list)
    starts: list[dict[str, Any]] = field(default_factory=list)

    async def send(self, *messages: dict[str, Any]) -> None:
        await self.raw({"m": list(messages)})

    async def raw(self, frame: Any) -> None:
        await self.socket.send(frame if isinstance(frame, bytes | str) else orjson.dumps(frame))

    async def receive(self) -> None:
        frame = orjson.loads(await asyncio.wait_for(self.socket.recv(), 30))
        self.replies.update(frame.get("replies", {}))
        self.acked = frame.get("ack", self.acked)
        self.blocks.extend(frame.get("streams", []))
        self.starts.extend(frame.get("starts", []))
        self.fenced.extend(frame.get("fenced", []))
        self.drains.extend([frame["drain"]] if "drain" in frame else [])
        self.interrupted.extend([frame["interrupted"]] if "interrupted" in frame else [])

    async def until_acked(self, n: int) -> None:
        while self.acked < n:
            await self.receive()

    async def until_asked(self) -> dict[str, Any]:
        """The next start of a run that the gateway asks for."""
        while not self.starts:
            await self.receive()
        return self.starts.pop(0)

    async def close_code(self) -> int:
        with suppress(ConnectionClosed):
            while True:
                await self.receive()
        assert self.socket.close_code is not None
        return self.socket.close_code


@asynccontextmanager
async def connected(gateway: Gateway, name: str = "w", token: str = TOKEN, **hello: Any) -> AsyncIterator[Worker]:
    headers = {"Authorization": f"Bearer {token}"}
    async with connect(gateway.url, additional_headers=headers, compression=None, max_size=None, proxy=None) as socket:
        worker = Worker(socket)
        with suppress(ConnectionClosed):  # refused before the hello
            await worker.raw({"hello": {"worker": name, "queues": ["innkeeper"], **hello}})
        yield worker


def opened(n: int, attempt: int = 1, *, reply: bool = True, run: str = "r") -> dict[str, Any]:
    return {"n": n, "t": "open", "run": run, "path": "n", "epoch": [attempt, 0], "type": "core:X", "reply": reply}


def chunk(n: int, i: int, attempt: int = 1, content: str = "x") -> dict[str, Any]:
    body = {"type": "text_chunk", "content": content}
    return {"n": n, "t": "chunk", "run": "r", "path": "n", "epoch": [attempt, 0], "i": i, "chunk": body}


def complete(n: int, attempt: int = 1, **outputs: Any) -> dict[str, Any]:
    return {"n": n, "t": "complete", "run": "r", "path": "n", "epoch": [attempt, 0], "outputs": outputs, "end": True}


async def test_messages_are_committed_answered_and_acknowledged(gateway: Gateway) -> None:
    async with connected(gateway) as worker:
        await worker.send(opened(1), chunk(2, 0), chunk(3, 1))
        await worker.send(complete(4, text="xx"), opened(5, 2))
        await worker.until_acked(5)
        assert worker.replies == {"1": {"s": "ok", "next": 0}, "5": {"s": "finished", "outputs": {"text": "xx"}}}
        assert [event["type"] for event in await gateway.events()] == [
            "NODE_EXECUTING",
            "NODE_YIELD",
            "NODE_YIELD",
            "NODE_YIELD",
            "NODE_COMPLETE",
        ]
        (info,) = gateway.sockets.workers()
        assert (info.worker, info.queues) == ("w", ("innkeeper",))
    await until(lambda: gateway.sockets.workers() == [])


async def test_resend_after_a_reconnect_changes_nothing_and_is_acknowledged(gateway: Gateway) -> None:
    sent = [opened(1), chunk(2, 0), chunk(3, 1)]
    async with connected(gateway) as worker:
        await worker.send(*sent)
        await worker.until_acked(3)
    async with connected(gateway) as worker:
        await worker.send(*sent, chunk(4, 2))
        await worker.until_acked(4)
        assert worker.replies == {"1": {"s": "ok", "next": 2}}
    assert [event["i"] for event in await gateway.events() if "i" in event] == [0, 1, 2]


async def test_zombie_is_told_that_it_is_fenced(gateway: Gateway) -> None:
    async with connected(gateway, "zombie") as zombie, connected(gateway, "heir") as heir:
        await zombie.send(opened(1, reply=False), chunk(2, 0))
        await zombie.until_acked(2)
        await heir.send(opened(1, 2))
        await heir.until_acked(1)
        await zombie.send(chunk(3, 1), chunk(4, 2))
        await zombie.until_acked(4)
        assert zombie.fenced == [["r", "n", [1, 0]]]
    assert [event["e"] for event in await gateway.events() if "i" in event] == [[1, 0]]


async def test_index_above_next_closes_and_the_resend_heals(gateway: Gateway) -> None:
    async with connected(gateway) as worker:
        await worker.send(opened(1), chunk(3, 1), chunk(4, 2))
        assert await worker.close_code() == 4409
        assert worker.acked == 1
    async with connected(gateway) as worker:
        await worker.send(chunk(2, 0), chunk(3, 1), chunk(4, 2))
        await worker.until_acked(4)
    assert [event["i"] for event in await gateway.events() if "i" in event] == [0, 1, 2]


async def test_stream_that_no_resend_can_mend_is_fenced_at_the_second_try(gateway: Gateway) -> None:
    for expected in (4409, None):
        async with connected(gateway) as worker:
            await worker.send(chunk(8, 3), chunk(9, 4), complete(10))
            if expected is not None:
                assert await worker.close_code() == expected
                continue
            await worker.until_acked(10)
            assert worker.fenced == [["r", "n", [1, 0]]]
    assert await gateway.events() == []


@pytest.mark.parametrize(
    "frame",
    [
        b"{not json",
        b"[1]",
        "text",
        {"m": {"n": 1}},
        {"m": [{"t": "open", "run": "r"}]},
        {"m": [{"n": 1, "t": "open"}]},
        {"m": [{"n": 1, "t": "unheard of", "run": "r"}]},
        {"m": [{"n": 1, "t": "open", "run": "r", "path": "n", "epoch": "no"}]},
        {"m": [{"n": 1, "t": "open", "run": "r", "path": "n", "epoch": [1, 0], "resume": [1]}]},
        {"m": [], "follow": 1},
        {"m": [], "follow": [{"id": "a", "run": "r"}]},
        {"m": [], "follow": [{"id": "a" * 201, "run": "r", "path": "n"}]},
        {"m": [], "follow": [{"id": "a", "run": "r", "path": "n", "origin": "no"}]},
        {"m": [], "follow": [{"id": "a", "run": "r", "path": "n", "origin": None, "next": -1}]},
        {"m": [], "follow": [{"id": str(n), "run": "r", "path": "n"} for n in range(5001)]},
        {"m": [], "unfollow": [7]},
        {"m": [], "got": [["a"]]},
    ],
)
async def test_malformed_frame_closes_with_its_code(tmp_path: Path, frame: Any) -> None:
    async with serve(tmp_path) as gateway, connected(gateway) as worker:
        await worker.raw(frame)
        assert await worker.close_code() == 4400


async def test_first_frame_must_be_a_hello(gateway: Gateway) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with connect(gateway.url, additional_headers=headers, proxy=None) as socket:
        worker = Worker(socket)
        await worker.send(opened(1))
        assert await worker.close_code() == 4400


@pytest.mark.parametrize(
    "hello", [{"worker": "w" * 201}, {"worker": 1}, {"queues": 5}, {"queues": [["q"]]}, {"queues": {"q": 1}}], ids=repr
)
async def test_hello_that_cannot_be_read_is_malformed_and_not_kept(gateway: Gateway, hello: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with connect(gateway.url, additional_headers=headers, proxy=None) as socket:
        worker = Worker(socket)
        await worker.send({"hello": {"worker": "w-1", "queues": [], "protocol": PROTOCOL_VERSION, **hello}})
        assert await worker.close_code() == 4400
    assert gateway.sockets.workers() == []


@pytest.mark.parametrize("hello", [{}, {"protocol": PROTOCOL_VERSION}], ids=["older", "same"])
async def test_worker_of_a_known_protocol_is_served(gateway: Gateway, hello: dict[str, Any]) -> None:
    async with connected(gateway, **hello) as worker:
        await worker.send(opened(1))
        await worker.until_acked(1)


@pytest.mark.parametrize(
    ("version", "older"),
    [(PROTOCOL_VERSION + 1, "gateway"), (0, "worker"), (2**63 - 1, "gateway"), (-(2**63), "worker")],
)
async def test_worker_of_another_protocol_is_told_what_to_do_and_logged_once(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, version: int, older: str
) -> None:
    for _ in range(2):
        async with connected(gateway, "w-7", protocol=version) as worker:
            assert await worker.close_code() == 4426
            reason = worker.socket.close_reason or ""
    assert reason == f"worker speaks protocol {version}, gateway speaks 1; upgrade the {older}"
    assert gateway.sockets.workers() == []
    logged = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert logged == [f"worker 'w-7' was refused: {reason}"]


@pytest.mark.parametrize("version", [None, True, 1.0, "1", [1]], ids=repr)
async def test_protocol_that_is_no_whole_number_is_malformed(gateway: Gateway, version: Any) -> None:
    async with connected(gateway, protocol=version) as worker:
        assert await worker.close_code() == 4400
        assert "whole number" in (worker.socket.close_reason or "")


async def test_refused_worker_tells_its_operator_and_is_served_once_the_versions_agree(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker's own end of the socket, as a process of the next version would have it."""
    monkeypatch.setattr(link_connection, "PROTOCOL_VERSION", PROTOCOL_VERSION + 1)
    url = gateway.url.removesuffix("/internal/worker").replace("ws", "http", 1)
    link = GatewayLink(url, TOKEN, "w-8", flush_timeout_s=5)
    link.start()
    link.open(NodeAttempt("r", "n", (1, 0)), "core:X")
    await until(lambda: any(record.name == "innkeeper.link" for record in caplog.records))
    assert not link.connected.is_set()
    monkeypatch.setattr(link_connection, "PROTOCOL_VERSION", PROTOCOL_VERSION)
    await until(link.connected.is_set)
    await link.stop()
    assert [event["type"] for event in await gateway.events()] == ["NODE_EXECUTING"]
    (told,) = [record.getMessage() for record in caplog.records if record.name == "innkeeper.link"]
    assert "worker speaks protocol 2, gateway speaks 1; upgrade the gateway" in told


async def test_wrong_token_is_refused(gateway: Gateway) -> None:
    async with connected(gateway, token="anything else") as worker:
        assert await worker.close_code() == 4401
    async with connect(gateway.url, proxy=None) as socket:
        assert await Worker(socket).close_code() == 4401
    assert gateway.sockets.workers() == []


async def test_too_large_frame_is_refused(tmp_path: Path) -> None:
    async with serve(tmp_path, max_frame=1000) as gateway, connected(gateway) as worker:
        await worker.send(opened(1))
        await worker.until_acked(1)
        await worker.send(chunk(2, 0, content="y" * 1000))
        assert await worker.close_code() == 1009
        assert len(await gateway.events()) == 1


async def test_every_worker_is_told_of_a_run_that_is_interrupted(tmp_path: Path) -> None:
    async with serve(tmp_path) as gateway, connected(gateway) as one, connected(gateway) as two:
        told = {"type": "EXECUTION_STATUS_UPDATE", "payload": {"status": "interrupting", "promptId": "r"}}
        node = {"type": "NODE_EXECUTING", "payload": {"nodeId": "n", "promptId": "r"}}
        for worker in (one, two):
            while not worker.interrupted:
                await worker.receive()
        gateway.sockets.observe([node])
        gateway.sockets.observe([told, node])
        for worker in (one, two):
            while len(worker.interrupted) < 2:
                await worker.receive()
            assert worker.interrupted == [[], ["r"]]


async def test_drain_waits_for_everything_that_was_queued_before(gateway: Gateway) -> None:
    async with connected(gateway, "a") as one, connected(gateway, "b") as two:
        await one.send(opened(1))
        await one.until_acked(1)
        await two.raw({"m": []})
        await until(lambda: len(gateway.sockets.workers()) == 2)
        draining = asyncio.create_task(gateway.sockets.drain(5))
        while not (one.drains and two.drains):
            await (two if one.drains else one).receive()
        await one.send(chunk(2, 0), {"n": 3, "t": "drained", "token": one.drains[0]})
        await one.until_acked(3)
        assert not draining.done()
        await two.send({"n": 1, "t": "drained", "token": two.drains[0]})
        assert await draining is True
        assert [event["type"] for event in await gateway.events()] == ["NODE_EXECUTING", "NODE_YIELD"]


async def test_drain_gives_up_after_its_time_and_forgets_who_left(gateway: Gateway) -> None:
    assert await gateway.sockets.drain(0.5) is True
    async with connected(gateway) as worker:
        await worker.send(opened(1))
        await worker.until_acked(1)
        assert await gateway.sockets.drain(0.05) is False
        draining = asyncio.create_task(gateway.sockets.drain(5))
        await asyncio.sleep(0.02)
    assert await draining is True


async def test_restart_is_told_to_every_worker(gateway: Gateway) -> None:
    async with connected(gateway) as worker:
        await worker.send(opened(1))
        await worker.until_acked(1)
        gateway.sockets.close_all()
        assert await worker.close_code() == 1012


async def test_unknown_run_does_not_hold_up_its_worker(gateway: Gateway) -> None:
    async with connected(gateway) as worker:
        await worker.send(opened(1, run="forgotten"), opened(2))
        await worker.until_acked(2)
        assert worker.replies["1"] == {"s": "ok", "next": 0}


async def test_worker_is_not_read_while_too_much_is_uncommitted(tmp_path: Path) -> None:
    async with serve(tmp_path, max_uncommitted=10_000) as gateway, connected(gateway) as worker:
        await worker.send(opened(1))
        await worker.until_acked(1)
        await gateway.log._threads.write(lambda: gateway.log._writer.execute("PRAGMA max_page_count=1").fetchone())
        for i in range(40):
            await worker.send(chunk(2 + i, i, content="y" * 5_000))
        await asyncio.sleep(0.3)
        (session,) = gateway.sockets._sessions
        assert session.uncommitted_bytes < 20_000
        assert worker.acked == 1
        await gateway.log._threads.write(lambda: gateway.log._writer.execute("PRAGMA max_page_count=99999").fetchone())
        await worker.until_acked(41)
        assert len(await gateway.events()) == 41


async def test_many_chunks_of_many_frames_arrive_in_order(gateway: Gateway) -> None:
    async with connected(gateway) as worker:
        await worker.send(opened(1, reply=False))
        for start in range(0, 3000, 600):
            await worker.send(*(chunk(2 + i, i) for i in range(start, start + 600)))
        await worker.until_acked(3001)
    seen = 0
    while page := await gateway.log.read("r", seen):
        assert [event.seq for event in page] == list(range(seen + 1, seen + len(page) + 1))
        seen += len(page)
    assert seen == 3001


def follow(id: str, path: str = "n", origin: Any = None, next: int = 0) -> dict[str, Any]:
    return {"id": id, "run": "r", "path": path, "origin": origin, "next": next}


async def test_consumer_on_another_worker_gets_every_chunk_and_the_end(gateway: Gateway) -> None:
    async with connected(gateway, "producer") as producer, connected(gateway, "consumer") as consumer:
        await consumer.raw({"follow": [follow("a"), follow("b"), follow("never", "elsewhere")]})
        await producer.send(opened(1, reply=False), *(chunk(2 + i, i, content=f"{i}") for i in range(1500)))
        await producer.send(complete(1502))
        seen = {"a": 0, "b": 0}
        while sum("end" in block for block in consumer.blocks) < 2:
            await consumer.receive()
            for block in consumer.blocks:
                seen[block["id"]] = max(seen[block["id"]], block["i"] + len(block["chunks"]))
            await consumer.raw({"got": list(seen.items())})
    for id in ("a", "b"):
        blocks = [block for block in consumer.blocks if block["id"] == id]
        assert blocks[0]["origin"] == [1, 0]
        contents = [item["content"] for block in blocks for item in block["chunks"]]
        assert contents == [f"{i}" for i in range(1500)]
        assert blocks[-1]["end"] == {"type": "NODE_COMPLETE"}


async def test_consumer_that_reconnects_follows_from_where_it_is(gateway: Gateway) -> None:
    async with connected(gateway, "producer") as producer:
        await producer.send(opened(1), *(chunk(2 + i, i, content=f"{i}") for i in range(4)))
        await producer.until_acked(5)
        async with connected(gateway, "consumer") as consumer:
            await consumer.raw({"follow": [follow("a")]})
            while not any(block["chunks"] for block in consumer.blocks):
                await consumer.receive()
        await until(lambda: gateway.writer.streams._tails == {})
        await producer.send(chunk(6, 4, content="4"))
        async with connected(gateway, "consumer") as consumer:
            await consumer.raw({"follow": [follow("a", origin=[1, 0], next=3)], "got": [["a", 3]]})
            while sum(len(block["chunks"]) for block in consumer.blocks) < 2:
                await consumer.receive()
            assert [item["content"] for block in consumer.blocks for item in block["chunks"]] == ["3", "4"]
            await consumer.raw({"unfollow": ["a"]})
            await until(lambda: gateway.writer.streams._tails == {})
            assert await gateway.sockets.drain(0) is False  # the connection is still there


async def test_resumed_open_is_told_the_text_so_far(gateway: Gateway) -> None:
    relayed = [{**chunk(2 + i, i, content=f"{i} "), "u": 2 * i + 2} for i in range(1200)]
    async with connected(gateway) as worker:
        await worker.send({**opened(1), "resume": [1, 0]}, *relayed)
        await worker.until_acked(1201)
        assert worker.replies == {"1": {"s": "ok", "next": 0, "used": 0, "text": ""}}
        await worker.send({**opened(1202, 2), "resume": [1, 0]})
        await worker.until_acked(1202)
        text = "".join(f"{i} " for i in range(1200))
        assert worker.replies["1202"] == {"s": "ok", "next": 1200, "used": 2400, "text": text}


async def test_kept_open_is_told_what_the_stream_holds(gateway: Gateway) -> None:
    told = [{**chunk(2 + i, i, content=f"{i} ")} for i in range(1200)]
    usage = {**chunk(1202, 1200), "chunk": {"type": "usage_chunk", "content": {"total_tokens": 3}}}
    async with connected(gateway) as worker:
        await worker.send(opened(1), *told, usage)
        await worker.send({**opened(1203, 2), "keep": True}, chunk(1204, 1201, 2, content="more"))
        await worker.until_acked(1204)
        text = "".join(f"{i} " for i in range(1200))
        kept = {"text": text, "reasoning": "", "kinds": ["text_chunk", "usage_chunk"], "usage": {"total_tokens": 3}}
        assert worker.replies["1203"] == {"s": "ok", "next": 1201, "kept": {**kept, "legs": [[1, len(text)]]}}
        worker.replies.clear()
        await worker.send({**opened(1205, 3), "keep": True})
        await worker.until_acked(1205)
        kept = {**kept, "text": text + "more", "legs": [[1, len(text)], [2, 4]]}
        assert worker.replies["1205"] == {"s": "ok", "next": 1202, "kept": kept}


async def test_many_that_keep_at_once_are_all_told(gateway: Gateway) -> None:
    await gateway.log.create_run("s", {})
    places = [(run, f"n{index}") for index in range(20) for run in ("r", "s")]
    async with connected(gateway) as worker:
        for n, (run, path) in enumerate(places):
            body = {"type": "text_chunk", "content": f"{run}/{path}"}
            said = {"n": 2 * n + 2, "t": "chunk", "run": run, "path": path, "epoch": [1, 0], "i": 0, "chunk": body}
            await worker.send({**opened(2 * n + 1, run=run, reply=False), "path": path}, said)
        first = 2 * len(places) + 1
        keeps = [{**opened(first + n, 2, run=run), "path": path, "keep": True} for n, (run, path) in enumerate(places)]
        await worker.send(*keeps)
        await worker.until_acked(first + len(places) - 1)
        texts = [worker.replies[str(first + n)]["kept"]["text"] for n in range(len(places))]
        assert texts == [f"{run}/{path}" for run, path in places]


@pytest.mark.parametrize(
    ("spoil", "kind", "text"),
    [
        ({"t": "gap", "epoch": [1, 0], "from": 1, "to": 2}, "hole", "01"),
        ({**chunk(0, 1, content="x" * 2_000_000)}, "too_large", ""),
    ],
)
async def test_kept_stream_that_is_not_whole_says_so(
    gateway: Gateway, spoil: dict[str, Any], kind: str, text: str
) -> None:
    """Of what is too large for a frame nothing is told, however much larger it is."""
    spoils = [{**spoil, "run": "r", "path": "n", "n": 3}]
    if kind == "too_large":
        spoils = [{**spoil, "n": 3 + i, "i": 1 + i} for i in range(3)]
    i, n = (3, 4) if kind == "hole" else (4, 6)
    async with connected(gateway) as worker:
        await worker.send(opened(1), chunk(2, 0, content="0"), *spoils, chunk(n, i, content="1"))
        await worker.send({**opened(n + 1, 2), "keep": True})
        await worker.until_acked(n + 1)
        answer = worker.replies[str(n + 1)]
        assert answer["next"] == i + 1
        assert (kind in answer["kept"]["kinds"], answer["kept"]["text"]) == (True, text)


async def test_large_answers_go_in_frames_of_their_own_before_their_acknowledgement(gateway: Gateway) -> None:
    large = "y" * 700_000
    async with connected(gateway) as worker:
        opens = [{**opened(2 * i + 1), "path": f"n{i}"} for i in range(6)]
        ends = [{**complete(2 * i + 2, text=large), "path": f"n{i}"} for i in range(6)]
        for pair in zip(opens, ends, strict=True):
            await worker.send(*pair)
        await worker.until_acked(12)
        worker.replies.clear()
        await worker.send(*({**opened(13 + i, 2), "path": f"n{i}"} for i in range(6)))
        frames = 0
        while worker.acked < 18:
            await worker.receive()
            frames += 1
            assert worker.acked < 18 or len(worker.replies) == 6
        assert frames >= 3
