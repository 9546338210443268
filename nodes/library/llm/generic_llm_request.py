"""core:GenericLlmRequest: one answer of a model that the operator's channels offer, whole or streamed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from innkeeper.nodes.definition import Input, NodeDefinition, Output, Retry
from innkeeper.nodes.errors import InnkeeperError, NodeInputError
from innkeeper.nodes.json_values import text_or_empty
from innkeeper.nodes.library.llm import asking
from innkeeper.nodes.library.llm.answer import OUTPUTS, Collected, check_answer, is_final, outputs_of
from innkeeper.nodes.library.llm.messages import read_history
from innkeeper.nodes.library.llm.parameters import PARAMETERS, STREAM, Asking, number_of, parameters_of
from innkeeper.nodes.library.llm.settings import SETTINGS, priority_of, times_of
from innkeeper.nodes.library.llm.structured import SLOT, Schema, schema_of, structured, with_schema
from innkeeper.nodes.library.utilities.text import is_truthy
from innkeeper.nodes.node import ChatRequest, ChatResponse, Chunk, Inputs, ModelWish, NodeContext, Outputs
from innkeeper.nodes.tavern.documents import kind_of

_SINGLE: Mapping[str, Input] = {
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
}
_SAMPLING = ("temperature", "max_tokens", "top_p")
_KEPT_OF_MESSAGES = ("role", "content", "tool_calls", "thinking_blocks")


async def generic_llm_request(inputs: Inputs, context: NodeContext) -> AsyncIterator[Chunk | Outputs]:
    """Ask the model `activated_model_id`, or the best one with the `required_capabilities`.

    With `stream` every chunk of the model goes out as it comes: text, reasoning, tool calls, usage, and one
    `finish_reason_chunk` with `{finish_reason, accumulated_text, usage}`. A final error puts an `error_chunk` into the
    stream, with `stream` or without, and fails the node.

    With `responseSchema` the data of the answer is in `data`. An answer that does not fit is asked for once more; the
    second one is in the outputs only, as the stream has gone out by then.

    Raises:
        NodeInputError: An input that cannot be used.
        NodeError: The answer does not keep to the schema (`invalid_structured_output`).
        ProviderError: No channel fits, or the provider refuses; `code` is one of `nodes.services.llm.errors`.
        NodeMustWait, RequestRefused, ResourceError: See `nodes.services`.
    """
    try:
        # Closed at once when the run is interrupted: the provider keeps writing, and billing, until then.
        async with aclosing(_stream_answer(inputs, context)) as items:
            async for item in items:
                yield item
    except InnkeeperError as error:
        if is_final(error, context):
            yield Chunk("error_chunk", _told(error))
        raise


async def _stream_answer(inputs: Inputs, context: NodeContext) -> AsyncGenerator[Chunk | Outputs, None]:
    asked, schema = _asked(inputs, context), await schema_of(inputs, context)
    if schema is not None:
        asked = with_schema(asked, schema)
    if not is_truthy(inputs.get("stream")):
        response, data = await _checked(await asking.chat(asked, context), asked, schema, context)
        yield _outputs(response, _standard(response), data)
        return
    collected, end = Collected(), list[Chunk]()
    async with aclosing(asking.stream(asked, context)) as chunks:
        async for chunk in chunks:
            collected.add(chunk)
            if chunk.type == "finish_reason_chunk":
                end.append(chunk)
            else:
                yield chunk
    answer = collected.response(text_or_empty(inputs.get("activated_model_id")).strip())
    response, data = await _checked(answer, asked, schema, context)
    # The last word of the stream, once it is sure that no error follows it.
    for chunk in end:
        yield chunk
    yield _outputs(response, _streamed(response), data)


async def _checked(
    response: ChatResponse, asked: Asking, schema: Schema | None, context: NodeContext
) -> tuple[ChatResponse, dict[str, Any] | None]:
    """The answer that counts, and the data in it where a schema is given.

    A model that calls tools has not answered yet.
    """
    check_answer(response, context)
    if schema is None or response.tool_calls:
        return response, None
    found = await structured(response, asked, schema, context)
    return found.response, found.data


def _outputs(response: ChatResponse, standard: dict[str, Any], data: dict[str, Any] | None) -> Outputs:
    return Outputs(
        response=standard,
        responseText=response.text,
        tool_calls=[dict(call) for call in response.tool_calls],
        data=data,
        **outputs_of(response),
    )


def _streamed(response: ChatResponse) -> dict[str, Any]:
    return {"text": response.text, "model": response.model, "usage": outputs_of(response)["usage"]}


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


def _told(error: InnkeeperError) -> dict[str, Any]:
    code = error.details.get("provider_code") or error.details.get("status") or error.code
    return {"message": error.message, "code": code, "type": error.code}


def _asked(inputs: Inputs, context: NodeContext) -> Asking:
    messages = read_history(inputs.get("messages"), "messages")
    if not messages:
        raise NodeInputError("nothing to ask: 'messages' is empty")
    has_seed = (number_of(inputs, "seed") or 0) > 0
    parameters = parameters_of(inputs, _SINGLE, (*_SAMPLING, *(("seed",) if has_seed else ())))
    request = ChatRequest(
        messages=messages,
        parameters=parameters.sent,
        idempotency_key=context.idempotency_key,
        wish=_wish(inputs, context),
        times=times_of(context),
        priority=priority_of(context),
    )
    return Asking(request, parameters.unasked)


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
        "parameters": PARAMETERS,
        "activated_model_id": Input(
            "STRING",
            display_name="Model",
            description="The id of a model. Empty: the best one with the required capabilities.",
        ),
        **_SINGLE,
        "stream": STREAM,
        SLOT: Input(
            "OBJECT",
            display_name="Schema of the answer",
            description="JSON Schema of an object, native or as JSON text: the answer is data that keeps to it.",
            match_categories=("Json",),
        ),
    },
    outputs={
        "response": Output(
            "OBJECT", display_name="Response", description="All of the answer.", match_categories=("LlmOutput",)
        ),
        "responseText": Output(
            "STRING", display_name="Text", description="The text of the answer.", match_categories=("LlmOutput",)
        ),
        "usage": OUTPUTS["usage"],
        "stream_output": Output(
            "STRING",
            display_name="Stream",
            description="The answer in pieces; empty unless 'stream' is on.",
            is_stream=True,
            match_categories=("StreamChunk",),
        ),
        "finish_reason": OUTPUTS["finish_reason"],
        "reasoning": OUTPUTS["reasoning"],
        "tool_calls": Output(
            "ARRAY",
            display_name="Calls of tools",
            description="{id, type, function: {name, arguments}} each; 'arguments' is JSON text.",
            match_categories=("LlmOutput",),
        ),
        "data": Output(
            "OBJECT",
            display_name="Data",
            description="The answer as an object that keeps to 'responseSchema', its keys in the schema's order.",
            match_categories=("Json", "LlmOutput"),
        ),
    },
    config_schema={
        "required_capabilities": Input(
            "STRING",
            display_name="Required capabilities",
            description="What the model must be able to do, with commas: llm,chat or llm,vision.",
            config={"default": "llm,chat"},
        ),
        **SETTINGS,
    },
    execute=generic_llm_request,
    bypass_behavior="mute",
    side_effects=True,
    retry=Retry(maximum_attempts=4),
    timeout_s=600,
    total_timeout_s=1800,
    width=350,
)
