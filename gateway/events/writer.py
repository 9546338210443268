"""The one task that writes the log: take everything queued, decide, commit once, acknowledge, then tell the hub."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from innkeeper.gateway.events.fence import (
    FENCED,
    Answer,
    Decision,
    Event,
    MalformedMessage,
    Message,
    ProtocolError,
    RunLogState,
    decide,
    fact_message,
)
from innkeeper.gateway.events.hub import Hub
from innkeeper.gateway.events.log import Batch, EventLog, LogDamaged, LogUnavailable, StoredEvent, encode, frame_of
from innkeeper.gateway.events.next_chunk import ChunkEvent, take_next_chunk
from innkeeper.gateway.events.streams import Streams
from innkeeper.gateway.events.timing import CommitTiming
from innkeeper.gateway.metrics import Metrics
from innkeeper.nodes.process.critical_tasks import run_critical

logger = logging.getLogger(__name__)

Result = Answer | ProtocolError | None
Done = Callable[[Sequence[Result]], None]
Observer = Callable[[Sequence[Event]], None]
"""Called with the events of one run in one commit, after it: quick, and on the event loop.

Chunks that took the short way are left out. Of commits that have nothing else the last one comes, in short, at most
each `OBSERVE_S` for each run.
"""

OBSERVE_S = 1.0
MESSAGES_PER_COMMIT = 1000
"""Deciding holds the event loop: more than this many would be felt by everyone else."""
CLOSED_STATES = 256
FOLD_PAGE = 1000
FIRST_RETRY_S = 0.1
LOADING_S = 2.0
"""How long to wait for the state of a run: while the log cannot be read, nobody knows what the run does."""
LAST_RETRY_S = 5.0


@dataclass(eq=False)
class Source:
    """Where messages come from: one connection of one worker.

    After a message that does not follow from what the log holds, nothing more of this connection is taken; the worker
    reconnects and resends. A stream that stumbles again (the log lost what had been acknowledged) cannot be mended by
    resending: it is fenced from then on, so that its node is tried anew. The sets outlive the connection.
    """

    suspects: set[tuple[Any, ...]] = field(default_factory=set)
    lost: set[tuple[Any, ...]] = field(default_factory=set)
    broken: bool = False


@dataclass
class _Submission:
    messages: Sequence[Message]
    done: Done | None
    size: int
    source: Source | None
    received: float
    new_run_meta: Mapping[str, Any] | None


@dataclass(slots=True)
class _RunWork:
    """What one commit would write of one run: events from number `first` on, and their lines."""

    first: int
    lines: list[bytes] = field(default_factory=list)
    events: list[Event | ChunkEvent] = field(default_factory=list)


@dataclass
class _Work:
    """What one commit would write and tell; thrown away when it fails."""

    new_runs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    runs: dict[str, _RunWork] = field(default_factory=dict)
    results: list[list[Result]] = field(default_factory=list)
    stumbled: dict[Source, tuple[Any, ...]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    timing: CommitTiming = field(default_factory=CommitTiming)
    refused: _Refused = field(default_factory=dict)

    def of_run(self, run: str, first: int) -> _RunWork:
        """The work on a run, of which event `first` is the next one."""
        found = self.runs.get(run)
        if found is None:
            found = self.runs[run] = _RunWork(first)
        return found


_Refused = dict[int, MalformedMessage]
"""Messages of a batch that cannot be taken, by their identity."""


class _CannotDecide(Exception):
    """Deciding a message failed in a way that nobody thought of."""

    def __init__(self, message: Message) -> None:
        super().__init__()
        self.message = message


class LogWriter:
    """Turns messages into events. Start it before use, stop it to have everything queued written.

    Attributes:
        counters: `events`, `commits`, `commit_failures`, `logged`, `resend`, `fenced`, `late` (dropped after the final
            status), `unknown_run`, `protocol_errors`: totals since the start.
        reason: Why nothing can be committed now; None when all is well.
        log: What it writes to.
        streams: Where consumers of streams follow what it commits.

    Args:
        observers: Told of everything that was committed. What one raises is logged, and stops nothing.
        metrics: Where times are counted; by default nobody reads them.
    """

    def __init__(
        self,
        log: EventLog,
        hub: Hub,
        *,
        observers: Sequence[Observer] = (),
        max_queued_bytes: int = 32_000_000,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        metrics: Metrics | None = None,
    ) -> None:
        self.log, self.streams = log, Streams(log)
        self._hub, self._clock_ms = hub, clock_ms
        self._observers = tuple(observers)
        self._metrics = metrics or Metrics()
        self._max_queued_bytes = max_queued_bytes
        self._queue: deque[_Submission] = deque()
        self._queued_bytes = 0
        self._wake, self._has_room, self._idle = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._has_room.set()
        self._idle.set()
        self._open: dict[str, RunLogState] = {}
        self._closed: OrderedDict[str, RunLogState] = OrderedDict()
        self._warned: OrderedDict[str, None] = OrderedDict()
        self._task: asyncio.Task[None] | None = None
        self.counters: Counter[str] = Counter()
        self.reason: str | None = None

    @property
    def healthy(self) -> bool:
        return self.reason is None and self._task is not None and not self._task.done()

    async def start(self) -> None:
        self._task = run_critical(self._work(), "event-log-writer")

    async def stop(self, timeout_s: float = 5.0) -> None:
        """Write what is queued, then end. What cannot be written in time is not acknowledged."""
        task, self._task = self._task, None
        if task is None:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    # --- input --------------------------------------------------------------------------------------------------

    def submit(
        self,
        messages: Sequence[Message],
        done: Done | None = None,
        *,
        size: int = 0,
        source: Source | None = None,
        new_run_meta: Mapping[str, Any] | None = None,
    ) -> None:
        """Queue messages, in order. Each holds its `run`; `{"t": "drained"}` only marks a place in the order.

        Args:
            done: Called once, after the commit, with one result per message: for `open` its answer, FENCED for others
                whose attempt no longer counts, else None. A ProtocolError is the last result: what follows was not
                taken.
            size: Encoded bytes, for the bound that `room` waits for.
            new_run_meta: The messages are of one run; make its log with this meta, in the same commit, if there is
                none.
        """
        self._queue.append(_Submission(messages, done, size, source, time.perf_counter(), new_run_meta))
        self._queued_bytes += size
        if self._queued_bytes > self._max_queued_bytes:
            self._has_room.clear()
        self._idle.clear()
        self._wake.set()

    async def room(self) -> None:
        """Wait until the queue is below its bound. Readers of sockets do before they read on."""
        await self._has_room.wait()

    def append_fact(self, run: str, path: str, kind: str, payload: Mapping[str, Any]) -> None:
        """Queue a terminal event of a node; dropped when the node has one."""
        self.submit([{**fact_message(path, kind, payload), "run": run}])

    async def append(
        self, run: str, messages: Sequence[Message], *, new_run_meta: Mapping[str, Any] | None = None
    ) -> list[Answer | None]:
        """Have messages of one run committed; waits as long as the log cannot be written.

        Args:
            new_run_meta: Make the run's log with this meta, in the same commit, if there is none.

        Raises:
            ProtocolError: One does not follow from what the log holds. Those before it are committed.
        """
        future: asyncio.Future[Sequence[Result]] = asyncio.get_running_loop().create_future()
        told = [{**message, "run": run} for message in messages]
        self.submit(told, partial(_resolve, future), new_run_meta=new_run_meta)
        answers: list[Answer | None] = []
        for result in await future:
            if isinstance(result, ProtocolError):
                raise result
            answers.append(result)
        return answers

    async def create_run(self, run: str, meta: Mapping[str, Any]) -> bool:
        """Make the run's log; False when it exists already. Messages of runs without a log are dropped."""
        return await self.log.create_run(run, meta)

    def state_in_memory(self, run: str) -> RunLogState | None:
        """What is known of a run without reading, to be read only."""
        return self._open.get(run) or self._closed.get(run)

    async def state(self, run: str) -> RunLogState | None:
        """What the log says of a run now, to be read only: from memory, or else from its events."""
        if run not in self._open and run not in self._closed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOADING_S):  # only the writer's own task may take up a state
                    await self.append(run, [{"t": "drained"}])
        return self.state_in_memory(run)

    async def close_run(self, run: str, messages: Sequence[Message]) -> None:
        """Append what is missing up to the final status, whose commit seals. Again and again without harm.

        Raises:
            LogUnavailable: The run could not be sealed; call again.
        """
        await self.append(run, messages)
        state = self.state_in_memory(run)
        if state is None or not state.is_sealed:  # what was saved of a damaged log, or written by an earlier version
            await self.log.seal(run)
        self._hub.seal(run)

    # --- the task -----------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            batch = self._take()
            await self._write(batch)
            self._queued_bytes -= sum(item.size for item in batch)
            if self._queued_bytes <= self._max_queued_bytes:
                self._has_room.set()
            if not self._queue:
                self._idle.set()

    def _take(self) -> list[_Submission]:
        batch: list[_Submission] = []
        count = 0
        while self._queue and count < MESSAGES_PER_COMMIT:
            batch.append(self._queue.popleft())
            count += len(batch[-1].messages)
        if not self._queue:
            self._wake.clear()
        return batch

    async def _write(self, batch: Sequence[_Submission]) -> None:
        """Commit a batch, however long the log is unavailable; only then acknowledge and publish."""
        delay = FIRST_RETRY_S
        refused: _Refused = {}
        while True:
            try:
                work = await self._try(batch, refused)
                break
            except LogDamaged:
                # Trying again would find the same. The next start of this process saves what can be read, and workers
                # send again what was not acknowledged.
                raise
            except LogUnavailable as error:
                self._failed(batch, error)
                await asyncio.sleep(delay)
                delay = min(2 * delay, LAST_RETRY_S)
            except _CannotDecide as error:
                # States may have followed a part of it. All else in the batch is decided anew, without this message.
                self._forget_states(batch)
                refused[id(error.message)] = MalformedMessage("it cannot be taken; the gateway's log says why")
        if self.reason is not None:
            logger.info("the event log can be written again")
            self.reason = None
        self._acknowledge(batch, work)
        self._publish(work)

    def _failed(self, batch: Sequence[_Submission], error: LogUnavailable) -> None:
        """States have followed events that were not committed."""
        self._forget_states(batch)
        self.counters["commit_failures"] += 1
        if self.reason is None:
            logger.error("nothing is acknowledged: %s", error.message)
        self.reason = error.message

    def _forget_states(self, batch: Sequence[_Submission]) -> None:
        for run in _runs(batch):
            self._open.pop(run, None)
            self._closed.pop(run, None)

    async def _try(self, batch: Sequence[_Submission], refused: _Refused) -> _Work:
        states = {run: state for run in _runs(batch) if (state := await self._state(run)) is not None}
        work = _Work(refused=refused)
        for item in batch:
            self._make_new_run(item, states, work)
            work.results.append(self._decide_all(item, states, work))
        if work.runs:
            began = time.perf_counter()
            await self.log.append(_batches(work, states))
            for run in work.runs:
                states[run].is_sealed = states[run].closed
            work.counts["commits"] += 1
            work.timing.observe(self._metrics, began)
        return work

    def _make_new_run(self, item: _Submission, states: dict[str, RunLogState], work: _Work) -> None:
        if (meta := item.new_run_meta) is not None and (run := item.messages[0]["run"]) not in states:
            states[run] = self._open[run] = RunLogState(meta)
            work.new_runs[run] = meta

    def _acknowledge(self, batch: Sequence[_Submission], work: _Work) -> None:
        self.counters.update(work.counts)
        for source, key in work.stumbled.items():
            source.broken = True
            source.suspects.add(key)
        for item, results in zip(batch, work.results, strict=True):
            if item.done is None:
                continue
            try:
                item.done(results)
            except Exception:  # a caller's bug must not stop the log
                logger.exception("acknowledging failed")

    def _publish(self, work: _Work) -> None:
        for run, found in work.runs.items():
            try:
                if self._hub.is_followed(run):
                    self._hub.publish(run, found.first, [frame_of(line) for line in found.lines])
                self.streams.publish(run, found.first, found.events)
            except Exception:  # it is committed: readers find it in the log
                logger.exception("publishing events of run %s failed", run, extra={"event": "publish_failed"})
            self._observe(run, found.events)
            self._retire(run)

    def _observe(self, run: str, committed: Sequence[Event | ChunkEvent]) -> None:
        events = [event for event in committed if not isinstance(event, ChunkEvent)]
        if not events and isinstance(last := committed[-1], ChunkEvent):
            state, now = self._open.get(run), time.monotonic()
            if state is None or now - state.observed < OBSERVE_S:
                return
            state.observed = now
            events = [last.summary(run)]
        for observer in self._observers:
            try:
                observer(events)
            except Exception:  # an observer's bug must not stop the log
                logger.exception("observing committed events failed")

    # --- deciding -----------------------------------------------------------------------------------------------

    def _decide_all(self, item: _Submission, states: Mapping[str, RunLogState], work: _Work) -> list[Result]:
        results: list[Result] = []
        source, work.timing.received = item.source, item.received
        if source is not None and (source.broken or source in work.stumbled):
            return results
        may_be_short = not work.refused and (source is None or not source.lost)
        now_ms = self._clock_ms()
        for message in item.messages:
            if may_be_short and message["t"] == "chunk" and self._take_next_chunk(message, states, work, now_ms):
                results.append(None)
                continue
            try:
                results.append(self._decide(message, source, states, work))
            except ProtocolError as error:
                results.append(error)
                work.counts["protocol_errors"] += 1
                logger.warning("run %s: %s", message.get("run"), error.message)
                if source is not None:
                    work.stumbled[source] = _key(message, error)
                break
        return results

    def _take_next_chunk(self, message: Message, states: Mapping[str, RunLogState], work: _Work, now_ms: int) -> bool:
        """Have a chunk take the short way; False: nothing was done."""
        run = message["run"]
        state = states.get(run)
        event = None if state is None else take_next_chunk(state, message, now_ms)
        if event is None:
            return False
        found = work.of_run(run, event.seq)
        found.lines.append(event.line)
        found.events.append(event)
        work.counts["logged"] += 1
        work.counts["events"] += 1
        work.timing.chunk()
        return True

    def _decide(
        self, message: Message, source: Source | None, states: Mapping[str, RunLogState], work: _Work
    ) -> Answer | None:
        if message["t"] == "drained":
            return None
        if source is not None and source.lost and _key(message) in source.lost:
            work.counts["fenced"] += 1
            return FENCED
        state = states.get(message["run"])
        if state is None:
            return self._unknown(message, work)
        try:
            if (refusal := work.refused.get(id(message))) is not None:
                raise refusal
            decision = self._decided(state, message, work)
            # Of all chunks but the first nothing more is done than this: they are by far the most.
            if decision.events and (message["t"] != "chunk" or work.timing.oldest_chunk is None):
                work.timing.take(message, state)
        except ProtocolError as error:
            key = _key(message, error)
            if source is None or key not in source.suspects:
                raise
            source.lost.add(key)
            logger.warning("given up on a message of run %s: %s", message["run"], error.message)
            return FENCED
        return decision.answer

    def _decided(self, state: RunLogState, message: Message, work: _Work) -> Decision:
        try:
            decision = decide(state, message, self._clock_ms())
            self._follow(message["run"], state, decision, work)
            return decision
        except ProtocolError:
            raise
        except Exception as error:
            logger.exception("a message of run %s cannot be decided", message["run"], extra={"event": "undecidable"})
            raise _CannotDecide(message) from error

    def _follow(self, run: str, state: RunLogState, decision: Decision, work: _Work) -> None:
        """Take a decision over: nothing of it when an event is no JSON."""
        try:
            encoded = [encode(event) for event in decision.events]
        except TypeError as error:
            raise MalformedMessage(f"an event cannot be written as JSON: {error}") from error
        work.counts[decision.disposition] += 1
        if not encoded:
            return
        found = work.of_run(run, decision.events[0]["seq"])
        found.lines.extend(encoded)
        found.events.extend(decision.events)
        state.size += sum(map(len, encoded))
        for event in decision.events:
            state.apply(event)
        work.counts["events"] += len(decision.events)

    def _unknown(self, message: Message, work: _Work) -> Answer | None:
        """A run whose log was deleted or never was: the sender must not wait for it."""
        work.counts["unknown_run"] += 1
        run = message["run"]
        if run not in self._warned:
            logger.warning("messages of run %s are dropped: it has no event log here", run)
            _remember(self._warned, run, None, 1000)
        return {"s": "ok", "next": 0} if message["t"] == "open" else None

    # --- states -------------------------------------------------------------------------------------------------

    async def _state(self, run: str) -> RunLogState | None:
        state = self._open.get(run) or self._closed.get(run)
        if state is None:
            state = await self._load(run)
            if state is not None:
                self._open[run] = state
                self._retire(run)
        return state

    async def _load(self, run: str) -> RunLogState | None:
        info = await self.log.run_info(run)
        if info is None:
            return None
        state = RunLogState(info.meta, size=info.size, is_sealed=info.is_sealed)
        while page := await self.log.read(run, state.last_seq, FOLD_PAGE):
            for event in page:
                _apply_stored(state, event)
        return state

    def _retire(self, run: str) -> None:
        """Few states of closed runs are kept: they only serve late messages."""
        state = self._open.get(run)
        if state is not None and state.closed:
            del self._open[run]
            self._metrics.runs.closed(run)
            _remember(self._closed, run, state, CLOSED_STATES)


