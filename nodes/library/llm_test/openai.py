"""core:OpenAI: one answer of a language model, whole or streamed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from innkeeper.nodes.definition import Input, NodeDefinition, Output, Retry
from innkeeper.nodes.errors import InnkeeperError, NodeInputError
from innkeeper.nodes.library.llm import asking
from innkeeper.nodes.library.llm.answer import OUTPUTS, Collected, check_answer, is_final, outputs_of
from innkeeper.nodes.library.llm.messages import read_history
from innkeeper.nodes.library.llm.parameters import PARAMETERS, STREAM
from innkeeper.nodes.library.llm.settings import SETTINGS
from innkeeper.nodes.library.llm_test.images import user_message
from innkeeper.nodes.library.llm_test.request import asking_of
from innkeeper.nodes.library.llm_test.slots import API_SETTINGS, IMAGE, MAX_TOKENS, TEMPERATURE
from innkeeper.nodes.library.utilities.text import is_truthy, to_text
from innkeeper.nodes.node import Chunk, Inputs, NodeContext, Outputs

_MODELS = ("deepseek-chat", "chatgpt-4o-latest", "claude-sonnet-4-20250514", "gemini-2.5-flash-preview-05-20")
_STREAMED = ("text_chunk", "reasoning_chunk")


async def openai(inputs: Inputs, context: NodeContext) -> AsyncIterator[Chunk | Outputs]:
    """Ask a model for one answer; with `stream`, its pieces go out as they come.

    The stream is the text, the reasoning in chunks of its own, and one `finish_reason_chunk` whose content is the
    reason itself; usage is not part of it. An error that no further attempt can heal ends the stream with an
    `error_chunk` before it fails the node.

    Raises:
        NodeInputError: Nothing to ask, or an input that cannot be used.
        ProviderError, NodeMustWait, RequestRefused: See `nodes.services.llm`.
    """
    if not is_truthy(inputs.get("stream")):
        response = await asking.chat(await asking_of(_prompt_messages(inputs), inputs, context), context)
        check_answer(response, context)
        yield Outputs(response=response.text, **outputs_of(response))
        return
    collected = Collected()
    try:
        asked = await asking_of(_prompt_messages(inputs), inputs, context)
        async with aclosing(asking.stream(asked, context)) as chunks:
            async for chunk in chunks:
                collected.add(chunk)
                if chunk.type in _STREAMED:
                    yield chunk
        response = collected.response(asked.request.model)
        check_answer(response, context)
    except InnkeeperError as error:
        if is_final(error, context):
            yield Chunk("error_chunk", error.message)
        raise
    outputs = outputs_of(response)
    # Last, once it is sure that no error follows it.
    yield Chunk("finish_reason_chunk", outputs["finish_reason"])
    yield Outputs(response=response.text, **outputs)


def _prompt_messages(inputs: Inputs) -> list[dict[str, Any]]:
    """System prompt, history, then the user's turn."""
    messages = read_history(inputs.get("history"), "history")
    prompt, image = to_text(inputs.get("prompt")), inputs.get("image")
    if not prompt and not image and not messages:
        raise NodeInputError("nothing to ask: give a 'prompt', an 'image' or a 'history'")
    if prompt or image:
        messages.append(user_message(prompt, image))
    system_prompt = to_text(inputs.get("system_prompt"))
    return [{"role": "system", "content": system_prompt}, *messages] if system_prompt else messages


definition = NodeDefinition(
    type="OpenAI",
    category="TEST-LLM",
    display_name="OpenAI",
    display_names={"zh": "OpenAI"},
    description="Asks an OpenAI-compatible server for one answer.",
    inputs={
        "api_settings": API_SETTINGS,
        "model": Input(
            "STRING",
            display_name="Model",
            description="Its name, as the server calls it.",
            required=True,
            config={
                "default": "deepseek-chat",
                "suggestions": tuple({"value": model, "label": model} for model in _MODELS),
            },
        ),
        "temperature": TEMPERATURE,
        "max_tokens": MAX_TOKENS,
        "system_prompt": Input(
            "STRING",
            display_name="System prompt",
            description="What stands before everything else; may be empty.",
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
        "image": IMAGE,
        "stream": STREAM,
        "parameters": PARAMETERS,
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
        **OUTPUTS,
    },
    config_schema=SETTINGS,
    execute=openai,
    bypass_behavior="mute",
    side_effects=True,
    retry=Retry(maximum_attempts=4),
    timeout_s=600,
    total_timeout_s=1800,
)
