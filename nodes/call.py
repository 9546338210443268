"""The messages between the workflow and the activity that runs a node, and how values travel in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

EXECUTE_NODE = "execute_node"
EXECUTE_SEGMENT = "execute_segment"
STORE_VALUES = "store_values"
LOAD_VALUE = "load_value"
MERGE_VALUES = "merge_values"
QUEUE_HAS_WORKERS = "queue_has_workers"
OPEN_VALUE = "open_value"
GATHER_VALUES = "gather_values"
EDIT_VALUE = "edit_value"
FIRE_TRIGGER = "fire_trigger"
LOOK_AT_RUN = "look_at_run"
INTERRUPT_RUN = "interrupt_run"
SEND_CALLBACK = "send_callback"

INLINE_LIMIT = 4096
"""Bytes of JSON up to which a value travels inline; larger ones are blobs."""
PREVIEW_CHARS = 200

NODE_PARKED = "node_parked"
BUDGET_REACHED = "budget_reached"
"""Types of the failures after which the run itself waits and then starts the node anew (`NodeCall.may_park`)."""

SERVERLESS_QUEUE = "innkeeper.serverless"
"""The task queue of workers that are functions: started when there is work, and stopped soon after."""
SERVERLESS_ATTEMPT_S = 60.0
"""How long one attempt may take there. A function takes no work any more when less of its invocation is left."""

PIECES = "$pieces"
"""A multi slot with many elements: `{"$pieces": [reference, ...]}`, each of a stored list of elements."""

JsonObject = dict[str, Any]

_SECRET_ID = re.compile(r"[0-9a-f]{64}|env:[A-Z][A-Z0-9_]{0,63}")
SECRET_TEXT = "$secret:"
"""How a text begins that stands for a stored secret; its id follows. Editors keep such a text like any other."""


@dataclass(frozen=True)
class NodeCall:
    """Run one node.

    Attributes:
        path: Node path in the run, `outer/inner` inside groups.
        inputs: Slot to value; a value is JSON, `{"$blob": ...}` or holds `{"$secret": id}` where declared.
        multi: Slots whose value is a list that travels element by element, or in `PIECES`.
        seal: Output slot to inner keys (`[""]` for the whole value) that must leave as secret references.
        streams: Output slots that carry the node's chunks.
        collect_chunks: A consumer wants the list of chunks, not only the text.
        base_attempt: Added to Temporal's attempt when the workflow scheduled the activity anew.
        max_failures: Failures (waits and deaths of its worker not counted) after which it has failed for good.
        run_user: Owner of the run.
        stream_inputs: Slot to its sources, feed by feed: a producer's path, `""` (no chunks), None (the batch value).
        keep_chunks: Another node consumes this stream: none of its chunks may be dropped, the node waits instead.
        active_timeout_s: Time the node may take without what it waits for its input or for room; 0 has no limit here.
        counts_silence: That limit is for the time without a sign of life: each chunk begins it anew.
        max_timeouts: Attempts that may run out of time, after which it has failed for good.
        may_park: A long wait may end the activity (`NODE_PARKED`, `BUDGET_REACHED`): whoever started it starts it anew.
        counted: How the attempts before that ended: `{failures, timeouts, deaths, waited: {kind: seconds}}`.
        cached: What this type and version gave for equal inputs before may be given again instead of running it.
    """

    run: str
    path: str
    type: str
    inputs: JsonObject
    mode: str | None = None
    config: JsonObject = field(default_factory=dict)
    multi: list[str] = field(default_factory=list)
    seal: dict[str, list[str]] = field(default_factory=dict)
    streams: list[str] = field(default_factory=list)
    collect_chunks: bool = False
    base_attempt: int = 0
    max_failures: int = 4
    non_retryable: list[str] = field(default_factory=list)
    run_user: str = "default_user"
    interface_inputs: JsonObject = field(default_factory=dict)
    stream_inputs: dict[str, list[str | None]] = field(default_factory=dict)
    keep_chunks: bool = False
    active_timeout_s: float = 0.0
    cached: bool = False
    counts_silence: bool = False
    max_timeouts: int = 2
    may_park: bool = False
    counted: JsonObject = field(default_factory=dict)

    def to_wire(self) -> JsonObject:
        return _changed(self)


@dataclass(frozen=True)
class NodeResult:
    """What a node gave.

    Attributes:
        outputs: Slot to value as in `NodeCall.inputs`; a stream slot holds `{"text", "chunks"[, "items"]}`.
        attempt: The attempt that succeeded, waits included.
        logged: The gateway has acknowledged NODE_COMPLETE; False during an outage of the gateway.
        cached: The node did not run: the result cache knew its outputs.
        warnings: What the node told its user by `NodeContext.warn`: `{"code", "message"}`, oldest first.
    """

    outputs: JsonObject
    attempt: int = 1
    logged: bool = True
    cached: bool = False
    warnings: list[dict[str, str]] = field(default_factory=list)

    def to_wire(self) -> JsonObject:
        return _changed(self)


@dataclass(frozen=True)
class SegmentNode:
    """One node of a segment.

    Attributes:
        inputs: Slot to `nodes.feeds.PlannedInput`, on the wire.
        is_last: No attempt is left after this one.
        seal, non_retryable: As in `NodeCall`.
    """

    id: str
    type: str
    mode: str | None = None
    config: JsonObject = field(default_factory=dict)
    inputs: dict[str, JsonObject] = field(default_factory=dict)
    seal: dict[str, list[str]] = field(default_factory=dict)
    non_retryable: list[str] = field(default_factory=list)
    is_last: bool = False

    def to_wire(self) -> JsonObject:
        return _changed(self)


@dataclass(frozen=True)
class SegmentCall:
    """Run inline nodes one after the other. The answer is `{"nodes": {id: outcome}, "ms": time it took}`.

    An outcome is `{"startedAt", "endedAt", "attempt"}` and `outputs` (with `warnings`, if there are any), or `error`
    (final), or `again` (a failure that may pass). Nodes without one did not run: what they hang on failed, or the time
    or room was used up.

    Attributes:
        place: Node path of the graph; `""` for the run itself.
        nodes: `SegmentNode`s on the wire, each behind those it reads.
        outputs: What nodes outside have given, as far as it is read: node to slot to value.
        budget_ms, budget_bytes: No further node begins when they are used up. A single node that gives more than
            `budget_bytes` of JSON runs by itself: what a local activity returns is never refused, it wedges.
    """

    run: str
    place: str
    nodes: list[JsonObject]
    outputs: dict[str, JsonObject] = field(default_factory=dict)
    run_user: str = "default_user"
    budget_ms: float = 250.0
    budget_bytes: int = 256_000

    def to_wire(self) -> JsonObject:
        return _changed(self)


@dataclass(frozen=True)
class CallbackCall:
    """Post one message to somebody who wants to know how a run goes. What is secret in it comes as references.

    Attributes:
        url: Where to; of one whose query is secret all but the query.
        address: Id of the stored secret that is the whole URL; `""`: `url` is all of it.
        secret: Id of the stored secret to sign with; `""`: it is not signed.
        user_id: To whom both secrets belong.
        message_id: The same in each attempt, by which a receiver knows a repetition.
    """

    url: str = ""
    address: str = ""
    secret: str = ""
    user_id: str = "default_user"
    message_id: str = ""


@dataclass(frozen=True)
class CallbackAnswer:
    """What became of one attempt to post a message.

    Attributes:
        status: HTTP status of the answer; None: there was none.
        error: Why there was none; `""` when there was.
        retry_after_s: Seconds that the receiver asks to wait; None: it does not say.
        is_final: Another attempt would fail as well.
    """

    status: int | None = None
    error: str = ""
    retry_after_s: float | None = None
    is_final: bool = False


def _changed(message: NodeCall | NodeResult | SegmentNode | SegmentCall) -> JsonObject:
    """The fields that differ from their defaults, as a plain object: half the bytes, a fraction of the time."""
    given = vars(message)
    return {
        name: value
        for name, default, is_made in _DEFAULTS[type(message)]
        if (value := given[name]) != default and (value or not is_made)
    }


_DEFAULTS = {
    kind: tuple(
        (spec.name, spec.default, spec.default is MISSING and spec.default_factory is not MISSING)
        for spec in fields(kind)
    )
    for kind in (NodeCall, NodeResult, SegmentNode, SegmentCall)
}
"""Name and default of each field, and whether the default, an empty list or object, is made anew for each message."""


def is_blob(value: Any) -> bool:
    """Is this value (at the top of a slot) a reference to a stored one?"""
    return isinstance(value, Mapping) and isinstance(value.get("$blob"), str)


def is_secret_id(text: object) -> bool:
    """Has it the form of a stored secret's id, or of `env:NAME`? Anything else in its place may be a key itself."""
    return isinstance(text, str) and _SECRET_ID.fullmatch(text) is not None


