"""What becomes of one message: the rules of epochs, indexes and ends, as pure functions over a run's log state.

`decide` never changes the state. It says which events the log gets; `RunLogState.apply` is the one place where state
follows from events. So a restarted gateway, which folds the stored events, holds exactly the state it had before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from innkeeper.gateway.events.activity import Activity
from innkeeper.gateway.events.fields import Epoch as Epoch
from innkeeper.gateway.events.fields import count_of, epoch_of, number_of, object_of, text_of
from innkeeper.gateway.events.links import approval_data_url, linked, with_links
from innkeeper.nodes.errors import InnkeeperError

Event = dict[str, Any]
Message = Mapping[str, Any]
Answer = dict[str, Any]
Disposition = Literal["logged", "resend", "fenced", "late"]

STATUS = "EXECUTION_STATUS_UPDATE"
EXECUTING = "NODE_EXECUTING"
YIELD = "NODE_YIELD"
COMPLETE = "NODE_COMPLETE"
ERROR = "NODE_ERROR"
PROGRESS = "NODE_PROGRESS"
WARNING = "NODE_WARNING"
RETRY = "NODE_RETRY"
BUDGET = "BUDGET_REACHED"
ANSWERED = "APPROVAL_ANSWERED"
ANNOUNCED = frozenset({"NODE_WAITING", "APPROVAL_REQUIRED", BUDGET, ANSWERED})
"""What the interpreter says of a node that waits."""
INTERPRETED: Epoch = (0, 0)
"""The epoch of a node that the interpreter runs itself."""
TERMINAL = frozenset({COMPLETE, ERROR, "NODE_SKIPPED", "NODE_BYPASSED", "NODE_INTERRUPTED"})
END_CHUNKS = frozenset({"finish_reason_chunk", "error_chunk"})
INTERFACE_OUTPUTS = "__WORKFLOW_INTERFACE_OUTPUTS__"
PAUSED = "paused"
INTERRUPTING = "interrupting"
STATUS_RANK = {"queued": 1, "running": 2, PAUSED: 2, INTERRUPTING: 2, "complete": 3, "error": 3, "interrupted": 3}

FENCED: Answer = {"s": "fenced"}
OPEN_RUN_BYTES = 50_000_000
"""From here on an open run's chunks become gaps, unless a node consumes them (meta `kept_streams`)."""
GAP_SPAN = 1000
MAX_RESUMED_TEXT = 4_000_000
"""Bytes of text (as JSON) a resumed attempt may be told; a longer stream starts over."""


class ProtocolError(InnkeeperError):
    """A message does not follow from what the log holds: something before it is missing. The sender must resend."""

    code = "protocol_error"


class MalformedMessage(ProtocolError):
    """A message lacks a field, has one of another type, or is of an unknown kind."""

    code = "malformed_message"


@dataclass
class NodeLogState:
    """One node, as its events tell it.

    Attributes:
        epoch: Of the last accepted OPEN; None before the first.
        next: Index the next chunk of this epoch must have.
        ended: The stream of this epoch had its last chunk or end frame.
        terminal: Type of the terminal event.
        completed: `seq` of the NODE_COMPLETE; 0 without one. Its outputs are read from the log when somebody asks: a
            run may have 100,000 nodes, and all their outputs together do not belong into memory.
        origin: The epoch in which the stream began anew last; a resumed epoch keeps it.
        began: `seq` of that beginning.
        input: Origin of the input stream this one can go on with; None when it cannot be resumed.
        used: How many chunks of that input the last chunk had consumed.
        text_bytes: Of the text so far; counted for streams that can be resumed.
        retried: The last epoch that was announced to be tried again.
        announced: What the interpreter has announced of a node that has not ended: the types, behind them the attempt
            of those that come once for each.
        progress: The last value of NODE_PROGRESS.
        started_ms: Of the first NODE_EXECUTING, milliseconds since 1970; 0 before it.
        ended_ms: Of the terminal event, milliseconds since 1970; 0 before it.
        node_type: As the worker told it to this process; the events do not hold it.
        frame: What all lines of this epoch's chunks have in common (`next_chunk.py`); None: not made yet.
    """

    epoch: Epoch | None = None
    next: int = 0
    ended: bool = False
    terminal: str | None = None
    completed: int = 0
    origin: Epoch | None = None
    began: int = 0
    input: Epoch | None = None
    used: int = 0
    text_bytes: int = 0
    retried: Epoch | None = None
    announced: tuple[str, ...] = ()
    progress: float = -1.0
    started_ms: int = 0
    ended_ms: int = 0
    node_type: str | None = field(default=None, compare=False)
    frame: tuple[bytes, bytes, bytes] | None = field(default=None, compare=False)


