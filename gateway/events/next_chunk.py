"""The short way of the most frequent message: the next chunk of the open epoch of a stream.

It gives what `fence.decide`, `log.encode` and `RunLogState.apply` give together, byte for byte, at a fraction of their
time. Whatever is not exactly such a chunk is left to them.
"""

from __future__ import annotations

from typing import NamedTuple

import orjson

from innkeeper.gateway.events.fence import (
    END_CHUNKS,
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


def take_next_chunk(state: RunLogState, message: Message, now_ms: int) -> ChunkEvent | None:
    """The event of a chunk that goes the short way, which the state has followed; None: nothing has changed.

    A chunk goes it when the log has all before it, it ends nothing, holds one text, and is of no interface output and
    of no node that can be resumed.
    """
    path, index, chunk = message.get("path"), message.get("i"), message.get("chunk")
    # Types first: what a worker sends may be anything, and only a text may be looked up.
    node = state.nodes.get(path) if type(path) is str else None
    if node is None or type(index) is not int or index != node.next or index > MAX_COUNT:
        return None
    if not _is_of_open_epoch(node, message.get("epoch")) or not _is_plain(chunk):
        return None
    if state.closed or node.input is not None or message.get("u") is not None or state.size > OPEN_RUN_BYTES:
        return None
    return _take(state, node, message, now_ms)


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
    seq = state.last_seq + 1
    line = b'{"seq":%d,"ts":%d%b%b%b%d%b%d}' % (seq, now_ms, head, chunk, middle, index, tail, index)
    state.last_seq = seq
    state.size += len(line)
    node.next = index + 1
    return ChunkEvent(seq, path, index, chunk, line)


def _frame_of(node: NodeLogState, run: str, path: str) -> tuple[bytes, bytes, bytes]:
    """What is the same in all lines of an epoch: before the chunk, behind it, and behind the index."""
    assert node.epoch is not None
    head = b',"type":"%b","payload":{"sourceNodeId":%b,"yieldedContent":' % (YIELD.encode(), orjson.dumps(path))
    middle = b',"isLastChunk":false,"attempt":%d,"index":' % node.epoch[0]
    tail = b',"promptId":%b}}\t{"e":[%d,%d],"i":' % (orjson.dumps(run), *node.epoch)
    return head, middle, tail
