"""Parameters that models refuse: what is left out, what gets another name, what fails."""

from __future__ import annotations

from typing import Any

import pytest

from innkeeper.nodes.errors import InnkeeperError, NodeError, ProviderError
from innkeeper.nodes.library.llm.generic_llm_request import definition
from innkeeper.nodes.library.llm.parameters import Asking, without_refused
from innkeeper.nodes.node import ChannelTraits, ChatRequest, Chunk, Route
from innkeeper.nodes.services.llm.parameters import shaped
from innkeeper.nodes.testing import MemoryChannels, ToyLlm, collect, memory_services

OLD_NAME = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
ONE_OF_TWO = "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
FIXED = "Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1) is supported."


def refusal(message: str = "", param: str | None = None, code: str = "invalid_request_error") -> ProviderError:
    return ProviderError("no", code=code, details={"provider_message": message, "param": param}, retryable=False)


def sent(request: ChatRequest) -> dict[str, Any]:
    return shaped(request.parameters, ChannelTraits(defaults={"top_k": 1}, drop=("top_k",)))


class Picky(ToyLlm):
    """A model that refuses what `rules` name, one after the other, as long as it is there."""

    def __init__(self, *rules: tuple[str, ProviderError]) -> None:
        super().__init__(self._judged)
        self._rules = rules

    def _judged(self, request: ChatRequest) -> str:
        for name, error in self._rules:
            if name in sent(request):
                raise error
        return "ok"


def run(llm: ToyLlm, **inputs: Any) -> tuple[list[Chunk], dict[str, Any], list[dict[str, str]]]:
    warnings: list[dict[str, str]] = []
    services = memory_services(llm=llm, channels=MemoryChannels(Route("c", "m", "http://x/v1")))
    values = {"messages": [{"role": "user", "content": "x"}], **inputs}
    chunks, outputs = collect(definition, values, services=services, warnings=warnings)
    return chunks, outputs, warnings


@pytest.mark.parametrize("stream", [False, True])
def test_defaults_that_a_model_refuses_are_left_out_one_after_the_other(stream: bool) -> None:
    llm = Picky(("max_tokens", refusal(OLD_NAME, "max_tokens")), ("temperature", refusal(FIXED)))
    _, outputs, warnings = run(llm, stream=stream)
    assert outputs["responseText"] == "ok"
    assert [sorted({*sent(request)} - {"stream_options"}) for request in llm.requests] == [
        ["max_tokens", "temperature", "top_p"],
        ["temperature", "top_p"],
        ["top_p"],
    ]
    assert [warning["code"] for warning in warnings] == ["parameter_refused"] * 2
    assert len({request.idempotency_key for request in llm.requests}) == 3


def test_a_stream_asks_for_usage_as_long_as_the_server_knows_it() -> None:
    llm = Picky(("stream_options", refusal("Extra inputs are not permitted", "stream_options")))
    assert run(llm, stream=True)[2] == []
    first, second = llm.requests
    assert sent(first)["stream_options"] == {"include_usage": True}
    assert "stream_options" not in sent(second)


@pytest.mark.parametrize("given", [None, {"include_usage": False}])
def test_what_the_user_says_of_usage_in_streams_counts(given: Any) -> None:
    llm = ToyLlm()
    run(llm, stream=True, parameters={"stream_options": given})
    assert llm.requests[0].parameters["stream_options"] == given


def test_of_two_that_exclude_each_other_the_one_without_effect_goes() -> None:
    llm = Picky(("top_p", refusal(ONE_OF_TWO)))
    run(llm, temperature=0.2)
    assert sent(llm.requests[-1]) == {"temperature": 0.2, "max_tokens": 2048}


@pytest.mark.parametrize("inputs", [{"max_tokens": 100}, {"parameters": {"max_tokens": 100}}])
def test_a_limit_that_was_asked_for_keeps_its_value_under_the_new_name(inputs: dict[str, Any]) -> None:
    llm = Picky(("max_tokens", refusal(OLD_NAME, "max_tokens")))
    warnings = run(llm, **inputs)[2]
    assert sent(llm.requests[-1])["max_completion_tokens"] == 100
    assert "max_tokens" not in sent(llm.requests[-1])
    assert "'max_completion_tokens'" in warnings[0]["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_what_was_asked_for_and_is_refused_fails_with_one_request(stream: bool) -> None:
    llm = Picky(("temperature", refusal(FIXED, "temperature")))
    with pytest.raises(ProviderError):
        run(llm, temperature=0.3, stream=stream)
    assert len(llm.requests) == 1


@pytest.mark.parametrize(
    ("error", "unasked", "left"),
    [
        (refusal(FIXED), {"temperature"}, {"max_tokens": 5}),
        (refusal("", "temperature"), {"temperature"}, {"max_tokens": 5}),
        (refusal("no", "maxOutputTokens"), {"max_tokens"}, {"temperature": 1}),
        (refusal("Bad 'messages[0].temperature'", "messages"), {"temperature"}, None),
        (refusal("my_temperature is odd"), {"temperature"}, None),
        (refusal("temperatures"), {"temperature"}, None),
        (refusal(OLD_NAME, "max_tokens", code="context_length_error"), {"max_tokens"}, None),
        (refusal(FIXED, code="rate_limit_error"), {"temperature"}, None),
        (refusal("max_tokens is too large"), set(), None),
        (
            ProviderError("no", code="invalid_request_error", details={"provider_message": 5, "param": ["x"]}),
            {"a"},
            None,
        ),
        (NodeError("no"), {"temperature"}, None),
    ],
)
def test_which_errors_are_about_a_parameter(
    error: InnkeeperError, unasked: set[str], left: dict[str, Any] | None
) -> None:
    request = ChatRequest(parameters={"temperature": 1, "max_tokens": 5})
    changed = without_refused(Asking(request, frozenset(unasked)), error)
    assert (changed and sent(changed.asking.request)) == left


@pytest.mark.parametrize("inputs", [{"temperature": None}, {"parameters": {"temperature": None}}])
def test_null_also_leaves_out_what_the_channel_would_send(inputs: dict[str, Any]) -> None:
    llm = ToyLlm()
    run(llm, **inputs)
    assert "temperature" not in shaped(llm.requests[0].parameters, ChannelTraits(defaults={"temperature": 1}))


def test_a_refused_default_is_not_sent_by_the_channel_either() -> None:
    changed = without_refused(Asking(ChatRequest(parameters={"top_p": 1}), frozenset({"top_p"})), refusal(ONE_OF_TWO))
    assert changed is not None
    assert shaped(changed.asking.request.parameters, ChannelTraits(defaults={"top_p": 0.9})) == {}


def test_an_error_in_the_answer_is_not_asked_again() -> None:
    class Late(ToyLlm):
        async def stream(self, request: ChatRequest) -> Any:
            self.requests.append(request)
            yield Chunk("text_chunk", "x")
            raise refusal(FIXED, "temperature")

    llm = Late()
    with pytest.raises(ProviderError):
        run(llm, stream=True)
    assert len(llm.requests) == 1
