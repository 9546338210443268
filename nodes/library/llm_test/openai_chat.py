"""core:OpenAIChat: one turn of a conversation, with the history to carry on with."""

from __future__ import annotations

from typing import Any

from innkeeper.nodes.definition import Input, NodeDefinition, Output, Retry
from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.json_values import dump_json
from innkeeper.nodes.library.llm import asking
from innkeeper.nodes.library.llm.answer import OUTPUTS, check_answer, outputs_of
from innkeeper.nodes.library.llm.messages import read_history
from innkeeper.nodes.library.llm.parameters import PARAMETERS
from innkeeper.nodes.library.llm.settings import SETTINGS
from innkeeper.nodes.library.llm_test.images import user_message
from innkeeper.nodes.library.llm_test.request import asking_of
from innkeeper.nodes.library.llm_test.slots import API_SETTINGS, IMAGE, MAX_TOKENS, TEMPERATURE
from innkeeper.nodes.library.math.numbers import trim
from innkeeper.nodes.library.utilities.text import to_text
from innkeeper.nodes.node import Inputs, NodeContext

Messages = list[dict[str, Any]]
_RULE = "-" * 40
_NO_ANSWER = "The model's reply was empty."


async def openai_chat(inputs: Inputs, context: NodeContext) -> dict[str, Any]:
    """Ask a model for the next turn after `external_history` and the user's input.

    `history` is what came in, the user's turn and the answer, never the system prompt. An empty answer is told in
    `current_output` and is not part of the history. `clear_history` has no effect: nothing is kept between runs.

    Raises:
        NodeInputError: Nothing to ask, or an input that cannot be used.
        ProviderError, NodeMustWait, RequestRefused: See `nodes.services.llm`.
    """
    system, turns = _chat_messages(inputs)
    response = await asking.chat(await asking_of([*system, *turns], inputs, context), context)
    check_answer(response, context)
    answer = trim(response.text)
    if answer:
        turns = [*turns, {"role": "assistant", "content": answer}]
    return {
        "full_conversation": _transcript([*system, *turns]),
        "current_output": answer or _NO_ANSWER,
        "history": dump_json(turns),
        **outputs_of(response),
    }


def _chat_messages(inputs: Inputs) -> tuple[Messages, Messages]:
    """The system prompt, and what is said before and in this turn."""
    history = read_history(inputs.get("external_history"), "external_history")
    system_prompt, said, image = (
        to_text(inputs.get("system_prompt")),
        to_text(inputs.get("user_input")),
        inputs.get("image"),
    )
    if not (history or system_prompt or said or image):
        raise NodeInputError("nothing to ask: give a 'user_input', an 'image' or an 'external_history'")
    system = [{"role": "system", "content": system_prompt}] if system_prompt else []
    return system, [*history, user_message(said, image)]


def _transcript(messages: Messages) -> str:
    turns = "".join(f"{_role_label(message)}: {_said(message)}\n{_RULE}\n" for message in messages)
    return f"Conversation\n\n{turns}"


def _role_label(message: dict[str, Any]) -> str:
    role: str = message["role"]
    return role[:1].upper() + role[1:]


def _said(message: dict[str, Any]) -> str:
    content = message.get("content")
    if not isinstance(content, list):
        return to_text(content)
    parts = [part for part in content if isinstance(part, dict)]
    text = "".join(to_text(part.get("text")) for part in parts if part.get("type") == "text")
    has_image = any(part.get("type") == "image_url" for part in parts)
    return f"{text} [image included]".lstrip() if has_image else text


definition = NodeDefinition(
    type="OpenAIChat",
    category="TEST-LLM",
    display_name="OpenAI chat",
    display_names={"zh": "OpenAI 对话"},
    description="Asks an OpenAI-compatible server for the next turn of a conversation.",
    inputs={
        "api_settings": API_SETTINGS,
        "model": Input(
            "STRING",
            display_name="Model",
            description="Its name, as the server calls it.",
            required=True,
            config={"default": "gpt-4o", "placeholder": "Name of a model"},
        ),
        "temperature": TEMPERATURE,
        "max_tokens": MAX_TOKENS,
        "system_prompt": Input(
            "STRING",
            display_name="System prompt",
            description="May be empty. Never part of the history that comes out.",
            required=True,
            match_categories=("Prompt",),
            config={"multiline": True},
        ),
        "clear_history": Input(
            "BOOLEAN",
            display_name="Clear history",
            description="Has no effect: the node keeps no history of its own.",
            required=True,
            config={"default": False},
        ),
        "user_input": Input(
            "STRING",
            display_name="User's turn",
            description="What the user says now.",
            required=True,
            match_categories=("Prompt",),
            config={"multiline": True},
        ),
        "external_history": Input(
            "STRING",
            display_name="History",
            description="Turns before this one, as JSON text or a list.",
            match_categories=("ChatHistory", "Json"),
        ),
        "image": IMAGE,
        "parameters": PARAMETERS,
    },
    outputs={
        "full_conversation": Output(
            "STRING",
            display_name="Conversation",
            description="Everything said, to read.",
            match_categories=("ChatHistory",),
        ),
        "current_output": Output(
            "STRING",
            display_name="Answer",
            description="What the model says, without white space around it.",
            match_categories=("LlmOutput",),
        ),
        "history": Output(
            "STRING",
            display_name="History",
            description="The turns so far as JSON text, for the next turn.",
            match_categories=("ChatHistory", "Json"),
        ),
        **OUTPUTS,
    },
    config_schema=SETTINGS,
    execute=openai_chat,
    bypass_behavior="mute",
    side_effects=True,
    retry=Retry(maximum_attempts=4),
    timeout_s=600,
    total_timeout_s=1800,
)
