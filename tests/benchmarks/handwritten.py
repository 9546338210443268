"""The yardstick: plain Temporal workflows that do the same work, and their worker: `handwritten.py ADDRESS NAMESPACE`.

Whoever writes a durable chain by hand writes about this. Client and worker options are those of activities/worker.py.
Nothing of the project is imported, so this worker costs only what Temporal costs.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.service import GrpcCompression
from temporalio.worker import Worker

TASK_QUEUE = "handwritten"
CHAIN, FAN_OUT, EMPTY = "HandwrittenChain", "HandwrittenFanOut", "HandwrittenEmpty"
LOCAL = "HandwrittenLocal"
CHILD, CHILDREN, ITEMS = "HandwrittenChild", "HandwrittenChildren", "HandwrittenItems"
STEP, ALL = "handwritten_step", "handwritten_all"
AT_ONCE = 8
MOST_AT_ONCE = 1_000
"""Activities of one workflow that are open together; Temporal refuses more than 2,000."""
PER_HISTORY = 1_000
"""Items after which the loop continues as new: 3 events each stay below what Temporal suggests as the end."""
_THROTTLE = timedelta(seconds=1)


@activity.defn(name=STEP)
async def step(inputs: dict[str, str]) -> dict[str, str]:
    return {"text": inputs["text"]}


@activity.defn(name=ALL)
async def all_steps(length: int) -> dict[str, str]:
    """What `length` steps do, one after the other."""
    found = {"text": "x"}
    for _ in range(length):
        found = await step(found)
    return found


def _start_step(text: str) -> workflow.ActivityHandle[dict[str, str]]:
    handle: workflow.ActivityHandle[dict[str, str]] = workflow.start_activity(
        STEP,
        {"text": text},
        result_type=dict,
        start_to_close_timeout=timedelta(seconds=300),
        heartbeat_timeout=timedelta(seconds=5),
    )
    return handle


@workflow.defn(name=CHAIN, sandboxed=False)
class Chain:
    @workflow.run
    async def run(self, length: int) -> int:
        text = "x"
        for _ in range(length):
            text = (await _start_step(text))["text"]
        return length


@workflow.defn(name=LOCAL, sandboxed=False)
class Local:
    """One local activity that does all: the least that the work of a chain can cost, durable only as a whole."""

    @workflow.run
    async def run(self, length: int) -> int:
        await workflow.execute_local_activity(
            ALL, length, result_type=dict, start_to_close_timeout=timedelta(seconds=30)
        )
        return length


@workflow.defn(name=FAN_OUT, sandboxed=False)
class FanOut:
    @workflow.run
    async def run(self, width: int) -> int:
        done = 0
        while done < width:
            count = min(MOST_AT_ONCE, width - done)
            done += len(await asyncio.gather(*(_start_step("x") for _ in range(count))))
        return done


@workflow.defn(name=EMPTY, sandboxed=False)
class Empty:
    @workflow.run
    async def run(self, size: int) -> int:
        return size


@workflow.defn(name=CHILD, sandboxed=False)
class Child:
    @workflow.run
    async def run(self, text: str) -> str:
        return (await _start_step(text))["text"]


@workflow.defn(name=CHILDREN, sandboxed=False)
class Children:
    """Child workflows of one step, one after the other, each with the text of the one before."""

    @workflow.run
    async def run(self, count: int) -> int:
        text = "x"
        for number in range(count):
            text = await workflow.execute_child_workflow(CHILD, text, id=f"{workflow.info().workflow_id}/{number}")
        return count


@workflow.defn(name=ITEMS, sandboxed=False)
class Items:
    """A step for each of so many items, several at a time, their results in order, over several histories."""

    @workflow.run
    async def run(self, count: int, results: list[str] | None = None) -> int:
        done = results or []
        todo = iter(range(len(done), min(count, len(done) + PER_HISTORY)))
        found: dict[int, str] = {}

        async def work() -> None:
            for number in todo:
                found[number] = (await _start_step(f"item {number}"))["text"]

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        done += [found[number] for number in sorted(found)]
        if len(done) < count:
            workflow.continue_as_new(args=[count, done])
        return len(done)


async def serve(address: str, namespace: str) -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    client = await Client.connect(address, namespace=namespace, grpc_compression=GrpcCompression.NONE)
    worker = Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=[Chain, Local, FanOut, Empty, Child, Children, Items],
        activities=[step, all_steps],
        workflow_task_executor=ThreadPoolExecutor(4),
        max_concurrent_activities=200,
        max_eager_activity_reservations_per_workflow_task=100,
        max_heartbeat_throttle_interval=_THROTTLE,
        default_heartbeat_throttle_interval=_THROTTLE,
    )
    async with worker:
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
