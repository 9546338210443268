"""The yardstick that keeps what we promise to keep: handwritten workflows whose runs and steps are written down.

    recorded_hand.py recorder ADDRESS NAMESPACE PORT FILE    POST /runs, a socket at /in, an SQLite file
    recorded_hand.py worker ADDRESS NAMESPACE PORT           the workflows of handwritten.py, with steps that tell

A run is committed before its POST is answered. The start and the end of each step are sent over one WebSocket, and a
step ends when its end is committed; the end of a run is committed, too. There is no graph, no type, no stream, no
resume, no secret and no log: what this costs more than handwritten.py is the least that recording costs.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import orjson
from temporalio import activity
from temporalio.client import Client
from temporalio.service import GrpcCompression
from temporalio.worker import Worker
from websockets.asyncio.client import ClientConnection, connect

from tests.benchmarks.handwritten import STEP, Chain, Empty, FanOut
from tests.benchmarks.recorder import Recorder

TASK_QUEUE = "recorded-by-hand"
_THROTTLE = timedelta(seconds=1)


def serve_recorder(address: str, namespace: str, port: int, file: str) -> None:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route, WebSocketRoute
    from starlette.websockets import WebSocket

    recorder, clients, tasks = Recorder(file), list[Client](), set[asyncio.Task[None]]()

    async def follow(client: Client, run: str, job: dict[str, Any]) -> None:
        handle = await client.start_workflow(
            job["workflow"],
            job["size"],
            id=run,
            task_queue=TASK_QUEUE,
            task_timeout=timedelta(seconds=5),
            result_type=int,
        )
        await recorder.keep([(run, orjson.dumps({"result": await handle.result()}))])

    async def start(request: Request) -> Response:
        if not clients:
            clients.append(await Client.connect(address, namespace=namespace, grpc_compression=GrpcCompression.NONE))
        run, job = secrets.token_hex(10), orjson.loads(await request.body())
        await recorder.keep([(run, orjson.dumps(job))])
        task = asyncio.create_task(follow(clients[0], run, job))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return Response(orjson.dumps({"run": run}), media_type="application/json")

    async def open_runs(request: Request) -> Response:
        return Response(orjson.dumps(len(tasks)), media_type="application/json")

    async def take(websocket: WebSocket) -> None:
        await websocket.accept()
        async with asyncio.TaskGroup() as group:
            async for text in websocket.iter_text():
                group.create_task(answer(websocket, orjson.loads(text)))

    async def answer(websocket: WebSocket, frame: list[Any]) -> None:
        """`[number of the last, [run, line], ...]`; the number goes back."""
        number, *lines = frame
        await recorder.keep([(run, orjson.dumps(line)) for run, line in lines])
        await websocket.send_text(str(number))

    routes = [Route("/runs", start, methods=["POST"]), Route("/open", open_runs), WebSocketRoute("/in", take)]
    options: dict[str, Any] = {"ws": "websockets-sansio", "ws_per_message_deflate": False, "log_level": "error"}
    uvicorn.run(Starlette(routes=routes), host="127.0.0.1", port=port, lifespan="off", access_log=False, **options)


class Teller:
    """Sends what steps tell: all that came since the last frame in one."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._lines: list[Any] = []
        self._last = 0
        self._acknowledged: dict[int, asyncio.Future[None]] = {}
        self._wake = asyncio.Event()

    def tell(self, run: str, line: dict[str, Any]) -> asyncio.Future[None]:
        """Is done when it is committed."""
        self._last = next(self._numbers)
        self._lines.append([run, line])
        done = self._acknowledged[self._last] = asyncio.get_running_loop().create_future()
        self._wake.set()
        return done

    async def send(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            lines, self._lines = self._lines, []
            await self._socket.send(orjson.dumps([self._last, *lines]).decode())

    async def hear(self) -> None:
        async for text in self._socket:
            for number in [number for number in self._acknowledged if number <= int(text)]:
                self._acknowledged.pop(number).set_result(None)


async def serve_worker(address: str, namespace: str, port: int) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    client = await Client.connect(address, namespace=namespace, grpc_compression=GrpcCompression.NONE)
    socket = await _reach(port)
    teller = Teller(socket)

    @activity.defn(name=STEP)
    async def step(inputs: dict[str, str]) -> dict[str, str]:
        about = activity.info()
        run, node = str(about.workflow_id), about.activity_id
        teller.tell(run, {"node": node, "type": "start", "attempt": about.attempt})
        outputs = {"text": inputs["text"]}
        await teller.tell(run, {"node": node, "type": "end", "outputs": outputs})
        return outputs

    worker = Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=[Chain, FanOut, Empty],
        activities=[step],
        workflow_task_executor=ThreadPoolExecutor(4),
        max_concurrent_activities=200,
        max_eager_activity_reservations_per_workflow_task=100,
        max_heartbeat_throttle_interval=_THROTTLE,
        default_heartbeat_throttle_interval=_THROTTLE,
    )
    tasks = [asyncio.create_task(teller.send()), asyncio.create_task(teller.hear())]
    async with worker:
        await stop.wait()
    for task in tasks:
        task.cancel()
    await socket.close()


async def _reach(port: int) -> ClientConnection:
    """A connection to the recorder, which may still be starting."""
    while True:
        try:
            return await connect(f"ws://127.0.0.1:{port}/in", compression=None, proxy=None, ping_interval=None)
        except OSError:
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    if sys.argv[1] == "recorder":
        serve_recorder(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
    else:
        import uvloop

        uvloop.run(serve_worker(sys.argv[2], sys.argv[3], int(sys.argv[4])))
