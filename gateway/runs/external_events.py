"""Events from outside: handed to the runs whose nodes wait for them."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Collection
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
from innkeeper.gateway.store.models import BroadcastRow, RunRow
from innkeeper.gateway.store.runs import RunStore
from innkeeper.nodes.errors import RunNotActive

logger = logging.getLogger("innkeeper.gateway.runs")

MAX_NAME_CHARS = 200
MAX_DATA_BYTES = 256_000
"""Of JSON: it is kept in the history of the run and of every group that runs in it."""
AT_ONCE = 50
MAX_LISTED = 100
SIGNAL_TIMEOUT = timedelta(seconds=5)
STARTING_S = 3.0
"""How long an event waits for Temporal to get the run: a submission is answered before."""
STARTING_POLL_S = 0.05
CLEANING_S = 3_600.0
"""Between two looks for broadcasts that nobody repeats any more."""
KEPT_ANSWER_S = 2.0
"""How long the answer waits for runs that will be told in any case."""


@dataclass(frozen=True)
class ExternalEvent:
    """Something that happened outside."""

    name: str
    data: Any = None


@dataclass(frozen=True)
class EventKey:
    """What makes two events of a user the same event.

    Attributes:
        hash: Of the client's Idempotency-Key, or of the event's own id.
        body_hash: Of the event that must come with it; None: whatever comes with it is the same event.
    """

    hash: str
    body_hash: str | None = None

    @classmethod
    def of_client(cls, key: str, event: ExternalEvent) -> EventKey:
        """An Idempotency-Key, which goes with one event alone."""
        return cls(key_hash(key), body_hash({"name": event.name, "data": event.data}))

    @classmethod
    def of_event(cls, identity: str) -> EventKey:
        """An id that the event has itself. No header can hold the line break: it is nobody's Idempotency-Key."""
        return cls(key_hash(f"event\n{identity}"))


@dataclass
class Broadcast:
    """An event for all runs that wait for one of its name when it comes.

    Attributes:
        row: What is written down of it, or will be.
        is_known: It came before, under the same key. Two that come together may both learn this only when they are
            delivered.
    """

    row: BroadcastRow
    is_known: bool = False


@dataclass
class _Delivery:
    """A broadcast on its way. `reached`: runs that have it."""

    task: asyncio.Task[JsonObject]
    reached: list[str]


