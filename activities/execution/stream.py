"""The two ends of streams in a node run: the inputs it reads chunk by chunk, and the chunks it gives."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from innkeeper.activities.execution.attempt import Attempt
from innkeeper.activities.execution.errors import redact
from innkeeper.activities.execution.kept_chunks import AnotherStream, KeptChunks
from innkeeper.activities.link.follower import ChunksOf, Follower, Reader, one_chunk
from innkeeper.activities.link.gateway_link import GatewayLink
from innkeeper.activities.link.node_attempt import Epoch
from innkeeper.activities.link.pending_answers import Answer
from innkeeper.activities.sanitize import printable
from innkeeper.nodes.definition import Input
from innkeeper.nodes.errors import InvalidNode, NodeError, NodeMustWait
from innkeeper.nodes.json_values import NotJsonData, TextJoiner, encode_json
from innkeeper.nodes.node import Chunk, Outputs
from innkeeper.nodes.services.masking import ChunkMask, forms_of_all

MAX_COLLECTED_CHARS = 64_000_000
OPEN_PATIENCE_S = 5.0
"""A consumer whose producer has not begun by then gives its slot back and comes again."""
COME_AGAIN_S = 1.0
IDLE_S = 30.0
ANOTHER_ANSWER = "the node gives another text"
YIELD_TO_LOOP_EVERY = 64
"""Chunks after which a node that never waits lets the socket and the heartbeat have a turn."""


@dataclass
class Collected:
    """The chunks of one stream, put together. `resumed` ones were sent by an earlier attempt."""

    count: int = 0
    parts: list[str] = field(default_factory=list)
    chars: int = 0
    items: list[dict[str, Any]] | None = None
    ended: bool = False

    def add(self, chunk: Chunk) -> None:
        self.count += 1
        self.ended = chunk.type in ("finish_reason_chunk", "error_chunk")
        if chunk.type == "text_chunk" and isinstance(chunk.content, str):
            self.parts.append(chunk.content)
            self.chars += len(chunk.content)
        if self.items is not None:
            self.items.append(chunk.to_json())
        if self.chars > MAX_COLLECTED_CHARS:
            message = f"the stream is over the limit of {MAX_COLLECTED_CHARS} characters"
            raise InvalidNode(message, code="stream_too_large")


class StreamInputs:
    """The streams a node reads. Use as an async context manager: what is followed is let go at the end."""

    def __init__(self, link: GatewayLink, attempt: Attempt, requery: Any) -> None:
        self._link = link
        self._attempt = attempt
        self._requery = requery
        call = attempt.call
        paths = dict.fromkeys(path for sources in call.stream_inputs.values() for path in sources if path)
        self._followers: dict[str, Follower] = {path: link.follow(call.run, path, attempt.restarted) for path in paths}
        self._readers: list[Reader | ChunksOf] = []
        self._watcher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> StreamInputs:
        if self._followers:
            self._watcher = asyncio.create_task(self._requery_when_idle())
        return self

    async def __aexit__(self, *args: object) -> None:
        for follower in self._followers.values():
            self._link.unfollow(follower)
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)

    async def opened(self) -> None:
        """Wait until every producer has begun. Raises NodeMustWait when one takes too long."""
        if not self._followers:
            return
        try:
            async with asyncio.timeout(OPEN_PATIENCE_S):
                with self._attempt.time.waiting():
                    for follower in self._followers.values():
                        await follower.opened.wait()
        except TimeoutError:
            raise NodeMustWait("a stream it reads has not begun", delay_s=COME_AGAIN_S) from None

    @property
    def only_origin(self) -> Epoch | None:
        """Where the input of a node with one single stream begins; a node with more cannot be resumed."""
        followers = list(self._followers.values())
        sources = [source for found in self._attempt.call.stream_inputs.values() for source in found]
        return followers[0].origin if len(followers) == 1 and len(sources) == 1 else None

    def put_into(self, inputs: dict[str, Any], slots: Mapping[str, Input], skip: int) -> None:
        """Replace the values of stream slots by what the node iterates over."""
        self._readers = []
        sources = self._attempt.call.stream_inputs
        for key, slot in slots.items():
            if key in sources:
                found = self._sources(sources[key], inputs.get(key), slot.multi, skip)
                inputs[key] = found if slot.multi else found[0]
            elif slot.is_stream and inputs.get(key) is not None:
                inputs[key] = one_chunk(inputs[key])
        for key in sources.keys() - slots.keys():  # slots the node type does not declare
            several = key in self._attempt.call.multi
            found = self._sources(sources[key], inputs.get(key), several, skip)
            inputs[key] = found if several else found[0]

    def used(self) -> int:
        """Input chunks the node has consumed so far."""
        return sum(reader.used for reader in self._readers)

    def _sources(self, sources: list[str | None], value: Any, multi: bool, skip: int) -> list[Reader | ChunksOf]:
        values = value if multi and isinstance(value, list) else [value]
        found = [
            self._source(source, values[index] if index < len(values) else None, skip)
            for index, source in enumerate(sources)
        ]
        self._readers += found
        return found

    def _source(self, source: str | None, value: Any, skip: int) -> Reader | ChunksOf:
        if source is None:
            return one_chunk(value)
        if source == "":
            return ChunksOf()
        reader = self._followers[source].begin_reading(skip)
        reader.waiting = self._attempt.time.waiting
        return reader

    async def _requery_when_idle(self) -> None:
        """The end of a producer that failed is told by a workflow worker; if that died first, wake another one up."""
        while True:
            before = sum(follower.received for follower in self._followers.values())
            await asyncio.sleep(IDLE_S)
            if before == sum(follower.received for follower in self._followers.values()):
                await self._requery(self._attempt.call.run, list(self._followers))


class StreamOutput:
    """Publishes a stream node's chunks in one epoch."""

    def __init__(
        self, link: GatewayLink, attempt: Attempt, answer: Answer, *, inputs: StreamInputs, is_resumable: bool
    ) -> None:
        self._link = link
        self._attempt = attempt
        self._inputs = inputs
        self._is_resumable = is_resumable
        self._masking = ChunkMask()
        self._known_secrets = 0
        wants_items = attempt.call.collect_chunks
        self.collected = Collected(items=[] if wants_items else None)
        self._joiner = TextJoiner()
        self._kept = KeptChunks(attempt.kept) if attempt.kept is not None else None
        if answer.next:
            text = answer.text if attempt.kept is None else attempt.kept.text
            self.collected.count = answer.next
            self.collected.parts.append(text)
            self.collected.chars = len(text)
            self.collected.ended = self._kept is not None and self._kept.is_whole

    async def publish_all(self, items: AsyncGenerator[Any, None]) -> Mapping[str, Any] | None:
        """Publish the chunks as they come; gives the batch outputs, if the node has any.

        Raises:
            BeganAnew: The node does not go on with the stream that its readers have.
        """
        outputs: Mapping[str, Any] | None = None
        async with aclosing(items):
            async for item in items:
                if isinstance(item, Outputs):
                    outputs = item
                    break
                if not isinstance(item, Chunk):
                    raise InvalidNode(f"the node yielded {type(item).__name__}; yield Chunk, or Outputs last")
                if (new := self._new_part(item)) is None:
                    continue
                self._publish_whole(new)
                if item.type == "error_chunk":
                    raise await self._error_behind(items, item)
                if self.collected.count % YIELD_TO_LOOP_EVERY == 0:
                    await asyncio.sleep(0)
                if self._attempt.call.keep_chunks:
                    await self._wait_for_room()
        if self._kept is not None and not self._kept.is_passed:
            raise self._attempt.begin_anew(ANOTHER_ANSWER)
        self._publish_rest()
        for chunk in self._masking.end():
            self._publish(chunk)
        if self._masking.has_masked:
            self._attempt.note_masked(self._attempt.call.streams)
        return outputs

    def _new_part(self, chunk: Chunk) -> Chunk | None:
        """The chunk without what an earlier attempt has sent of it; None: that is all of it."""
        if self._kept is None:
            return chunk
        try:
            return self._kept.new_part(chunk)
        except AnotherStream:
            raise self._attempt.begin_anew(ANOTHER_ANSWER) from None

    def _masked(self, chunk: Chunk) -> list[Chunk]:
        """The chunk without the secrets that the node has been shown so far."""
        revealed = self._attempt.secrets.revealed
        if len(revealed) != self._known_secrets:
            self._known_secrets = len(revealed)
            self._masking.add(forms_of_all(revealed))
        chunks = self._masking.feed(chunk)
        if self._is_resumable:
            # What is held back would be lost with this attempt: a later one goes on behind what was published.
            chunks += self._masking.end()
        return chunks

    def _publish_whole(self, chunk: Chunk) -> None:
        """Publish a chunk of text up to its last whole character, any other chunk behind the text before it."""
        if chunk.type != "text_chunk" or not isinstance(chunk.content, str):
            self._publish_rest()
        elif chunk.content:
            text = self._joiner.feed(chunk.content)
            if not text:
                return
            chunk = chunk if text == chunk.content else replace(chunk, content=text)
        self._publish_masked(self._clean(chunk))

    def _publish_masked(self, chunk: Chunk) -> None:
        for part in self._masked(chunk):
            self._publish(part)

    def _publish_rest(self) -> None:
        """Half a character whose other half has not come."""
        if rest := self._joiner.end():
            self._publish_masked(Chunk("text_chunk", rest))

    def _clean(self, chunk: Chunk) -> Chunk:
        """The chunk as JSON data. Raises InvalidNode when it is none."""
        if not isinstance(chunk.type, str) or not isinstance(chunk.extra, Mapping):
            raise InvalidNode("the node yielded a chunk whose type is no text, or whose extra fields are no mapping")
        if type(chunk.content) is str and not chunk.extra and chunk.content.isascii():
            return chunk
        data: Any = chunk.to_json()
        if chunk.type == "error_chunk":
            data = redact(data, self._attempt.secrets.revealed)  # here, errors of any class are texts
        try:
            written, changes = encode_json(data)
        except NotJsonData as error:
            raise InvalidNode(f"a chunk of type {chunk.type!r} is not JSON data: it {error}") from None
        for change in changes:
            self._attempt.warn("chunk_changed", f"chunks of type {chunk.type!r}: {change}")
        return Chunk.from_json(orjson.loads(written)) if changes or chunk.type == "error_chunk" else chunk

    def _publish(self, chunk: Chunk) -> None:
        index = self.collected.count
        data = chunk.to_json()
        self.collected.add(chunk)
        self._attempt.heartbeat.chunks = self.collected.count
        self._attempt.note_chunk()
        used = self._inputs.used() if self._is_resumable else None
        self._link.chunk(self._attempt.key, index, data, used=used, may_drop=not self._attempt.call.keep_chunks)

    async def _wait_for_room(self) -> None:
        if not self._link.has_room(self._attempt.key):
            with self._attempt.time.waiting():
                await self._link.wait_for_room(self._attempt.key)

    async def _error_behind(self, items: AsyncGenerator[Any, None], chunk: Chunk) -> NodeError:
        """Why a stream ended with an error chunk: the exception the node raises next, else what the chunk says."""
        with contextlib.suppress(StopAsyncIteration):
            await anext(items)
        content = chunk.content
        if not isinstance(content, Mapping):
            return NodeError(printable(content), retryable=False)
        details = {key: content[key] for key in ("code", "type") if key in content}
        message = printable(content.get("message", "the stream ended with an error"))
        code = printable(content.get("code") or "node_failed")
        return NodeError(message, code=code, details=details, retryable=False)
