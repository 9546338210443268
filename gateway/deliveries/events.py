"""Events from outside and from nodes: each starts what its triggers say, and wakes the runs that wait for it.

Triggers come first, since what they take is durable. From then on the sender must not be told to send the event again:
runs that cannot be told now, because Temporal is away, are told when it is back (`pending` in the answer).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from innkeeper.gateway.deliveries.book import StoredTrigger, TriggerBook
from innkeeper.gateway.deliveries.intake import Arrival, Handled, Intake, TooManyDeliveries
from innkeeper.gateway.errors import BadRequest
from innkeeper.gateway.moments import iso
from innkeeper.gateway.runs.external_events import (
    MAX_NAME_CHARS,
    Broadcast,
    EventKey,
    ExternalEvent,
    ExternalEvents,
    checked_event,
    read_event,
)
from innkeeper.gateway.runs.origin import depth_of
from innkeeper.gateway.runs.pausing import active_row
from innkeeper.gateway.store.runs import RunStore, now_ms
from innkeeper.gateway.triggers.cloudevents import CloudEvent
from innkeeper.gateway.triggers.decisions import event_fits
from innkeeper.nodes.secret_values import holds_secret

JsonObject = dict[str, Any]

MAX_ID_CHARS = 1_000
MAX_SOURCE_CHARS = 1_000
MAX_ATTRIBUTES_BYTES = 10_000
AT_ONCE = 50
"""Triggers that take one event side by side."""


@dataclass(frozen=True)
class Event:
    """Something that happened.

    Attributes:
        id: The same when the event is sent again; unique within its `source`. None: it is like no other.
        attributes: What a CloudEvent says of itself beside id, source and type.
    """

    name: str
    data: Any = None
    id: str | None = None
    source: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def identity(self, key: str | None = None) -> str | None:
        """What makes it the same event when it comes again: its own id, else the client's Idempotency-Key."""
        if self.id is not None:
            return orjson.dumps([self.source or "", self.id]).decode()
        return None if key is None else orjson.dumps({"key": key}).decode()

    def payload(self, came_at: int) -> JsonObject:
        """What the expressions of a trigger see. `came_at`: milliseconds since 1970."""
        known = {"name": self.name, "id": self.id, "source": self.source}
        return {"data": self.data, "event": {"time": iso(came_at), **self.attributes, **known}}


def read_own(body: JsonObject) -> Event:
    """An event as we write it: `{name, data?, id?, source?}`. Raises BadRequest, TooLarge."""
    event = read_event(body, more=("id", "source"))
    return Event(
        event.name,
        event.data,
        id=_text(body, "id", MAX_ID_CHARS),
        source=_text(body, "source", MAX_SOURCE_CHARS),
    )


def _text(body: JsonObject, key: str, most: int) -> str | None:
    value = body.get(key)
    if value is not None and not (isinstance(value, str) and 0 < len(value) <= most):
        raise BadRequest(f"{key!r} must be a text of 1 to {most} characters, or left out")
    return value


def of_cloud_event(event: CloudEvent) -> Event:
    """A CloudEvent, whose type is our name. Raises BadRequest, TooLarge."""
    if len(event.type) > MAX_NAME_CHARS:
        raise BadRequest(f"'type' must be a text of 1 to {MAX_NAME_CHARS} characters: it is the name of the event")
    checked = checked_event(event.type, event.data)
    attributes = {**event.attributes, **({"dataEncoding": "base64"} if event.is_base64 else {})}
    if len(orjson.dumps(attributes)) > MAX_ATTRIBUTES_BYTES:
        raise BadRequest(f"the attributes of the event have more than {MAX_ATTRIBUTES_BYTES} bytes")
    attributes = {**attributes, "type": event.type}
    return Event(checked.name, checked.data, event.id, event.source, attributes)


def fits(trigger: StoredTrigger, event: Event) -> bool:
    """Does a trigger of the kind `event` want this one?"""
    part = trigger.definition.event
    return part is not None and event_fits(part.name, event.name) and part.source in (None, event.source)


@dataclass(frozen=True)
class _Way:
    """How an event goes to triggers.

    Attributes:
        depth: Runs that led to it.
        replay_key: No trigger takes what comes with it twice, however it recognises its deliveries.
    """

    depth: int = 0
    replay_key: str | None = None


