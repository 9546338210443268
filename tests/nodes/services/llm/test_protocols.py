"""What all protocols have in common: the same answers, whatever their form, and the same words for requests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.node import ChannelTraits, ChatRequest, ChatResponse
from innkeeper.nodes.services.llm.answer_parts import collected
from innkeeper.nodes.services.llm.anthropic import AnthropicMessages
from innkeeper.nodes.services.llm.gemini import GeminiContent
from innkeeper.nodes.services.llm.ollama import OllamaChat
from innkeeper.nodes.services.llm.openai_responses import OpenAIResponses
from innkeeper.nodes.services.llm.sse import event_reader
from innkeeper.nodes.services.llm.wire import Done, Fault, Piece, WireProtocol
from tests.nodes.services.llm.provider_answers import ANSWERS, MEANINGS, SCENARIOS, Meaning

PROTOCOLS: dict[str, WireProtocol] = {
    protocol.name: protocol for protocol in (AnthropicMessages(), OpenAIResponses(), GeminiContent(), OllamaChat())
}
KEY = "sk-canary-1234567890"
NAMES = tuple(PROTOCOLS)


def asked(**fields: Any) -> ChatRequest:
    usual = {"messages": [{"role": "user", "content": "Hi"}], "base_url": "https://host.example", "model": "m"}
    return ChatRequest(**{**usual, **fields})


def pieces_of(name: str, stream: str) -> Iterator[Piece]:
    protocol = PROTOCOLS[name]
    events, reader = event_reader(protocol.framing), protocol.reader(asked())
    for event in (*events.feed(stream.encode()), *events.end()):
        yield from reader.event(event.name, event.data)


def meaning_of(response: ChatResponse | Fault) -> Meaning:
    assert isinstance(response, ChatResponse)
    assert response.usage is not None
    assert response.finish_reason is not None
    return Meaning(
        response.text,
        response.finish_reason,
        response.usage["prompt_tokens"],
        response.usage["completion_tokens"],
        response.reasoning,
        tuple((call["function"]["name"], json.loads(call["function"]["arguments"])) for call in response.tool_calls),
        response.usage.get("prompt_tokens_details", {}).get("cached_tokens", 0),
        response.usage.get("completion_tokens_details", {}).get("reasoning_tokens", 0),
    )


def expected(name: str, scenario: str) -> Meaning:
    meant = MEANINGS[scenario]
    if name == "openai-responses" and scenario == "thinking":
        return replace(meant, reasoning="Six times\n\nseven.")
    return replace(meant, cached=0, thought_tokens=0) if name == "ollama" else meant


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_stream_and_a_whole_answer_mean_the_same(name: str, scenario: str) -> None:
    recorded = ANSWERS[name][scenario]
    streamed = collected(pieces_of(name, recorded.stream), raw={}, asked_model="m")
    whole = PROTOCOLS[name].reader(asked()).whole(recorded.whole)
    assert meaning_of(streamed) == meaning_of(whole) == expected(name, scenario)
    assert isinstance(streamed, ChatResponse)
    assert isinstance(whole, ChatResponse)
    assert streamed.model == whole.model != "m"
    assert streamed.response_id == whole.response_id
    assert all(call["id"] for call in (*streamed.tool_calls, *whole.tool_calls))
    assert whole.raw_response == recorded.whole


@pytest.mark.parametrize("name", ["anthropic", "openai-responses", "ollama"])
def test_the_end_is_told(name: str) -> None:
    assert list(pieces_of(name, ANSWERS[name]["text"].stream))[-1] == Done()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("data", ["[]", "7", "no json", "<html>", "[" * 5_000, '{"a":' * 5_000])
def test_events_of_something_else_are_refused(name: str, data: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        list(PROTOCOLS[name].reader(asked()).event("message", data))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("data", [None, 7, "x", [], {}, {"choices": []}])
def test_answers_of_something_else_are_refused(name: str, data: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        PROTOCOLS[name].reader(asked()).whole(data)


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_of_odd_values_is_read_without_a_fault_of_ours(name: str) -> None:
    """Every value of every event in turn becomes something else: it is passed over or refused, never a TypeError."""
    for recorded in ANSWERS[name].values():
        lines = [line.removeprefix("data: ") for line in recorded.stream.splitlines() if "{" in line]
        for number, line in enumerate(lines):
            for odd in _with_odd_values(json.loads(line)):
                reader = PROTOCOLS[name].reader(asked())
                try:
                    for event in (*lines[:number], json.dumps(odd), *lines[number + 1 :]):
                        list(reader.event("message", event))
                except ValueError:
                    pass


def _with_odd_values(value: Any) -> Iterator[Any]:
    yield from (None, 7, "x", [], {})
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from ({**value, key: odd} for odd in _with_odd_values(inner))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from ([*value[:number], odd, *value[number + 1 :]] for odd in _with_odd_values(inner))


@pytest.mark.parametrize("name", NAMES)
def test_halves_of_a_character_stay_for_the_driver_to_join(name: str) -> None:
    stream = ANSWERS[name]["text"].stream.replace("Gr\\u00fc\\u00df", "Gr\\ud83d").replace(" dich", "\\ude00 dich")
    response = collected(pieces_of(name, stream), raw={}, asked_model="m")
    assert isinstance(response, ChatResponse)
    assert response.text == "Gr😀 dich 😀"


# --- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_key_stands_in_one_header_and_nowhere_else(name: str) -> None:
    sent = PROTOCOLS[name].request(asked(api_key=KEY), stream=True)
    assert sum(KEY in value for value in sent.headers.values()) == 1
    assert KEY not in sent.url
    assert KEY not in json.dumps(sent.body)
    assert KEY not in repr(sent)
    listed = PROTOCOLS[name].models_request("https://host.example", KEY)
    assert sum(KEY in value for value in listed.headers.values()) == 1
    assert KEY not in listed.url
    without = PROTOCOLS[name].request(asked(), stream=True)
    assert not {"authorization", "x-api-key", "x-goog-api-key"} & {header.lower() for header in without.headers}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("messages", [[], [{"role": "assistant", "content": None}]])
def test_nothing_to_answer_is_refused(name: str, messages: Any) -> None:
    with pytest.raises(NodeInputError, match="nothing to answer"):
        PROTOCOLS[name].request(asked(messages=messages), stream=False)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("url", ["ftp://host", "host", "https://u:p@host", "https://host#x", "http://[::1", ""])
def test_addresses_that_are_none_are_refused(name: str, url: str) -> None:
    with pytest.raises(NodeInputError):
        PROTOCOLS[name].request(asked(base_url=url), stream=False)
    with pytest.raises(NodeInputError):
        PROTOCOLS[name].models_request(url, "")


@pytest.mark.parametrize("name", NAMES)
def test_several_answers_are_refused(name: str) -> None:
    with pytest.raises(NodeInputError, match="'n' must be 1"):
        PROTOCOLS[name].request(asked(parameters={"n": 2}), stream=False)
    assert "n" not in json.dumps(PROTOCOLS[name].request(asked(parameters={"n": 1}), stream=False).body).split('"')


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("anthropic", ("max_tokens",)),
        ("openai-responses", ("max_output_tokens",)),
        ("gemini", ("generationConfig", "maxOutputTokens")),
        ("ollama", ("options", "num_predict")),
    ],
)
@pytest.mark.parametrize("given", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
def test_the_longest_answer_has_one_name(name: str, place: tuple[str, ...], given: str) -> None:
    body: Any = PROTOCOLS[name].request(asked(parameters={given: 9}), stream=False).body
    for key in place:
        body = body[key]
    assert body == 9


@pytest.mark.parametrize("name", NAMES)
def test_parameters_that_a_channel_drops_or_states_are_shaped(name: str) -> None:
    traits = ChannelTraits(drop=("temperature",), defaults={"max_tokens": 77})
    text = json.dumps(PROTOCOLS[name].request(asked(parameters={"temperature": 1}, traits=traits), stream=False).body)
    assert "temperature" not in text
    assert "77" in text


@pytest.mark.parametrize("name", NAMES)
def test_new_parameters_of_a_provider_are_passed_on(name: str) -> None:
    body = PROTOCOLS[name].request(asked(parameters={"new_knob": {"a": 1}}), stream=False).body
    assert '"new_knob": {"a": 1}' in json.dumps(body)


@pytest.mark.parametrize("name", ["anthropic", "gemini", "ollama"])
def test_an_answer_goes_on_from_a_trailing_prefix(name: str) -> None:
    traits = ChannelTraits(prefix="trailing")
    sent = PROTOCOLS[name].request(asked(prefix="Once upon", traits=traits), stream=True)
    assert "Once upon" in json.dumps(sent.body)
    for kind in ("none", "partial"):
        sent = PROTOCOLS[name].request(asked(prefix="Once upon", traits=ChannelTraits(prefix=kind)), stream=True)
        assert "Once upon" not in json.dumps(sent.body)


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_sent_where_the_model_keeps_to_it(name: str) -> None:
    schema = {"type": "object", "properties": {"marker_key": {"type": "string"}}}
    for structured in ("none", "json_schema"):
        request = asked(response_schema=schema, traits=ChannelTraits(structured=structured))
        sent = json.dumps(PROTOCOLS[name].request(request, stream=True).body)
        assert ("marker_key" in sent) is (structured == "json_schema")
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert "marker_key" in json.dumps(
        PROTOCOLS[name].request(asked(parameters={"response_format": form}), stream=True).body
    )


@pytest.mark.parametrize("name", NAMES)
def test_names_of_speakers_reach_the_model(name: str) -> None:
    messages = [{"role": "user", "content": "Hi", "name": "Ann"}]
    assert "Ann: Hi" in json.dumps(PROTOCOLS[name].request(asked(messages=messages), stream=True).body)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("anthropic", {"data": [{"id": "m", "type": "model"}, {"x": 1}], "has_more": False}),
        ("openai-responses", {"data": [{"id": "m"}]}),
        ("gemini", {"models": [{"name": "models/m", "displayName": "M"}, 7]}),
        ("ollama", {"models": [{"name": "m", "model": "m"}, {}]}),
    ],
)
def test_models_of_a_server_have_an_id(name: str, data: Any) -> None:
    assert [model["id"] for model in PROTOCOLS[name].models(data)] == ["m"]
    other: Any
    for other in (None, [], {"data": 7, "models": 7}, {"error": "no"}):
        with pytest.raises(ValueError, match="list of models"):
            PROTOCOLS[name].models(other)
