"""The sides that are compared: each does one run of a load, and knows when nothing goes on any more."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Protocol

import httpx
import orjson
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from innkeeper.nodes.catalogue.plugins import Catalogue
from innkeeper.nodes.services.blobs import FolderBlobs
from innkeeper.workflows.compiler.compile import compile_document
from innkeeper.workflows.document.model import parse_document
from innkeeper.workflows.engine.graph_workflow import TASK_QUEUE, RunStart
from tests.benchmarks import handwritten
from tests.benchmarks.loads import Load

Handle = WorkflowHandle[Any, Any]
TASK_TIMEOUT = timedelta(seconds=5)
FIRST_PAUSE_S = 0.004


class Side(Protocol):
    """`client` is of the namespace in which its runs are, `pids` are the processes that take part, by name."""

    client: Client
    pids: Mapping[str, int]

    async def run(self, load: Load) -> Handle:
        """Start one run and wait for its result. Raises RuntimeError when that is not what it should be."""

    async def settle(self) -> None:
        """Wait until nothing that was run causes more work."""


class Handwritten:
    """Plain Temporal."""

    def __init__(self, client: Client, pids: Mapping[str, int]) -> None:
        self.client, self.pids = client, pids

    async def run(self, load: Load) -> Handle:
        handle: Handle = await self.client.start_workflow(
            load.workflow,
            load.size,
            id=secrets.token_hex(10),
            task_queue=handwritten.TASK_QUEUE,
            task_timeout=TASK_TIMEOUT,
            result_type=int,
        )
        _check(await handle.result() == load.size, handle)
        return handle

    async def settle(self) -> None:
        return None


class EventsOff:
    """Our workflow and worker, without a gateway: compiled beforehand and started by Temporal's client."""

    def __init__(self, client: Client, catalogue: Catalogue, blobs: FolderBlobs, pids: Mapping[str, int]) -> None:
        self.client, self.pids = client, pids
        self._catalogue = catalogue
        self._blobs = blobs
        self._plans: dict[Load, bytes] = {}

    async def run(self, load: Load) -> Handle:
        handle: Handle = await self.client.start_workflow(
            "GraphWorkflow",
            args=[await self._plan(load), RunStart()],
            id=secrets.token_hex(10),
            task_queue=TASK_QUEUE,
            task_timeout=TASK_TIMEOUT,
        )
        _check(_is_whole(await handle.result(), load), handle)
        return handle

    async def settle(self) -> None:
        return None

    async def _plan(self, load: Load) -> bytes:
        if load not in self._plans:
            library = {id: parse_document(raw) for id, raw in load.library.items()}
            document = parse_document(load.document)
            compiled = compile_document(document, self._catalogue, library.get, secret_id=str)
            for data in compiled.blobs.values():
                await self._blobs.put(data)
            self._plans[load] = compiled.encoded
        return self._plans[load]


class EventsOn:
    """The whole product: submitted over HTTP, compiled, stored, run with every event acknowledged."""

    def __init__(self, client: Client, http: httpx.AsyncClient, pids: Mapping[str, int]) -> None:
        self.client, self.pids = client, pids
        self._http = http

    async def run(self, load: Load) -> Handle:
        answer = await self._http.post("/api/prompt", content=orjson.dumps(load.document))
        if answer.status_code != 200:
            raise RuntimeError(f"POST /api/prompt was answered with {answer.status_code}: {answer.text[:500]}")
        handle: Handle = self.client.get_workflow_handle(answer.json()["promptId"])
        _check(_is_whole(await _result(handle), load), handle)
        return handle

    async def settle(self) -> None:
        while await self._open_runs():
            await asyncio.sleep(0.05)

    async def _open_runs(self) -> int:
        return len((await self._http.get("/api/executions")).json()["running"])


class Recorded:
    """Plain Temporal whose runs and steps are written down, submitted over HTTP too."""

    def __init__(self, client: Client, http: httpx.AsyncClient, pids: Mapping[str, int]) -> None:
        self.client, self.pids = client, pids
        self._http = http

    async def run(self, load: Load) -> Handle:
        body = orjson.dumps({"workflow": load.workflow, "size": load.size})
        answer = (await self._http.post("/runs", content=body)).raise_for_status()
        handle: Handle = self.client.get_workflow_handle(answer.json()["run"], result_type=int)
        _check(await _result(handle) == load.size, handle)
        return handle

    async def settle(self) -> None:
        while (await self._http.get("/open")).json():
            await asyncio.sleep(0.05)


async def _result(handle: Handle) -> Any:
    """Temporal's result of a run that was submitted: the gateway answers before Temporal has it."""
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            return await handle.result()
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
            await asyncio.sleep(pause_s)  # ever longer: questions cost the server, too, and count as ours
            pause_s *= 2


def _is_whole(result: Any, load: Load) -> bool:
    complete = result["counts"].get("complete", 0)
    return bool(result["status"] == "complete" and complete == load.node_count)


def _check(as_expected: bool, handle: Handle) -> None:
    if not as_expected:
        raise RuntimeError(f"run {handle.id!r} did not give the expected result; the figures would mean nothing")