class ExternalEvents:
    """Hands events on."""

    def __init__(self, store: RunStore, run_log: RunLog, temporal: TemporalLink, broadcasts: BroadcastStore) -> None:
        self._store = store
        self._run_log = run_log
        self._temporal = temporal
        self._broadcasts = broadcasts
        self._delivering: dict[str, _Delivery] = {}
        self._cleaned_at = -CLEANING_S

    async def post(self, run: str, event: ExternalEvent) -> JsonObject:
        """Hand an event to one run; gives how many of its nodes waited for one of this name.

        Raises:
            RunNotFound, RunNotActive, EngineAway.
        """
        row = await active_row(self._store, run, "told of events")
        waiting = (await self._run_log.activity(run)).waits_for(event.name)
        if row.status == "queued" or not await self._signal_when_started(row, event):
            raise RunNotActive(f"run {run!r} does not run now, so nothing in it waits for an event")
        return {"promptId": run, "name": event.name, "waiting": waiting}

    async def prepare(self, event: ExternalEvent, user: str, key: EventKey | None = None) -> Broadcast:
        """Find the runs that wait for an event now; nothing is written down or told yet.

        Raises:
            IdempotencyMismatch: The key came with another event.
        """
        if (known := await self._known(user, key)) is not None:
            return Broadcast(known, is_known=True)
        row = BroadcastRow(
            id=secrets.token_hex(10),
            user_id=user,
            name=event.name,
            data=orjson.dumps(event.data),
            runs=orjson.dumps(await self._waiting_for(event.name)).decode(),
            key_hash=key.hash if key else None,
            body_hash=key.body_hash if key else None,
        )
        return Broadcast(row)

    async def deliver(self, broadcast: Broadcast, *, keep: bool = False) -> JsonObject:
        """Hand an event to the runs that wait for it; gives how many have it, and the first of them.

        It is written down before any run has it: if this gateway dies, the next one goes on with it. When some runs
        could not be told, a later broadcast with the same key tells only these.

        Args:
            keep: While Temporal is away the event waits for it, and what is given tells the runs to come (`pending`).

        Raises:
            EngineAway: Before any run had it; not with `keep`.
            IdempotencyMismatch: Its key came with another event meanwhile.
        """
        if not broadcast.is_known:
            if not keep:
                await self._temporal.client()
            if broadcast.row.key_hash is None and broadcast.row.runs == "[]":
                return _answer(broadcast.row, [], [])  # nobody waits, and nobody can ask again
            await self._write(broadcast)
        row = broadcast.row
        if row.status == DONE:
            return cast(JsonObject, orjson.loads(row.answer or "{}"))
        delivery = self._deliver_soon(row, keep=keep)
        # Whoever asked may go away: it is delivered all the same.
        if not keep:
            return await asyncio.shield(delivery.task)
        done, _ = await asyncio.wait({delivery.task}, timeout=KEPT_ANSWER_S)
        if done:
            return delivery.task.result()
        reached = list(delivery.reached)
        pending = [run for run in orjson.loads(row.runs) if run not in reached]
        return {**_answer(row, reached, []), "pending": pending[:MAX_LISTED]}

    async def resume(self) -> None:
        """Deliver what an earlier gateway was delivering when it died. Ends when it has begun with all of it."""
        for row in await self._broadcasts.interrupted():
            logger.info("a broadcast is taken up again", extra={"event": "broadcast_resumed", "id": row.id})
            self._deliver_soon(row, resumed=True)

    async def stop(self) -> None:
        """Leave what is being delivered to the next gateway."""
        tasks = [delivery.task for delivery in self._delivering.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _known(self, user: str, key: EventKey | None) -> BroadcastRow | None:
        row = await self._broadcasts.by_key(user, key.hash) if key else None
        if row is not None and key is not None and row.body_hash != key.body_hash:
            raise IdempotencyMismatch("this Idempotency-Key came with another event before; use a new key")
        return row

    async def _write(self, broadcast: Broadcast) -> None:
        row = broadcast.row
        if row.key_hash and time.monotonic() - self._cleaned_at >= CLEANING_S:
            self._cleaned_at = time.monotonic()
            await self._broadcasts.delete_old()
        if not await self._broadcasts.add(row):  # somebody else came with this key meanwhile
            known = await self._known(row.user_id, EventKey(row.key_hash or "", row.body_hash))
            assert known is not None
            broadcast.row, broadcast.is_known = known, True

    async def _waiting_for(self, name: str) -> list[str]:
        runs = await self._store.running()
        return [run for run in runs if (await self._run_log.activity(run)).waits_for(name)]

    def _deliver_soon(self, row: BroadcastRow, *, resumed: bool = False, keep: bool = False) -> _Delivery:
        delivery = self._delivering.get(row.id)
        if delivery is None:
            reached: list[str] = []
            work = self._deliver(row, reached, resumed=resumed, keep=keep or resumed)
            delivery = _Delivery(asyncio.create_task(work, name=f"broadcast-{row.id}"), reached)
            self._delivering[row.id] = delivery
            delivery.task.add_done_callback(lambda _: self._delivering.pop(row.id, None))
        return delivery

    async def _deliver(self, row: BroadcastRow, reached: list[str], *, resumed: bool, keep: bool) -> JsonObject:
        runs: list[str] = orjson.loads(row.runs)
        event = ExternalEvent(row.name, orjson.loads(row.data))
        places = asyncio.Semaphore(AT_ONCE)

        async def tell(run: str) -> None:
            async with places:
                if await self._told(run, event, row.id, resumed=resumed, keep=keep):
                    reached.append(run)

        await asyncio.gather(*(tell(run) for run in runs))
        got_it = set(reached)
        in_order = [run for run in runs if run in got_it]
        missed = [run for run in runs if run not in got_it]
        answer = _answer(row, in_order, missed)
        await self._broadcasts.end(row, missed, answer)
        return answer

    async def _told(self, run: str, event: ExternalEvent, event_id: str, *, resumed: bool, keep: bool) -> bool:
        """Has this run the event? With `keep` an answer comes only when Temporal does."""
        may_have_it = resumed
        while True:
            try:
                # A run may have ended by the event, which it got from the gateway before this one, or at the last try.
                return await self._signal(run, event, event_id) or may_have_it
            except EngineAway:
                if not keep:
                    return False
                may_have_it = True
                await self._temporal.wait()
            except RPCError as error:
                logger.error("a run was not told of an event", extra={"run": run, "code": str(error.status)})
                return False

    async def _signal_when_started(self, row: RunRow, event: ExternalEvent) -> bool:
        """False: the run has ended. Raises EngineAway when Temporal does not get it in time."""
        deadline = time.monotonic() + STARTING_S
        while not await self._signal(row.id, event):
            if row.status != "running" or row.started_at is not None:  # as it was before Temporal was asked
                return False
            if time.monotonic() > deadline:
                raise EngineAway("Temporal does not have the run yet; try again in a moment")
            await asyncio.sleep(STARTING_POLL_S)
            row = await active_row(self._store, row.id, "told of events")
        return True

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


def read_event(body: JsonObject, more: Collection[str] = ()) -> ExternalEvent:
    """The event in a request. Raises BadRequest, TooLarge.

    Args:
        more: Further keys that it may have; who knows them reads them.
    """
    known = ("name", "data", *more)
    if unknown := sorted(body.keys() - set(known)):
        *others, last = map(repr, known)
        raise BadRequest(f"an event has {', '.join(others)} and {last}, not {unknown[0][:80]!r}")
    return checked_event(body.get("name"), body.get("data"))


def checked_event(name: Any, data: Any) -> ExternalEvent:
    """An event of this name and JSON data. Raises BadRequest, TooLarge."""
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_CHARS:
        raise BadRequest(f"'name' must be a text of 1 to {MAX_NAME_CHARS} characters: the name that a node waits for")
    size = len(orjson.dumps(data))
    if size > MAX_DATA_BYTES:
        raise TooLarge(f"'data' has {size} bytes of JSON; the limit is {MAX_DATA_BYTES}: send a reference instead")
    return ExternalEvent(name, data)
