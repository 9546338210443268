"""core:OpenAI: one answer of a language model, whole or streamed."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, cast
from urllib.parse import urlsplit

from nodes.definition import Input, NodeDefinition, Output, Retry
from nodes.errors import InnkeeperError, NodeInputError
from nodes.library.llm.messages import read_history
from nodes.library.llm_test.images import image_part
from nodes.library.utilities.text import is_truthy, to_text
from nodes.node import ChatRequest, Chunk, Inputs, NodeContext, Outputs, SecretRef

_DEFAULT_PORTS = {"http": 80, "https": 443}
_DOUBTFUL = re.compile(r"[\\\s\x00-\x1f\x7f]")
_MODELS = ("deepseek-chat", "chatgpt-4o-latest", "claude-sonnet-4-20250514", "gemini-2.5-flash-preview-05-20")


async def openai(inputs: Inputs, context: NodeContext) -> AsyncIterator[Chunk | Outputs]:
    """Ask a model for one answer; with `stream`, its pieces go out as they come.

    The stream is the text and one `finish_reason_chunk` whose content is the reason itself; usage is not part of it.
    An error that no further attempt can heal ends the stream with an `error_chunk` before it fails the node.

    Raises:
        NodeInputError: Nothing to ask, or an input that cannot be used.
        ProviderError, NodeMustWait, RequestRefused: See `nodes.services.llm`.
    """
    if not is_truthy(inputs.get("stream")):
        response = await context.services.llm.chat(await _request(inputs, context))
        yield Outputs(response=response.text)
        return
    text: list[str] = []
    try:
        # Closed at once when the run is interrupted, not when the garbage collector finds time: the provider keeps
        # writing, and billing, until the connection ends.
        async with aclosing(_streamed(await _request(inputs, context), context)) as chunks:
            async for chunk in chunks:
                if chunk.type == "text_chunk":
                    text.append(chunk.content)
                yield chunk
    except InnkeeperError as error:
        if not error.retryable:
            yield Chunk("error_chunk", error.message)
        raise
    yield Outputs(response="".join(text))


async def _streamed(request: ChatRequest, context: NodeContext) -> AsyncGenerator[Chunk, None]:
    async with aclosing(cast("AsyncGenerator[Chunk, None]", context.services.llm.stream(request))) as chunks:
        async for chunk in chunks:
            if chunk.type == "text_chunk":
                yield chunk
            elif chunk.type == "finish_reason_chunk":
                yield Chunk("finish_reason_chunk", chunk.content["finish_reason"])


async def _request(inputs: Inputs, context: NodeContext) -> ChatRequest:
    messages = _messages(inputs)
    base_url, api_key = _endpoint(inputs.get("api_settings"))
    model = inputs.get("model")
    if not isinstance(model, str) or not model.strip():
        raise NodeInputError("'model' is empty; give the name of a model")
    parameters = {"temperature": _number(inputs, "temperature"), "max_tokens": _number(inputs, "max_tokens")}
    # The last step before the call: an earlier failure must not have touched the key.
    if isinstance(api_key, SecretRef):
        api_key = await context.services.secrets.reveal(api_key, host=_host(base_url))
    return ChatRequest(
        base_url=base_url,
        model=model,
        messages=messages,
        api_key=api_key,
        parameters={key: value for key, value in parameters.items() if value is not None},
        # The same for every attempt: a provider that knows the header answers a repeated call without charging twice.
        idempotency_key=hashlib.sha256(f"{context.prompt_id}/{context.node_id}".encode()).hexdigest(),
    )


def _messages(inputs: Inputs) -> list[dict[str, Any]]:
    """System prompt, history, then the user's turn."""
    messages = read_history(inputs.get("history"), "history")
    prompt, image = to_text(inputs.get("prompt")), inputs.get("image")
    if not prompt and not image and not messages:
        raise NodeInputError("nothing to ask: give a 'prompt', an 'image' or a 'history'")
    if image:
        text_parts = [{"type": "text", "text": prompt}] if prompt else []
        messages.append({"role": "user", "content": [*text_parts, image_part(image)]})
    elif prompt:
        messages.append({"role": "user", "content": prompt})
    system_prompt = to_text(inputs.get("system_prompt"))
    return [{"role": "system", "content": system_prompt}, *messages] if system_prompt else messages