def _batches(work: _Work, states: Mapping[str, RunLogState]) -> list[Batch]:
    """What the log gets. Nothing follows a final status: it seals its run."""
    return [
        Batch(run, found.first, found.lines, new_run_meta=work.new_runs.get(run), is_last=states[run].closed)
        for run, found in work.runs.items()
    ]


def _apply_stored(state: RunLogState, event: StoredEvent) -> None:
    """Follow an event of the log. One that is damaged is lost, the others are not."""
    try:
        state.apply(event.decode())
    except Exception:
        logger.exception("event %d of a run cannot be read and is passed over", event.seq, extra={"event": "damaged"})
        state.last_seq = event.seq


def _runs(batch: Sequence[_Submission]) -> dict[str, None]:
    """The runs of a batch, each once, in order."""
    return {message["run"]: None for item in batch for message in item.messages if "run" in message}


def _key(message: Message, error: ProtocolError | None = None) -> tuple[Any, ...]:
    """What stumbles again when it is resent: a node's epoch, or one unreadable message."""
    if isinstance(error, MalformedMessage):
        return (message.get("n"),)
    # As text: a path and an epoch that cannot be read may be of any type.
    return (message.get("run"), str(message.get("path")), str(message.get("epoch")))


def _remember(cache: OrderedDict[str, Any], key: str, value: Any, most: int) -> None:
    cache[key] = value
    while len(cache) > most:
        cache.popitem(last=False)


def _resolve(future: asyncio.Future[Sequence[Result]], results: Sequence[Result]) -> None:
    if not future.done():
        future.set_result(results)
