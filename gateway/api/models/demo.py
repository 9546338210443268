"""The demo model's answers: a part of OpenAI's chat completions API."""

from __future__ import annotations

from typing import Literal, NotRequired

from pydantic import with_config
from typing_extensions import TypedDict

from innkeeper.gateway.api.models.base import CLOSED, OPEN, Count, FreeObject


@with_config(OPEN)
class ChatMessage(TypedDict):
    role: str
    content: NotRequired[str | list[FreeObject] | None]


@with_config(OPEN)
class ChatStreamOptions(TypedDict, total=False):
    include_usage: bool


@with_config(OPEN)
class ChatRequest(TypedDict):
    """A chat completion request. Sampling parameters are accepted and change nothing."""

    messages: list[ChatMessage]
    model: NotRequired[str]
    """`demo-storyteller`, `demo-describer` or `demo-echo`, each also as `NAME@WORDS_PER_SECOND`."""
    stream: NotRequired[bool | None]
    stream_options: NotRequired[ChatStreamOptions | None]
    max_tokens: NotRequired[int | None]
    max_completion_tokens: NotRequired[int | None]
    words_per_second: NotRequired[float | None]
    """0 is as fast as possible."""


@with_config(CLOSED)
class ChatAnswer(TypedDict):
    role: Literal["assistant"]
    content: str


@with_config(CLOSED)
class ChatChoice(TypedDict):
    index: int
    message: ChatAnswer
    finish_reason: Literal["stop", "length"]


@with_config(CLOSED)
class ChatUsage(TypedDict):
    """One word is one token."""

    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count


@with_config(CLOSED)
class ChatCompletion(TypedDict):
    id: str
    created: int
    model: str
    object: Literal["chat.completion"]
    choices: list[ChatChoice]
    usage: ChatUsage


@with_config(CLOSED)
class DemoModel(TypedDict):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


@with_config(CLOSED)
class DemoModels(TypedDict):
    object: Literal["list"]
    data: list[DemoModel]


@with_config(CLOSED)
class DemoErrorDetail(TypedDict):
    message: str
    type: str
    param: str | None
    code: str | None


@with_config(CLOSED)
class DemoError(TypedDict):
    """An error as OpenAI's API writes it."""

    error: DemoErrorDetail
