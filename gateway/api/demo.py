"""The demo model: an OpenAI-compatible endpoint that answers without a key, always the same for the same messages."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from innkeeper.gateway.api.demo_answers import ANSWERS, text_of, words_of
from innkeeper.gateway.api.models.demo import ChatCompletion, ChatRequest, DemoError, DemoModels
from innkeeper.gateway.api.models.errors import Error
from innkeeper.gateway.api.responses import JSON, answer, contents, errors, json_body, one_of, reference, text
from innkeeper.gateway.errors import json_response
from innkeeper.nodes.json_values import InvalidJson, read_json

MAX_BODY_BYTES = 1_000_000
MAX_WORDS = 4_096
DEFAULT_MODEL = "demo-storyteller"
DEFAULT_WORDS_PER_SECOND = 25.0
_MODEL = re.compile(r"(?P<name>[a-z-]+)(@(?P<send_rate>\d{1,5}(\.\d{1,3})?))?")

router = APIRouter(prefix="/demo/v1", tags=["demo"], default_response_class=Response)


class _Message(BaseModel):
    model_config = ConfigDict(extra="allow")
    role: str
    content: str | list[Any] | None = None


class _StreamOptions(BaseModel):
    include_usage: bool = False


class _ChatBody(BaseModel):
    """What is read of a request; sampling parameters are accepted and change nothing."""

    model: str = DEFAULT_MODEL
    messages: Annotated[tuple[_Message, ...], Field(min_length=1)]
    stream: bool | None = False
    stream_options: _StreamOptions | None = None
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    max_completion_tokens: Annotated[int | None, Field(ge=1)] = None
    words_per_second: Annotated[float | None, Field(ge=0, le=100_000)] = None


class _Refused(Exception):
    def __init__(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


class _Answer:
    """An answer, cut at the limit the request gives. One word is one token."""

    def __init__(self, body: _ChatBody) -> None:
        name, self._pause_s = _model_and_pause(body)
        messages = [(message.role, text_of(message.content)) for message in body.messages]
        words = ANSWERS[name](messages)
        limit = min(body.max_completion_tokens or body.max_tokens or MAX_WORDS, MAX_WORDS)
        self.words = words[:limit]
        self.finish_reason: Literal["stop", "length"] = "stop" if len(words) <= limit else "length"
        prompt_tokens = sum(len(words_of(text)) for _, text in messages)
        self.usage = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": len(self.words),
            "total_tokens": prompt_tokens + len(self.words),
        }
        self._head = {"id": f"chatcmpl-demo-{time.time_ns():x}", "created": int(time.time()), "model": body.model}

    async def pieces(self) -> AsyncIterator[str]:
        """The words at their own rate, each but the first with the space before it."""
        due = time.monotonic()
        for index, word in enumerate(self.words):
            # Against a clock, so that the rate holds whatever the sending takes.
            due += self._pause_s
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            yield word if index == 0 else f" {word}"

    def completion(self, text: str) -> dict[str, Any]:
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        return {**self._head, "object": "chat.completion", "choices": [choice], "usage": self.usage}

    def part(self, delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
        return self._part([{"index": 0, "delta": delta, "finish_reason": finish_reason}])

    def usage_part(self) -> dict[str, Any]:
        return {**self._part([]), "usage": self.usage}

    def _part(self, choices: list[Any]) -> dict[str, Any]:
        return {**self._head, "object": "chat.completion.chunk", "choices": choices}


@router.post(
    "/chat/completions",
    summary="Answer as OpenAI's endpoint of this name does, whole or as server-sent events",
    responses={
        **contents(
            "The completion; with `stream` events whose data are `chat.completion.chunk` objects, then `[DONE]`.",
            {JSON: reference(ChatCompletion), "text/event-stream": text("Server-sent events.")},
        ),
        **errors({400: "", 404: "model_not_found"}, schema=DemoError),
        # A far larger one the gateway refuses before the demo model sees it.
        **errors({413: "request_too_large too_large"}, schema=one_of(DemoError, Error)),
    },
    openapi_extra=json_body(ChatRequest, "The messages."),
)
async def create_chat_completion(request: Request) -> Response:
    try:
        body = await _read_chat_body(request)
        given = _Answer(body)
    except _Refused as refused:
        return json_response(refused.body, refused.status)
    if body.stream:
        with_usage = body.stream_options is not None and body.stream_options.include_usage
        return StreamingResponse(_events(given, with_usage), media_type="text/event-stream")
    return json_response(given.completion("".join([piece async for piece in given.pieces()])))


@router.get("/models", summary="The demo models", responses=answer("The models.", DemoModels) | errors())
async def list_demo_models() -> Response:
    models = [{"id": name, "object": "model", "created": 0, "owned_by": "innkeeper"} for name in ANSWERS]
    return json_response({"object": "list", "data": models})


async def _events(answer: _Answer, with_usage: bool) -> AsyncIterator[bytes]:
    yield _event(answer.part({"role": "assistant", "content": ""}))
    async for piece in answer.pieces():
        yield _event(answer.part({"content": piece}))
    yield _event(answer.part({}, answer.finish_reason))
    if with_usage:
        yield _event(answer.usage_part())
    yield b"data: [DONE]\n\n"


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"


async def _read_chat_body(request: Request) -> _ChatBody:
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > MAX_BODY_BYTES:
            raise _Refused(413, f"The request is larger than {MAX_BODY_BYTES} bytes.", code="request_too_large")
    try:
        return _ChatBody.model_validate(read_json(bytes(data)))
    except InvalidJson as error:
        line, column, _ = error.position or (1, 1, 0)
        raise _Refused(400, f"The request is not valid JSON: line {line}, column {column}: {error.reason}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        param = ".".join(str(part) for part in first["loc"])
        raise _Refused(400, f"Invalid value for {param!r}: {first['msg']}.", param=param) from error


def _model_and_pause(body: _ChatBody) -> tuple[str, float]:
    found = _MODEL.fullmatch(body.model)
    if found is None or found["name"] not in ANSWERS:
        known = ", ".join(ANSWERS)
        message = (
            f"The model {body.model[:80]!r} does not exist; models are {known}, each also as NAME@WORDS_PER_SECOND."
        )
        raise _Refused(404, message, code="model_not_found", param="model")
    send_rate = body.words_per_second
    if send_rate is None:
        send_rate = float(found["send_rate"]) if found["send_rate"] else DEFAULT_WORDS_PER_SECOND
    # 0 means as fast as possible.
    return found["name"], 1 / send_rate if send_rate else 0.0