@dataclass
class RunLogState:
    """One run, as its events tell it. `meta` is fixed when the run is created.

    Kept by the writer: `size`, bytes of the log, `observed`, when (monotonic) observers were last told of chunks, and
    `is_sealed`.
    """

    meta: Mapping[str, Any] = field(default_factory=dict)
    nodes: dict[str, NodeLogState] = field(default_factory=dict)
    last_seq: int = 0
    status: str | None = None
    size: int = field(default=0, compare=False)
    observed: float = field(default=0.0, compare=False)
    is_sealed: bool = field(default=False, compare=False)
    activity: Activity = field(default_factory=Activity)

    @property
    def closed(self) -> bool:
        """The final status is logged: nothing may follow."""
        return STATUS_RANK.get(self.status or "", 0) == 3

    def apply(self, event: Event) -> None:
        """Follow one event of the log."""
        self.last_seq = event["seq"]
        kind, payload = event["type"], event["payload"]
        if kind == STATUS:
            self.status = payload["status"]
            return
        path = payload.get("sourceNodeId") or payload.get("nodeId")
        if path is not None:
            if kind != YIELD:
                self.activity.apply(path, kind, payload)
            _apply_to_node(self.nodes.setdefault(path, NodeLogState()), event)


def _apply_to_node(node: NodeLogState, event: Event) -> None:
    kind, payload = event["type"], event["payload"]
    if kind == YIELD:
        if "gap" in payload:
            node.next, node.input = payload["gap"]["to"] + 1, None
        elif "i" in event:
            node.next = event["i"] + 1
            if node.input is not None:
                _remember_progress(node, payload["yieldedContent"], event.get("u"))
        node.ended = node.ended or payload["isLastChunk"]
    elif kind == EXECUTING:
        _begin(node, event)
    elif kind == PROGRESS:
        node.progress = float(payload["value"])
    elif kind == RETRY:
        node.retried = epoch_of(event["e"])
    elif kind in ANNOUNCED:
        node.announced = (*node.announced, _announced_as(kind, payload))
    elif kind in TERMINAL:
        node.terminal, node.ended_ms = kind, event["ts"]
        node.completed = event["seq"] if kind == COMPLETE else 0


def _begin(node: NodeLogState, event: Event) -> None:
    node.epoch, node.frame = epoch_of(event["e"]), None
    node.started_ms = node.started_ms or event["ts"]
    if event.get("kept"):
        return
    node.origin, node.began = node.epoch, event["seq"]
    node.next, node.ended, node.used, node.text_bytes = 0, False, 0, 0
    node.input = epoch_of(event["in"]) if "in" in event else None


def _remember_progress(node: NodeLogState, chunk: Mapping[str, Any], used: int | None) -> None:
    """Keep what a resumed attempt will be told. A stream with a hole in that cannot be resumed."""
    content = chunk.get("content")
    if chunk["type"] == "text_chunk" and isinstance(content, str):
        node.text_bytes += len(orjson.dumps(content))
    if used is None or node.text_bytes > MAX_RESUMED_TEXT:
        node.input = None
    else:
        node.used = used


def fold(events: Iterable[Event], meta: Mapping[str, Any] | None = None) -> RunLogState:
    """The state of a run from its stored events (with their internal keys)."""
    state = RunLogState(meta or {})
    for event in events:
        state.apply(event)
    return state


@dataclass(frozen=True)
class StoredText:
    """The text of a stream so far, as a request to the log: of the chunks below `next` behind event `after`."""

    run: str
    path: str
    after: int
    next: int


@dataclass(frozen=True)
class StoredStream:
    """What an earlier attempt has sent, as a request to the log: the chunks below `next` behind event `after`."""

    run: str
    path: str
    after: int
    next: int


@dataclass(frozen=True)
class StoredOutputs:
    """The outputs in a NODE_COMPLETE, as a request to the log."""

    run: str
    seq: int


