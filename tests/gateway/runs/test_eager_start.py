"""A connected worker starts runs; whatever becomes of it, each run is started, and runs once."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import StartWorkflowExecutionRequest, StartWorkflowExecutionResponse
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode
from websockets.asyncio.client import ClientConnection, connect

from innkeeper.gateway.events import worker_starts
from innkeeper.gateway.runs import launcher
from innkeeper.gateway.settings import worker_token
from innkeeper.workflows.namespace import namespace_id
from tests.gateway.asking import single, submit, until, until_ready, until_started

Json = dict[str, Any]
SAY = single("toys:Say", text="x")
TIMED_OUT = EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT


@dataclass
class Asked:
    """A worker by hand: it says that it starts runs, and does what the test says."""

    socket: ClientConnection
    stack: Any

    async def next_start(self) -> Json:
        """The next request of the gateway; what else it says is left alone."""
        async with asyncio.timeout(30):
            while not (starts := orjson.loads(await self.socket.recv()).get("starts")):
                pass
        (start,) = starts
        return dict(start)

    async def answer(self, start: Json, status: str) -> None:
        await self.socket.send(orjson.dumps({"started": [[start["run"], status]]}))

    async def take_first_task(self, start: Json) -> StartWorkflowExecutionResponse:
        """Start the run and be given its first task, which nobody does then."""
        request = StartWorkflowExecutionRequest.FromString(base64.b64decode(start["request"]))
        request.request_eager_execution, request.request_id = True, str(uuid.uuid4())
        found = await self.stack.temporal.workflow_service.start_workflow_execution(request)
        assert isinstance(found, StartWorkflowExecutionResponse)
        return found


@contextlib.asynccontextmanager
async def asked_worker(stack: Any) -> AsyncIterator[Asked]:
    place = {"queue": stack.queue, "namespace": await namespace_id(stack.temporal)}
    hello = {"hello": {"worker": "by-hand", "queues": [], "protocol": 1, "starts": place}}
    headers = {"Authorization": f"Bearer {worker_token(stack.settings)}"}
    url = stack.url.replace("http", "ws", 1) + "/internal/worker"
    async with connect(url, additional_headers=headers, proxy=None, close_timeout=0.1) as socket:
        await socket.send(orjson.dumps(hello))
        await socket.recv()
        yield Asked(socket, stack)


@contextlib.asynccontextmanager
async def without_worker(stack: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway that reaches Temporal; no worker is there to take the part of the one by hand."""
    async with stack.gateway(), stack.http() as http:
        await stack.container.temporal.wait()
        yield http


async def history(stack: Any, run: str) -> list[HistoryEvent]:
    return [event async for event in stack.temporal.get_workflow_handle(run).fetch_history_events()]


def is_eager(events: list[HistoryEvent]) -> bool:
    return events[0].workflow_execution_started_event_attributes.eager_execution_accepted


async def test_first_task_of_a_run_goes_to_the_worker_that_started_it(stack: Any) -> None:
    async with stack.up() as http:
        for _ in range(20):  # a worker has no slot for it before it polls
            run = await submit(http, SAY)
            await until(http, run, "complete")
            if is_eager(events := await history(stack, run)):
                break
        assert is_eager(events)
        assert TIMED_OUT not in [event.event_type for event in events]


@pytest.mark.parametrize("answer", ["not_started", "stopping", "nonsense", None])
async def test_run_is_started_by_the_gateway_when_the_worker_did_not(stack: Any, answer: str | None) -> None:
    async with without_worker(stack) as http:
        async with asked_worker(stack) as worker:
            submission = asyncio.create_task(submit(http, SAY))
            start = await worker.next_start()
            if answer is not None:
                await worker.answer(start, answer)
        run = await submission
        assert run == start["run"]
        async with stack.worker():
            await until(http, run, "complete")
        assert not is_eager(await history(stack, run))


async def test_event_reaches_a_run_that_temporal_gets_just_now(stack: Any) -> None:
    """A submission is answered before: whoever has the answer may post an event at once."""
    async with without_worker(stack) as http, asked_worker(stack) as worker:
        run = await submit(http, SAY)
        await worker.next_start()  # and no answer
        told = await http.post(f"/api/prompt/{run}/events", json={"name": "go", "data": {}})
        assert told.status_code == 200, told.text
        async with stack.worker():
            await until(http, run, "complete")