def secret_reference(value: Any) -> str | None:
    """What `{"$secret": id}`, or the text `$secret:id`, has in place of the id; None for what is no reference.

    Whether that is an id asks `is_secret_id`. Only for places that take a secret: elsewhere such a text is a text.
    """
    if isinstance(value, str):
        return value.removeprefix(SECRET_TEXT) if value.startswith(SECRET_TEXT) else None
    if isinstance(value, Mapping) and len(value) == 1 and isinstance(value.get("$secret"), str):
        return str(value["$secret"])
    return None


def holds_marker(value: Any) -> bool:
    """Does a user's value hold `$blob` or `$secret` itself? Such values are stored whole, so nobody mistakes them."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, Mapping):
            if "$blob" in item or "$secret" in item:
                return True
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            stack.extend(item)
    return False


def kind_of(value: Any) -> str:
    """What a JSON value is, in words that carry nothing of it."""
    names = {
        dict: "an object",
        list: "a list",
        str: "a text",
        bytes: "bytes",
        bool: "true or false",
        type(None): "nothing",
    }
    return names.get(type(value), "a number")


def listed(outcomes: list[list[Any]], on_error: str, result_key: str = "") -> dict[str, Any]:
    """Results and errors in the order of the items. `collect` keeps a null where an item failed, `skip` nothing.

    `outcomes` are `[index, {"outputs"} or {"error"}]`; with `result_key` a result is that output's value by itself.
    """
    ordered = sorted(outcomes, key=lambda pair: int(pair[0]))
    keep = on_error == "collect"
    given = [outcome.get("outputs") for _, outcome in ordered if keep or "outputs" in outcome]
    results = [(outputs or {}).get(result_key) for outputs in given] if result_key else given
    errors = [outcome["error"] for _, outcome in ordered if "error" in outcome] if keep else []
    return {"results": results, "errors": errors}


def edited(data: Any, values: Mapping[str, Any]) -> Any:
    """Data with the values that somebody has changed: fields of an object; of anything else, which has no fields, the
    whole by a field named `data`, beside which further fields make an object."""
    if isinstance(data, Mapping):
        return {**data, **values}
    return values["data"] if set(values) == {"data"} else {"data": data, **values}
