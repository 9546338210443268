"""core:ContextBuilder: card, preset, world book, history and regex scripts to the messages for a model."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from innkeeper.nodes.definition import BypassBehavior, Input, NodeDefinition, Output
from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.json_values import is_number
from innkeeper.nodes.node import Inputs, NodeContext

DEFAULT_TIMEOUT_S = 30.0
MAX_TIMEOUT_S = 240.0


async def build_context(inputs: Inputs, context: NodeContext) -> dict[str, Any]:
    """Put the prompt together as SillyTavern does, and tell what went in and why.

    A preset without `prompts` follows three old rules instead (card's system prompt, history, `user_prompt`), and so
    do a history and a flat card without any of the other inputs; the setting `mode` overrules that.

    `chatState` of one turn is an input of the next: it carries timed effects of world info and macro variables.
    Without `seed` chance is drawn from the run, so a second attempt gives the same messages. The clock is read once,
    here; the setting `now` stops it. The warnings of the report are also those of the node.

    Raises:
        NodeInputError: An input or setting is not what it should be (FormatError names it).
        NodeError: What must be sent does not fit (`context_too_small`), or the work took too long (`timeout`).
    """
    seed = inputs.get("seed")
    given = {key: inputs.get(key) for key in definition.inputs if key != "seed" and inputs.get(key) is not None}
    result = await context.services.scripts.call(
        "innkeeper.nodes.tavern.context.builder:build_with_warnings",
        {
            "inputs": given,
            "seed": str(context.random.getrandbits(64)) if seed is None or seed == "" else str(seed),
            "now": datetime.now(UTC).isoformat(),
        },
        timeout_s=_timeout_s(inputs.get("settings")),
    )
    for warning in result["warnings"]:
        context.warn(**warning)
    return dict(result["outputs"])


def _timeout_s(settings: Any) -> float:
    value = settings.get("timeoutSeconds") if isinstance(settings, Mapping) else None
    if value is None:
        return DEFAULT_TIMEOUT_S
    if not is_number(value) or not 0 < value <= MAX_TIMEOUT_S:
        raise NodeInputError(f"setting 'timeoutSeconds' must be a number above 0, at most {MAX_TIMEOUT_S:g}")
    return float(value)


definition = NodeDefinition(
    type="ContextBuilder",
    category="Processors",
    display_name="Build context",
    display_names={"zh": "构建上下文"},
    description="Makes the list of messages for a model from preset, world book, character card and history.",
    inputs={
        "presetData": Input("OBJECT", display_name="Preset", description="A chat-completion preset."),
        "worldBookData": Input("OBJECT", display_name="World book", description="A book of any known shape."),
        "characterData": Input(
            "OBJECT",
            display_name="Character",
            description="A card of any version; its own book is active, its regex scripts are not.",
            match_categories=("CharacterProfile",),
        ),
        "historyMessages": Input(
            "ARRAY",
            display_name="History",
            description="Messages of the chat, oldest first, or their JSON text.",
            match_categories=("ChatHistory",),
        ),
        "userName": Input(
            "STRING",
            display_name="User name",
            description="{{user}}; when empty, the user's name in the history, else 'User'.",
        ),
        "persona": Input(
            "WILDCARD",
            display_name="Persona",
            description="About the user: a text, or {description, position, depth, role}.",
        ),
        "authorsNote": Input(
            "WILDCARD",
            display_name="Author's note",
            description="A text, or {text, position, depth, role, interval}.",
        ),
        "regexScripts": Input(
            "ARRAY",
            display_name="Regex scripts",
            description="SillyTavern scripts for the prompt.",
            match_categories=("RegexRuleArray",),
        ),
        "chatState": Input("OBJECT", display_name="Chat state", description="What the last turn gave."),
        "variables": Input("OBJECT", display_name="Variables", description="Macro variables, set before this turn."),
        "settings": Input(
            "OBJECT",
            display_name="Settings",
            description="Generation type, post-processing, world info settings and options.",
        ),
        "maxContext": Input("INTEGER", display_name="Context size", description="Tokens, instead of the preset's."),
        "seed": Input("WILDCARD", display_name="Seed", description="Makes what is left to chance repeatable."),
    },
    outputs={
        "finalMessages": Output(
            "ARRAY",
            display_name="Messages",
            description="The messages to send, oldest first.",
            match_categories=("ChatHistory",),
        ),
        "report": Output("OBJECT", display_name="Report", description="What went in, what was cut, and why."),
        "chatState": Output("OBJECT", display_name="Chat state", description="For the next turn."),
    },
    execute=build_context,
    bypass_behavior=BypassBehavior(pass_through={"finalMessages": "historyMessages"}),
    width=350,
)
