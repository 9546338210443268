"""The `Llm` of one attempt of a node: which endpoint is asked, by leave of the gate, and what is told of it."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, cast

from innkeeper.nodes.errors import InnkeeperError, NodeMustWait, ProviderError, ResourceError
from innkeeper.nodes.hosts import host_of, is_demo_model
from innkeeper.nodes.node import CallTrace, Channels, ChatRequest, ChatResponse, Chunk, Llm, Route, Secrets
from innkeeper.nodes.services.header_text import unsendable_at
from innkeeper.nodes.services.llm.breaker import Breaker, Ticket
from innkeeper.nodes.services.llm.call_gate import CallEnd, CallGate, CallOrigin, CallStart, Outcome
from innkeeper.nodes.services.llm.estimates import estimate_input, estimate_output
from innkeeper.nodes.services.llm.failover import SUCCEEDED, UNKNOWN, Tries, verdicts_on, wait_for
from innkeeper.nodes.services.llm.media import MediaLoader


@dataclass(frozen=True)
class ModelServices:
    """What all attempts of a worker share.

    Attributes:
        key_salt: Fingerprints of keys are made with it, so that nobody can try keys against them; the same on all
            workers of a gateway.
        remote_media: Adapter to the beginnings of the web addresses that its provider fetches itself.
    """

    llm: Llm
    channels: Channels
    gate: CallGate
    key_salt: bytes
    breaker: Breaker = field(default_factory=Breaker)
    remote_media: Callable[[str], Sequence[str]] = lambda adapter: ()


Prepare = Callable[[ChatRequest], ChatRequest]
"""Changes a request once it is known where it goes."""


def _as_it_is(target: ChatRequest) -> ChatRequest:
    return target


class ModelCalls:
    """Language models, as one attempt of one node sees them (`nodes.node.Llm`).

    Args:
        media: Puts media that messages name into them; without it they are sent as they are.
    """

    def __init__(
        self, shared: ModelServices, secrets: Secrets, origin: CallOrigin, media: MediaLoader | None = None
    ) -> None:
        self._shared = shared
        self._secrets = secrets
        self._origin = origin
        self._media = media
        self._calls = 0

    async def chat(self, request: ChatRequest) -> ChatResponse:
        """As `nodes.node.Llm.chat`. When a channel fails, the next one that fits is asked.

        Raises:
            ProviderError, NodeMustWait, RequestRefused, NodeInputError: See `nodes.services.llm`. Of a wish, `details`
                say what was tried.
            BudgetReached: It could go past what may be spent.
        """
        if request.wish is None:
            return await self._answer(await self._with_media(request, request.adapter))
        tries = Tries()
        for route in self._promising(await self._shared.channels.routes(request.wish), tries):
            # Not tried elsewhere: media that cannot be had are not the channel's fault.
            asked = await self._with_media(request, route.adapter)
            try:
                answered = await self._answer(asked, route)
            except InnkeeperError as error:
                # Nobody has seen anything of a whole answer that failed, so any channel may take over.
                if not tries.note(route, error):
                    tries.tell(error)
                    raise
            else:
                return replace(answered, channel_id=route.channel_id, tried=tuple(tries.told))
        raise tries.conclusion()

    async def stream(self, request: ChatRequest, prepare: Prepare = _as_it_is) -> AsyncIterator[Chunk]:
        """As `nodes.node.Llm.stream`. Raises as `chat`, and what `prepare` raises before anything is asked.

        The next channel is asked only while nothing of the answer has been given out: from then on the reader has seen
        the beginning of this answer, which no other one goes on.
        """
        if request.wish is None:
            async with aclosing(
                self._pieces(await self._with_media(request, request.adapter), prepare=prepare)
            ) as pieces:
                async for chunk in pieces:
                    yield chunk
            return
        tries = Tries()
        for route in self._promising(await self._shared.channels.routes(request.wish), tries):
            is_seen, held = False, None
            asked = await self._with_media(request, route.adapter)
            try:
                async with aclosing(self._pieces(asked, route, prepare)) as pieces:
                    async for chunk in pieces:
                        # Counts that come before the text are nothing of the answer: the last ones wait for it.
                        if chunk.type == "usage_chunk" and not is_seen:
                            held = chunk
                            continue
                        is_seen = True
                        if held is not None:
                            yield held
                            held = None
                        yield _with_origin(chunk, route, tries.told)
                return
            except InnkeeperError as error:
                if not tries.note(route, error) or is_seen:
                    tries.tell(error)
                    raise
        raise tries.conclusion()

    def settle_lost(self, attempt: int, chars: int) -> None:
        """Tell what is known of an earlier attempt, which may have died in a request before it could tell its end.

        Of an end that was told already nothing changes: the gate takes the first one.
        """
        lost = replace(self._origin, attempt=attempt)
        id = call_id(lost, attempt, 1)
        self._shared.gate.end(CallEnd(id, "cut", code="cancelled", output_chars=chars, lost_of=lost))

    def _promising(self, routes: Sequence[Route], tries: Tries) -> Iterator[Route]:
        """The routes to ask, one by one, until `tries` has had enough."""
        for route in routes:
            refusal = self._shared.breaker.refusal(_circuits(route))
            if refusal is not None:
                tries.skip(route, refusal)
            elif tries.may_go_on:
                yield route

    async def _answer(self, request: ChatRequest, route: Route | None = None) -> ChatResponse:
        call = await self._open(request, route)
        try:
            response = await self._shared.llm.chat(call.target)
        except BaseException as error:
            self._shared.gate.end(call.failed(error))
            raise
        self._shared.gate.end(call.answered(response.model, response.usage, _chars_of(response)))
        return response

    async def _pieces(
        self, request: ChatRequest, route: Route | None = None, prepare: Prepare = _as_it_is
    ) -> AsyncGenerator[Chunk, None]:
        call = await self._open(request, route, prepare)
        chars, end = 0, None
        try:
            async with aclosing(cast("AsyncGenerator[Chunk, None]", self._shared.llm.stream(call.target))) as chunks:
                async for chunk in chunks:
                    call.note_first()
                    chars += _chars_of_chunk(chunk)
                    if chunk.type == "finish_reason_chunk":
                        end = chunk.content
                    yield chunk
        except BaseException as error:
            self._shared.gate.end(call.failed(error, chars))
            raise
        told = end or {}
        self._shared.gate.end(call.answered(told.get("model") or call.target.model, told.get("usage"), chars))

    async def _open(self, request: ChatRequest, route: Route | None, prepare: Prepare = _as_it_is) -> _Call:
        """Everything before the request itself; when it returns, the request may be made."""
        names = _circuits(route) if route else ()
        # No await between the two: of many that come at once, one is the probe.
        if route and (refusal := self._shared.breaker.refusal(names)):
            raise wait_for(route, refusal)
        ticket = self._shared.breaker.take(names)
        try:
            # The last step before the call: an earlier failure must not have touched the key.
            target = prepare(routed(request, route, await self._key(route)) if route else request)
            start = self._start(target)
            await self._shared.gate.begin(start)
        except BaseException:
            ticket.tell(UNKNOWN)
            raise
        return _Call(start, target, ticket)

    async def _with_media(self, request: ChatRequest, adapter: str) -> ChatRequest:
        """Before the gate: while media are fetched nothing is reserved."""
        if self._media is None:
            return request
        return await self._media.loaded(request, self._shared.remote_media(adapter))

    async def _key(self, route: Route) -> str:
        if route.api_key is None or is_demo_model(route.base_url):
            return ""
        key = (await self._secrets.reveal(route.api_key, host=host_of(route.base_url))).strip()
        if unsendable_at(key) is not None:
            # Told here, as the fault of one channel: another one has another key.
            message = f"the key of channel {route.channel_id!r} holds characters that no header may have: enter it anew"
            raise ResourceError(message, code="secret_unusable")
        return key

    def _start(self, target: ChatRequest) -> CallStart:
        self._calls += 1
        origin = self._origin
        return CallStart(
            id=call_id(origin, origin.attempt, self._calls),
            origin=origin,
            channel=target.channel_id,
            host=host_of(target.base_url) or target.base_url,
            adapter=target.adapter,
            model=target.model,
            key=self._fingerprint(target.api_key),
            input_tokens=estimate_input(target),
            output_tokens=estimate_output(target),
            priority=target.priority,
        )

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


def _circuits(route: Route) -> tuple[tuple[str, ...], ...]:
    """The channel, and the model on it. With the address: one that was mended is asked at once."""
    return (route.channel_id, route.base_url), (route.channel_id, route.base_url, route.model_id)


def _chars_of(response: ChatResponse) -> int:
    """What the model has written, for a provider that does not count tokens: calls of tools are paid for, too."""
    return len(response.text) + len(response.reasoning) + sum(map(_chars_of_call, response.tool_calls))


def _chars_of_call(call: Mapping[str, Any]) -> int:
    function = call.get("function")
    arguments = function.get("arguments") if isinstance(function, Mapping) else None
    return len(arguments) if isinstance(arguments, str) else 0


def _chars_of_chunk(chunk: Chunk) -> int:
    if chunk.type in ("text_chunk", "reasoning_chunk"):
        return len(chunk.content)
    is_call = chunk.type == "tool_call_chunk" and isinstance(chunk.content, Mapping)
    return _chars_of_call({"function": chunk.content}) if is_call else 0


def _with_origin(chunk: Chunk, route: Route, tried: Sequence[Mapping[str, Any]]) -> Chunk:
    if chunk.type != "finish_reason_chunk":
        return chunk
    more = {"tried": list(tried)} if tried else {}
    return replace(chunk, content={**chunk.content, "channel_id": route.channel_id, **more})


class _Call:
    """One request under way, and what is told of its end."""

    def __init__(self, start: CallStart, target: ChatRequest, ticket: Ticket) -> None:
        self._trace = CallTrace()
        self.target = replace(target, trace=self._trace)
        self._start = start
        self._ticket = ticket
        self._began = time.monotonic()
        self._first_ms: int | None = None

    def note_first(self) -> None:
        if self._first_ms is None:
            self._first_ms = self._elapsed_ms()
            # A probe that answers need not be over: others may ask, too.
            self._ticket.tell(SUCCEEDED)

    def answered(self, model: str, usage: Mapping[str, Any] | None, chars: int) -> CallEnd:
        self._ticket.tell(SUCCEEDED)
        return self._end(CallEnd(self._start.id, "ok", model=model, usage=usage, output_chars=chars))

    def failed(self, error: BaseException, chars: int = 0) -> CallEnd:
        self._ticket.tell(verdicts_on(error), getattr(error, "code", ""))
        if not isinstance(error, InnkeeperError):  # cancelled, or a fault of ours
            return self._end(CallEnd(self._start.id, "cut", code="cancelled", output_chars=chars))
        retry_after = error.retry_after if isinstance(error, ProviderError) else getattr(error, "delay_s", None)
        outcome: Outcome = "cut" if self._first_ms is not None else "failed"
        # A provider that asks to wait has refused for a reason: a 429 teaches a limit, a model that is loaded does not.
        code = str(error.details.get("code") or error.code) if isinstance(error, NodeMustWait) else error.code
        end = CallEnd(self._start.id, outcome, code=code, output_chars=chars, retry_after_s=retry_after)
        return self._end(end)

    def _end(self, end: CallEnd) -> CallEnd:
        trace = self._trace
        return replace(
            end,
            outcome="not_sent" if trace.was_sent is False else end.outcome,
            # What failed has cost something, too, where the provider told it in time.
            usage=end.usage or trace.usage,
            headers=trace.headers,
            first_ms=self._first_ms,
            whole_ms=self._elapsed_ms(),
        )

    def _elapsed_ms(self) -> int:
        return int((time.monotonic() - self._began) * 1000)
