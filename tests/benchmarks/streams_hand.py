"""The yardstick for streams: chunks on the shortest way by hand, without a log, so nothing survives anything.

    streams_hand.py switch PORT [FILE]               takes frames at /in and passes them to whoever is at /out/<run>
    streams_hand.py worker ADDRESS NAMESPACE PORT QUEUE    Temporal activities that send each chunk to the switch

With a file the switch commits each frame to SQLite before it passes it on, all that wait in one transaction: the least
that a chunk costs which is kept. Nothing of the project is imported, so these processes cost only what Temporal,
Starlette and WebSockets cost.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.service import GrpcCompression
from temporalio.worker import Worker
from websockets.asyncio.client import ClientConnection, connect

from tests.benchmarks.recorder import Recorder

TASK_QUEUE, RECORDED_QUEUE = "streams-by-hand", "streams-recorded"
STREAM = "HandwrittenStream"
PRODUCE, RELAY = "handwritten_produce", "handwritten_relay"
YIELD_EVERY = 50
KEPT = 1000
"""Frames that wait for the first client of a run."""


# --- the switch -----------------------------------------------------------------------------------------------------


def serve_switch(port: int, file: str | None) -> None:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute
    from starlette.websockets import WebSocket, WebSocketDisconnect

    clients: dict[str, WebSocket] = {}
    waiting: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=KEPT))

    recorder = Recorder(file) if file is not None else None

    async def pass_on(run: str, text: str) -> None:
        if run in clients:
            await clients[run].send_text(text)
        else:
            waiting[run].append(text)

    async def take(websocket: WebSocket) -> None:
        await websocket.accept()
        if recorder is None:
            async for text in websocket.iter_text():
                await pass_on(orjson.loads(text)["run"], text)
            return
        taken: list[tuple[str, str] | None] = []
        wake = asyncio.Event()
        keeping = asyncio.create_task(keep(recorder, taken, wake))
        async for text in websocket.iter_text():
            taken.append((orjson.loads(text)["run"], text))
            wake.set()
        taken.append(None)
        wake.set()
        await keeping

    async def keep(recorder: Recorder, taken: list[tuple[str, str] | None], wake: asyncio.Event) -> None:
        """Until None was taken."""
        is_over = False
        while not is_over:
            await wake.wait()
            wake.clear()
            frames = [frame for frame in taken if frame is not None]
            is_over = len(frames) < len(taken)
            taken.clear()
            await recorder.keep(frames)
            for run, text in frames:
                await pass_on(run, text)

    async def give(websocket: WebSocket) -> None:
        await websocket.accept()
        run = websocket.path_params["run"]
        pending = waiting[run]
        while pending:
            await websocket.send_text(pending.popleft())
        clients[run] = websocket
        del waiting[run]
        try:
            await websocket.receive()
        except WebSocketDisconnect:
            pass
        finally:
            clients.pop(run, None)

    app = Starlette(routes=[WebSocketRoute("/in", take), WebSocketRoute("/out/{run}", give)])
    options: dict[str, Any] = {"ws": "websockets-sansio", "ws_per_message_deflate": False, "log_level": "error"}
    uvicorn.run(app, host="127.0.0.1", port=port, lifespan="off", access_log=False, **options)


# --- the worker -----------------------------------------------------------------------------------------------------


class Activities:
    """The producers of a worker share one connection; a relay has two of its own."""

    def __init__(self, port: int, sending: ClientConnection) -> None:
        self._port = port
        self._sending = sending

    @activity.defn(name=PRODUCE)
    async def produce(self, job: dict[str, Any]) -> float:
        """Gives when it began, by the clock that does not jump."""
        activity.heartbeat()
        began, pause = time.monotonic(), job["pause"]
        send = _sender(self._sending, job["run"])
        await send("ready")
        begin = await _told(Path(job["go"])) if job["go"] else began
        begin += random.random() * pause
        for number in range(job["count"]):
            if pause:
                await asyncio.sleep(begin + number * pause - time.monotonic())
            elif number % YIELD_EVERY == 0:
                await asyncio.sleep(0)
            if number % YIELD_EVERY == 0:
                activity.heartbeat()
            await send(f"{number} {time.monotonic_ns()}")
        await send(None)
        return began

    @activity.defn(name=RELAY)
    async def relay(self, job: dict[str, Any]) -> float:
        """Gives when it ended."""
        activity.heartbeat()
        async with _connect(self._port, f"out/{job['run']}") as source, _connect(self._port, "in") as target:
            send = _sender(target, relayed(job["run"]))
            async for text in source:
                frame = orjson.loads(text)
                if frame["i"] % YIELD_EVERY == 0:
                    activity.heartbeat()
                await send(frame["content"])
                if frame["content"] is None:
                    break
        return time.monotonic()


def relayed(run: str) -> str:
    """The name of what a relay makes of a stream."""
    return f"{run}-relayed"


def _sender(socket: ClientConnection, run: str) -> Callable[[str | None], Awaitable[None]]:
    index = 0

    async def send(content: str | None) -> None:
        nonlocal index
        await socket.send(orjson.dumps({"run": run, "i": index, "content": content}).decode())
        index += 1

    return send


async def _told(go: Path) -> float:
    while not go.exists():
        activity.heartbeat()
        await asyncio.sleep(0.05)
    return float(go.read_text())


def _connect(port: int, path: str) -> connect:
    return connect(f"ws://127.0.0.1:{port}/{path}", compression=None, proxy=None, ping_interval=None)


@workflow.defn(name=STREAM, sandboxed=False)
class Stream:
    @workflow.run
    async def run(self, job: dict[str, Any]) -> float:
        """Seconds from the producer's beginning to the relay's end; 0 without a relay."""
        names = [PRODUCE, RELAY] if job["relay"] else [PRODUCE]
        limits = {"start_to_close_timeout": timedelta(seconds=300), "heartbeat_timeout": timedelta(seconds=15)}
        times = await asyncio.gather(
            *(workflow.start_activity(name, job, result_type=float, **limits) for name in names)  # type: ignore[call-overload]
        )
        return float(times[-1] - times[0])


async def serve_worker(address: str, namespace: str, port: int, queue: str) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    client = await Client.connect(address, namespace=namespace, grpc_compression=GrpcCompression.NONE)
    sending = await _reach(port)
    activities = Activities(port, sending)
    worker = Worker(
        client,
        task_queue=queue,
        workflows=[Stream],
        activities=[activities.produce, activities.relay],
        max_concurrent_activities=500,
        max_heartbeat_throttle_interval=timedelta(seconds=1),
        default_heartbeat_throttle_interval=timedelta(seconds=1),
    )
    async with worker:
        await stop.wait()
    await sending.close()


async def _reach(port: int) -> ClientConnection:
    """A connection to the switch, which may still be starting."""
    while True:
        try:
            return await _connect(port, "in")
        except OSError:
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    if sys.argv[1] == "switch":
        serve_switch(int(sys.argv[2]), *(sys.argv[3:] or [None]))
    else:
        asyncio.run(serve_worker(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]))
