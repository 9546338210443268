"""How old chunks are at each hop of their way, noted inside of worker and gateway by wrapping what they pass through.

Only the rows `hops-*` load this, in processes of their own; the other rows measure the product as it is. A chunk of
bench:Ticks says `number nanoseconds` by the clock that all processes of a machine share.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import os
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.streams_measure import WARM_CHUNKS, Histogram

WRITE_EVERY_S = 0.25
_CHUNK = re.compile(rb'"content":"(\d+) (\d+)"')
Texts = Iterable[bytes]
"""JSON in which chunks may stand."""


def _of_result(_: Mapping[str, Any], result: Sequence[bytes]) -> Texts:
    return result


def _of_messages(given: Mapping[str, Any], _: object) -> Texts:
    return map(_json, given["messages"]) if given["source"] is not None else ()


def _of_taken(_: Mapping[str, Any], batch: Sequence[Any]) -> Texts:
    return (_json(message) for item in batch if item.source is not None for message in item.messages)


def _of_batches(given: Mapping[str, Any], _: object) -> Texts:
    return (line for batch in given["batches"] for line in batch.lines)


def _of_frames(given: Mapping[str, Any], _: object) -> Texts:
    return given["frames"]


def _json(message: Mapping[str, Any]) -> bytes:
    """As much of a message as `_CHUNK` needs."""
    chunk = message.get("chunk")
    content = chunk.get("content") if isinstance(chunk, dict) else None
    return f'"content":"{content}"'.encode() if isinstance(content, str) else b""


@dataclass(frozen=True)
class Hop:
    """A place that chunks pass.

    Attributes:
        target: `module:Class.method`.
        texts: The chunks that a call is about, of its arguments by name and its result.
        before: They pass when the call begins, not when it has ended.
    """

    name: str
    target: str
    texts: Callable[[Mapping[str, Any], Any], Texts]
    before: bool = False


WORKER = (Hop("worker: in a frame", "innkeeper.activities.link.outgoing_queue:OutgoingQueue.next_batch", _of_result),)
_WRITER = "innkeeper.gateway.events.writer:LogWriter"
_LOG = "innkeeper.gateway.events.sqlite:SqliteEventLog"
_SEND_QUEUE = "innkeeper.gateway.realtime.send_queue:SendQueue"
GATEWAY = (
    Hop("gateway: read", f"{_WRITER}.submit", _of_messages, before=True),
    Hop("gateway: taken by the writer", f"{_WRITER}._take", _of_taken),
    Hop("gateway: decided", f"{_LOG}.append", _of_batches, before=True),
    Hop("gateway: committed", f"{_LOG}.append", _of_batches),
    Hop("gateway: published", "innkeeper.gateway.events.hub:Hub.publish", _of_frames),
    Hop("gateway: in the send queue", f"{_SEND_QUEUE}.put", _of_frames, before=True),
)
SENT = "gateway: sent"
CLIENT = "client"
HOPS = (*(hop.name for hop in (*WORKER, *GATEWAY)), SENT, CLIENT)
"""In the order of a chunk's way."""


class Trace:
    """The ages of chunks at each hop, in ms."""

    def __init__(self) -> None:
        self.hops: dict[str, Histogram] = {}

    def note(self, hop: str, texts: Texts) -> None:
        now, histogram = time.monotonic_ns(), self.hops.setdefault(hop, Histogram())
        for text in texts:
            for number, made in _CHUNK.findall(text):
                if int(number) >= WARM_CHUNKS:
                    histogram.add((now - int(made)) / 1e6)

    def write(self, file: Path) -> None:
        # Copied first: the event loop goes on counting.
        hops = {hop: dict(histogram.buckets) for hop, histogram in list(self.hops.items())}
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps(hops))
        draft.rename(file)


def begin(folder: Path) -> None:
    """Note the hops of the process this is, and keep a file in `folder` up to date until it ends."""
    trace = Trace()
    if "innkeeper.gateway.serve" in sys.orig_argv:
        install(GATEWAY, trace)
        install_sent(trace)
    elif "innkeeper.activities.worker" in sys.orig_argv:
        install(WORKER, trace)
    else:
        return
    threading.Thread(target=_keep_writing, args=(trace, folder / f"{os.getpid()}.json"), daemon=True).start()


def read(folder: Path) -> dict[str, Counter[int]]:
    """What the processes have noted up to some moment within the last `WRITE_EVERY_S`: buckets by hop."""
    found: dict[str, Counter[int]] = {}
    for file in folder.glob("*.json"):
        for hop, buckets in json.loads(file.read_text()).items():
            found.setdefault(hop, Counter()).update({int(bucket): count for bucket, count in buckets.items()})
    return found


def install(hops: Sequence[Hop], trace: Trace) -> None:
    """Wrap the methods of these hops. One that is not there (another revision) is left out, and its hop stays empty."""
    for hop in hops:
        owner, name = _owner_of(hop.target)
        if owner is not None and hasattr(owner, name):
            setattr(owner, name, wrapped(getattr(owner, name), hop, trace))


def install_sent(trace: Trace) -> None:
    """Wrap what a send queue is given to send with: nobody else knows when a message was handed to the socket."""
    owner, _ = _owner_of(f"{_SEND_QUEUE}.put")
    if owner is None:
        return
    original = owner.__init__

    def __init__(self: Any, send: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        async def noted(texts: Iterable[Any]) -> None:
            kept = list(texts)
            await send(kept)
            trace.note(SENT, (text.encode() if isinstance(text, str) else text for text in kept))

        original(self, noted, *args, **kwargs)

    owner.__init__ = __init__


def _owner_of(target: str) -> tuple[Any, str]:
    module, _, path = target.partition(":")
    owner, _, name = path.partition(".")
    try:
        return getattr(importlib.import_module(module), owner, None), name
    except ModuleNotFoundError:
        return None, name


def wrapped(original: Callable[..., Any], hop: Hop, trace: Trace) -> Callable[..., Any]:
    """The same method, which notes the chunks that pass."""
    signature = inspect.signature(original)

    def given(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments

    @functools.wraps(original)
    async def later(*args: Any, **kwargs: Any) -> Any:
        if hop.before:
            trace.note(hop.name, hop.texts(given(args, kwargs), None))
        result = await original(*args, **kwargs)
        if not hop.before:
            trace.note(hop.name, hop.texts(given(args, kwargs), result))
        return result

    @functools.wraps(original)
    def at_once(*args: Any, **kwargs: Any) -> Any:
        if hop.before:
            trace.note(hop.name, hop.texts(given(args, kwargs), None))
        result = original(*args, **kwargs)
        if not hop.before:
            trace.note(hop.name, hop.texts(given(args, kwargs), result))
        return result

    return later if inspect.iscoroutinefunction(original) else at_once


def _keep_writing(trace: Trace, file: Path) -> None:
    while True:
        trace.write(file)
        time.sleep(WRITE_EVERY_S)
