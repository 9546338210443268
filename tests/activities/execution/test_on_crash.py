"""A node whose earlier attempt broke off in an answer of a model, beside a gateway that says what the log holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from innkeeper.activities.link.gateway_link import GatewayLink
from innkeeper.activities.services import RunSecrets
from innkeeper.nodes.definition import Input
from innkeeper.nodes.errors import NodeMustWait, ProviderError
from innkeeper.nodes.node import ChannelTraits, ChatRequest, ChatResponse, Chunk, NodeContext, Outputs, Services
from innkeeper.nodes.services.llm.call_gate import CallEnd, CallOrigin, CallStart
from innkeeper.nodes.services.llm.model_calls import ModelCalls, ModelServices, call_id
from tests.activities.execution.test_execute_node import attempt_of, call
from tests.activities.fake_gateway import FakeGateway, until
from tests.activities.toy_stack import Stack, Toys

KEPT = {"text": "Once upon", "kinds": ["text_chunk"], "legs": [[1, 9]]}
ON_CRASH = Input("STRING", config={"default": "restart"})
ASKED = ChatRequest("http://model", "m", [{"role": "user", "content": "Tell"}])


@dataclass
class Model:
    """An `Llm` and a gate: says `answer` word by word, and remembers what it was asked and what it was told."""

    answer: list[str] = field(default_factory=lambda: [" a", " time"])
    asked: list[ChatRequest] = field(default_factory=list)
    ends: list[CallEnd] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    error: Exception | None = None

    async def chat(self, request: ChatRequest) -> ChatResponse:
        raise NotImplementedError

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        self.asked.append(request)
        for word in self.answer:
            yield Chunk("text_chunk", word)
            await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        end = {"finish_reason": "stop", "accumulated_text": "".join(self.answer), "usage": None}
        yield Chunk("finish_reason_chunk", end)

    async def begin(self, start: CallStart) -> None:
        if self.waits:
            raise NodeMustWait("no room", delay_s=self.waits.pop())

    def end(self, end: CallEnd) -> None:
        self.ends.append(end)


async def ask(inputs: dict[str, Any], context: NodeContext) -> AsyncIterator[Any]:
    parts: list[str] = []
    end: dict[str, Any] = {}
    request = replace(ASKED, traits=ChannelTraits(prefix=inputs.get("prefix", "trailing")))
    async for chunk in context.services.llm.stream(request):
        if chunk.type == "text_chunk":
            parts.append(chunk.content.upper() if inputs.get("loud") else chunk.content)
            yield Chunk("text_chunk", parts[-1])
        else:
            end = chunk.content
            yield Chunk("finish_reason_chunk", end["finish_reason"])
    yield Outputs({"out": ["".join(parts), end["accumulated_text"], end["finish_reason"]]})


@pytest.fixture
def model(stack: Stack, toys: Toys, monkeypatch: pytest.MonkeyPatch) -> Model:
    model, others = Model(), stack.services_for

    def services_for(origin: CallOrigin) -> tuple[Services, RunSecrets]:
        services, secrets = others(origin)
        shared: Any = ModelServices(model, None, model, b"salt")  # type: ignore[arg-type]  # no wish, no channels
        return replace(services, llm=ModelCalls(shared, secrets, origin)), secrets

    monkeypatch.setattr(stack, "services_for", services_for)
    for name in ("ask", "plain"):
        toys.add(name, ask, {"prefix": Input("STRING"), "loud": Input("BOOLEAN")})
    asking = toys.definitions["toy:ask"]
    toys.definitions["toy:ask"] = replace(asking, config_schema={"on_crash": ON_CRASH})
    return model


def log_says(gateway: FakeGateway, next: int = 2, **kept: Any) -> None:
    """The log holds this of an earlier attempt; only who asks to keep it is told."""

    def answer(message: dict[str, Any]) -> dict[str, Any]:
        found = {"s": "ok", "next": next, "kept": {**KEPT, **kept}}
        return found if message.get("keep") else {"s": "ok", "next": 0}

    gateway.answer = answer


def asking(on_crash: str, type: str = "ask", **fields: Any) -> dict[str, Any]:
    config = {"on_crash": on_crash} if on_crash else {}
    return call(type, config=config, streams=["live"], **fields)


def chunks(gateway: FakeGateway) -> list[tuple[list[int], int, Any]]:
    return [(message["epoch"], message["i"], message["chunk"]["content"]) for message in gateway.sent("chunk")]


def opens(gateway: FakeGateway) -> list[tuple[list[int], bool]]:
    return [(message["epoch"], message.get("keep", False)) for message in gateway.sent("open")]


async def test_a_first_attempt_keeps_nothing(
    stack: Stack, gateway: FakeGateway, link: GatewayLink, model: Model
) -> None:
    result = await attempt_of(stack, 1).run(stack.execute(link).execute_node, asking("continue"))
    assert opens(gateway) == [([1, 0], False)]
    assert result["outputs"]["out"] == [" a time", " a time", "stop"]


async def test_continue_sends_only_what_is_new_and_gives_all_of_it(
    stack: Stack, gateway: FakeGateway, link: GatewayLink, model: Model
) -> None:
    log_says(gateway)
    result = await attempt_of(stack, 2).run(stack.execute(link).execute_node, asking("continue"))
    assert opens(gateway) == [([2, 0], True)]
    assert chunks(gateway) == [([2, 0], 2, " a"), ([2, 0], 3, " time"), ([2, 0], 4, "stop")]
    whole = "Once upon a time"
    assert result["outputs"] == {"out": [whole, whole, "stop"], "live": {"text": whole, "chunks": 5}}
    assert gateway.sent("complete")[0]["end"] is False
    assert [(asked.prefix, asked.messages) for asked in model.asked] == [("Once upon", ASKED.messages)]
    # The request of the attempt that died is settled with what came, beside this one.
    origin = CallOrigin("r", "n")
    settled = {end.id: (end.outcome, end.output_chars) for end in model.ends}
    assert settled == {call_id(origin, 1, 1): ("cut", 9), call_id(origin, 2, 1): ("ok", 7)}


async def test_accept_sends_the_end_and_asks_nobody(
    stack: Stack, gateway: FakeGateway, link: GatewayLink, model: Model
) -> None:
    log_says(gateway)
    result = await attempt_of(stack, 2).run(stack.execute(link).execute_node, asking("accept"))
    assert chunks(gateway) == [([2, 0], 2, "interrupted")]
    assert result["outputs"]["out"] == ["Once upon", "Once upon", "interrupted"]
    assert model.asked == []


@pytest.mark.parametrize("on_crash", ["continue", "accept"])
async def test_an_answer_that_was_whole_is_not_sent_or_asked_for_again(
    stack: Stack, gateway: FakeGateway, link: GatewayLink, model: Model, on_crash: str
) -> None:
    log_says(gateway, 3, finish="length", kinds=["text_chunk", "finish_reason_chunk"])
    result = await attempt_of(stack, 2).run(stack.execute(link).execute_node, asking(on_crash))
    assert (chunks(gateway), model.asked) == ([], [])
    live = {"text": "Once upon", "chunks": 3}
    assert result["outputs"] == {"out": ["Once upon", "Once upon", "length"], "live": live}
    assert gateway.sent("complete")[0]["end"] is False


@pytest.mark.parametrize(
    ("fields", "kept", "why"),
    [
        ({"inputs": {"prefix": "none"}}, {}, "its endpoint takes no beginning of an answer (`prefix`)"),
        ({"inputs": {"loud": True}}, {}, "the node gives another text"),
        ({}, {"kinds": ["text_chunk", "tool_call_chunk"]}, "it had called tools"),
        ({}, {"kinds": ["hole", "text_chunk"]}, "some of its chunks were dropped"),
        ({}, {"text": "", "kinds": ["usage_chunk"]}, "no text had come"),
    ],
)
async def test_who_cannot_go_on_begins_anew_once_and_says_why(
    stack: Stack,
    gateway: FakeGateway,
    link: GatewayLink,
    model: Model,
    fields: dict[str, Any],
    kept: dict[str, Any],
    why: str,
) -> None:
    log_says(gateway, **kept)
    result = await attempt_of(stack, 2).run(stack.execute(link).execute_node, asking("continue", **fields))
    assert opens(gateway) == [([2, 0], True), ([2, 1], False)]
    text = " A TIME" if fields.get("inputs", {}).get("loud") else " a time"
    assert [epoch for epoch, _, _ in chunks(gateway)] == [[2, 1]] * 3
    assert result["outputs"]["live"] == {"text": text, "chunks": 3}
    warning = {"code": "salvage_restarted", "message": f"the answer that broke off is asked for anew: {why}"}
    assert result["warnings"] == [warning]
    assert [{key: told[key] for key in warning} for told in gateway.sent("warning")] == [warning]
    # Only of a node that changes the text it is noticed behind the request for the rest.
    assert [asked.prefix for asked in model.asked] == (["Once upon", ""] if text == " A TIME" else [""])


@pytest.mark.parametrize(
    ("on_crash", "type", "fields"),
    [
        ("restart", "ask", {}),
        ("", "ask", {}),
        ("contine", "ask", {}),
        ("continue", "plain", {}),  # its type has no such setting: it may ask several models
        ("continue", "ask", {"collect_chunks": True}),
    ],
)
async def test_every_other_node_begins_anew_as_ever(
    stack: Stack, gateway: FakeGateway, link: GatewayLink, model: Model, on_crash: str, type: str, fields: Any
) -> None:
    log_says(gateway)
    result = await attempt_of(stack, 2).run(stack.execute(link).execute_node, asking(on_crash, type, **fields))
    assert [message.keys() & {"keep", "resume"} for message in gateway.sent("open")] == [set()]
    assert result["outputs"]["live"]["text"] == " a time"
    assert "warnings" not in result


async def test_a_gateway_that_does_not_know_keep_is_understood(
    stack: Stack, gateway: FakeGateway, link: GatewayLink, model: Model
) -> None:
    result = await attempt_of(stack, 2).run(stack.execute(link).execute_node, asking("continue"))
    assert opens(gateway) == [([2, 0], True)]
    assert result["outputs"]["live"] == {"text": " a time", "chunks": 3}
    assert "warnings" not in result


async def test_without_an_answer_the_stream_begins_anew_in_a_generation_of_its_own(
    stack: Stack, gateway: FakeGateway, link: GatewayLink, model: Model
) -> None:
    """The gateway may still take the first open, and keep chunks that this attempt knows nothing of."""
    gateway.answer = lambda message: None
    result = await attempt_of(stack, 2).run(stack.execute(link).execute_node, asking("continue"))
    assert opens(gateway) == [([2, 0], True), ([2, 1], False)]
    assert {tuple(epoch) for epoch, _, _ in chunks(gateway)} == {(2, 1)}
    assert result["outputs"]["live"]["text"] == " a time"


async def test_what_needs_no_request_is_given_though_no_attempt_is_left(
    stack: Stack, gateway: FakeGateway, link: GatewayLink, model: Model
) -> None:
    log_says(gateway)
    execute = stack.execute(link).execute_node
    result = await attempt_of(stack, 2).run(execute, asking("accept", max_failures=1))
    assert result["outputs"]["out"] == ["Once upon", "Once upon", "interrupted"]
    for on_crash, kept in (("continue", {}), ("accept", {"text": "", "kinds": ["usage_chunk"]})):
        log_says(gateway, **kept)
        with pytest.raises(ApplicationError, match="not tried again"):
            await attempt_of(stack, 2).run(execute, asking(on_crash, max_failures=1))
    assert model.asked == []


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("connection_error", {"max_failures": 1}),
        ("timeout_error", {"max_timeouts": 1}),
        ("connection_error", {"non_retryable": ["connection_error"]}),
    ],
)
async def test_an_answer_that_breaks_off_in_the_last_attempt_is_accepted(
    stack: Stack, gateway: FakeGateway, link: GatewayLink, model: Model, code: str, fields: dict[str, Any]
) -> None:
    model.error = ProviderError("m closed the connection", code=code, retryable=True)
    execute = stack.execute(link).execute_node
    result = await attempt_of(stack, 1).run(execute, asking("accept", **fields))
    assert [content for _, _, content in chunks(gateway)] == [" a", " time", "interrupted"]
    assert result["outputs"]["out"] == [" a time", " a time", "interrupted"]
    told = "the answer broke off and is taken as it is: m closed the connection"
    assert result["warnings"] == [{"code": "answer_broke_off", "message": told}]
    assert [(end.outcome, end.output_chars) for end in model.ends] == [("cut", 7)]


@pytest.mark.parametrize(
    ("on_crash", "max_failures", "answer", "error"),
    [
        ("continue", 1, ["a"], ProviderError("no", retryable=True)),
        ("accept", 2, ["a"], ProviderError("no", retryable=True)),  # the next attempt takes it
        ("accept", 1, [], ProviderError("no", retryable=True)),
        ("accept", 1, ["a"], ProviderError("no", retryable=False)),
    ],
)
async def test_any_other_error_is_the_nodes(
    stack: Stack, link: GatewayLink, model: Model, on_crash: str, max_failures: int, answer: list[str], error: Exception
) -> None:
    model.answer, model.error = answer, error
    with pytest.raises(ApplicationError, match="no"):
        await attempt_of(stack, 1).run(stack.execute(link).execute_node, asking(on_crash, max_failures=max_failures))


async def test_a_wait_before_the_rest_leaves_the_stream_as_it_is(
    stack: Stack, gateway: FakeGateway, link: GatewayLink, model: Model
) -> None:
    model.waits = [2.0]
    log_says(gateway)
    execute = stack.execute(link).execute_node
    with pytest.raises(ApplicationError) as waits:
        await attempt_of(stack, 2).run(execute, asking("continue"))
    assert waits.value.type == "waiting"
    assert (chunks(gateway), model.asked) == ([], [])
    result = await attempt_of(stack, 3, [{"waits": 1, "failures": 0}]).run(execute, asking("continue"))
    assert opens(gateway) == [([2, 0], True), ([3, 0], True)]
    assert result["outputs"]["live"]["text"] == "Once upon a time"


async def test_an_error_of_the_node_is_told_behind_the_text_that_stays(
    stack: Stack, gateway: FakeGateway, link: GatewayLink, model: Model, toys: Toys
) -> None:
    async def refuse(inputs: dict[str, Any], context: NodeContext) -> AsyncIterator[Any]:
        yield Chunk("error_chunk", "no key")
        raise ProviderError("no key")

    toys.add("refuse", refuse)
    toys.definitions["toy:refuse"] = replace(toys.definitions["toy:refuse"], config_schema={"on_crash": ON_CRASH})
    log_says(gateway)
    with pytest.raises(ApplicationError, match="no key"):
        await attempt_of(stack, 2).run(stack.execute(link).execute_node, asking("continue", "refuse"))
    await until(lambda: bool(gateway.sent("chunk")))
    assert chunks(gateway) == [([2, 0], 2, "no key")]
