"""core:GenericLlmRequest: one answer of a model that the operator's channels offer, whole or streamed."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, cast

from innkeeper.nodes.definition import Input, NodeDefinition, Output, Retry
from innkeeper.nodes.errors import InnkeeperError, NodeInputError, NodeMustWait
from innkeeper.nodes.hosts import host_of, is_demo_model
from innkeeper.nodes.json_values import InvalidJson, TooDeep, read_json
from innkeeper.nodes.library.llm.messages import read_history
from innkeeper.nodes.library.llm.parameters import STREAM, number_of
from innkeeper.nodes.library.utilities.text import is_truthy
from innkeeper.nodes.node import ChatRequest, ChatResponse, Chunk, Inputs, ModelWish, NodeContext, Outputs, Route
from innkeeper.nodes.tavern.documents import kind_of

_SAMPLING = ("temperature", "max_tokens", "top_p")
_NOT_PARAMETERS = frozenset({"model", "messages", "stream"})
_KEPT_OF_MESSAGES = ("role", "content", "tool_calls")


async def generic_llm_request(inputs: Inputs, context: NodeContext) -> AsyncIterator[Chunk | Outputs]:
    """Ask the model `activated_model_id`, or the best one with the `required_capabilities`.

    With `stream` every chunk of the model goes out as it comes: text, usage, and one `finish_reason_chunk` with
    `{finish_reason, accumulated_text, usage}`. A final error puts an `error_chunk` into the stream, with `stream` or
    without, and fails the node.

    Raises:
        NodeInputError: An input that cannot be used.
        ProviderError: No channel fits, or the provider refuses; `code` is one of `nodes.services.llm.errors`.
        NodeMustWait, RequestRefused, ResourceError: See `nodes.services`.
    """
    try:
        # Closed at once when the run is interrupted: the provider keeps writing, and billing, until then.
        async with aclosing(_stream_answer(inputs, context)) as items:
            async for item in items:
                yield item
    except InnkeeperError as error:
        if _is_final(error, context):
            yield Chunk("error_chunk", _told(error))
        raise


async def _stream_answer(inputs: Inputs, context: NodeContext) -> AsyncGenerator[Chunk | Outputs, None]:
    request = await _request(inputs, context)
    if not is_truthy(inputs.get("stream")):
        yield _outputs_of(_standard(await context.services.llm.chat(request)))
        return
    text: list[str] = []
    end: Mapping[str, Any] = {}
    async with aclosing(cast("AsyncGenerator[Chunk, None]", context.services.llm.stream(request))) as chunks:
        async for chunk in chunks:
            if chunk.type == "text_chunk":
                text.append(chunk.content)
            elif chunk.type == "finish_reason_chunk" and isinstance(chunk.content, Mapping):
                end = chunk.content
            yield chunk
    whole = end.get("accumulated_text") or "".join(text)
    yield _outputs_of({"text": whole, "model": request.model, "usage": end.get("usage")})


def _outputs_of(response: dict[str, Any]) -> Outputs:
    return Outputs(response=response, responseText=response["text"], usage=response.get("usage"))


def _standard(response: ChatResponse) -> dict[str, Any]:
    """The standard response; what the provider did not say is left out."""
    standard = {
        "text": response.text,
        "choices": [_choice(choice, index) for index, choice in enumerate(response.choices)],
        "usage": dict(response.usage) if response.usage is not None else None,
        "raw_response": response.raw_response,
        "model": response.model,
        "response_id": response.response_id,
    }
    return {key: value for key, value in standard.items() if value is not None}


def _choice(choice: Mapping[str, Any], index: int) -> dict[str, Any]:
    message = choice.get("message")
    message = message if isinstance(message, Mapping) else {}
    return {
        "index": choice.get("index", index),
        "message": {key: message[key] for key in _KEPT_OF_MESSAGES if key in message},
        "finish_reason": choice.get("finish_reason"),
    }


def _is_final(error: InnkeeperError, context: NodeContext) -> bool:
    # An attempt that is made again begins the stream anew; a reader that saw an error in it would give up before.
    return not isinstance(error, NodeMustWait) and (not error.retryable or context.is_last_attempt)


def _told(error: InnkeeperError) -> dict[str, Any]:
    code = error.details.get("provider_code") or error.details.get("status") or error.code
    return {"message": error.message, "code": code, "type": error.code}


async def _request(inputs: Inputs, context: NodeContext) -> ChatRequest:
    messages = read_history(inputs.get("messages"), "messages")
    parameters = _parameters(inputs)
    route = (await context.services.channels.routes(_wish(inputs, context)))[0]
    return ChatRequest(
        base_url=route.base_url,
        model=route.model_id,
        messages=messages,
        # The last step before the call: an earlier failure must not have touched the key.
        api_key=await _key_of_route(route, context),
        parameters=parameters,
        idempotency_key=context.idempotency_key,
        adapter=route.adapter,
        channel_id=route.channel_id,
    )


async def _key_of_route(route: Route, context: NodeContext) -> str:
    if route.api_key is None or is_demo_model(route.base_url):
        return ""
    return await context.services.secrets.reveal(route.api_key, host=host_of(route.base_url))


def _wish(inputs: Inputs, context: NodeContext) -> ModelWish:
    model_id = inputs.get("activated_model_id")
    if not isinstance(model_id, str | None):
        raise NodeInputError(f"'activated_model_id' must be a text, found {kind_of(model_id)}")
    if model_id and model_id.strip():
        return ModelWish(model_id.strip())
    capabilities = context.config_values.get("required_capabilities") or ""
    if not isinstance(capabilities, str):
        raise NodeInputError("'required_capabilities' must be a text like 'llm,vision'")
    return ModelWish(capabilities=tuple(word.strip() for word in capabilities.split(",") if word.strip()))


def _parameters(inputs: Inputs) -> dict[str, Any]:
    """The single fields, then what `parameters` says, which wins."""
    found = {slot: number_of(inputs, slot) for slot in _SAMPLING}
    seed = number_of(inputs, "seed")
    given = _given_parameters(inputs.get("parameters"))
    fields = {key: value for key, value in found.items() if value is not None}
    return {**fields, **({"seed": seed} if seed and seed > 0 else {}), **given}


def _given_parameters(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        value = _parsed(value)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise NodeInputError(f"'parameters' must be an object or its JSON text, found {kind_of(value)}")
    try:
        json.dumps(value, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        raise NodeInputError("'parameters' holds something that is not JSON (NaN, say)") from None
    return {key: item for key, item in value.items() if key not in _NOT_PARAMETERS}


def _parsed(text: str) -> Any:
    if not text.strip():
        return None
    try:
        return read_json(text)
    except TooDeep:
        raise NodeInputError("'parameters' is nested too deeply") from None
    except InvalidJson as error:
        place = "" if error.position is None else f" at character {error.position[2]}"
        raise NodeInputError(f"""'parameters' is not valid JSON{place}; it looks like '{{"stop": ["x"]}}'""") from None


definition = NodeDefinition(
    type="GenericLlmRequest",
    category="LLM",
    display_name="LLM request",
    display_names={"zh": "通用 LLM 请求"},
    description="Asks a model of the server's channels for one answer.",
    inputs={
        "messages": Input(
            "STRING",
            display_name="Messages",
            description="The conversation, as JSON text or a list.",
            match_categories=("Json", "ChatHistory", "NoDefaultEdit", "UiBlock"),
            config={"default": "[]", "languageHint": "json", "multiline": True},
        ),
        "parameters": Input(
            "STRING",
            display_name="Parameters",
            description="More parameters for the model, as JSON text or an object; they win over the fields below.",
            match_categories=("Json", "LlmConfig", "NoDefaultEdit"),
            config={"default": "{}", "languageHint": "json"},
        ),
        "activated_model_id": Input(
            "STRING",
            display_name="Model",
            description="The id of a model. Empty: the best one with the required capabilities.",
        ),
        "temperature": Input(
            "FLOAT",
            display_name="Temperature",
            description="0 is sober, 2 is wild.",
            config={"default": 0.7, "min": 0, "max": 2, "step": 0.01},
        ),
        "max_tokens": Input(
            "INTEGER",
            display_name="Longest answer",
            description="In tokens.",
            config={"default": 2048, "min": 1, "max": 65536, "step": 64},
        ),
        "top_p": Input(
            "FLOAT",
            display_name="Top P",
            description="Leave out what is less likely than this share.",
            config={"default": 1.0, "min": 0, "max": 1, "step": 0.01},
        ),
        "seed": Input(
            "INTEGER",
            display_name="Seed",
            description="The same seed gives similar answers where the provider can; 0 is none.",
            config={"default": 0, "min": 0, "step": 1},
        ),
        "stream": STREAM,
    },
    outputs={
        "response": Output(
            "OBJECT", display_name="Response", description="All of the answer.", match_categories=("LlmOutput",)
        ),
        "responseText": Output(
            "STRING", display_name="Text", description="The text of the answer.", match_categories=("LlmOutput",)
        ),
        "usage": Output(
            "OBJECT", display_name="Usage", description="Counts of tokens.", match_categories=("LlmOutput",)
        ),
        "stream_output": Output(
            "STRING",
            display_name="Stream",
            description="The answer in pieces; empty unless 'stream' is on.",
            is_stream=True,
            match_categories=("StreamChunk",),
        ),
    },
    config_schema={
        "required_capabilities": Input(
            "STRING",
            display_name="Required capabilities",
            description="What the model must be able to do, with commas: llm,chat or llm,vision.",
            config={"default": "llm,chat"},
        )
    },
    execute=generic_llm_request,
    bypass_behavior="mute",
    side_effects=True,
    retry=Retry(maximum_attempts=4),
    timeout_s=600,
    timeout_counts="silence",
    width=350,
)
