"""Events from outside: handed to the runs whose nodes wait for them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
from temporalio.service import RPCError, RPCStatusCode

from innkeeper.gateway.errors import BadRequest, EngineAway, TooLarge
from innkeeper.gateway.runs.pausing import active_row, away
from innkeeper.gateway.runs.run_log import RunLog
from innkeeper.gateway.runs.temporal_client import TemporalLink
from innkeeper.gateway.runs.view import JsonObject
from innkeeper.gateway.store.runs import RunStore
from innkeeper.nodes.errors import RunNotActive

MAX_NAME_CHARS = 200
MAX_DATA_BYTES = 256_000
"""Of JSON: it is kept in the history of the run and of every group that runs in it."""
AT_ONCE = 50
MAX_LISTED = 100
SIGNAL_TIMEOUT = timedelta(seconds=5)


@dataclass(frozen=True)
class ExternalEvent:
    """Something that happened outside."""

    name: str
    data: Any = None


class ExternalEvents:
    """Hands events on."""

    def __init__(self, store: RunStore, run_log: RunLog, temporal: TemporalLink) -> None:
        self._store = store
        self._run_log = run_log
        self._temporal = temporal

    async def post(self, run: str, event: ExternalEvent) -> JsonObject:
        """Hand an event to one run; gives how many of its nodes waited for one of this name.

        Raises:
            RunNotFound, RunNotActive, EngineAway.
        """
        row = await active_row(self._store, run, "told of events")
        waiting = (await self._run_log.activity(run)).waits_for(event.name)
        if row.status == "queued" or not await self._signal(run, event):
            raise RunNotActive(f"run {run!r} does not run now, so nothing in it waits for an event")
        return {"promptId": run, "name": event.name, "waiting": waiting}

    async def broadcast(self, event: ExternalEvent) -> JsonObject:
        """Hand an event to every run in which a node waits for one of this name; gives how many, and the first of them.

        Raises:
            EngineAway: Before any run had it.
        """
        await self._temporal.client()
        runs = [row.id for row in await self._store.active() if row.status == "running"]
        waiting = [run for run in runs if (await self._run_log.activity(run)).waits_for(event.name)]
        places = asyncio.Semaphore(AT_ONCE)

        async def tell(run: str) -> bool:
            async with places:
                try:
                    return await self._signal(run, event)
                except EngineAway:
                    return False

        told = await asyncio.gather(*(tell(run) for run in waiting))
        reached = [run for run, got_it in zip(waiting, told, strict=True) if got_it]
        missed = [run for run, got_it in zip(waiting, told, strict=True) if not got_it]
        answer: JsonObject = {"name": event.name, "runs": len(reached), "promptIds": reached[:MAX_LISTED]}
        return {**answer, "missed": missed[:MAX_LISTED]} if missed else answer

    async def _signal(self, run: str, event: ExternalEvent) -> bool:
        """False: Temporal does not have the run, or not any more."""
        try:
            handle = (await self._temporal.client()).get_workflow_handle(run)
            await handle.signal("event", args=[event.name, event.data], rpc_timeout=SIGNAL_TIMEOUT)
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return False
            raise away(self._temporal, error) from error
        return True


def read_event(body: JsonObject) -> ExternalEvent:
    """The event in a request. Raises BadRequest, TooLarge."""
    name, data = body.get("name"), body.get("data")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_CHARS:
        raise BadRequest(f"'name' must be a text of 1 to {MAX_NAME_CHARS} characters: the name that a node waits for")
    if unknown := sorted(body.keys() - {"name", "data"}):
        raise BadRequest(f"an event has 'name' and 'data', not {unknown[0][:80]!r}")
    size = len(orjson.dumps(data))
    if size > MAX_DATA_BYTES:
        raise TooLarge(f"'data' has {size} bytes of JSON; the limit is {MAX_DATA_BYTES}: send a reference instead")
    return ExternalEvent(name, data)