@dataclass(frozen=True)
class Decision:
    """What the log gets and what the sender is told.

    Attributes:
        events: To be applied and committed, numbered.
        answer: For `open` always; for others only FENCED: the sender's attempt is no longer the one that counts. Of an
            open that resumes, `text` is a StoredText, of one that keeps its stream `kept` is a StoredStream, of a
            finished node `outputs` are StoredOutputs: whoever sends the answer puts what they stand for in their place.
        disposition: `logged`, or why it was dropped: `resend` (the log has it), `fenced`, `late` (the run is closed).
    """

    events: tuple[Event, ...] = ()
    answer: Answer | None = None
    disposition: Disposition = "logged"


def decide(state: RunLogState, message: Message, now_ms: int) -> Decision:
    """Apply the fence to one message.

    Raises:
        ProtocolError: An index above next, or an epoch that was never opened.
        MalformedMessage: See there.
    """
    try:
        rule = _RULES[message["t"]]
        return rule(state, message, now_ms)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        kind = message.get("t") if isinstance(message, Mapping) else None
        raise MalformedMessage(f"message of kind {kind!r} cannot be read: {error!r}") from error


# --- messages of the gateway itself -----------------------------------------------------------------------------


def status_message(status: str, error_info: Mapping[str, Any] | None = None) -> Message:
    """EXECUTION_STATUS_UPDATE. A status that was passed already is dropped, a final one closes the log.

    `paused` follows any status but `interrupting` and a final one; out of it leads only `resumed_message`, or the end.
    `interrupting` follows any status but a final one, and only the end follows it.
    """
    message: dict[str, Any] = {"t": "status", "status": status}
    return {**message, "errorInfo": error_info} if error_info is not None else message


def resumed_message(status: str) -> Message:
    """EXECUTION_STATUS_UPDATE of a run that is not paused any more: `queued` or `running`."""
    return {"t": "status", "status": status, "resumed": True}


def fact_message(path: str, kind: str, payload: Mapping[str, Any]) -> Message:
    """A terminal event of a node without an epoch; `promptId` and `nodeId` are filled in."""
    return {"t": "fact", "path": path, "type": kind, "payload": payload}


def interface_outputs_message(outputs: Mapping[str, Any]) -> Message:
    """The outputs of the run."""
    return fact_message(INTERFACE_OUTPUTS, COMPLETE, {"output": outputs})


# --- the rules ----------------------------------------------------------------------------------------------------


def _open(state: RunLogState, message: Message, now_ms: int) -> Decision:
    path, epoch = text_of(message["path"]), epoch_of(message["epoch"])
    resume = None if message.get("resume") is None else epoch_of(message["resume"])
    node = state.nodes.get(path) or NodeLogState()
    if node.terminal == COMPLETE:
        answer = {"s": "finished", "outputs": StoredOutputs(message["run"], node.completed)}
        return Decision(answer=answer, disposition="late" if state.closed else "resend")
    if state.closed:
        return Decision(answer=FENCED, disposition="late")
    if node.terminal is not None or (node.epoch is not None and epoch < node.epoch):
        return Decision(answer=FENCED, disposition="fenced")
    if epoch == node.epoch:
        return Decision(answer=_go_on(message, path, node), disposition="resend")
    keeps = resume is None and message.get("keep") is True and node.next > 0
    goes_on = keeps or (resume is not None and resume == node.input)
    out = _Events(state, message["run"], now_ms)
    if node.epoch is not None and not goes_on:
        out.reset(path, epoch)
    internal: dict[str, Any] = {} if resume is None else {"in": resume}
    if goes_on:
        internal["kept"] = True
    out.add(EXECUTING, {"nodeId": path, "attempt": epoch[0]}, e=epoch, **internal)
    return Decision(out.events(), _go_on(message, path, node if goes_on else NodeLogState()))


def _go_on(message: Message, path: str, node: NodeLogState) -> Answer:
    """Where an accepted epoch goes on; one that may resume is also told how far its input and its text are."""
    answer: Answer = {"s": "ok", "next": node.next}
    if message.get("resume") is None:
        # Asked once more, the epoch is that of the log already; the chunks are older than it only if they were kept.
        is_kept = message.get("keep") is True and node.next > 0 and node.origin != epoch_of(message["epoch"])
        stream = StoredStream(message["run"], path, node.began, node.next)
        return {**answer, "kept": stream} if is_kept else answer
    text = StoredText(message["run"], path, node.began, node.next) if node.next else ""
    return {**answer, "used": node.used, "text": text}


