"""From something that came for a trigger to a decision that is written down: the one way in for every delivery."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from innkeeper.gateway.deliveries.book import StoredTrigger, TriggerBook
from innkeeper.gateway.deliveries.limits import Recent
from innkeeper.gateway.deliveries.run_ends import RunEnd
from innkeeper.gateway.deliveries.sample import sample_of
from innkeeper.gateway.moments import iso
from innkeeper.gateway.store.models import DeliveryRow
from innkeeper.gateway.store.runs import now_ms
from innkeeper.gateway.store.triggers import Move, TriggerStore
from innkeeper.gateway.store.workflows import pack
from innkeeper.gateway.triggers.decisions import Decision, debounce_limit, decide, rate_limit
from innkeeper.gateway.triggers.mapping import InputProblem, MappedInputs, Reading, map_inputs, read_delivery
from innkeeper.gateway.triggers.model import Trigger
from innkeeper.nodes.errors import InnkeeperError

logger = logging.getLogger("innkeeper.gateway.triggers")

JsonObject = dict[str, Any]
Outcome = Literal["fired", "queued", "filtered", "duplicate", "skipped", "refused", "failed"]

MAX_PENDING = 10_000
"""Deliveries without a run. Each holds its inputs on the disk, and people who wait would rather be told so."""
MAX_NOTED = 200
"""Deliveries of which no run comes and that wait to be written down; more are only counted."""
NOTE_S = 1.0
TRIM_EVERY = 200
KEEP_MS = 30 * 86_400_000
"""How long a delivery that is sent again is known."""
PURGE_EVERY_MS = 3_600_000
MAX_RECOUNTED = 20_000
MAX_REASON_CHARS = 1_000


class TooManyDeliveries(InnkeeperError):
    """So many deliveries wait for their runs that no further one is taken."""

    code = "too_many_deliveries"
    retryable = True


@dataclass(frozen=True)
class Arrival:
    """Something that came for a trigger.

    Attributes:
        payload: A JSON object, as `triggers.mapping` says it for the trigger's kind.
        delivery_id: Of the sender; the same when it sends it again.
        replay_key: Of `verification.Verified`, where a signed time bounds how long a copy may pass.
        depth: How many runs led to this one (`Origin.depth`).
        run: Id of the run that is to come of it, where the caller has one.
    """

    payload: Mapping[str, Any]
    delivery_id: str | None = None
    replay_key: str | None = None
    depth: int = 0
    run: str | None = None


@dataclass(frozen=True)
class Handled:
    """What becomes of a delivery.

    Attributes:
        reason: Why no run comes of it; of `queued`, what it waits for.
        run: Id of the run that comes of it; of a duplicate, the one of the first delivery.
        delivery: Its id, where it is written down.
        retry_after_s: When it may be sent again with better luck.
        problems: Of `failed`: inputs that have no value.
    """

    outcome: Outcome
    reason: str = ""
    run: str | None = None
    delivery: str | None = None
    retry_after_s: float | None = None
    problems: tuple[InputProblem, ...] = ()


@dataclass(frozen=True)
class TryOut:
    """What would become of a delivery."""

    outcome: Outcome
    reason: str
    inputs: Mapping[str, Any]
    problems: tuple[InputProblem, ...]
    run: str | None = None


@dataclass
class _Notes:
    """What is to be written down soon: deliveries of which no run comes, and counters."""

    rows: list[JsonObject] = field(default_factory=list)
    counted: set[int] = field(default_factory=set)


class Intake:
    """Decides on deliveries and writes them down.

    Attributes:
        on_accepted: Called when a run is to be made.
    """

    def __init__(self, book: TriggerBook, store: TriggerStore) -> None:
        self._book = book
        self._store = store
        self._recent: dict[int, Recent] = {}
        self._notes = _Notes()
        self._writing_notes = asyncio.Lock()
        self._promoting = asyncio.Lock()
        self._noted_since_trim: Counter[int] = Counter()
        self._pending = 0
        self._purged_at = 0
        self.on_accepted: Callable[[], None] = lambda: None
        book.listeners.append(self._follow)

    async def load(self) -> None:
        """Learn from the store what is open, after a restart; once, after the book."""
        for row in await self._store.open():
            recent = self._recent_of(row.trigger)
            if row.status == "queued":
                recent.waits(row.concurrency_key, 1)
            elif row.run_id:
                recent.opened(row.concurrency_key, row.run_id)
        self._pending = await self._store.pending()
        await self._recount_outcomes()
        for trigger in self._book.everything():
            await self._recount(trigger)

    async def _recount_outcomes(self) -> None:
        """Counters are written down now and then; what keeps its row is never counted short."""
        rows: dict[int, Counter[str]] = {}
        for number, status, count in await self._store.counts():
            rows.setdefault(number, Counter())["fired" if status == "accepted" else status] += count
        for trigger in self._book.everything():
            counted, counters = rows.get(trigger.number, Counter()), trigger.counters
            for outcome, count in counted.items():
                counters[outcome] = max(counters.get(outcome, 0), count)
            if "queued" in counters:  # these become others
                counters["queued"] = counted["queued"]

    async def _recount(self, trigger: StoredTrigger) -> None:
        """How often it fired lately, which was in memory alone."""
        limits = (debounce_limit(trigger.definition), rate_limit(trigger.definition))
        window = max((limit.per_ms for limit in limits if limit is not None), default=0)
        if not window:
            return
        for row in await self._store.counted(trigger.number, now_ms() - window, MAX_RECOUNTED):
            keys = orjson.loads(row.limit_keys or "[]")
            if len(keys) == 2:
                self._recent_of(trigger.number).spend(trigger.definition, str(keys[0]), str(keys[1]), row.at)

    # --- taking ---------------------------------------------------------------------------------------------------

    async def take(self, trigger: StoredTrigger, arrival: Arrival) -> Handled:
        """Decide on a delivery. When it gives `fired` or `queued`, that is written down, and exactly one run comes of
        it, whatever crashes.

        Raises:
            TooManyDeliveries: Nothing was decided.
        """
        reading = read_delivery(trigger.definition, arrival.payload, arrival.delivery_id)
        decision, now = self._decided(trigger, reading, arrival), now_ms()
        if not decision.is_taken:
            return await self._not_taken(trigger, arrival, reading, decision)
        mapped = map_inputs(trigger.definition, arrival.payload)
        if mapped.problems:
            return self._failed(trigger, arrival, mapped)
        if self._pending >= MAX_PENDING:
            raise TooManyDeliveries(f"{self._pending} deliveries wait for their runs; send it again in a minute")
        delivery = _Accepted(trigger, arrival, reading, decision, arrival.run or secrets.token_hex(10), now)
        # Before anything is waited for: who comes meanwhile must not find a free place that this one takes.
        self._enter(self._recent_of(trigger.number), delivery)
        # Whoever asked may go away: what is written down is counted all the same.
        return await asyncio.shield(self._accept(delivery, mapped))

    def _decided(self, trigger: StoredTrigger, reading: Reading, arrival: Arrival) -> Decision:
        state = self._recent_of(trigger.number).state(reading)
        return decide(trigger.definition, state, reading, now_ms=now_ms(), depth=arrival.depth)

    async def _accept(self, delivery: _Accepted, mapped: MappedInputs) -> Handled:
        """Write down a delivery that holds its place already."""
        trigger, reading = delivery.trigger, delivery.reading
        recent = self._recent_of(trigger.number)
        try:
            is_new = await self._store.receive(delivery.row(await delivery.request(mapped)))
        except BaseException:
            self._leave(recent, delivery)
            raise
        if not is_new:
            self._leave(recent, delivery)
            earlier = await self._store.same(trigger.number, reading.dedupe_key, delivery.replay_key)
            return self._duplicate(trigger, delivery.arrival, None if earlier is None else earlier.run_id)
        self.count(trigger, "queued" if delivery.is_queued else "fired")
        if not delivery.is_queued:
            self.on_accepted()
        outcome: Outcome = "queued" if delivery.is_queued else "fired"
        return Handled(outcome, delivery.decision.reason, delivery.run, delivery.id)

    def _enter(self, recent: Recent, delivery: _Accepted) -> None:
        self._pending += 1
        recent.spend(delivery.trigger.definition, delivery.reading.debounce_key, delivery.reading.rate_key, delivery.at)
        if delivery.is_queued:
            recent.waits(delivery.reading.concurrency_key, 1)
        else:
            recent.opened(delivery.reading.concurrency_key, delivery.run)

    def _leave(self, recent: Recent, delivery: _Accepted) -> None:
        self._pending -= 1
        recent.give_back(delivery.trigger.definition, delivery.reading.debounce_key, delivery.reading.rate_key)
        if delivery.is_queued:
            recent.waits(delivery.reading.concurrency_key, -1)
        else:
            recent.ended(delivery.reading.concurrency_key, delivery.run)

    async def _not_taken(
        self, trigger: StoredTrigger, arrival: Arrival, reading: Reading, decision: Decision
    ) -> Handled:
        if decision.outcome in ("skipped", "refused") and reading.refusal is None and trigger.definition.enabled:
            # A delivery that is sent again is told of its run, not of a rate.
            earlier = await self._store.same(trigger.number, reading.dedupe_key, arrival.replay_key)
            if earlier is not None:
                return self._duplicate(trigger, arrival, earlier.run_id)
        outcome: Outcome = decision.outcome if decision.outcome in ("filtered", "skipped") else "refused"
        self._note(trigger, outcome, decision.reason, sample=sample_of(arrival.payload))
        return Handled(outcome, decision.reason, retry_after_s=decision.retry_after_s)

    def _duplicate(self, trigger: StoredTrigger, arrival: Arrival, run: str | None) -> Handled:
        reason = "the same delivery came before"
        self._note(trigger, "duplicate", reason, run=run, sample=sample_of(arrival.payload))
        return Handled("duplicate", reason, run)

    def _failed(self, trigger: StoredTrigger, arrival: Arrival, mapped: MappedInputs) -> Handled:
        reason = "; ".join(f"input {problem.input!r}: {problem.reason}" for problem in mapped.problems)
        self._note(trigger, "failed", reason, sample=sample_of(arrival.payload))
        return Handled("failed", reason[:MAX_REASON_CHARS], problems=mapped.problems)

    def try_out(self, definition: Trigger, trigger: StoredTrigger | None, arrival: Arrival) -> TryOut:
        """What would become of a delivery now, with the inputs of its run. Nothing is kept.

        Whether it came before is not looked at: a sample may be tried again.
        """
        reading = read_delivery(definition, arrival.payload, arrival.delivery_id)
        recent = self._recent_of(trigger.number) if trigger is not None else Recent()
        decision = decide(definition, recent.state(reading), reading, now_ms=now_ms(), depth=arrival.depth)
        mapped = map_inputs(definition, arrival.payload)
        outcome: Outcome = "fired"
        if decision.outcome in ("filtered", "skipped", "queued", "refused"):
            outcome = decision.outcome
        elif mapped.problems:
            outcome = "failed"
        return TryOut(outcome, decision.reason, mapped.values, mapped.problems)

    # --- what happens later -----------------------------------------------------------------------------------------

    async def started(self, row: DeliveryRow) -> bool:
        """The run of an accepted delivery exists: what was to be submitted is not needed any more."""
        return await self._settle(row, {"status": "fired", "request": None})

    async def failed(self, row: DeliveryRow, reason: str) -> bool:
        """No run comes of an accepted delivery. It keeps its keys: sent again, it would fail again."""
        values = {"status": "failed", "request": None, "reason": reason[:MAX_REASON_CHARS], "ended": True}
        if not await self._settle(row, values):
            return False
        if (trigger := self._book.by_number(row.trigger)) is not None:
            self.count(trigger, "failed")
            self.count(trigger, "fired", -1)
        await self.run_ended(row)
        return True

    async def _settle(self, row: DeliveryRow, values: JsonObject) -> bool:
        done = await self._store.move(Move(row.id, row.status, values))
        if done:
            self._pending = max(0, self._pending - 1)
        return done

    async def run_ended(self, row: DeliveryRow) -> None:
        """The run of a delivery has ended: whoever is queued behind it may start. May be called again."""
        if row.run_id is None:
            return
        await self._store.end_run(row.run_id)
        recent = self._recent_of(row.trigger)
        recent.ended(row.concurrency_key, row.run_id)
        await self.promote(row.trigger, row.concurrency_key)

    async def promote(self, trigger_number: int, key: str) -> None:
        """Accept what is queued with this key, as far as places are free."""
        # One after the other: two runs that end together would both see the same place, and the same delivery.
        async with self._promoting:
            await self._promote(trigger_number, key)

    async def _promote(self, trigger_number: int, key: str) -> None:
        recent, trigger = self._recent_of(trigger_number), self._book.by_number(trigger_number)
        limit = trigger.definition.concurrency.at_once if trigger is not None else 1
        while recent.queued.get(key) and len(recent.open_runs.get(key, ())) < limit:
            row = await self._store.first_queued(trigger_number, key)
            if row is None or row.run_id is None:
                recent.queued.pop(key, None)
                return
            if not await self._store.move(Move(row.id, "queued", {"status": "accepted", "reason": ""})):
                continue  # it was given up meanwhile, and is counted off by who did that
            recent.opened(key, row.run_id)
            recent.waits(key, -1)
            if trigger is not None:
                self.count(trigger, "fired")
                self.count(trigger, "queued", -1)
            self.on_accepted()

    async def drop(self, run: str, reason: str) -> bool:
        """Give up a delivery that has no run yet; False when there is none such."""
        row = await self._store.of_run(run)
        if row is None or row.status not in ("accepted", "queued"):
            return False
        values = {"status": "skipped", "request": None, "reason": reason, "ended": True}
        if not await self._settle(row, values):
            return False
        if row.status == "queued":
            self._recent_of(row.trigger).waits(row.concurrency_key, -1)
        await self.run_ended(row)
        return True

    async def pending_run(self, run: str) -> JsonObject | None:
        """What is known of a run that a delivery was told and that does not exist (yet); None: nothing."""
        row = await self._store.of_run(run)
        if row is None or row.status == "fired":  # its run was there, so it is deleted
            return None
        trigger = self._book.by_number(row.trigger)
        told: JsonObject = {
            "promptId": run,
            "status": "error" if row.status == "failed" else "queued",
            "workflowId": trigger.definition.workflow.id if trigger is not None else None,
            "trigger": {"id": trigger.id, "name": trigger.definition.name, "deliveryId": row.id} if trigger else None,
            "submittedAt": iso(row.at),
            "nodeStatus": {},
            "outputs": {},
        }
        if row.status == "failed":
            told["errorInfo"] = {"message": row.reason, "code": "trigger_failed"}
        return {key: value for key, value in told.items() if value is not None}

    async def free_places(self, is_open: Callable[[str], Awaitable[bool]]) -> None:
        """After a restart: runs that are gone, or that ended untold, hold no place; and places that became free are
        given to who waits. `is_open`: Has this run not ended yet?"""
        for row in await self._store.open():
            if row.status == "fired" and row.run_id and not await is_open(row.run_id):
                await self.run_ended(row)
        for number, recent in list(self._recent.items()):
            for key in list(recent.queued):
                await self.promote(number, key)

    async def hear_of_end(self, end: RunEnd) -> None:
        """Listener of `RunEnds`."""
        if end.origin and (row := await self._store.of_run(end.run)) is not None:
            await self.run_ended(row)

    # --- results ----------------------------------------------------------------------------------------------------

    def refuse(self, trigger: StoredTrigger, reason: str, sample: Any = None) -> None:
        """Note that something was not believed, or could not be read."""
        self._note(trigger, "refused", reason, sample="" if sample is None else sample_of(sample))

    def skip(self, trigger: StoredTrigger, reason: str, sample: Any = None, *, by: int = 1) -> None:
        """Note that `by` starts came to nothing before they could be deliveries."""
        self._note(trigger, "skipped", reason, sample="" if sample is None else sample_of(sample))
        if by > 1:
            self.count(trigger, "skipped", by - 1)

    def count(self, trigger: StoredTrigger, outcome: str, by: int = 1) -> None:
        """Count something in the trigger's results."""
        counters = trigger.counters
        counters[outcome] = max(0, counters.get(outcome, 0) + by)
        self._notes.counted.add(trigger.number)

    def _note(
        self, trigger: StoredTrigger, outcome: Outcome, reason: str, *, run: str | None = None, sample: str = ""
    ) -> None:
        self.count(trigger, outcome)
        if len(self._notes.rows) >= MAX_NOTED:
            return
        self._notes.rows.append(
            {
                "id": secrets.token_hex(10),
                "trigger": trigger.number,
                "status": outcome,
                "at": now_ms(),
                "run_id": run,
                "dedupe_key": None,
                "replay_key": None,
                "concurrency_key": "",
                "limit_keys": None,
                "reason": reason[:MAX_REASON_CHARS],
                "request": None,
                "sample": sample,
                "ended": True,
            }
        )

    async def results(self, trigger: StoredTrigger, limit: int = 100) -> list[JsonObject]:
        """The last deliveries, newest first."""
        await self.write_notes()
        return [_result(row) for row in await self._store.results(trigger.number, limit)]

    async def keep_noting(self) -> None:
        """For ever: write down what is to be noted, and forget what is old."""
        while True:
            await asyncio.sleep(NOTE_S)
            try:
                await self.write_notes()
                await self._purge()
            except Exception:  # the disk may be full
                logger.exception("noting deliveries failed", extra={"event": "note_failed"})

    async def write_notes(self) -> None:
        """Write down what is to be noted. It is written when this returns, also when somebody else began with it."""
        async with self._writing_notes:
            await self._write_notes()

    async def _write_notes(self) -> None:
        notes, self._notes = self._notes, _Notes()
        known = {trigger.number: trigger for trigger in self._book.everything()}
        rows = [row for row in notes.rows if row["trigger"] in known]  # others were deleted meanwhile
        if rows:
            await self._store.note(rows)
        counters = {
            number: orjson.dumps(known[number].counters).decode() for number in notes.counted if number in known
        }
        if counters:
            await self._store.set_counters(counters)
        self._noted_since_trim.update(row["trigger"] for row in rows)
        for number in [number for number, count in self._noted_since_trim.items() if count >= TRIM_EVERY]:
            del self._noted_since_trim[number]
            await self._store.trim(number)

    async def _purge(self) -> None:
        now = now_ms()
        if abs(now - self._purged_at) >= PURGE_EVERY_MS:
            self._purged_at = now
            await self._store.purge(now - KEEP_MS)

    # --- state ------------------------------------------------------------------------------------------------------

    def _recent_of(self, number: int) -> Recent:
        return self._recent.setdefault(number, Recent())

    def _follow(self, before: StoredTrigger | None, after: StoredTrigger | None) -> None:
        if after is None and before is not None:
            self._recent.pop(before.number, None)
        if before is None or after is None:
            return
        recent = self._recent_of(after.number)
        # A bucket belongs to its limit.
        if debounce_limit(before.definition) != debounce_limit(after.definition):
            recent.debounce.clear()
        if rate_limit(before.definition) != rate_limit(after.definition):
            recent.rate.clear()


