"""Calls to models as one attempt of a node makes them: which channel answers, and what gate and breaker are told."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

import pytest

from innkeeper.nodes.errors import (
    BudgetReached,
    InnkeeperError,
    NodeMustWait,
    ProviderError,
    RequestRefused,
    ResourceError,
)
from innkeeper.nodes.node import ChatRequest, ChatResponse, ChatTimes, Chunk, ModelWish, Route, SecretRef
from innkeeper.nodes.services.http import AddressPolicy
from innkeeper.nodes.services.llm.breaker import Breaker, BreakerRules
from innkeeper.nodes.services.llm.call_gate import CallEnd, CallOrigin, CallStart
from innkeeper.nodes.services.llm.driver import ProtocolAdapter
from innkeeper.nodes.services.llm.model_calls import ModelCalls, ModelServices
from innkeeper.nodes.services.llm.openai_chat import OpenAIChat
from innkeeper.nodes.testing import MemoryChannels, MemorySecrets
from tests.nodes.services.llm.wire_server import WireServer

Script = Sequence[Chunk | BaseException]
TEXT = Chunk("text_chunk", "Hi")
USAGE = Chunk("usage_chunk", {"total_tokens": 3})
FINISH = Chunk("finish_reason_chunk", {"finish_reason": "stop", "accumulated_text": "Hi", "usage": None})
GOOD = (TEXT, FINISH)
DOWN = ProviderError("no connection", code="connection_error", retryable=True, details={"kind": "refused"})
SLOW = ProviderError("too slow", code="timeout_error", retryable=True)
WRONG = ProviderError("wrong request", code="invalid_request_error")
NO_KEY = ProviderError("wrong key", code="authentication_error")


def fresh(error: InnkeeperError) -> InnkeeperError:
    """An error of its own for each request: what was tried is written into it."""
    return ProviderError(error.message, code=error.code, retryable=error.retryable, details=error.details)


class Model:
    """Answers each channel as its script says; the last script of a channel repeats. `asked` are the channels."""

    def __init__(self, **scripts: Sequence[Script]) -> None:
        self._scripts = scripts
        self.asked: list[str] = []
        self.requests: list[ChatRequest] = []

    def _next(self, request: ChatRequest) -> Script:
        scripts = self._scripts[request.channel_id]
        number = self.asked.count(request.channel_id)
        self.asked.append(request.channel_id)
        self.requests.append(request)
        return scripts[min(number, len(scripts) - 1)]

    async def chat(self, request: ChatRequest) -> ChatResponse:
        for step in self._next(request):
            if isinstance(step, ProviderError):
                raise fresh(step)
            if isinstance(step, BaseException):
                raise step
        return ChatResponse("Hi", request.model, finish_reason="stop")

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        for step in self._next(request):
            if isinstance(step, ProviderError):
                raise fresh(step)
            if isinstance(step, BaseException):
                raise step
            yield step


class Gate:
    """Lets pass, but for channels that are full; remembers what it was told."""

    def __init__(self, **full: InnkeeperError) -> None:
        self._full = full
        self.begun: list[CallStart] = []
        self.ended: list[CallEnd] = []

    async def begin(self, start: CallStart) -> None:
        await asyncio.sleep(0)
        if start.channel in self._full:
            raise self._full[start.channel]
        self.begun.append(start)

    def end(self, end: CallEnd) -> None:
        self.ended.append(end)


class House:
    """A worker with some channels."""

    def __init__(self, model: Model, channels: str = "abc", gate: Gate | None = None) -> None:
        self.now = 0.0
        self.gate = gate or Gate()
        rules = BreakerRules(failures=3, cool_down_s=10)
        routes = [Route(name, f"m-{name}", f"https://{name}/v1") for name in channels]
        breaker = Breaker(rules, lambda: self.now)
        self._shared = ModelServices(model, MemoryChannels(*routes), self.gate, b"salt", breaker)

    def calls(self, media: Any = None) -> ModelCalls:
        return ModelCalls(self._shared, MemorySecrets(), CallOrigin("run", "n"), media)

    async def chat(self, media: Any = None) -> ChatResponse:
        return await self.calls(media).chat(wish())

    async def stream(self) -> list[Chunk]:
        return [chunk async for chunk in self.calls().stream(wish())]


def wish() -> ChatRequest:
    return ChatRequest(wish=ModelWish("m"), messages=[{"role": "user", "content": "x"}], times=ChatTimes())


def codes(tried: Sequence[Any]) -> list[tuple[str, str]]:
    return [(entry["channel"], entry["code"]) for entry in tried]


@pytest.mark.parametrize("error", [DOWN, NO_KEY, SLOW, NodeMustWait("full", delay_s=3)], ids=lambda error: error.code)
async def test_the_next_channel_answers_whole_or_as_a_stream(error: InnkeeperError) -> None:
    model = Model(a=[[error]], b=[GOOD])
    response = await House(model).chat()
    assert (response.text, response.model, response.channel_id) == ("Hi", "m-b", "b")
    assert codes(response.tried) == [("a", error.code)]
    *text, end = await House(model).stream()
    assert text == [TEXT]
    assert end.content == {**FINISH.content, "channel_id": "b", "tried": list(response.tried)}
    assert model.asked == ["a", "b", "a", "b"]
    assert [request.base_url for request in model.requests[:2]] == ["https://a/v1", "https://b/v1"]


async def test_an_answer_at_the_first_try_tells_its_channel_and_nothing_more() -> None:
    house = House(Model(a=[GOOD]))
    assert (await house.chat()).tried == ()
    assert (await house.stream())[-1].content == {**FINISH.content, "channel_id": "a"}


async def test_a_wrong_request_is_asked_once() -> None:
    model = Model(a=[[WRONG]])
    for call in (House(model).chat, House(model).stream):
        with pytest.raises(ProviderError, match="wrong request") as caught:
            await call()
        assert codes(caught.value.details["tried"]) == [("a", "invalid_request_error")]
    assert model.asked == ["a", "a"]


@pytest.mark.parametrize("seen", [TEXT, Chunk("reasoning_chunk", "Hm"), Chunk("tool_call_chunk", {"index": 0})])
async def test_a_stream_that_was_seen_is_not_gone_on_with_by_another(seen: Chunk) -> None:
    model = Model(a=[[seen, DOWN]], b=[GOOD])
    stream = House(model).calls().stream(wish())
    assert await anext(stream) == seen
    with pytest.raises(ProviderError, match="no connection"):
        await anext(stream)
    assert model.asked == ["a"]


async def test_of_many_counts_before_the_text_the_last_ones_are_kept() -> None:
    counts = [Chunk("usage_chunk", {"total_tokens": number}) for number in range(1_000)]
    chunks = await House(Model(a=[[*counts, *GOOD]])).stream()
    assert [chunk.type for chunk in chunks] == ["usage_chunk", "text_chunk", "finish_reason_chunk"]
    assert chunks[0].content == {"total_tokens": 999}


class ToolModel(Model):
    """Thinks and calls a tool, and counts no tokens."""

    async def chat(self, request: ChatRequest) -> ChatResponse:
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{" + " " * 98 + "}"}}
        return ChatResponse("Hi", "m", reasoning="Hmm", tool_calls=(call, {"id": "odd"}))


async def test_thoughts_and_calls_of_tools_count_where_the_provider_counts_nothing() -> None:
    pieces = [Chunk("tool_call_chunk", {"index": 0, "arguments": " " * 50})] * 2
    odd: list[Chunk] = [Chunk("tool_call_chunk", "odd"), Chunk("tool_call_chunk", {"index": 1})]
    house = House(ToolModel(a=[[Chunk("reasoning_chunk", "Hmm"), *pieces, *odd, *GOOD]]))
    await house.chat()
    await house.stream()
    assert [end.output_chars for end in house.gate.ended] == [105, 105]


async def test_counts_before_the_text_are_no_answer_and_come_with_it() -> None:
    model = Model(a=[[USAGE, DOWN]], b=[[USAGE, TEXT, USAGE, FINISH]])
    chunks = await House(model).stream()
    assert [chunk.type for chunk in chunks] == ["usage_chunk", "text_chunk", "usage_chunk", "finish_reason_chunk"]


async def test_a_whole_answer_that_broke_off_was_seen_by_nobody() -> None:
    assert (await House(Model(a=[[TEXT, DOWN]], b=[GOOD])).chat()).channel_id == "b"


async def test_at_most_one_more_is_asked_after_a_request_that_may_have_been_paid() -> None:
    model = Model(a=[[SLOW]], b=[[SLOW]], c=[GOOD])
    with pytest.raises(ProviderError) as caught:
        await House(model).chat()
    assert model.asked == ["a", "b"]
    assert codes(caught.value.details["tried"]) == [("a", "timeout_error"), ("b", "timeout_error")]


async def test_a_call_asks_five_channels_at_most() -> None:
    names = "abcdefgh"
    model = Model(**{name: [[DOWN]] for name in names})
    with pytest.raises(ProviderError):
        await House(model, names).chat()
    assert model.asked == list("abcde")


async def test_a_full_channel_gives_way_to_the_next_and_all_full_is_the_shortest_wait() -> None:
    full = {name: NodeMustWait(f"{name} is full", delay_s=delay) for name, delay in (("a", 9), ("b", 4))}
    house = House(Model(c=[GOOD]), "abc", Gate(**full))
    assert (await house.chat()).channel_id == "c"
    assert [start.channel for start in house.gate.begun] == ["c"]
    for call in (House(Model(), "ab", Gate(**full)).chat, House(Model(), "ab", Gate(**full)).stream):
        with pytest.raises(NodeMustWait, match="b is full") as caught:
            await call()
        assert caught.value.delay_s == 4
        assert codes(caught.value.details["tried"]) == [("a", "waiting"), ("b", "waiting")]


async def test_a_budget_that_is_used_up_ends_the_call() -> None:
    reached = BudgetReached("enough", details={"scope": "run"})
    with pytest.raises(BudgetReached) as caught:
        await House(Model(b=[GOOD]), "ab", Gate(a=reached)).chat()
    assert caught.value.details["scope"] == "run"


async def test_the_gate_hears_of_every_request_under_a_name_of_its_own() -> None:
    house = House(Model(a=[[DOWN]], b=[GOOD]))
    await house.chat()
    assert [start.channel for start in house.gate.begun] == ["a", "b"]
    assert [end.outcome for end in house.gate.ended] == ["failed", "ok"]
    assert [end.id for end in house.gate.ended] == [start.id for start in house.gate.begun]
    assert len({start.id for start in house.gate.begun}) == 2


RATE = "X-RateLimit-Remaining-Requests: 0"
USED = 'data: {"choices": [{"index": 0, "delta": {"content": "a"}}], "usage": {"prompt_tokens": 5}}\n\n'


@pytest.mark.parametrize(
    ("answer", "outcome", "code", "usage"),
    [
        (f"HTTP/1.1 429 X\r\n{RATE}\r\nContent-Length: 0\r\n\r\n", "failed", "rate_limit_error", None),
        (f"HTTP/1.1 200 X\r\n{RATE}\r\n\r\n{USED}", "cut", "connection_error", {"prompt_tokens": 5}),
        (f"HTTP/1.1 200 X\r\n{RATE}\r\n\r\n{USED}data: [DONE]\n\n", "ok", "", {"prompt_tokens": 5}),
        ("", "not_sent", "connection_error", None),
    ],
)
async def test_the_gate_hears_what_a_call_told_and_took_also_when_it_failed(
    answer: str, outcome: str, code: str, usage: Any
) -> None:
    gate = Gate()
    llm = ProtocolAdapter(OpenAIChat(), AddressPolicy(allow_loopback=True))
    shared = ModelServices(llm, MemoryChannels(), gate, b"salt")
    async with WireServer({"it": {"stream": {"responses": [[{"send": answer}]]}}}) as server:
        url = server.base_url("it") if answer else "http://127.0.0.1:1/v1"
        with suppress(ProviderError):
            async for _ in ModelCalls(shared, MemorySecrets(), CallOrigin()).stream(ChatRequest(url, "m")):
                pass
    await llm.aclose()
    (end,) = gate.ended
    assert (end.outcome, end.code, end.usage) == (outcome, code, usage)
    assert end.headers == ({"x-ratelimit-remaining-requests": "0"} if answer else {})


@pytest.mark.parametrize("key", [None, "sk-\u00e4", "sk-a\nb"])
async def test_a_key_of_one_channel_that_is_of_no_use_leaves_the_call_to_the_next(key: str | None) -> None:
    class Keys(MemorySecrets):
        async def reveal(self, ref: SecretRef | None, host: str | None = None) -> str:
            if host == "b:443":
                return " sk-b\n"
            if key is None:
                raise ResourceError("it is not set", code="secret_not_found")
            return key

    routes = [Route(name, "m", f"https://{name}/v1", api_key=SecretRef(name)) for name in "ab"]
    model = Model(b=[GOOD])
    shared = ModelServices(model, MemoryChannels(*routes), Gate(), b"salt")
    response = await ModelCalls(shared, Keys(), CallOrigin()).chat(wish())
    assert (response.channel_id, model.requests[0].api_key) == ("b", "sk-b")
    ((channel, code),) = codes(response.tried)
    assert (channel, code.startswith("secret_")) == ("a", True)
    assert "sk-" not in str(response.tried)


class SlowMedia:
    """Takes a turn of the loop for each request; with an error, media cannot be had."""

    def __init__(self, error: InnkeeperError | None = None) -> None:
        self._error = error

    async def loaded(self, request: ChatRequest, taken: Sequence[str]) -> ChatRequest:
        await asyncio.sleep(0)
        if self._error:
            raise self._error
        return request


@pytest.mark.parametrize("error", [RequestRefused("private"), ProviderError("slow", code="timeout_error")])
async def test_media_that_cannot_be_had_are_no_fault_of_a_channel(error: InnkeeperError) -> None:
    model = Model(a=[GOOD], b=[GOOD])
    house = House(model)
    with pytest.raises(type(error)):
        await house.calls(media=SlowMedia(error)).chat(wish())
    with pytest.raises(type(error)):
        await anext(house.calls(media=SlowMedia(error)).stream(wish()))
    assert model.asked == []


# --- the breaker ----------------------------------------------------------------------------------------------------


async def test_a_channel_that_keeps_failing_is_not_asked_until_a_probe_finds_it_back() -> None:
    model = Model(a=[[DOWN], [DOWN], [DOWN], [DOWN], GOOD], b=[GOOD])
    house = House(model)
    for _ in range(3):
        assert (await house.chat()).channel_id == "b"
    response = await house.chat()
    assert model.asked.count("a") == 3
    assert codes(response.tried) == [("a", "circuit_open")]
    house.now += 10
    assert codes((await house.chat()).tried) == [("a", "connection_error")]
    house.now += 19
    assert codes((await house.chat()).tried) == [("a", "circuit_open")]
    house.now += 1
    assert (await house.chat()).channel_id == "a"
    assert (await house.chat()).channel_id == "a"


async def test_the_only_channel_is_waited_for() -> None:
    model = Model(a=[[DOWN], [DOWN], [DOWN], GOOD])
    house = House(model, "a")
    for _ in range(3):
        with pytest.raises(ProviderError, match="no connection"):
            await house.chat()
    with pytest.raises(NodeMustWait, match="asked again in 10 s") as caught:
        await house.stream()
    assert caught.value.delay_s == 10
    assert len(model.asked) == 3
    house.now += 10
    assert (await house.chat()).text == "Hi"


async def test_of_many_that_come_together_one_probes_and_the_others_wait() -> None:
    model = Model(a=[[DOWN], [DOWN], [DOWN], GOOD])
    house = House(model, "a")
    for _ in range(3):
        with pytest.raises(ProviderError):
            await house.chat()
    house.now += 10
    results = await asyncio.gather(*(house.chat() for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(result, ChatResponse) for result in results) == 1
    assert sum(isinstance(result, NodeMustWait) for result in results) == 19


async def test_media_on_the_way_make_no_second_probe() -> None:
    house = House(Model(a=[[DOWN], [DOWN], [DOWN], GOOD]), "a")
    for _ in range(3):
        with pytest.raises(ProviderError):
            await house.chat()
    house.now += 10
    results = await asyncio.gather(*(house.chat(SlowMedia()) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(result, ChatResponse) for result in results) == 1


@pytest.mark.parametrize("place", ["gate", "model"])
async def test_a_cancelled_probe_is_no_verdict_and_the_next_may_try(place: str) -> None:
    stuck, gate, model = asyncio.Event(), Gate(), Model(a=[[DOWN], [DOWN], [DOWN], GOOD])
    house = House(model, "a", gate)
    for _ in range(3):
        with pytest.raises(ProviderError):
            await house.chat()
    house.now += 10

    async def hang(*_: object) -> Any:
        await stuck.wait()

    part, name = (gate, "begin") if place == "gate" else (model, "chat")
    original = getattr(part, name)
    setattr(part, name, hang)
    task = asyncio.create_task(house.chat())
    await asyncio.sleep(0.01)
    with pytest.raises(NodeMustWait):
        await house.chat()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    setattr(part, name, original)
    assert (await house.chat()).text == "Hi"


async def test_a_reader_that_leaves_closes_the_request_and_does_not_blame_the_channel() -> None:
    house = House(Model(a=[[TEXT] * 5]), "a")
    for _ in range(5):
        stream = house.calls().stream(wish())
        assert (await anext(stream)) == TEXT
        await stream.aclose()  # type: ignore[attr-defined] - it is a generator
    assert [(end.outcome, end.output_chars) for end in house.gate.ended] == [("cut", 2)] * 5
    assert (await anext(house.calls().stream(wish()))) == TEXT


async def test_one_model_that_fails_leaves_the_others_of_its_channel_alone() -> None:
    overloaded = ProviderError("busy", code="overloaded_error", retryable=True)
    asked: dict[str, int] = defaultdict(int)

    class ByModel(Model):
        async def chat(self, request: ChatRequest) -> ChatResponse:
            asked[request.model] += 1
            if request.model == "bad":
                raise fresh(overloaded)
            return ChatResponse("Hi", request.model)

    channels = MemoryChannels(Route("a", "bad", "https://a/v1"), Route("a", "good", "https://a/v1"))
    calls = ModelCalls(ModelServices(ByModel(), channels, Gate(), b"salt"), MemorySecrets(), CallOrigin())
    for _ in range(8):
        assert (await calls.chat(wish())).model == "good"
    assert asked == {"bad": BreakerRules().failures, "good": 8}


async def test_an_address_in_the_graph_has_no_other_and_no_breaker() -> None:
    model = Model(**{"": [[DOWN]]})
    calls = House(model).calls()
    request = ChatRequest("https://own/v1", "m", [{"role": "user", "content": "x"}])
    for _ in range(8):
        with pytest.raises(ProviderError) as caught:
            await calls.chat(request)
        assert "tried" not in caught.value.details
    assert len(model.asked) == 8
