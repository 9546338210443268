"""The short way of the most frequent message: the next chunk of the open epoch of a stream.

It gives what `fence.decide`, `log.encode` and `RunLogState.apply` give together, byte for byte, at a fraction of their
time. Whatever is not exactly such a chunk is left to them.
"""

from __future__ import annotations

from typing import NamedTuple

import orjson

from innkeeper.gateway.events.fence import (
    END_CHUNKS,
    MAX_RESUMED_TEXT,
    OPEN_RUN_BYTES,
    YIELD,
    Event,
    Message,
    NodeLogState,
    RunLogState,
    is_interface_stream,
)
from innkeeper.gateway.events.fields import MAX_COUNT


class ChunkEvent(NamedTuple):
    """The NODE_YIELD of a chunk that took the short way.

    Attributes:
        place: Index of the chunk in its stream.
        chunk: What was yielded, as JSON.
        line: The event as the log stores it (`log.encode`).
    """

    seq: int
    path: str
    place: int
    chunk: bytes
    line: bytes

    def summary(self, run: str) -> Event:
        """For observers of commits: the event without what was yielded."""
        payload = {"sourceNodeId": self.path, "index": self.place, "promptId": run}
        return {"seq": self.seq, "type": YIELD, "payload": payload}


_SAFE_TEXT = MAX_RESUMED_TEXT // 2
"""From so many bytes of text on chunks of a resumable stream are left to the general way, which knows the limit."""
_AROUND_TEXT = len(b'{"type":"text_chunk","content":}')


def take_next_chunk(state: RunLogState, message: Message, now_ms: int) -> ChunkEvent | None:
    """The event of a chunk that goes the short way, which the state has followed; None: nothing has changed.

    A chunk goes it when the log has all before it, it ends nothing, holds one text, and is of no interface output. One
    of a node that can be resumed must also leave it so.
    """
    path, index, chunk = message.get("path"), message.get("i"), message.get("chunk")
    # Types first: what a worker sends may be anything, and only a text may be looked up.
    node = state.nodes.get(path) if type(path) is str else None
    if node is None or type(index) is not int or index != node.next or index > MAX_COUNT:
        return None
    if not _is_of_open_epoch(node, message.get("epoch")) or not _is_plain(chunk):
        return None
    if state.closed or state.size > OPEN_RUN_BYTES or not _stays_resumable(node, message.get("u")):
        return None
    return _take(state, node, message, now_ms)


def _stays_resumable(node: NodeLogState, used: object) -> bool:
    """Can the node be resumed behind this chunk as well as before it, or not before either?"""
    if used is None:
        return node.input is None
    return type(used) is int and 0 <= used <= MAX_COUNT and node.text_bytes < _SAFE_TEXT


def _is_of_open_epoch(node: NodeLogState, epoch: object) -> bool:
    """Only integers are epochs, though True and 1.0 equal 1."""
    if node.terminal is not None or node.epoch is None or type(epoch) is not list or len(epoch) != 2:
        return False
    attempt, generation = epoch
    return type(attempt) is int and type(generation) is int and (attempt, generation) == node.epoch


def _is_plain(chunk: object) -> bool:
    """A type and a text, nothing else: deeper data may be JSON alone, but too deep within an event."""
    if type(chunk) is not dict or len(chunk) != 2 or type(chunk.get("content")) is not str:
        return False
    kind = chunk.get("type")
    return type(kind) is str and kind not in END_CHUNKS


def _take(state: RunLogState, node: NodeLogState, message: Message, now_ms: int) -> ChunkEvent | None:
    path, index = message["path"], message["i"]
    if node.frame is None:
        if is_interface_stream(state.meta, path):
            return None
        node.frame = _frame_of(node, message["run"], path)
    head, middle, tail = node.frame
    try:
        chunk = orjson.dumps(message["chunk"])
    except TypeError:  # half a character
        return None
    used = message.get("u")
    if used is not None:
        if len(chunk) > _SAFE_TEXT:
            return None
        _remember_progress(node, message["chunk"]["type"], len(chunk), used)
    end = b"}" if used is None else b',"u":%d}' % used
    seq = state.last_seq + 1
    line = b'{"seq":%d,"ts":%d%b%b%b%d%b%d%b' % (seq, now_ms, head, chunk, middle, index, tail, index, end)
    state.last_seq = seq
    state.size += len(line)
    node.next = index + 1
    return ChunkEvent(seq, path, index, chunk, line)


def _remember_progress(node: NodeLogState, kind: str, size: int, used: int) -> None:
    """As the fence does; `size`: bytes of the whole chunk."""
    if node.input is not None:
        node.used = used
        if kind == "text_chunk":
            node.text_bytes += size - _AROUND_TEXT


def _frame_of(node: NodeLogState, run: str, path: str) -> tuple[bytes, bytes, bytes]:
    """What is the same in all lines of an epoch: before the chunk, behind it, and behind the index."""
    assert node.epoch is not None
    head = b',"type":"%b","payload":{"sourceNodeId":%b,"yieldedContent":' % (YIELD.encode(), orjson.dumps(path))
    middle = b',"isLastChunk":false,"attempt":%d,"index":' % node.epoch[0]
    tail = b',"promptId":%b}}\t{"e":[%d,%d],"i":' % (orjson.dumps(run), *node.epoch)
    return head, middle, tail