@dataclass(frozen=True)
class _Accepted:
    """A delivery of which a run is to come. `at`: milliseconds since 1970."""

    trigger: StoredTrigger
    arrival: Arrival
    reading: Reading
    decision: Decision
    run: str
    at: int
    id: str = field(default_factory=lambda: secrets.token_hex(10))

    @property
    def is_queued(self) -> bool:
        return self.decision.outcome == "queued"

    @property
    def replay_key(self) -> str | None:
        return self.arrival.replay_key

    async def request(self, mapped: MappedInputs) -> bytes:
        """What the starter submits, packed."""
        definition = self.trigger.definition
        target = definition.workflow
        body: JsonObject = {"workflowId": target.id, "inputs": dict(mapped.values)}
        if target.project is not None:
            body["projectId"] = target.project
        if target.version is not None or target.published:
            body["version"] = target.version or "published"
        request = {
            "body": body,
            "cancels": self.decision.cancels,
            "depth": self.arrival.depth,
            "labels": definition.labels,
        }
        return await pack(orjson.dumps(request))

    def row(self, request: bytes) -> JsonObject:
        definition, reading = self.trigger.definition, self.reading
        is_counted = definition.debounce is not None or definition.rate is not None
        keys = orjson.dumps([reading.debounce_key, reading.rate_key]).decode() if is_counted else None
        return {
            "id": self.id,
            "trigger": self.trigger.number,
            "status": "queued" if self.is_queued else "accepted",
            "at": self.at,
            "run_id": self.run,
            "dedupe_key": reading.dedupe_key,
            "replay_key": self.replay_key,
            "concurrency_key": reading.concurrency_key,
            "limit_keys": keys,
            "reason": self.decision.reason,
            "request": request,
            "sample": sample_of(self.arrival.payload),
            "ended": False,
        }


def _result(row: DeliveryRow) -> JsonObject:
    told = {
        "id": row.id,
        "at": iso(row.at),
        "outcome": "fired" if row.status == "accepted" else row.status,
        "reason": row.reason or None,
        "runId": row.run_id,
        "sample": _sample(row.sample),
    }
    return {key: value for key, value in told.items() if value is not None}


def _sample(text: str) -> Any:
    try:
        return orjson.loads(text) if text else None
    except ValueError:  # damaged
        return None


def counters_of(trigger: StoredTrigger, outcomes: Sequence[str] = ()) -> dict[str, int]:
    """How many deliveries ended how, since the trigger was made."""
    names = outcomes or ("fired", "queued", "filtered", "duplicate", "skipped", "refused", "failed")
    return {**dict.fromkeys(names, 0), **trigger.counters}
