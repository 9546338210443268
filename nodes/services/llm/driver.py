"""One driver for all protocols: sends, reads, and judges what is complete, what is an error and what takes too long.

| on the wire | becomes |
|---|---|
| a finish reason or the end mark (`[DONE]`) was seen | the answer; the connection then does not matter |
| the body ends before either | `connection_error`, retryable |
| 200 with an error in it | the error, as if it had its own status |
| one JSON value in place of a stream, a stream in place of one | the answer |
| 200 with a web page or other text | `bad_answer`, final |
| 200 with an empty body | `connection_error`, retryable: nothing was given, so nothing was paid |
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

from innkeeper.nodes.errors import (
    InnkeeperError,
    NodeError,
    NodeInputError,
    ProviderError,
    RequestRefused,
)
from innkeeper.nodes.json_values import NotJsonData, mended
from innkeeper.nodes.node import CallTrace, ChannelTraits, ChatRequest, ChatResponse, ChatTimes, Chunk
from innkeeper.nodes.services.http import DIRECT, AddressPolicy, Network
from innkeeper.nodes.services.llm.adapter import NO_TRAITS
from innkeeper.nodes.services.llm.errors import (
    Refusal,
    bad_answer,
    has_reached_nobody,
    is_loading,
    refused,
    transport_error,
)
from innkeeper.nodes.services.llm.gathering import (
    MAX_CALLS,
    AnswerTooLarge,
    Gathering,
    chunks_of,
    complaint,
    finish_chunk,
    with_bounded_words,
)
from innkeeper.nodes.services.llm.loading import LoadingModels
from innkeeper.nodes.services.llm.provider_words import is_error, quoted, told
from innkeeper.nodes.services.llm.request_secrets import secrets_of
from innkeeper.nodes.services.llm.retry_hints import rate_limit_headers
from innkeeper.nodes.services.llm.sse import (
    Event,
    EventReader,
    EventTooLarge,
    ServerSentEvents,
    begins_events,
    event_reader,
)
from innkeeper.nodes.services.llm.think_tags import ThinkSplitter
from innkeeper.nodes.services.llm.time_limits import TimeLimits
from innkeeper.nodes.services.llm.transport import Answer, LlmTransport, with_additions
from innkeeper.nodes.services.llm.wire import AnswerReader, Fault, Framing, Piece, WireProtocol, WireRequest
from innkeeper.nodes.services.llm.wire_json import parsed
from innkeeper.nodes.services.masking import forms_of_all, mask

MAX_ANSWER_CHARS = 16 * 1024 * 1024
MAX_BODY_BYTES = 64 * 1024 * 1024
"""Of an answer that is held in memory whole."""
REUSE_S = 0.05
"""So long the end of the body is waited for, so that the connection can serve the next request."""
ERROR_BODY_S = 10.0
LIST_TIMES = ChatTimes(first=60.0, silence=60.0, whole=60.0)
_BOM = b"\xef\xbb\xbf"
_LONGEST_FIELD = 6

T = TypeVar("T")


class ProtocolAdapter:
    """An `LlmAdapter` for one protocol. Asks once: trying again is the engine's business.

    One pool of connections serves all requests. No key outlives its call, and nothing of the process's environment
    reaches a provider.
    """

    def __init__(
        self,
        protocol: WireProtocol,
        policy: AddressPolicy,
        *,
        network: Network = DIRECT,
        max_answer_chars: int = MAX_ANSWER_CHARS,
    ) -> None:
        self._protocol = protocol
        self._transport = LlmTransport(policy, network)
        self._network = network
        self._max_chars = max_answer_chars
        self._loading = LoadingModels()

    async def chat(self, request: ChatRequest) -> ChatResponse:
        """Ask for a whole answer.

        Raises:
            ProviderError: The provider cannot be reached, refuses, or gives no usable answer; `code` says why (see
                `errors`), `retryable` whether it may pass.
            NodeMustWait: The provider asks to come back later, or is loading the model.
            RequestRefused: `base_url` leads to an address that is not allowed.
            NodeInputError: The request cannot be said in this protocol, or not be sent.
        """
        call = self._call(request)
        answer = await self._open(call, stream=False)
        try:
            return await self._whole(call, answer)
        finally:
            await answer.aclose()

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        """Ask for an answer in pieces, see `nodes.node.Llm.stream`. Raises as `chat`."""
        call = self._call(request)
        answer = await self._open(call, stream=True)
        try:
            async with aclosing(answer.parts()) as parts, aclosing(self._chunks(call, answer, parts)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            await answer.aclose()

    async def list_models(
        self, base_url: str, api_key: str = "", traits: ChannelTraits = NO_TRAITS
    ) -> tuple[Mapping[str, Any], ...]:
        """The models that a server says it has, each with its `id`. Raises as `chat`."""
        call = self._call(ChatRequest(base_url, api_key=api_key, traits=traits, times=LIST_TIMES))
        request = self._protocol.models_request(base_url, api_key)
        answer = await self._sent(call, with_additions(request, traits.headers, traits.query))
        try:
            body = await self._body(call, answer)
            return self._protocol.models(mended(parsed(body)))
        except ValueError:  # NotJsonData is one
            raise bad_answer(call.host, "did not answer with a list of models; check the base URL") from None
        finally:
            await answer.aclose()

    async def warm_up(self) -> None:
        """Load off the event loop what takes tens of milliseconds: root certificates, and how connections are made."""
        await asyncio.to_thread(self._network.tls)
        await asyncio.to_thread(_load_connections)

    async def aclose(self) -> None:
        await self._transport.aclose()

    # --- asking -----------------------------------------------------------------------------------------------------

    def _call(self, request: ChatRequest) -> _Call:
        trace = request.trace or CallTrace()
        trace.was_sent = False
        return _Call(
            ask=request,
            host=_host(request.base_url),
            gathering=Gathering(request, self._max_chars),
            limits=TimeLimits(request.times, _now()),
            secrets=forms_of_all(secrets_of(request)),
            trace=trace,
        )

    async def _open(self, call: _Call, *, stream: bool) -> Answer:
        traits = call.ask.traits
        request = with_additions(self._protocol.request(call.ask, stream=stream), traits.headers, traits.query)
        return await self._sent(call, request)

    async def _sent(self, call: _Call, request: WireRequest) -> Answer:
        """The answer to a request that was accepted."""
        call.trace.was_sent = True  # until it is known to be otherwise: a task may be cancelled here
        try:
            answer = await call.within(self._transport.send(request))
        except InnkeeperError as error:
            call.trace.was_sent = _may_have_been_sent(error)
            raise _without_secrets(error, call.secrets) from None
        call.trace.headers = rate_limit_headers(answer.headers)
        if 200 <= answer.status < 300:
            self._loading.forget(request.url, call.ask.model)
            return answer
        try:
            refusal = await _status_error(call, answer)
        finally:
            await answer.aclose()
        if is_loading(refusal):
            raise self._loading.wait(refusal, request.url, call.ask.model, _now())
        raise refusal

    # --- a whole answer ---------------------------------------------------------------------------------------------

    async def _whole(self, call: _Call, answer: Answer) -> ChatResponse:
        body = await self._body(call, answer)
        is_stream = _kind_of(body, self._protocol.framing, at_end=True) == "events"
        if is_stream and not (body.lstrip().startswith(b"{") and _is_json(body)):
            response = self._gathered(call, body)
        else:
            response = self._single(call, answer, body)
        call.trace.usage = response.usage
        return response

    async def _body(self, call: _Call, answer: Answer) -> bytes:
        async with aclosing(answer.parts()) as parts:
            return await _rest_of_body(call, parts)

    def _gathered(self, call: _Call, body: bytes) -> ChatResponse:
        """The answer that came as a stream though nobody asked for one."""
        reader, events = self._protocol.reader(call.ask), _event_reader(body, self._protocol.framing)
        for event in _events(call, events, body):
            for piece in _pieces(call, reader, event):
                self._take(call, piece)
            if call.gathering.is_done:
                break
        else:
            self._last(call, reader, events.end())
        return self._finished(call)[1]

    def _single(self, call: _Call, answer: Answer, body: bytes) -> ChatResponse:
        """The answer that came as one JSON value."""
        host = call.host
        body = body.removeprefix(_BOM).strip()
        if not body:
            raise transport_error(host, "connection_error", "closed the connection without an answer", "closed")
        try:
            data = mended(parsed(body))
        except NotJsonData as error:
            raise bad_answer(host, f"sent an answer that {error}") from None
        except ValueError as error:
            raise self._no_json(call, answer, body, error) from None
        try:
            found = self._protocol.reader(call.ask).whole(data)
        except ValueError:
            if is_error(data):
                raise _fault(call, Fault(data)) from None
            raise bad_answer(host, "sent other JSON in place of an answer; check the base URL") from None
        if isinstance(found, Fault):
            raise _fault(call, found)
        return self._judged(call, found)

    def _no_json(self, call: _Call, answer: Answer, body: bytes, error: ValueError) -> ProviderError:
        if body[:1] in (b"{", b"["):
            if "nested" in str(error):
                return bad_answer(call.host, "sent an answer that is nested too deeply")
            if not answer.is_delimited and body[-1:] not in (b"}", b"]"):
                return _cut_short(call.host)
            return bad_answer(call.host, "sent an answer that is not valid JSON")
        text = body[:20_000].decode(errors="replace")
        words = quoted(told(text).message, call.secrets)
        what = "a web page" if text.startswith("<") else "text"
        return bad_answer(call.host, f"sent {what} in place of an answer; check the base URL", words=words)

    def _judged(self, call: _Call, response: ChatResponse) -> ChatResponse:
        if call.ask.traits.think_tags and response.text:
            response = _split_thoughts(response)
        size = len(response.text) + len(response.reasoning)
        if size > self._max_chars:
            raise bad_answer(call.host, f"answered with more than {self._max_chars} characters")
        is_told = response.finish_reason is not None
        if len(response.tool_calls) > MAX_CALLS:
            raise bad_answer(call.host, f"answered with more than {MAX_CALLS} calls of tools")
        response = with_bounded_words(
            replace(response, finish_reason=response.finish_reason or ("tool_calls" if response.tool_calls else "stop"))
        )
        error = complaint(call.host, response, is_told=is_told, goes_on=bool(call.ask.prefix))
        if error is not None:
            call.trace.usage = response.usage
            raise error
        return response

    # --- a stream ---------------------------------------------------------------------------------------------------

    async def _chunks(self, call: _Call, answer: Answer, parts: AsyncIterator[bytes]) -> AsyncGenerator[Chunk]:
        head = b""
        kind = None
        while kind is None:
            part = await call.next_part(parts)
            # What is blank is let go: else a body of white space alone would be kept, and looked at again and again.
            head = (head + (part or b"")).removeprefix(_BOM).lstrip()
            kind = _kind_of(head, self._protocol.framing, at_end=part is None)
        if kind == "whole":
            response = self._single(call, answer, await _rest_of_body(call, parts, head))
            call.trace.usage = response.usage
            for chunk in chunks_of(response):
                yield chunk
            yield finish_chunk(response)
            return
        reader, events = self._protocol.reader(call.ask), _event_reader(head, self._protocol.framing)
        gathering = call.gathering
        data: bytes | None = head
        while data is not None:
            for event in _events(call, events, data):
                if pieces := _pieces(call, reader, event):
                    call.limits.note_piece(_now())
                for piece in pieces:
                    for chunk in self._take(call, piece):
                        yield chunk
                if gathering.is_done:
                    break
            data = None if gathering.is_done else await _part_of_stream(call, parts)
        if not gathering.is_done:
            for chunk in self._last(call, reader, events.end()):
                yield chunk
        rest, response = self._finished(call)
        for chunk in rest:
            yield chunk
        yield finish_chunk(response)
        if answer.keeps_open:
            await _read_to_the_end(parts)

    def _last(self, call: _Call, reader: AnswerReader, events: Iterable[Event]) -> list[Chunk]:
        """The chunks of what stands behind the last whole event: an event without its end, or half an event."""
        chunks: list[Chunk] = []
        for event in events:
            try:
                pieces = list(reader.event(event.name, event.data)) if event.data.strip() else []
            except ValueError:
                break
            for piece in pieces:
                if not isinstance(piece, Fault):
                    chunks += self._take(call, piece)
                elif not call.gathering.is_whole:
                    raise _fault(call, piece)
        return chunks

    def _take(self, call: _Call, piece: Piece) -> list[Chunk]:
        try:
            return call.gathering.take(piece)
        except AnswerTooLarge as error:
            raise bad_answer(call.host, str(error)) from None

    def _finished(self, call: _Call) -> tuple[list[Chunk], ChatResponse]:
        """What was held back, and the answer. Raises ProviderError when there is none."""
        gathering = call.gathering
        call.trace.usage = gathering.usage
        if not gathering.is_whole:
            raise _cut_short(call.host)
        try:
            rest = gathering.rest()
        except AnswerTooLarge as error:
            raise bad_answer(call.host, str(error)) from None
        response = gathering.response()
        is_told = gathering.finish_reason is not None
        failure = complaint(call.host, response, is_told=is_told, goes_on=bool(call.ask.prefix))
        if failure is not None:
            raise failure
        return rest, response


# --- one call ---------------------------------------------------------------------------------------------------------


@dataclass
class _Call:
    """One request under way."""

    ask: ChatRequest
    host: str
    gathering: Gathering
    limits: TimeLimits
    secrets: tuple[str, ...]
    trace: CallTrace

    async def within(self, waiting: Awaitable[T]) -> T:
        """The result. Raises ProviderError (`timeout_error`) when a limit of the call is over before."""
        deadline, limit = self.limits.deadline(_now(), is_finished=self.gathering.finish_reason is not None)
        scope = asyncio.timeout_at(deadline)
        try:
            async with scope:
                return await waiting
        except TimeoutError:
            if not scope.expired():
                raise
            raise self.limits.error(self.host, limit) from None

    async def next_part(self, parts: AsyncIterator[bytes]) -> bytes | None:
        """The next bytes of the body; None at its end."""
        return await self.within(anext(parts, None))


def _load_connections() -> None:
    # The HTTP library loads its back end with the first connection. What is not found here it finds itself.
    for name in ("anyio._backends._asyncio", "encodings.idna"):
        with suppress(ImportError):
            importlib.import_module(name)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _host(base_url: str) -> str:
    try:
        return urlsplit(base_url.strip()).hostname or base_url
    except ValueError:
        return base_url


def _without_secrets(error: InnkeeperError, secrets: Sequence[str]) -> InnkeeperError:
    """The error. It may quote where a server sends us, with the key in the path, or in a host name in lower case."""
    message = str(mask(error.message, (*secrets, *(form.lower() for form in secrets))))
    error.message, error.args = message, (message,)
    return error


def _may_have_been_sent(error: InnkeeperError) -> bool:
    """Whether something can have been spent by a request that got no answer."""
    return not (isinstance(error, RequestRefused | NodeInputError) or has_reached_nobody(error))


def _is_json(body: bytes) -> bool:
    try:
        parsed(body)
    except ValueError:
        return False
    return True


async def _part_of_stream(call: _Call, parts: AsyncIterator[bytes]) -> bytes | None:
    try:
        return await call.next_part(parts)
    except ProviderError:
        if call.gathering.is_whole:
            return None
        call.trace.usage = call.gathering.usage
        raise


async def _rest_of_body(call: _Call, parts: AsyncIterator[bytes], head: bytes = b"") -> bytes:
    found, size = [head], len(head)
    while (part := await call.next_part(parts)) is not None:
        found.append(part)
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise bad_answer(call.host, f"sent an answer of more than {MAX_BODY_BYTES} bytes")
        if part.strip():  # servers send white space while they think
            call.limits.note_piece(_now())
    return b"".join(found)


async def _read_to_the_end(parts: AsyncIterator[bytes]) -> None:
    try:
        async with asyncio.timeout(REUSE_S):
            async for _ in parts:
                pass
    except (TimeoutError, ProviderError):
        pass  # then the connection is closed


async def _status_error(call: _Call, answer: Answer) -> NodeError:
    body = b""
    try:
        async with asyncio.timeout(ERROR_BODY_S):
            body = await answer.start()
    except TimeoutError:
        pass  # the status tells what matters
    return refused(call.host, Refusal(answer.status, answer.headers, _error_of(body)), secrets=call.secrets)


def _error_of(body: bytes) -> object:
    body = body.removeprefix(_BOM).strip()
    if begins_events(body[:20]):
        events = ServerSentEvents()
        found = [*events.feed(body), *events.end()]
        body = found[0].data.encode() if found else body
    try:
        return mended(parsed(body))
    except ValueError:
        return body.decode(errors="replace")


def _fault(call: _Call, fault: Fault) -> NodeError:
    gathering = call.gathering
    call.trace.usage = gathering.usage or call.trace.usage
    refusal = Refusal(fault.status, {}, fault.body, in_answer=True, may_wait=gathering.size == 0)
    return refused(call.host, refusal, secrets=call.secrets)


def _cut_short(host: str) -> ProviderError:
    return transport_error(host, "connection_error", "broke its answer off before the end", "closed")


def _events(call: _Call, events: EventReader, data: bytes) -> list[Event]:
    try:
        return events.feed(data)
    except EventTooLarge as error:
        raise bad_answer(call.host, f"sent an answer of which {error}") from None


def _pieces(call: _Call, reader: AnswerReader, event: Event) -> Sequence[Piece]:
    """The pieces of one event. Raises what the provider calls an error, unless the answer was whole before."""
    if not event.data or event.data.isspace():
        return ()
    is_whole = call.gathering.is_whole
    try:
        pieces = list(reader.event(event.name, event.data))
    except ValueError:
        if is_whole:
            return ()
        raise bad_answer(call.host, "sent a piece of its answer that is not valid JSON") from None
    for piece in pieces:
        if type(piece) is Fault:
            if is_whole:
                return ()
            raise _fault(call, piece)
    return pieces


def _split_thoughts(response: ChatResponse) -> ChatResponse:
    splitter = ThinkSplitter()
    parts = [*splitter.feed(response.text), *splitter.end()]
    text = "".join(text for is_thought, text in parts if not is_thought)
    reasoning = response.reasoning + "".join(text for is_thought, text in parts if is_thought)
    return replace(response, text=text, reasoning=reasoning)


def _kind_of(start: bytes, framing: Framing, *, at_end: bool) -> str | None:
    """Whether a body holds `events` or is one `whole` value (or text); None while too little of it is there."""
    start = start.removeprefix(_BOM).lstrip()[:64]
    if not start or (len(start) < _LONGEST_FIELD and b":" not in start and start[:1] not in b"{[<"):
        return "whole" if at_end else None
    if begins_events(start):
        return "events"
    return "events" if framing == "json_lines" and start[:1] == b"{" else "whole"


def _event_reader(start: bytes, framing: Framing) -> EventReader:
    """For a server that speaks in events where lines of JSON are the rule, too."""
    is_events = begins_events(start.removeprefix(_BOM).lstrip()[:64])
    return ServerSentEvents() if is_events else event_reader(framing)