def _endpoint(settings: Any) -> tuple[str, str | SecretRef]:
    if not isinstance(settings, Mapping):
        raise NodeInputError(
            "'api_settings' must be an object with 'base_url' and 'api_key', as core:APISettings gives"
        )
    base_url, api_key = settings.get("base_url"), settings.get("api_key")
    if not isinstance(base_url, str) or not base_url.strip():
        raise NodeInputError("'api_settings' has no 'base_url'; it looks like 'https://host/v1'")
    if not isinstance(api_key, str | SecretRef | None):
        raise NodeInputError("'api_settings': 'api_key' must be a text")
    return base_url.strip(), api_key or ""


def _host(base_url: str) -> str:
    """`name:port` of the server, the port always told: another port of a machine is another service."""
    try:
        parts = urlsplit(base_url)
        name, port = parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        name = port = None
    # Programs disagree on where a host ends behind such characters, and the key goes where this one says.
    if not name or port is None or _DOUBTFUL.search(base_url):
        raise NodeInputError("'api_settings': 'base_url' is not an http or https URL; it looks like 'https://host/v1'")
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def _number(inputs: Inputs, slot: str) -> int | float | None:
    value = inputs.get(slot)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise NodeInputError(f"{slot!r} must be a number, found {type(value).__name__}")
    # JSON from a browser may say 512.0, which providers refuse where they want a whole number.
    return int(value) if value == int(value) else value


definition = NodeDefinition(
    type="OpenAI",
    category="TEST-LLM",
    display_name="OpenAI",
    display_names={"zh": "OpenAI"},
    description="Asks an OpenAI-compatible server for one answer.",
    inputs={
        "api_settings": Input(
            "OBJECT",
            display_name="API settings",
            required=True,
            match_categories=("LlmConfig",),
            secret_keys=("api_key",),
        ),
        "model": Input(
            "STRING",
            display_name="Model",
            required=True,
            config={
                "default": "deepseek-chat",
                "suggestions": tuple({"value": model, "label": model} for model in _MODELS),
            },
        ),
        "temperature": Input(
            "FLOAT",
            display_name="Temperature",
            description="0 is sober, 2 is wild.",
            required=True,
            config={"default": 0.7, "min": 0, "max": 2, "step": 0.1},
        ),
        "max_tokens": Input(
            "INTEGER",
            display_name="Longest answer",
            description="In tokens.",
            required=True,
            config={"default": 512, "min": 1, "max": 16384},
        ),
        "system_prompt": Input(
            "STRING",
            display_name="System prompt",
            required=True,
            match_categories=("Prompt", "UiBlock"),
            config={"default": "", "multiline": True},
        ),
        "prompt": Input(
            "STRING",
            display_name="Prompt",
            description="May stay empty when there is a history.",
            required=True,
            match_categories=("Prompt", "UiBlock"),
            config={"default": "", "multiline": True},
        ),
        "history": Input(
            "STRING",
            display_name="History",
            description="Messages before the prompt, as JSON text or a list.",
            match_categories=("ChatHistory", "Json"),
        ),
        "image": Input(
            "STRING",
            display_name="Image",
            description="A data:image URI or an http(s) URL.",
            match_categories=("ImageData", "Url"),
        ),
        "stream": Input(
            "BOOLEAN",
            display_name="Stream",
            description="Give the answer in pieces, as it comes.",
            config={"default": False},
        ),
    },
    outputs={
        "response": Output(
            "STRING", display_name="Answer", description="The whole answer.", match_categories=("LlmOutput",)
        ),
        "stream_output": Output(
            "STRING",
            display_name="Stream",
            description="The answer in pieces; empty unless 'stream' is on.",
            is_stream=True,
            match_categories=("LlmOutput", "TextStream"),
        ),
    },
    execute=openai,
    bypass_behavior="mute",
    side_effects=True,
    retry=Retry(maximum_attempts=4),
    timeout_s=600,
    total_timeout_s=1800,
)
