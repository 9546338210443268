"""What becomes of an answer that broke off when its node is tried again: `on_crash` of the LLM nodes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn, Protocol, cast

from innkeeper.nodes.errors import ProviderError
from innkeeper.nodes.kept_stream import KeptStream
from innkeeper.nodes.node import ChatRequest, ChatResponse, Chunk
from innkeeper.nodes.services.llm.continuation import CannotContinue, NothingLeft, Seam, continued, why_not
from innkeeper.nodes.services.llm.estimates import estimate_input, estimate_text
from innkeeper.nodes.services.llm.model_calls import Prepare
from innkeeper.nodes.services.llm.token_usage import COUNTS, DETAILS

OnCrash = Literal["restart", "continue", "accept"]
INTERRUPTED = "interrupted"
_LOST = frozenset({"hole", "too_large", "error_chunk"})
"""Chunks among which some of the text may be missing, or behind which nothing of worth comes."""


class Calls(Protocol):
    """`ModelCalls`, as far as it is used here."""

    async def chat(self, request: ChatRequest) -> ChatResponse: ...

    def stream(self, request: ChatRequest, prepare: Prepare = ...) -> AsyncIterator[Chunk]: ...

    def settle_lost(self, attempt: int, chars: int) -> None: ...


@dataclass(frozen=True)
class Salvage:
    """An answer that broke off, and what to do with it.

    Attributes:
        attempt: The one that has it now.
        restart: Voids the stream and begins the node anew, without this salvage; the argument is why, as half a
            sentence. Does not return.
        may_ask: False: no attempt is left, so nothing better than what is there will come.
    """

    kept: KeptStream
    on_crash: OnCrash
    attempt: int
    restart: Callable[[str], Awaitable[NoReturn]]
    may_ask: bool = True


def needs_no_request(kept: KeptStream, on_crash: OnCrash) -> bool:
    """Is the answer whole, or taken as it is?"""
    return _is_whole(kept) or (on_crash == "accept" and _is_acceptable(kept))


class SalvagingLlm:
    """The `Llm` of an attempt that keeps the stream of an earlier one.

    The first stream that the node asks for begins with what is in the log, word for word, so that the node puts
    together the same text as those who read its chunks. Whoever publishes the chunks leaves that beginning out.
    """

    def __init__(self, calls: Calls, salvage: Salvage) -> None:
        self._calls = calls
        self._salvage: Salvage | None = salvage

    async def chat(self, request: ChatRequest) -> ChatResponse:
        """As `nodes.node.Llm.chat`."""
        return await self._calls.chat(request)

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        """As `nodes.node.Llm.stream`. A request that fails before its first chunk leaves the salvage to the next."""
        salvage = self._salvage
        answer = self._calls.stream(request) if salvage is None else self._salvaged(request, salvage)
        # Closed at once when the run is interrupted: the provider keeps writing, and billing, until then.
        async with aclosing(cast("AsyncGenerator[Chunk, None]", answer)) as chunks:
            async for chunk in chunks:
                self._salvage = None
                yield chunk

    async def _salvaged(self, request: ChatRequest, salvage: Salvage) -> AsyncGenerator[Chunk, None]:
        kept = salvage.kept
        for attempt, chars in kept.legs:
            if attempt < salvage.attempt:
                self._calls.settle_lost(attempt, chars)
        if _is_whole(kept):
            taken = [*_so_far(kept), _end_of_whole(kept, request)]
        elif salvage.on_crash == "accept":
            if reason := _why_not_taken(salvage, request):
                await salvage.restart(reason)
            taken = [*_so_far(kept), _cut_off(kept, request, INTERRUPTED)]
        else:
            async with aclosing(self._continued(request, salvage)) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        for chunk in taken:
            yield chunk

    async def _continued(self, request: ChatRequest, salvage: Salvage) -> AsyncGenerator[Chunk, None]:
        kept = salvage.kept
        if reason := why_not(kept, request):
            await salvage.restart(reason)
        rest = self._calls.stream(request, lambda target: continued(target, kept.text))
        before = _so_far(kept)
        try:
            async with aclosing(_joined(rest, kept, usage_so_far(kept, request))) as chunks:
                async for chunk in chunks:
                    while before:
                        yield before.pop(0)
                    yield chunk
        except CannotContinue as error:
            await salvage.restart(str(error))
        except NothingLeft:
            for chunk in (*before, _cut_off(kept, request, "length")):
                yield chunk
        except ProviderError as error:
            if not before or not _refuses_to_continue(error, request):
                raise
            await salvage.restart(f"its provider refuses to go on with it ({error.message})")


def _refuses_to_continue(error: ProviderError, request: ChatRequest) -> bool:
    """Is it, as far as one can tell, the beginning of the answer that the provider does not take?

    One that names a parameter is left to the node, which may ask without it.
    """
    words = f"{error.details.get('param')} {error.message}"
    return error.code == "invalid_request_error" and not any(name in words for name in request.parameters)


class AcceptingLlm:
    """The `Llm` of an attempt that takes an answer as it is when it breaks off and no further attempt follows.

    Args:
        is_last: Is this the last attempt, if it ends with this error?
        warn: Gets the error that an answer broke off with.
    """

    def __init__(
        self, calls: Calls, is_last: Callable[[ProviderError], bool], warn: Callable[[ProviderError], None]
    ) -> None:
        self._calls = calls
        self._is_last = is_last
        self._warn = warn

    async def chat(self, request: ChatRequest) -> ChatResponse:
        """As `nodes.node.Llm.chat`: of a whole answer that fails nothing is there."""
        return await self._calls.chat(request)

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        """As `nodes.node.Llm.stream`. An error that another attempt could heal ends a text that has begun."""
        texts: dict[str, list[str]] = {"text_chunk": [], "reasoning_chunk": []}
        usage = None
        try:
            async with aclosing(cast("AsyncGenerator[Chunk, None]", self._calls.stream(request))) as chunks:
                async for chunk in chunks:
                    if chunk.type in texts:
                        texts[chunk.type].append(chunk.content)
                    elif chunk.type == "usage_chunk":
                        usage = chunk.content
                    yield chunk
        except ProviderError as error:
            text, reasoning = ("".join(parts) for parts in texts.values())
            # What may not pass is no crash: a content filter, say.
            if not text or not error.retryable or not self._is_last(error):
                raise
            self._warn(error)
            yield _cut_off(KeptStream(text, reasoning, usage=usage), request, INTERRUPTED)


async def _joined(
    rest: AsyncIterator[Chunk], kept: KeptStream, earlier: Mapping[str, Any]
) -> AsyncGenerator[Chunk, None]:
    """The rest of an answer without what the provider sends once more; its end tells of the whole."""
    seam, parts = Seam(kept.text), [kept.text]
    async with aclosing(cast("AsyncGenerator[Chunk, None]", rest)) as chunks:
        async for chunk in chunks:
            if chunk.type == "text_chunk":
                text = seam.feed(chunk.content)
            else:
                text = seam.end() if chunk.type == "finish_reason_chunk" else ""
            if text:
                parts.append(text)
                yield replace(chunk, content=text) if chunk.type == "text_chunk" else Chunk("text_chunk", text)
            if chunk.type == "usage_chunk":
                yield replace(chunk, content=with_usage(chunk.content, earlier))
            elif chunk.type == "finish_reason_chunk":
                end = {**chunk.content, "accumulated_text": "".join(parts)}
                yield replace(chunk, content={**end, "usage": with_usage(end.get("usage"), earlier)})
            elif chunk.type != "text_chunk":
                yield chunk


def usage_so_far(kept: KeptStream, request: ChatRequest) -> dict[str, Any]:
    """What the answer has cost until it broke off: as the provider says, else by estimate."""
    if isinstance(kept.usage, Mapping):
        return dict(kept.usage)
    prompt = estimate_input(request) * max(len(kept.legs), 1)
    completion = estimate_text(kept.text) + estimate_text(kept.reasoning)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def with_usage(usage: Any, earlier: Mapping[str, Any]) -> dict[str, Any] | None:
    """Both pieces of an answer together; None when the provider does not tell of the second: unknown stays unknown."""
    if not isinstance(usage, Mapping):
        return None
    found = {name: _sum(usage, earlier, name) for name in COUNTS if name in usage}
    for group, name in DETAILS.items():
        here, there = usage.get(group), earlier.get(group)
        if isinstance(here, Mapping):
            there = there if isinstance(there, Mapping) else {}
            found[group] = {name: _sum(here, there, name)} if name in here else {}
    return {**usage, **found}


def _sum(usage: Mapping[str, Any], earlier: Mapping[str, Any], name: str) -> Any:
    here, there = usage[name], earlier.get(name, 0)
    return here + there if type(here) is int and type(there) is int else here


def _so_far(kept: KeptStream) -> list[Chunk]:
    found = (("reasoning_chunk", kept.reasoning), ("text_chunk", kept.text))
    return [Chunk(kind, text) for kind, text in found if text]  # type: ignore[arg-type]  # the two literals above


def _is_whole(kept: KeptStream) -> bool:
    """Had the answer come to its end? Calls of tools are told by an end that is an object."""
    if kept.finish is None or kept.kinds & _LOST:
        return False
    return isinstance(kept.finish, Mapping) or (isinstance(kept.finish, str) and "tool_call_chunk" not in kept.kinds)


def _why_not_taken(salvage: Salvage, request: ChatRequest) -> str | None:
    if not _is_acceptable(salvage.kept):
        return "nothing of its answer can be taken"
    # Half an object mostly does not fit, and the node would then fail for good where another attempt may succeed.
    if request.response_schema is not None and salvage.may_ask:
        return "half an answer does not keep to a schema"
    return None


def _is_acceptable(kept: KeptStream) -> bool:
    return bool(kept.text) and not kept.kinds & _LOST


def _end_of_whole(kept: KeptStream, request: ChatRequest) -> Chunk:
    told = kept.finish if isinstance(kept.finish, Mapping) else {"finish_reason": kept.finish}
    return Chunk("finish_reason_chunk", {**_end(kept, request), **told})


def _cut_off(kept: KeptStream, request: ChatRequest, reason: str) -> Chunk:
    return Chunk("finish_reason_chunk", {**_end(kept, request), "finish_reason": reason})


def _end(kept: KeptStream, request: ChatRequest) -> dict[str, Any]:
    reasoning = {"reasoning": kept.reasoning} if kept.reasoning else {}
    return {"accumulated_text": kept.text, "usage": usage_so_far(kept, request), **reasoning}