async def test_worker_that_hangs_costs_one_run_half_a_second_and_the_others_nothing(stack: Any) -> None:
    async with without_worker(stack) as http, asked_worker(stack) as worker:
        first = await submit(http, SAY)
        start = await worker.next_start()
        await asyncio.sleep(2 * worker_starts.ANSWER_S)
        runs = [first, await submit(http, SAY), await submit(http, SAY)]
        async with stack.worker():
            for run in runs:
                await until(http, run, "complete")
            with pytest.raises(RPCError, match="already finished"):  # late: it is not started again
                await worker.take_first_task(start)
            await worker.answer(start, "started")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await worker.next_start()


async def test_run_whose_first_task_died_with_its_worker_goes_on_after_the_timeout_of_the_task(stack: Any) -> None:
    async with without_worker(stack) as http:
        async with asked_worker(stack) as worker:
            submission = asyncio.create_task(submit(http, SAY))
            start = await worker.next_start()
            given = await worker.take_first_task(start)
            assert given.HasField("eager_workflow_task")
            await worker.answer(start, "started")
        run, began = await submission, time.monotonic()
        async with stack.worker():
            await until(http, run, "complete")
        took_s = time.monotonic() - began
        events = await history(stack, run)
    assert is_eager(events)
    assert [event.event_type for event in events].count(TIMED_OUT) == 1
    assert 3 < took_s < 15


async def test_started_run_whose_worker_left_without_an_answer_runs_once(stack: Any) -> None:
    async with stack.gateway(), stack.worker(), stack.http() as http:
        await until_ready(http)
        async with asked_worker(stack) as worker:
            for _ in range(4):  # the other worker has its turns as well
                submission = asyncio.create_task(submit(http, SAY))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        start = await worker.next_start()
                        break
                await submission
            await worker.take_first_task(start)
        run = await submission
        await until(http, run, "complete")
        told = [event.decode()["type"] for event in await stack.container.log.read(run)]
    assert run == start["run"]
    assert told.count("NODE_EXECUTING") == 1


# --- a submission is answered before Temporal has the run ---------------------------------------------------------


@dataclass
class Held:
    """`go_on`: lets the gateway start the run. `start`: what it asks the worker for."""

    http: httpx.AsyncClient
    run: str
    go_on: Callable[[], Awaitable[None]]
    worker: Asked
    start: Json


@contextlib.asynccontextmanager
async def held_start(stack: Any, monkeypatch: pytest.MonkeyPatch, body: Json = SAY) -> AsyncIterator[Held]:
    """A run that was submitted, and that Temporal does not have before the test says so."""
    monkeypatch.setattr(worker_starts, "ANSWER_S", 60)
    async with without_worker(stack) as http, asked_worker(stack) as worker:
        run = await submit(http, body)
        start = await worker.next_start()
        assert start["run"] == run
        with pytest.raises(RPCError, match="not found"):
            await stack.temporal.get_workflow_handle(run).describe()
        yield Held(http, run, lambda: worker.answer(start, "not_started"), worker, start)


