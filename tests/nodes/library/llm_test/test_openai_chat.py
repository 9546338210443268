from __future__ import annotations

import json
from typing import Any

import pytest

from innkeeper.nodes.errors import NodeInputError, ProviderError
from innkeeper.nodes.library.llm_test import openai
from innkeeper.nodes.library.llm_test.openai_chat import definition
from innkeeper.nodes.node import ChatRequest
from innkeeper.nodes.testing import MemorySecrets, ToyLlm, collect, memory_services, run_node

SETTINGS = {"base_url": "https://api.example.com/v1", "api_key": "sk-test", "use_env_vars": False}
BEFORE = [{"role": "user", "content": "H"}, {"role": "assistant", "content": "A"}]
IMAGE = "data:image/png;base64,AAAA"


def run(llm: ToyLlm | None = None, secrets: MemorySecrets | None = None, **inputs: Any) -> dict[str, Any]:
    values = {"api_settings": SETTINGS, "system_prompt": "S", "user_input": "alpha beta", **inputs}
    return run_node(definition, values, services=memory_services(llm=llm, secrets=secrets))


def test_one_turn_gives_answer_history_and_transcript() -> None:
    llm = ToyLlm(lambda request: "  beta alpha \n")
    outputs = run(llm, external_history=json.dumps(BEFORE))
    assert [message["role"] for message in llm.requests[0].messages] == ["system", "user", "assistant", "user"]
    assert outputs["current_output"] == "beta alpha"
    assert json.loads(outputs["history"]) == [
        *BEFORE,
        {"role": "user", "content": "alpha beta"},
        {"role": "assistant", "content": "beta alpha"},
    ]
    header, rest = outputs["full_conversation"].split("\n\n", 1)
    rule = "-" * 40
    assert header
    assert "\n" not in header
    assert rest == "".join(
        f"{line}\n{rule}\n"
        for line in ("System: S", "User: H", "Assistant: A", "User: alpha beta", "Assistant: beta alpha")
    )


def test_the_history_carries_on_with_the_next_turn() -> None:
    first = run()
    llm = ToyLlm()
    run(llm, external_history=first["history"], user_input="more", system_prompt="")
    assert llm.requests[0].messages == [*json.loads(first["history"]), {"role": "user", "content": "more"}]


def test_a_list_is_a_history_too() -> None:
    assert json.loads(run(external_history=BEFORE)["history"])[:2] == BEFORE


@pytest.mark.parametrize("answer", ["", " \n"])
def test_an_empty_answer_is_told_and_is_not_part_of_the_history(answer: str) -> None:
    outputs = run(ToyLlm(lambda request: answer), external_history=BEFORE)
    assert "empty" in outputs["current_output"]
    assert json.loads(outputs["history"]) == [*BEFORE, {"role": "user", "content": "alpha beta"}]


def test_an_image_goes_along_and_is_marked_in_the_transcript() -> None:
    llm = ToyLlm(lambda request: "seen")
    outputs = run(llm, image=IMAGE)
    content = [
        {"type": "text", "text": "alpha beta"},
        {"type": "image_url", "image_url": {"url": IMAGE}},
    ]
    assert llm.requests[0].messages[-1] == {"role": "user", "content": content}
    assert "User: alpha beta [image included]\n" in outputs["full_conversation"]
    assert "base64" not in outputs["full_conversation"]


def test_the_request_is_that_of_the_other_node() -> None:
    llm, other = ToyLlm(), ToyLlm()
    secrets = MemorySecrets()
    run(llm, secrets, model="m", temperature=1, max_tokens=100.0)
    values = {"api_settings": SETTINGS, "system_prompt": "S", "prompt": "alpha beta", "model": "m"}
    collect(openai.definition, {**values, "temperature": 1, "max_tokens": 100}, services=memory_services(llm=other))
    assert llm.requests == other.requests
    assert secrets.revealed == [("secret-1", "api.example.com:443")]


def test_clear_history_has_no_effect() -> None:
    assert run(clear_history=True, external_history=BEFORE) == run(external_history=BEFORE)


@pytest.mark.parametrize(
    ("inputs", "complaint"),
    [
        ({"external_history": "[oops"}, "'external_history' is not valid JSON"),
        ({"external_history": '{"a":1}'}, "'external_history': item 0 is no message"),
        ({"external_history": '"xy"'}, "'external_history' must be a list"),
        ({"image": "ftp://x"}, "'image' must be"),
        ({"system_prompt": "", "user_input": ""}, "nothing to ask"),
        ({"model": ""}, "'model' is empty"),
        ({"api_settings": {}}, "no 'base_url'"),
    ],
)
def test_a_bad_input_fails_the_node_before_any_call(inputs: dict[str, Any], complaint: str) -> None:
    llm = ToyLlm()
    with pytest.raises(NodeInputError, match=complaint):
        run(llm, **inputs)
    assert llm.requests == []


def test_an_error_of_the_provider_fails_the_node() -> None:
    def answer(request: ChatRequest) -> str:
        raise ProviderError("no", code="server_error", retryable=True)

    with pytest.raises(ProviderError):
        run(ToyLlm(answer))


def test_the_definition_is_careful_with_money() -> None:
    assert definition.side_effects
    assert definition.bypass_behavior == "mute"
    assert definition.inputs["api_settings"].secret_keys == ("api_key",)
    assert all(definition.inputs[key].required for key in ("system_prompt", "user_input", "clear_history"))
