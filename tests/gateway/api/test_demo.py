"""The demo model speaks OpenAI's protocol, answers the same to the same, and refuses what it should."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from innkeeper.gateway.api import demo
from innkeeper.gateway.api.demo_answers import tell_story

FAST = {"words_per_second": 0}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    app.include_router(demo.router)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test/demo/v1") as client:
        yield client


def body(text: str = "alpha beta gamma", **fields: Any) -> dict[str, Any]:
    return {"model": "demo-echo", "messages": [{"role": "user", "content": text}], **FAST, **fields}


async def ask(client: httpx.AsyncClient, **fields: Any) -> Any:
    response = await client.post("/chat/completions", json=body(**fields))
    assert response.status_code == 200, response.text
    return response.json()


async def events_of(client: httpx.AsyncClient, **fields: Any) -> list[Any]:
    response = await client.post("/chat/completions", json=body(stream=True, **fields))
    assert response.headers["content-type"].startswith("text/event-stream")
    lines = response.text.split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-2]]


async def test_an_answer_has_the_shape_of_openai(client: httpx.AsyncClient) -> None:
    answer = await ask(client)
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "demo-echo"
    assert answer["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "gamma beta alpha"}, "finish_reason": "stop"}
    ]
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}


async def test_a_stream_has_a_word_in_each_event_and_one_end(client: httpx.AsyncClient) -> None:
    parts = await events_of(client)
    assert [part["choices"][0]["delta"] for part in parts] == [
        {"role": "assistant", "content": ""},
        {"content": "gamma"},
        {"content": " beta"},
        {"content": " alpha"},
        {},
    ]
    assert [part["choices"][0]["finish_reason"] for part in parts] == [None, None, None, None, "stop"]
    assert len({part["id"] for part in parts}) == 1


async def test_a_stream_tells_usage_when_asked(client: httpx.AsyncClient) -> None:
    *_, last = await events_of(client, stream_options={"include_usage": True})
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 6


async def test_a_story_is_the_same_each_time_and_another_for_another_prompt(client: httpx.AsyncClient) -> None:
    first, again, other = [
        (await ask(client, model="demo-storyteller", text=text))["choices"][0]["message"]["content"]
        for text in ("A fox and a lantern", "A fox and a lantern", "A ferry at night")
    ]
    assert first == again != other
    assert "lantern" in first
    assert "ferry" in other


@pytest.mark.parametrize(
    "text", ["", "!?", "the and of", "写一个关于龙的故事", "x" * 5000, "a lighthouse keeper " * 500]
)
def test_a_story_has_60_to_120_words_whatever_it_is_about(text: str) -> None:
    assert 60 <= len(tell_story([("user", text)])) <= 120


async def test_the_default_model_needs_nothing_but_messages(client: httpx.AsyncClient) -> None:
    response = await client.post("/chat/completions", json={"messages": [{"role": "user", "content": "hi"}], **FAST})
    assert response.json()["model"] == "demo-storyteller"


async def test_parts_of_a_message_are_read(client: httpx.AsyncClient) -> None:
    parts = [{"type": "text", "text": "one two"}, {"type": "image_url", "image_url": {"url": "data:"}}, 5]
    answer = await ask(client, text=parts)
    assert answer["choices"][0]["message"]["content"] == "two one"


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_the_longest_answer_is_respected(client: httpx.AsyncClient, field: str) -> None:
    answer = await ask(client, **{field: 2})
    assert answer["choices"][0] == {
        "index": 0,
        "message": {"role": "assistant", "content": "gamma beta"},
        "finish_reason": "length",
    }
    assert answer["usage"]["completion_tokens"] == 2


async def test_a_huge_prompt_gives_a_bounded_answer(client: httpx.AsyncClient) -> None:
    answer = await ask(client, text="word " * 100_000)
    assert answer["usage"]["completion_tokens"] == demo.MAX_WORDS


@pytest.mark.parametrize("pace", [{"model": "demo-echo@20", "words_per_second": None}, {"words_per_second": 20}])
async def test_the_pace_is_chosen_by_model_name_or_field(client: httpx.AsyncClient, pace: dict[str, Any]) -> None:
    began = time.monotonic()
    await ask(client, **pace)
    assert time.monotonic() - began > 0.14


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"model": "gpt-9"}, 404, "model_not_found", "model"),
        ({"model": "demo-echo@fast"}, 404, "model_not_found", "model"),
        ({"messages": []}, 400, None, "messages"),
        ({"messages": None}, 400, None, "messages"),
        ({"messages": [{"content": "x"}]}, 400, None, "messages.0.role"),
        ({"max_tokens": 0}, 400, None, "max_tokens"),
        ({"words_per_second": -1}, 400, None, "words_per_second"),
    ],
)
async def test_a_bad_request_gets_an_error_of_openais_form(
    client: httpx.AsyncClient, fields: dict[str, Any], status: int, code: str | None, param: str
) -> None:
    response = await client.post("/chat/completions", json=body(**fields))
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (status, code, param)
    assert error["type"] == "invalid_request_error"
    assert error["message"]


async def test_malformed_json_is_told_with_its_place(client: httpx.AsyncClient) -> None:
    response = await client.post("/chat/completions", content=b'{"model":\n oops}')
    assert response.status_code == 400
    assert "line 2" in response.json()["error"]["message"]


async def test_a_request_over_the_limit_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.post("/chat/completions", content=b" " * (demo.MAX_BODY_BYTES + 1))
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "request_too_large"


async def test_the_models_are_listed(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/models")).json()
    assert [model["id"] for model in listed["data"]] == ["demo-storyteller", "demo-describer", "demo-echo"]