class Events:
    """Takes events in."""

    def __init__(self, book: TriggerBook, intake: Intake, store: RunStore, broadcasts: ExternalEvents) -> None:
        self._book = book
        self._intake = intake
        self._store = store
        self._broadcasts = broadcasts

    async def post(self, event: Event, user: str, key: str | None = None) -> JsonObject:
        """Start every run that a trigger wants, and wake every run that waits; gives what was done.

        Args:
            key: The client's Idempotency-Key. It counts for an event that has no id of its own.

        Raises:
            EngineAway: No trigger takes it, and Temporal is away.
            IdempotencyMismatch: The key came with another event.
            TooManyDeliveries: Before anything was done that would be done twice when the event comes again.
        """
        return await self._post(event, user, key, _Way())

    async def emit(self, run: str, node: str, event: Event) -> JsonObject:
        """Post the event of a node of a run: `{eventId, started, woken}`. One node has one event, however often.

        Raises:
            RunNotFound, RunNotActive, EngineAway, TooManyDeliveries.
            BadRequest: With code `secret_in_event`.
        """
        row = await active_row(self._store, run, "asked to emit an event")
        if holds_secret(event.data):
            raise BadRequest("the data of an event must not hold a secret: triggers keep it", code="secret_in_event")
        named = replace(event, id=event_id(run, node), source=f"innkeeper:run:{run}")
        way = _Way(depth_of(row.origin) + 1, replay_key=named.identity())
        answer = await self._post(named, row.user_id, None, way)
        started = sum("runId" in taken for taken in answer["triggers"])
        woken = answer["runs"] + len(answer.get("pending", ()))
        return {"eventId": named.id, "started": started, "woken": woken}

    async def _post(self, event: Event, user: str, key: str | None, way: _Way) -> JsonObject:
        external = ExternalEvent(event.name, event.data)
        # Before any trigger takes it: a run that begins by this event does not wait for it.
        broadcast = await self._broadcasts.prepare(external, user, _key_of(event, external, key))
        taken = await self._taken(event, user, key, way)
        told = await self._broadcasts.deliver(broadcast, keep=bool(taken))
        return {**told, "triggers": taken, **_duplicate(event, broadcast)}

    async def _taken(self, event: Event, user: str, key: str | None, way: _Way) -> list[JsonObject]:
        mine = (trigger for trigger in self._book.of_kind("event") if trigger.user == user and fits(trigger, event))
        wanting = sorted(mine, key=lambda trigger: trigger.definition.name)
        identity = event.identity(key)
        arrival = Arrival(
            event.payload(now_ms()),
            delivery_id=identity,
            replay_key=way.replay_key,
            depth=way.depth,
        )
        places = asyncio.Semaphore(AT_ONCE)

        async def take(trigger: StoredTrigger) -> Handled | TooManyDeliveries:
            async with places:
                try:
                    return await self._intake.take(trigger, arrival)
                except TooManyDeliveries as error:
                    return error

        found = await asyncio.gather(*(take(trigger) for trigger in wanting))
        refused = [one for one in found if isinstance(one, TooManyDeliveries)]
        # Sent again, an event without an identity would be a new one to the triggers that have it.
        if refused and (identity is not None or len(refused) == len(found)):
            raise refused[0]
        return [_told(trigger, one) for trigger, one in zip(wanting, found, strict=True)]


def event_id(run: str, node: str) -> str:
    """The id of the one event of a node; a node inside of groups and repetitions has a path of its own."""
    return hashlib.sha256(f"{run}/{node}".encode()).hexdigest()[:32]


def _key_of(event: Event, external: ExternalEvent, key: str | None) -> EventKey | None:
    if event.id is not None:
        return EventKey.of_event(event.identity() or "")
    return None if key is None else EventKey.of_client(key, external)


def _duplicate(event: Event, broadcast: Broadcast) -> JsonObject:
    return {"duplicate": True} if event.id is not None and broadcast.is_known else {}


def _told(trigger: StoredTrigger, found: Handled | TooManyDeliveries) -> JsonObject:
    handled = Handled("refused", found.message) if isinstance(found, TooManyDeliveries) else found
    told = {
        "triggerId": trigger.id,
        "name": trigger.definition.name,
        "outcome": handled.outcome,
        "runId": handled.run,
        "reason": handled.reason,
    }
    return {key: value for key, value in told.items() if value}