async def test_run_is_announced_before_temporal_has_it(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with held_start(stack, monkeypatch) as held:
        assert (await held.http.get(f"/api/prompt/{held.run}")).json()["status"] == "running"
        (event,) = await stack.container.log.read(held.run)
        assert event.decode()["payload"]["status"] == "running"
        await held.go_on()
        async with stack.worker():
            await until(held.http, held.run, "complete")


async def test_run_that_is_interrupted_before_temporal_has_it_is_cancelled_when_it_does(
    stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with held_start(stack, monkeypatch, single("toys:Hold", seconds=60)) as held:
        answer = await held.http.post(f"/api/interrupt/{held.run}")
        assert answer.status_code == 200
        await held.go_on()
        async with stack.worker():
            await until(held.http, held.run, "interrupted")


async def test_run_that_is_ended_by_force_before_temporal_has_it_is_terminated_there(
    stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with held_start(stack, monkeypatch) as held:
        await held.http.post(f"/api/interrupt/{held.run}?force=true")
        await until(held.http, held.run, "interrupted")
        await held.go_on()
        handle = stack.temporal.get_workflow_handle(held.run)
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(RPCError):
                    if (await handle.describe()).status is WorkflowExecutionStatus.TERMINATED:
                        break
                await asyncio.sleep(0.05)


async def test_run_that_temporal_gets_at_the_last_moment_of_its_forced_end_is_terminated_there(
    stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with held_start(stack, monkeypatch) as held:
        finisher, is_told, goes_on = stack.container.finisher, asyncio.Event(), asyncio.Event()
        closed = finisher._on_closed

        async def closed_late(run: str) -> None:
            is_told.set()
            await goes_on.wait()
            await closed(run)

        monkeypatch.setattr(finisher, "_on_closed", closed_late)
        await held.http.post(f"/api/interrupt/{held.run}?force=true")
        async with asyncio.timeout(30):
            await is_told.wait()
            await held.go_on()
            await until_started(stack.temporal, held.run)
            while not finisher._started_late:
                await asyncio.sleep(0.02)
            goes_on.set()
            await until_terminated(stack, held.run)


async def test_run_that_temporal_gets_when_a_gateway_that_ended_it_by_force_is_gone_is_terminated_there(
    stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(client: Any, request: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(launcher, "send_start", hang)
    async with held_start(stack, monkeypatch) as held:
        await held.http.post(f"/api/interrupt/{held.run}?force=true")
        await until(held.http, held.run, "interrupted")
        await asyncio.sleep(0.3)  # Temporal has said that it does not have it
    await held.worker.take_first_task(held.start)
    async with stack.gateway(), asyncio.timeout(30):
        await until_terminated(stack, held.run)
        while await stack.container.terminator._store.to_terminate():
            await asyncio.sleep(0.05)


async def until_terminated(stack: Any, run: str) -> None:
    while (await stack.temporal.get_workflow_handle(run).describe()).status is not WorkflowExecutionStatus.TERMINATED:
        await asyncio.sleep(0.05)


async def test_run_that_a_worker_starts_after_it_was_ended_by_force_is_terminated_there(
    stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Temporal is slow for all; the gateway gives up, the worker gets through."""

    async def no_answer(client: Any, request: Any) -> None:
        raise RPCError("slow", RPCStatusCode.DEADLINE_EXCEEDED, b"")

    monkeypatch.setattr(launcher, "send_start", no_answer)
    async with without_worker(stack) as http, asked_worker(stack) as worker:
        run = await submit(http, SAY)
        start = await worker.next_start()
        await asyncio.sleep(2 * worker_starts.ANSWER_S)
        await http.post(f"/api/interrupt/{run}?force=true")
        await until(http, run, "interrupted")
        await asyncio.sleep(1)  # the gateway finds that Temporal does not have it
        await worker.take_first_task(start)
        await worker.answer(start, "started")
        handle = stack.temporal.get_workflow_handle(run)
        async with asyncio.timeout(30):
            while (await handle.describe()).status is not WorkflowExecutionStatus.TERMINATED:
                await asyncio.sleep(0.05)


async def test_run_that_is_paused_before_temporal_has_it_starts_paused(
    stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with held_start(stack, monkeypatch) as held:
        await held.http.post(f"/api/prompt/{held.run}/pause")
        await held.go_on()
        async with stack.worker():
            await until(held.http, held.run, "paused")
            await held.http.post(f"/api/prompt/{held.run}/resume")
            await until(held.http, held.run, "complete")


async def test_run_that_temporal_does_not_have_when_the_gateway_stops_is_started_by_the_next_one(
    stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with held_start(stack, monkeypatch) as held:
        run = held.run
    async with stack.up() as http:
        await until(http, run, "complete")


async def test_submissions_wait_for_temporal_while_many_runs_are_being_handed_over(
    stack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "MAX_APART", 1)
    async with held_start(stack, monkeypatch) as held:
        second = asyncio.create_task(submit(held.http, SAY))
        await asyncio.sleep(1)
        assert not second.done()
        await held.worker.answer(await held.worker.next_start(), "not_started")
        await held.go_on()
        async with stack.worker():
            for run in (held.run, await second):
                await until(held.http, run, "complete")
