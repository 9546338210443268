"""The `Llm` of one attempt of a node: which endpoint is asked, by leave of the gate, and what is told of it."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, cast

from innkeeper.nodes.errors import InnkeeperError, ProviderError
from innkeeper.nodes.hosts import host_of, is_demo_model
from innkeeper.nodes.node import Channels, ChatRequest, ChatResponse, Chunk, Llm, Route, Secrets
from innkeeper.nodes.services.llm.call_gate import CallEnd, CallGate, CallOrigin, CallStart, Outcome
from innkeeper.nodes.services.llm.estimates import estimate_input, estimate_output


@dataclass(frozen=True)
class ModelServices:
    """What all attempts of a worker share.

    Attributes:
        key_salt: Fingerprints of keys are made with it, so that nobody can try keys against them; the same on all
            workers of a gateway.
    """

    llm: Llm
    channels: Channels
    gate: CallGate
    key_salt: bytes


Prepare = Callable[[ChatRequest], ChatRequest]
"""Changes a request once it is known where it goes."""


def _as_it_is(target: ChatRequest) -> ChatRequest:
    return target


class ModelCalls:
    """Language models, as one attempt of one node sees them (`nodes.node.Llm`)."""

    def __init__(self, shared: ModelServices, secrets: Secrets, origin: CallOrigin) -> None:
        self._shared = shared
        self._secrets = secrets
        self._origin = origin
        self._calls = 0

    async def chat(self, request: ChatRequest) -> ChatResponse:
        """As `nodes.node.Llm.chat`.

        Raises:
            ProviderError, NodeMustWait, RequestRefused, NodeInputError: See `nodes.services.llm`.
            BudgetReached: It could go past what may be spent.
        """
        target = await self._target(request)
        call = await self._begin(target)
        try:
            response = await self._shared.llm.chat(target)
        except BaseException as error:
            self._shared.gate.end(call.failed(error))
            raise
        self._shared.gate.end(call.answered(response.model, response.usage, len(response.text)))
        return replace(response, channel_id=target.channel_id)

    async def stream(self, request: ChatRequest, prepare: Prepare = _as_it_is) -> AsyncIterator[Chunk]:
        """As `nodes.node.Llm.stream`. Raises as `chat`, and what `prepare` raises before anything is asked."""
        target = prepare(await self._target(request))
        call = await self._begin(target)
        chars, end = 0, None
        try:
            async with aclosing(cast("AsyncGenerator[Chunk, None]", self._shared.llm.stream(target))) as chunks:
                async for chunk in chunks:
                    call.note_first()
                    if chunk.type in ("text_chunk", "reasoning_chunk"):
                        chars += len(chunk.content)
                    elif chunk.type == "finish_reason_chunk":
                        end = chunk.content
                        chunk = replace(chunk, content={**end, "channel_id": target.channel_id})
                    yield chunk
        except BaseException as error:
            self._shared.gate.end(call.failed(error, chars))
            raise
        told = end or {}
        self._shared.gate.end(call.answered(told.get("model") or target.model, told.get("usage"), chars))

    def settle_lost(self, attempt: int, chars: int) -> None:
        """Tell what is known of the first request of an earlier attempt, which may have died before it could.

        Of an end that was told already nothing changes: the gate takes the first one.
        """
        self._shared.gate.end(CallEnd(call_id(self._origin, attempt, 1), "cut", code="cancelled", output_chars=chars))

    async def _target(self, request: ChatRequest) -> ChatRequest:
        if request.wish is None:
            return request
        route = (await self._shared.channels.routes(request.wish))[0]
        # The last step before the call: an earlier failure must not have touched the key.
        return routed(request, route, await self._key(route))

    async def _key(self, route: Route) -> str:
        if route.api_key is None or is_demo_model(route.base_url):
            return ""
        return await self._secrets.reveal(route.api_key, host=host_of(route.base_url))

    async def _begin(self, target: ChatRequest) -> _Call:
        self._calls += 1
        origin = self._origin
        start = CallStart(
            id=call_id(origin, origin.attempt, self._calls),
            origin=origin,
            channel=target.channel_id,
            host=host_of(target.base_url) or target.base_url,
            adapter=target.adapter,
            model=target.model,
            key=self._fingerprint(target.api_key),
            input_tokens=estimate_input(target),
            output_tokens=estimate_output(target),
        )
        await self._shared.gate.begin(start)
        return _Call(start)

    def _fingerprint(self, key: str) -> str:
        return hmac.digest(self._shared.key_salt, key.encode(errors="replace"), "sha256").hex()[:16] if key else ""


def call_id(origin: CallOrigin, attempt: int, number: int) -> str:
    """Names request `number` (from 1) of an attempt of this node."""
    return hashlib.sha256(f"{origin.run}/{origin.node}/{attempt}/{number}".encode()).hexdigest()[:32]


def routed(request: ChatRequest, route: Route, api_key: str) -> ChatRequest:
    """The request as it goes to one channel."""
    return replace(
        request,
        base_url=route.base_url,
        model=route.model_id,
        api_key=api_key,
        adapter=route.adapter,
        channel_id=route.channel_id,
        traits=route.traits,
        wish=None,
    )


class _Call:
    """One request under way, and what is told of its end."""

    def __init__(self, start: CallStart) -> None:
        self._start = start
        self._began = time.monotonic()
        self._first_ms: int | None = None

    def note_first(self) -> None:
        if self._first_ms is None:
            self._first_ms = self._elapsed_ms()

    def answered(self, model: str, usage: Mapping[str, Any] | None, chars: int) -> CallEnd:
        return self._end(CallEnd(self._start.id, "ok", model=model, usage=usage, output_chars=chars))

    def failed(self, error: BaseException, chars: int = 0) -> CallEnd:
        if not isinstance(error, InnkeeperError):  # cancelled, or a fault of ours
            return self._end(CallEnd(self._start.id, "cut", code="cancelled", output_chars=chars))
        retry_after = error.retry_after if isinstance(error, ProviderError) else getattr(error, "delay_s", None)
        outcome: Outcome = "cut" if self._first_ms is not None else "failed"
        end = CallEnd(self._start.id, outcome, code=error.code, output_chars=chars, retry_after_s=retry_after)
        return self._end(end)

    def _end(self, end: CallEnd) -> CallEnd:
        return replace(end, first_ms=self._first_ms, whole_ms=self._elapsed_ms())

    def _elapsed_ms(self) -> int:
        return int((time.monotonic() - self._began) * 1000)
