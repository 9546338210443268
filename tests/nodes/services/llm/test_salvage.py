"""An attempt that finds an answer of an earlier one: what it asks for, what it gives, what it has cost."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import pytest

from innkeeper.nodes.errors import ProviderError
from innkeeper.nodes.kept_stream import KeptStream
from innkeeper.nodes.node import ChannelTraits, ChatRequest, ChatResponse, Chunk, PrefixKind
from innkeeper.nodes.services.llm.model_calls import Prepare
from innkeeper.nodes.services.llm.salvage import OnCrash, Salvage, SalvagingLlm, needs_no_request, with_usage

TEXT = "Once upon"
ASKED = ChatRequest(messages=[{"role": "user", "content": "Tell"}], parameters={"max_tokens": 100})
KEPT = KeptStream(text=TEXT, kinds=frozenset({"text_chunk"}), legs=((1, 9),))
USAGE = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}


class Restarted(Exception):
    pass


@dataclass
class FakeCalls:
    """Answers with `pieces`, as an endpoint with this `prefix` would; the last piece may be an error."""

    pieces: Sequence[str | Chunk | Exception] = ()
    prefix: PrefixKind = "trailing"
    usage: dict[str, Any] | None = field(default_factory=lambda: dict(USAGE))
    asked: list[ChatRequest] = field(default_factory=list)
    settled: list[tuple[int, int]] = field(default_factory=list)
    closed: int = 0

    async def chat(self, request: ChatRequest) -> ChatResponse:
        self.asked.append(request)
        return ChatResponse("whole", "m")

    async def stream(self, request: ChatRequest, prepare: Prepare = lambda target: target) -> AsyncIterator[Chunk]:
        target = prepare(replace(request, traits=ChannelTraits(prefix=self.prefix), channel_id="c"))
        self.asked.append(target)
        said = []
        try:
            for piece in self.pieces:
                if isinstance(piece, Exception):
                    raise piece
                said.append(piece if isinstance(piece, str) else "")
                yield Chunk("text_chunk", piece) if isinstance(piece, str) else piece
            if self.usage:
                yield Chunk("usage_chunk", self.usage)
            end = {"finish_reason": "stop", "accumulated_text": "".join(said), "usage": self.usage, "model": "m"}
            yield Chunk("finish_reason_chunk", end)
        finally:
            self.closed += 1

    def settle_lost(self, attempt: int, chars: int) -> None:
        self.settled.append((attempt, chars))


async def _restart(why: str) -> NoReturn:
    raise Restarted(why)


def salvaging(calls: FakeCalls, on_crash: OnCrash, kept: KeptStream = KEPT, attempt: int = 2) -> SalvagingLlm:
    return SalvagingLlm(calls, Salvage(kept, on_crash, attempt, _restart))


async def all_of(llm: SalvagingLlm, request: ChatRequest = ASKED) -> list[Chunk]:
    return [chunk async for chunk in llm.stream(request)]


def text_of(chunks: Sequence[Chunk]) -> str:
    return "".join(chunk.content for chunk in chunks if chunk.type == "text_chunk")


async def test_continue_asks_for_the_rest_and_gives_the_whole() -> None:
    calls = FakeCalls(["Once u", "pon a", " time"])
    chunks = await all_of(salvaging(calls, "continue"))
    assert [chunk.type for chunk in chunks] == [*["text_chunk"] * 3, "usage_chunk", "finish_reason_chunk"]
    assert chunks[0].content == TEXT
    assert text_of(chunks) == chunks[-1].content["accumulated_text"] == "Once upon a time"
    [asked] = calls.asked
    assert (asked.prefix, asked.messages, asked.parameters) == (TEXT, ASKED.messages, {"max_tokens": 97})
    # "Tell" and its message are 5 tokens, "Once upon" is 3, by estimate.
    both = {"prompt_tokens": 15, "completion_tokens": 7, "total_tokens": 22}
    assert chunks[-2].content == chunks[-1].content["usage"] == both
    assert calls.settled == [(1, 9)]
    assert calls.closed == 1


async def test_only_the_first_stream_is_salvaged_and_no_chat_is() -> None:
    calls = FakeCalls([" a time"])
    llm = salvaging(calls, "continue")
    assert (await llm.chat(ASKED)).text == "whole"
    assert text_of(await all_of(llm)) == "Once upon a time"
    assert text_of(await all_of(llm)) == " a time"
    assert [asked.prefix for asked in calls.asked] == ["", TEXT, ""]


async def test_a_rest_that_ends_at_once_is_no_loss() -> None:
    chunks = await all_of(salvaging(FakeCalls([]), "continue"))
    assert text_of(chunks) == chunks[-1].content["accumulated_text"] == TEXT


async def test_what_was_held_back_comes_before_the_end() -> None:
    chunks = await all_of(salvaging(FakeCalls(["On"]), "continue"))
    assert text_of(chunks) == chunks[-1].content["accumulated_text"] == "Once uponOn"
    assert chunks[-1].type == "finish_reason_chunk"


async def test_usage_that_the_provider_told_of_the_first_piece_counts_and_an_untold_one_stays_unknown() -> None:
    kept = replace(KEPT, usage={"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9})
    chunks = await all_of(salvaging(FakeCalls(["!"]), "continue", kept))
    assert chunks[-1].content["usage"] == {"prompt_tokens": 17, "completion_tokens": 6, "total_tokens": 23}
    chunks = await all_of(salvaging(FakeCalls(["!"], usage=None), "continue", kept))
    assert chunks[-1].content["usage"] is None


def test_details_of_usage_are_summed_where_both_are_numbers() -> None:
    here = {
        **USAGE,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }
    earlier = {"prompt_tokens": 1, "completion_tokens": "?", "prompt_tokens_details": {"cached_tokens": 4}}
    assert with_usage(here, earlier) == {
        **{"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": 14},
        "prompt_tokens_details": {"cached_tokens": 7},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }


@pytest.mark.parametrize(
    ("calls", "kept", "why"),
    [
        (FakeCalls(prefix="none"), KEPT, "channel 'c' takes no beginning of an answer (`prefix`)"),
        (FakeCalls(), replace(KEPT, kinds=KEPT.kinds | {"tool_call_chunk"}), "it had called tools"),
        (FakeCalls(), KeptStream(kinds=frozenset({"usage_chunk"})), "no text had come"),
    ],
)
async def test_continue_that_is_not_possible_asks_nothing_and_begins_anew(
    calls: FakeCalls, kept: KeptStream, why: str
) -> None:
    with pytest.raises(Restarted) as restarted:
        await all_of(salvaging(calls, "continue", kept))
    assert (str(restarted.value), calls.asked) == (why, [])


async def test_an_answer_that_has_used_up_its_tokens_is_cut_by_length_without_a_request() -> None:
    calls = FakeCalls()
    chunks = await all_of(salvaging(calls, "continue"), replace(ASKED, parameters={"max_tokens": 3}))
    assert text_of(chunks) == TEXT
    assert chunks[-1].content["finish_reason"] == "length"
    assert calls.asked == []


async def test_accept_takes_what_has_come_without_a_request() -> None:
    calls = FakeCalls(prefix="none")
    kept = replace(KEPT, reasoning="Hm", kinds=frozenset({"text_chunk", "reasoning_chunk", "tool_call_chunk"}))
    chunks = await all_of(salvaging(calls, "accept", kept))
    assert [(chunk.type, chunk.content) for chunk in chunks[:-1]] == [("reasoning_chunk", "Hm"), ("text_chunk", TEXT)]
    assert chunks[-1].content == {
        "finish_reason": "interrupted",
        "accumulated_text": TEXT,
        "reasoning": "Hm",
        "usage": {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9},
    }
    assert (calls.asked, calls.settled) == ([], [(1, 9)])


@pytest.mark.parametrize(
    "kept",
    [
        KeptStream(kinds=frozenset({"usage_chunk"})),
        KeptStream(reasoning="Hm", kinds=frozenset({"reasoning_chunk"})),
        replace(KEPT, kinds=KEPT.kinds | {"hole"}),
        KeptStream(kinds=frozenset({"too_large"})),
        replace(KEPT, kinds=KEPT.kinds | {"error_chunk"}),
    ],
)
async def test_accept_without_a_whole_text_begins_anew(kept: KeptStream) -> None:
    assert not needs_no_request(kept, "accept")
    with pytest.raises(Restarted, match="nothing of its answer can be taken"):
        await all_of(salvaging(FakeCalls(), "accept", kept))


async def test_half_of_an_answer_that_has_a_schema_is_taken_only_when_no_attempt_is_left() -> None:
    asked = replace(ASKED, response_schema={"type": "object"})
    with pytest.raises(Restarted, match="schema"):
        await all_of(salvaging(FakeCalls(), "accept"), asked)
    calls = FakeCalls()
    last = SalvagingLlm(calls, Salvage(KEPT, "accept", 2, _restart, may_ask=False))
    assert (await all_of(last, asked))[-1].content["finish_reason"] == "interrupted"
    assert calls.asked == []


@pytest.mark.parametrize("on_crash", ["continue", "accept"])
@pytest.mark.parametrize(
    ("finish", "told"),
    [
        ("length", {"finish_reason": "length"}),
        ({"finish_reason": "stop", "usage": USAGE, "model": "m"}, {"finish_reason": "stop", "usage": USAGE}),
    ],
)
async def test_an_answer_that_was_whole_is_given_again_and_not_paid_again(
    on_crash: OnCrash, finish: Any, told: dict[str, Any]
) -> None:
    calls, kept = FakeCalls(), replace(KEPT, finish=finish, kinds=KEPT.kinds | {"finish_reason_chunk"})
    assert needs_no_request(kept, on_crash)
    chunks = await all_of(salvaging(calls, on_crash, kept))
    assert text_of(chunks) == chunks[-1].content["accumulated_text"] == TEXT
    assert chunks[-1].content.items() >= told.items()
    assert calls.asked == []


async def test_calls_of_tools_whose_end_tells_nothing_of_them_are_asked_for_anew() -> None:
    kept = replace(KEPT, finish="tool_calls", kinds=KEPT.kinds | {"finish_reason_chunk", "tool_call_chunk"})
    with pytest.raises(Restarted):
        await all_of(salvaging(FakeCalls(), "continue", kept))


async def test_an_error_of_the_rest_is_the_nodes() -> None:
    calls = FakeCalls([" a", ProviderError("broke off", retryable=True)])
    llm, got = salvaging(calls, "continue"), list[Chunk]()

    async def read() -> None:
        async for chunk in llm.stream(ASKED):
            got.append(chunk)

    with pytest.raises(ProviderError, match="broke off"):
        await read()
    assert text_of(got) == "Once upon a"


async def test_a_beginning_that_the_provider_refuses_is_asked_for_anew() -> None:
    """Its channel is configured wrongly: the node must not fail for that."""
    words = "the model does not support assistant message prefill"
    calls = FakeCalls([ProviderError(words, code="invalid_request_error")])
    with pytest.raises(Restarted, match=r"refuses to go on with it .*prefill"):
        await all_of(salvaging(calls, "continue"))


@pytest.mark.parametrize(
    "error",
    [
        ProviderError("no such model", code="not_found_error"),
        ProviderError("max_tokens is not supported", code="invalid_request_error"),
        ProviderError("not supported", code="invalid_request_error", details={"param": "max_tokens"}),
        ProviderError("overloaded", code="overloaded_error", retryable=True),
    ],
)
async def test_another_error_before_the_rest_is_the_nodes_which_may_ask_once_more(error: ProviderError) -> None:
    calls = FakeCalls([error])
    llm = salvaging(calls, "continue")
    with pytest.raises(ProviderError):
        await all_of(llm)
    calls.pieces = [" a time"]
    assert text_of(await all_of(llm, replace(ASKED, parameters={}))) == "Once upon a time"
    assert [asked.prefix for asked in calls.asked] == [TEXT, TEXT]


async def test_legs_of_this_attempt_are_not_settled_twice() -> None:
    calls, kept = FakeCalls(["!"]), replace(KEPT, legs=((1, 4), (3, 5)))
    await all_of(salvaging(calls, "continue", kept, attempt=3))
    assert calls.settled == [(1, 4)]


async def test_a_reader_that_leaves_closes_the_providers_stream_at_once() -> None:
    calls = FakeCalls([" a", " time"])
    async with aclosing(_generator(salvaging(calls, "continue"))) as chunks:
        async for chunk in chunks:
            if chunk.content == " a":
                break
    assert calls.closed == 1


def _generator(llm: SalvagingLlm) -> AsyncGenerator[Chunk, None]:
    chunks = llm.stream(ASKED)
    assert isinstance(chunks, AsyncGenerator)
    return chunks
