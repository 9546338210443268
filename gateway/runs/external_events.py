"""Events from outside: handed to the runs whose nodes wait for them."""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import orjson
from temporalio.service import RPCError, RPCStatusCode

from innkeeper.gateway.errors import BadRequest, EngineAway, IdempotencyMismatch, TooLarge
from innkeeper.gateway.runs.admission import body_hash, key_hash
from innkeeper.gateway.runs.pausing import active_row, away
from innkeeper.gateway.runs.run_log import RunLog
from innkeeper.gateway.runs.temporal_client import TemporalLink
from innkeeper.gateway.runs.view import JsonObject
from innkeeper.gateway.store.broadcasts import DONE, BroadcastStore
from innkeeper.gateway.store.models import BroadcastRow
from innkeeper.gateway.store.runs import RunStore
from innkeeper.nodes.errors import RunNotActive

logger = logging.getLogger("innkeeper.gateway.runs")

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

    def __init__(self, store: RunStore, run_log: RunLog, temporal: TemporalLink, broadcasts: BroadcastStore) -> None:
        self._store = store
        self._run_log = run_log
        self._temporal = temporal
        self._broadcasts = broadcasts
        self._delivering: dict[str, asyncio.Task[JsonObject]] = {}

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

    async def broadcast(self, event: ExternalEvent, user: str, key: str | None = None) -> JsonObject:
        """Hand an event to every run in which a node waits for one of this name; gives how many, and the first of them.

        It is written down before any run has it: if this gateway dies, the next one goes on with it.

        Args:
            key: The client's Idempotency-Key: the same key and event are one event. When some runs could not be told,
                only these are told by the next request.

        Raises:
            EngineAway: Before any run had it.
            IdempotencyMismatch: The key came with another event.
        """
        row = await self._known(event, user, key)
        if row is None:
            await self._temporal.client()
            if key:
                await self._broadcasts.delete_old()
            row = BroadcastRow(
                id=secrets.token_hex(10),
                user_id=user,
                name=event.name,
                data=orjson.dumps(event.data),
                runs=orjson.dumps(await self._waiting_for(event.name)).decode(),
                key_hash=key_hash(key) if key else None,
                body_hash=_hash_of(event) if key else None,
            )
            if not await self._broadcasts.add(row):  # somebody else came with this key meanwhile
                row = await self._known(event, user, key)
                assert row is not None
        if row.status == DONE:
            return cast(JsonObject, orjson.loads(row.answer or "{}"))
        # Whoever asked may go away: it is delivered all the same.
        return await asyncio.shield(self._deliver_soon(row))

    async def resume(self) -> None:
        """Deliver what an earlier gateway was delivering when it died. Ends when it has begun with all of it."""
        for row in await self._broadcasts.interrupted():
            logger.info("a broadcast is taken up again", extra={"event": "broadcast_resumed", "id": row.id})
            self._deliver_soon(row, resumed=True)

    async def stop(self) -> None:
        """Leave what is being delivered to the next gateway."""
        tasks = list(self._delivering.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _known(self, event: ExternalEvent, user: str, key: str | None) -> BroadcastRow | None:
        row = await self._broadcasts.by_key(user, key_hash(key)) if key else None
        if row is not None and row.body_hash != _hash_of(event):
            raise IdempotencyMismatch("this Idempotency-Key came with another event before; use a new key")
        return row

    async def _waiting_for(self, name: str) -> list[str]:
        runs = [row.id for row in await self._store.active() if row.status == "running"]
        return [run for run in runs if (await self._run_log.activity(run)).waits_for(name)]

    def _deliver_soon(self, row: BroadcastRow, *, resumed: bool = False) -> asyncio.Task[JsonObject]:
        task = self._delivering.get(row.id)
        if task is None:
            task = asyncio.create_task(self._deliver(row, resumed=resumed), name=f"broadcast-{row.id}")
            self._delivering[row.id] = task
            task.add_done_callback(lambda _: self._delivering.pop(row.id, None))
        return task

    async def _deliver(self, row: BroadcastRow, *, resumed: bool) -> JsonObject:
        if resumed:
            await self._temporal.wait()
        runs: list[str] = orjson.loads(row.runs)
        event = ExternalEvent(row.name, orjson.loads(row.data))
        places = asyncio.Semaphore(AT_ONCE)

        async def tell(run: str) -> bool:
            async with places:
                while True:
                    try:
                        # A run may have ended by the event, which the gateway before this one told it.
                        return await self._signal(run, event, row.id) or resumed
                    except EngineAway:
                        if not resumed:
                            return False
                        await self._temporal.wait()
                    except RPCError as error:
                        logger.error("a run was not told of an event", extra={"run": run, "code": str(error.status)})
                        return False

        told = await asyncio.gather(*(tell(run) for run in runs))
        reached = [run for run, got_it in zip(runs, told, strict=True) if got_it]
        missed = [run for run, got_it in zip(runs, told, strict=True) if not got_it]
        answer = _answer(row, reached, missed)
        await self._broadcasts.end(row, missed, answer)
        return answer

    async def _signal(self, run: str, event: ExternalEvent, event_id: str = "") -> bool:
        """False: Temporal does not have the run, or not any more."""
        try:
            handle = (await self._temporal.client()).get_workflow_handle(run)
            args = [event.name, event.data, *([event_id] if event_id else [])]
            await handle.signal("event", args=args, rpc_timeout=SIGNAL_TIMEOUT)
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return False
            raise away(self._temporal, error) from error
        return True


def _answer(row: BroadcastRow, reached: list[str], missed: list[str]) -> JsonObject:
    """What the client is told. Runs that an earlier request with the same key has told count too."""
    before: JsonObject = orjson.loads(row.answer) if row.answer else {"runs": 0, "promptIds": []}
    answer: JsonObject = {
        "name": row.name,
        "runs": before["runs"] + len(reached),
        "promptIds": [*before["promptIds"], *reached][:MAX_LISTED],
    }
    return {**answer, "missed": missed[:MAX_LISTED]} if missed else answer


def _hash_of(event: ExternalEvent) -> str:
    return body_hash({"name": event.name, "data": event.data})


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
