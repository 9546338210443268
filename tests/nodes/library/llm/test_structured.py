"""core:GenericLlmRequest with `responseSchema`: what is asked, what comes out, what is asked again, what fails."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from innkeeper.nodes.errors import NodeError, NodeInputError, NodeMustWait, ProviderError
from innkeeper.nodes.library.llm.generic_llm_request import definition
from innkeeper.nodes.library.llm.structured import MAX_ANSWER_CHARS, added_usage
from innkeeper.nodes.node import ChatRequest, ChatResponse, Chunk, NodeContext, Route
from innkeeper.nodes.services.scripts import ScriptProcesses
from innkeeper.nodes.testing import DirectScripts, MemoryChannels, ToyLlm, collect, collect_async, memory_services

SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}, "required": ["age"]}
MESSAGES = [{"role": "user", "content": "Who?"}]
GOOD = '{"age": 3, "name": "Bo"}'
BAD = '{"name": "Bo"}'
DATA = {"name": "Bo", "age": 3}
Seen = tuple[list[Chunk], dict[str, Any], list[dict[str, str]]]


class Says(ToyLlm):
    """A model that gives these answers, one after the other, each with a finish reason."""

    def __init__(self, *answers: str | Exception, finish_reason: str = "stop") -> None:
        super().__init__(self._next)
        self._answers = list(answers)
        self._finish_reason = finish_reason

    def _next(self, request: ChatRequest) -> str:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def chat(self, request: ChatRequest) -> ChatResponse:
        return replace(await super().chat(request), finish_reason=self._finish_reason)

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        async for chunk in super().stream(request):
            last = chunk.type == "finish_reason_chunk"
            yield Chunk(chunk.type, {**chunk.content, "finish_reason": self._finish_reason}) if last else chunk


def services_of(llm: ToyLlm) -> Any:
    return memory_services(llm=llm, channels=MemoryChannels(Route("c", "m", "http://x/v1")))


def run(llm: ToyLlm, **inputs: Any) -> Seen:
    warnings: list[dict[str, str]] = []
    values = {"messages": MESSAGES, "responseSchema": SCHEMA, **inputs}
    chunks, outputs = collect(definition, values, services=services_of(llm), warnings=warnings)
    return chunks, outputs, warnings


def codes(warnings: list[dict[str, str]]) -> list[str]:
    return [warning["code"] for warning in warnings]


@pytest.mark.parametrize("schema", [SCHEMA, json.dumps(SCHEMA)])
@pytest.mark.parametrize("stream", [False, True])
def test_data_is_the_answer_with_its_keys_in_the_order_of_the_schema(schema: Any, stream: bool) -> None:
    llm = Says(GOOD)
    _, outputs, warnings = run(llm, responseSchema=schema, stream=stream)
    assert list(outputs["data"].items()) == list(DATA.items())
    assert (outputs["responseText"], warnings, len(llm.requests)) == (GOOD, [], 1)


def test_the_model_is_told_the_schema_and_the_channel_too() -> None:
    llm = Says(GOOD, GOOD)
    run(llm)
    run(llm, messages=[{"role": "system", "content": "S"}, *MESSAGES])
    first, second = llm.requests
    assert first.response_schema == SCHEMA
    assert [message["role"] for message in first.messages] == ["system", "user"]
    assert json.dumps(SCHEMA, separators=(",", ":")) in first.messages[0]["content"]
    assert second.messages[0]["content"] == f"S\n\n{first.messages[0]['content']}"


@pytest.mark.parametrize("schema", [None, "", " ", "{}", {}])
def test_without_a_schema_nothing_is_asked_or_checked(schema: Any) -> None:
    llm = Says("prose")
    assert run(llm, responseSchema=schema)[1]["data"] is None
    assert (llm.requests[0].messages, llm.requests[0].response_schema) == (MESSAGES, None)


def test_json_with_mistakes_is_repaired_and_told() -> None:
    llm = Says("{age: 3, name: 'Bo',}")
    _, outputs, warnings = run(llm)
    assert (outputs["data"], codes(warnings), len(llm.requests)) == (DATA, ["json_repaired"], 1)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_does_not_fit_is_sent_back_once_with_what_is_wrong(stream: bool) -> None:
    llm = Says(BAD, GOOD)
    chunks, outputs, warnings = run(llm, stream=stream)
    first, second = llm.requests
    assert second.messages[:-2] == first.messages
    assert second.messages[-2] == {"role": "assistant", "content": BAD}
    assert '"age" is a required property' in second.messages[-1]["content"]
    assert first.idempotency_key != second.idempotency_key
    assert (outputs["data"], outputs["responseText"], outputs["response"]["text"]) == (DATA, GOOD, GOOD)
    assert outputs["usage"]["total_tokens"] == 2 + 4
    assert codes(warnings) == ["structured_output_asked_again"]
    assert "".join(chunk.content for chunk in chunks if chunk.type == "text_chunk") == (BAD if stream else "")
    assert [chunk.type for chunk in chunks[-1:]] == (["finish_reason_chunk"] if stream else [])


def test_an_empty_answer_is_asked_again_without_an_empty_turn() -> None:
    llm = Says("", GOOD)
    assert run(llm)[1]["data"] == DATA
    assert [message["role"] for message in llm.requests[1].messages] == ["system", "user", "user"]


async def seen_before(error: type[Exception], llm: ToyLlm, **inputs: Any) -> tuple[list[str], Exception]:
    assert definition.execute is not None
    running: Any = definition.execute(
        {"messages": MESSAGES, "responseSchema": SCHEMA, **inputs}, NodeContext("run", "node", services_of(llm))
    )
    seen: list[str] = []

    async def drain() -> None:
        async for item in running:
            seen.append(item.type)

    with pytest.raises(error) as caught:
        await drain()
    return seen, caught.value


@pytest.mark.parametrize("stream", [False, True])
async def test_a_second_answer_that_does_not_fit_fails_with_the_text_kept(stream: bool) -> None:
    llm = Says(BAD, "Sorry. " + "x" * 5_000)
    seen, error = await seen_before(NodeError, llm, stream=stream)
    assert isinstance(error, NodeError)
    assert (error.code, error.retryable, len(llm.requests)) == ("invalid_structured_output", False, 2)
    assert error.details["errors"] == ["the answer is no JSON object"]
    assert error.details["text"].startswith("Sorry. x")
    assert (len(error.details["text"]), error.details["chars"]) == (4_000, 5_007)
    assert "Sorry" not in error.message
    # One last word of the stream: the finish reason must not come before the error.
    assert seen == (["text_chunk", "text_chunk", "usage_chunk"] if stream else []) + ["error_chunk"]


def test_an_answer_that_is_cut_is_neither_repaired_nor_asked_again() -> None:
    llm = Says('{"age": 3, "name": "B', finish_reason="length")
    with pytest.raises(NodeError, match="it is cut: raise 'max_tokens'") as caught:
        run(llm)
    assert caught.value.code == "invalid_structured_output"
    assert len(llm.requests) == 1


async def test_a_paid_answer_waits_for_a_process_that_checks_it() -> None:
    class Busy(DirectScripts):
        reads = 0

        async def call(self, function: str, arguments: Any, *, data: bytes = b"", timeout_s: float = 10.0) -> Any:
            self.reads += function.endswith(":read_answer")
            if self.reads in (1, 2):
                raise NodeError("busy", code="scripts_busy")
            return await super().call(function, arguments)

    llm = Says(GOOD)
    services = replace(services_of(llm), scripts=Busy())
    inputs = {"messages": MESSAGES, "responseSchema": SCHEMA}
    _, outputs = await collect_async(definition, inputs, services=services)
    assert (outputs["data"], len(llm.requests)) == (DATA, 1)


@pytest.mark.parametrize("error", [NodeMustWait("later", delay_s=1), ProviderError("no", retryable=True)])
def test_a_repair_that_fails_fails_the_attempt_as_such(error: Exception) -> None:
    with pytest.raises(type(error)):
        run(Says(BAD, error))


def test_an_answer_that_is_too_long_to_check_is_asked_again() -> None:
    llm = Says(json.dumps({"age": 3, "name": "x" * MAX_ANSWER_CHARS}), GOOD)
    assert run(llm)[1]["data"] == DATA
    assert len(llm.requests[1].messages[-2]["content"]) == 32_000


@pytest.mark.parametrize(
    ("schema", "complaint"),
    [
        ("{oops", "'responseSchema' is not valid JSON"),
        ([1], "'responseSchema' must be an object"),
        ({"required": "name"}, "is no JSON Schema"),
        ({"description": "x" * 10_000_000}, "larger than 64 KB"),
        ('{"description": "' + "x" * 10_000_000 + '"}', "larger than 64 KB"),
        ({"type": "array"}, "must describe an object"),
        ({"$ref": "https://example.com/schema.json"}, "leads out of the schema"),
        ({"$id": "http://example.com/a", "properties": {"x": {"$ref": "#/no"}}}, "is no JSON Schema"),
        ("[" * 100_000, "'responseSchema' is n"),
    ],
)
def test_a_schema_that_cannot_be_used_fails_before_any_request(schema: Any, complaint: str) -> None:
    llm = Says(GOOD)
    with pytest.raises(NodeInputError, match=complaint):
        run(llm, responseSchema=schema)
    assert llm.requests == []


def doubling(levels: int) -> dict[str, Any]:
    """A schema that is small and takes 2 ** levels steps."""
    inner = {
        f"d{level}": {"allOf": [{"$ref": f"#/$defs/d{level + 1}"}] * 2, "title": str(level)} for level in range(levels)
    }
    return {"$ref": "#/$defs/d0", "$defs": {**inner, f"d{levels}": {"type": "object", "minProperties": 1}}}


async def longest_stall(work: Callable[[], Any]) -> float:
    """Seconds of work in one go in the event loop, at most. Not by the clock: other processes take their turns."""
    longest = 0.0

    async def ticks() -> None:
        nonlocal longest
        while True:
            began = time.thread_time()
            await asyncio.sleep(0.001)
            longest = max(longest, time.thread_time() - began)

    ticking = asyncio.create_task(ticks())
    await work()
    ticking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await ticking
    return longest


@pytest.fixture
async def scripts() -> AsyncIterator[ScriptProcesses]:
    processes = ScriptProcesses(1)
    yield processes
    await processes.aclose()


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ({"properties": {"a": {"pattern": "^(a+)+$"}}}, '{"a": "' + "a" * 30 + 'b"}'),
        ({"properties": {"a": {"type": "integer"}}}, '{"a":[' + '{"b":"' * 20_000),
        (doubling(40), "{}"),
    ],
)
async def test_hostile_schemas_and_answers_are_bounded_and_never_hold_the_event_loop(
    schema: dict[str, Any], answer: str, scripts: ScriptProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("innkeeper.nodes.library.llm.structured.TIMEOUT_S", 0.5)
    services = replace(services_of(Says(answer, answer)), scripts=scripts)
    assert definition.execute is not None
    inputs = {"messages": MESSAGES, "responseSchema": schema}
    running: Any = definition.execute(inputs, NodeContext("run", "node", services))

    async def work() -> None:
        with pytest.raises(NodeError, match="does not keep to 'responseSchema'") as caught:
            [item async for item in running]
        assert caught.value.details["text"] == answer[:4_000]

    began = time.monotonic()
    assert await longest_stall(work) < 0.05
    assert time.monotonic() - began < 5


def test_counts_of_two_requests_are_unknown_when_one_is() -> None:
    assert added_usage(None, {"total_tokens": 1}) is None
    assert added_usage({"total_tokens": 1}, None) is None
    assert added_usage({"cost": 0.5, "by": "a"}, {"cost": 0.25, "by": "b"}) == {"cost": 0.75, "by": "a"}