def _chunk(state: RunLogState, message: Message, now_ms: int) -> Decision:
    path, epoch, index = text_of(message["path"]), epoch_of(message["epoch"]), count_of(message["i"])
    internal = {"i": index} if message.get("u") is None else {"i": index, "u": count_of(message["u"])}
    node = state.nodes.get(path) or NodeLogState()
    dropped = _dropped(state, node, path, epoch)
    if dropped is not None:
        return dropped
    if index < node.next:
        return Decision(disposition="resend")
    _expect(path, index, node)
    out = _Events(state, message["run"], now_ms)
    if state.size > OPEN_RUN_BYTES and not _is_kept(path, state.meta.get("kept_streams", ())):
        # The span swallows the chunks to come as if they were resends: they cost the log nothing.
        out.frame(path, epoch, {"gap": {"from": index, "to": index + GAP_SPAN - 1}}, last=False)
        return Decision(out.events())
    chunk = object_of(message["chunk"])
    # A stream ends once: a chunk after its end is kept, but cannot end it again.
    last = chunk["type"] in END_CHUNKS and not node.ended
    out.frame(path, epoch, {"yieldedContent": chunk}, last=last, **internal)
    return Decision(out.events())


def _is_kept(path: str, kept: Iterable[str]) -> bool:
    """`each/*/node` stands for the node in every repetition."""
    numbered = "/".join("*" if part.isdigit() else part for part in path.split("/"))
    return any(name == path or ("*" in name and name == numbered) for name in kept)


def _gap(state: RunLogState, message: Message, now_ms: int) -> Decision:
    path, epoch = text_of(message["path"]), epoch_of(message["epoch"])
    first, last = count_of(message["from"]), count_of(message["to"])
    node = state.nodes.get(path) or NodeLogState()
    dropped = _dropped(state, node, path, epoch)
    if dropped is not None:
        return dropped
    if last < node.next:
        return Decision(disposition="resend")
    if first > node.next:
        _expect(path, first, node)
    out = _Events(state, message["run"], now_ms)
    out.frame(path, epoch, {"gap": {"from": node.next, "to": last}}, last=False)
    return Decision(out.events())


def _progress(state: RunLogState, message: Message, now_ms: int) -> Decision:
    path, epoch = text_of(message["path"]), epoch_of(message["epoch"])
    node = state.nodes.get(path) or NodeLogState()
    dropped = _dropped(state, node, path, epoch)
    if dropped is not None:
        return dropped
    value, most = number_of(message["value"]), number_of(message["max"])
    out = _Events(state, message["run"], now_ms)
    out.add(PROGRESS, {"nodeId": path, "value": value, "max": most}, e=epoch)
    return Decision(out.events())


def _warning(state: RunLogState, message: Message, now_ms: int) -> Decision:
    path, epoch = text_of(message["path"]), epoch_of(message["epoch"])
    node = state.nodes.get(path) or NodeLogState()
    dropped = _dropped(state, node, path, epoch)
    if dropped is not None:
        return dropped
    told = {key: text_of(message[key]) for key in ("code", "message")}
    out = _Events(state, message["run"], now_ms)
    out.add(WARNING, {"nodeId": path, "attempt": epoch[0], **told}, e=epoch)
    return Decision(out.events())


def _retry(state: RunLogState, message: Message, now_ms: int) -> Decision:
    path, epoch = text_of(message["path"]), epoch_of(message["epoch"])
    node = state.nodes.get(path) or NodeLogState()
    dropped = _dropped(state, node, path, epoch)
    if dropped is not None:
        return dropped
    if epoch == node.retried:
        return Decision(disposition="resend")
    out = _Events(state, message["run"], now_ms)
    out.add(RETRY, {"nodeId": path, "attempt": epoch[0], **_retry_fields(message)}, e=epoch)
    return Decision(out.events())


def _retry_fields(told: Mapping[str, Any]) -> dict[str, Any]:
    """Why a node is tried again, and when. A worker of an older version gives neither `reason` nor `details`."""
    found = {key: text_of(told[key]) for key in ("code", "retryAt", "kind")}
    message = told["message"]
    if found["kind"] not in ("retry", "wait") or not isinstance(message, str):
        raise ValueError("its kind is retry or wait, and its message a text")
    error: dict[str, Any] = {"message": message, "code": found["code"]}
    if told.get("details"):
        error["details"] = object_of(told["details"])
    reason = text_of(told["reason"]) if told.get("reason") else message
    more = {"parked": True} if told.get("parked") is True else {}
    at = found["retryAt"]
    return {"message": message, **found, "errorDetails": error, "nextAttemptAt": at, "reason": reason, **more}


def _complete(state: RunLogState, message: Message, now_ms: int) -> Decision:
    path, epoch, outputs = text_of(message["path"]), epoch_of(message["epoch"]), object_of(message["outputs"])
    node = state.nodes.get(path) or NodeLogState()
    dropped = _dropped(state, node, path, epoch)
    if dropped is not None:
        return dropped
    out = _Events(state, message["run"], now_ms)
    if (message.get("end") or node.next > 0) and not node.ended:
        out.frame(path, epoch, {"yieldedContent": {"type": "finish_reason_chunk", "content": ""}}, last=True)
    linked = with_links(outputs, message["run"], path)
    told: dict[str, Any] = {"cached": True} if message.get("cached") else {}
    if message.get("warnings"):
        told["warnings"] = [object_of(warning) for warning in message["warnings"]]
    out.add(COMPLETE, {"nodeId": path, "output": linked, "attempt": epoch[0], **told}, e=epoch)
    return Decision(out.events())


def _fact(state: RunLogState, message: Message, now_ms: int) -> Decision:
    path, kind, payload = text_of(message["path"]), text_of(message["type"]), dict(object_of(message["payload"]))
    if state.closed:
        return Decision(disposition="late")
    node = state.nodes.get(path) or NodeLogState()
    if node.terminal is not None:
        return Decision(disposition="resend")
    if kind not in TERMINAL:
        return _announcement(state, message, node, now_ms)
    for key in ("output", "pseudoOutputs"):
        if key in payload:
            payload[key] = with_links(object_of(payload[key]), message["run"], path)
    if kind == COMPLETE:
        payload.setdefault("output", {})
    out = _Events(state, message["run"], now_ms)
    if node.epoch is not None and node.next > 0 and not node.ended:
        out.frame(path, node.epoch, {"yieldedContent": _end_chunk(kind, payload)}, last=True)
    out.add(kind, {**payload, "nodeId": path})
    return Decision(out.events())


def _announcement(state: RunLogState, message: Message, node: NodeLogState, now_ms: int) -> Decision:
    """What the interpreter announces of a node that goes on. Replays announce it again, so each counts once."""
    path, kind, payload = message["path"], message["type"], message["payload"]
    if kind not in (EXECUTING, PROGRESS, RETRY, *ANNOUNCED):
        raise ValueError(f"{kind!r} is not told as a fact")
    if "attempt" in payload and kind != EXECUTING and not _is_of_attempt(node, kind, count_of(payload["attempt"])):
        return Decision(disposition="resend")
    is_known = kind == PROGRESS and number_of(payload["value"]) <= node.progress
    known = {EXECUTING: node.epoch is not None, PROGRESS: is_known}
    if known.get(kind, _announced_as(kind, payload) in node.announced):
        return Decision(disposition="resend")
    out = _Events(state, message["run"], now_ms)
    internal: dict[str, Any] = {"e": INTERPRETED} if kind == EXECUTING else {}
    if kind == RETRY:
        if node.epoch == node.retried:  # the activity itself has told it
            return Decision(disposition="resend")
        payload, internal = {"attempt": payload["attempt"], **_retry_fields(payload)}, {"e": node.epoch}
    if kind == "APPROVAL_REQUIRED":
        payload = {**payload, "data": linked(payload.get("data"), approval_data_url(message["run"], path))}
    out.add(kind, {**payload, "nodeId": path}, **internal)
    return Decision(out.events())


def _is_of_attempt(node: NodeLogState, kind: str, attempt: int) -> bool:
    """Is this the attempt that counts? What is told of an earlier one again, in a replay, is over.

    An answer belongs to its question: the next attempt, on another worker, may be heard of before it.
    """
    if kind == ANSWERED:
        return f"{BUDGET} {attempt}" in node.announced
    return node.epoch is not None and node.epoch[0] == attempt


def _announced_as(kind: str, payload: Mapping[str, Any]) -> str:
    return f"{kind} {payload['attempt']}" if "attempt" in payload else kind


def _status(state: RunLogState, message: Message, now_ms: int) -> Decision:
    rank = STATUS_RANK[message["status"]]
    if state.closed:
        return Decision(disposition="late")
    if rank < 3 and not _is_news(state, message):
        return Decision(disposition="resend")
    out = _Events(state, message["run"], now_ms)
    out.add(STATUS, {key: message[key] for key in ("status", "errorInfo") if key in message})
    return Decision(out.events())


def _is_news(state: RunLogState, message: Message) -> bool:
    """Does a status that is not final change anything? What an earlier process said already must not undo a pause."""
    status = message["status"]
    if INTERRUPTING in (status, state.status):
        return state.status != INTERRUPTING
    if PAUSED in (status, state.status):
        return status != state.status and (status == PAUSED or message.get("resumed") is True)
    return STATUS_RANK[status] > STATUS_RANK.get(state.status or "", 0)


_RULES: dict[str, Callable[[RunLogState, Message, int], Decision]] = {
    "open": _open,
    "chunk": _chunk,
    "gap": _gap,
    "progress": _progress,
    "retry": _retry,
    "warning": _warning,
    "complete": _complete,
    "fact": _fact,
    "status": _status,
}


def _dropped(state: RunLogState, node: NodeLogState, path: str, epoch: Epoch) -> Decision | None:
    """Why a frame of this epoch is dropped, or None: it is of the epoch that counts."""
    if node.terminal == COMPLETE and epoch == node.epoch:
        return Decision(disposition="late" if state.closed else "resend")
    if state.closed:
        return Decision(answer=FENCED, disposition="late")
    if node.terminal is not None or (node.epoch is not None and epoch < node.epoch):
        return Decision(answer=FENCED, disposition="fenced")
    if epoch != node.epoch:
        raise ProtocolError(f"node {path!r}: epoch {list(epoch)} was never opened; the log has {node.epoch}")
    return None


def _expect(path: str, index: int, node: NodeLogState) -> None:
    if index != node.next:
        raise ProtocolError(f"node {path!r}: chunk {index} came before chunk {node.next}; resend from there")


def _end_chunk(kind: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """What ends a stream whose node did not get to end it."""
    if kind != ERROR:
        return {"type": "finish_reason_chunk", "content": "" if kind == COMPLETE else "interrupted"}
    details = payload.get("errorDetails") or {}
    return {"type": "error_chunk", "content": {key: details[key] for key in ("message", "code") if key in details}}


def is_interface_stream(meta: Mapping[str, Any], path: str) -> bool:
    """Do chunks of this node go out once more, as those of an output of the run?"""
    return bool(_interfaces(meta, path))


def _interfaces(meta: Mapping[str, Any], path: str) -> Iterable[tuple[str, str | None]]:
    return meta.get("interface_streams", {}).get(path, ())  # type: ignore[no-any-return]  # JSON


class _Events:
    """Numbers and shapes the events of one decision."""

    def __init__(self, state: RunLogState, run: str, now_ms: int) -> None:
        self._state, self._run, self._now_ms = state, run, now_ms
        self._events: list[Event] = []

    def events(self) -> tuple[Event, ...]:
        return tuple(self._events)

    def add(self, kind: str, payload: dict[str, Any], **internal: Any) -> None:
        seq = self._state.last_seq + len(self._events) + 1
        payload = {**payload, "promptId": self._run}
        self._events.append({"seq": seq, "ts": self._now_ms, "type": kind, "payload": payload, **internal})

    def frame(self, path: str, epoch: Epoch, body: dict[str, Any], *, last: bool, **internal: int) -> None:
        """A NODE_YIELD and its copies for interface outputs. The end frame has no index (`i`)."""
        payload = {"sourceNodeId": path, **body, "isLastChunk": last, "attempt": epoch[0]}
        if "i" in internal:
            payload["index"] = internal["i"]
        self.add(YIELD, payload, e=epoch, **internal)
        for key, name in self._interfaces(path):
            named = {"interfaceOutputKey": key} if name is None else _named(key, name)
            self.add("WORKFLOW_INTERFACE_YIELD", {**named, **body, "isLastChunk": last})

    def reset(self, path: str, epoch: Epoch) -> None:
        self.add("NODE_STREAM_RESET", {"nodeId": path, "attempt": epoch[0]}, e=epoch)
        for key, _ in self._interfaces(path):
            self.add("WORKFLOW_INTERFACE_RESET", {"interfaceOutputKey": key, "attempt": epoch[0]})

    def _interfaces(self, path: str) -> Iterable[tuple[str, str | None]]:
        return _interfaces(self._state.meta, path)


def _named(key: str, name: str) -> dict[str, Any]:
    return {"interfaceOutputKey": key, "interfaceOutputDisplayName": name}
