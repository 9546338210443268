"""core:ApplyRegex: find and replace by rules."""

from __future__ import annotations

from innkeeper.nodes.definition import BypassBehavior, Input, NodeDefinition, Output
from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.node import Inputs, NodeContext
from innkeeper.nodes.tavern.documents import kind_of
from innkeeper.nodes.tavern.regex_rules import TOTAL_S, collect_rules


async def apply_regex(inputs: Inputs, context: NodeContext) -> dict[str, str]:
    """Apply rules `{name, pattern, replacement, flags?, enabled?}` in order, as JavaScript's `replace` does.

    Inline rules come first. Of rules with the same name the first counts, also when it is disabled. Rules that are no
    rules are left out with a warning. Regex scripts of SillyTavern may stand in both lists: enabled ones run here
    whatever placement, stage and depth they are meant for, and macros in them stay as they are.

    Raises:
        NodeInputError: `inputText` is no text.
        BadPattern: A pattern or flags that JavaScript refuses; names the rule.
        PatternTimeout: A pattern that runs too long; names the rule.
        FormatError: More than 1,000 rules, or a text that is longer than 1 MiB or becomes so.
    """
    text = inputs.get("inputText")
    if not isinstance(text, str):
        raise NodeInputError(f"input 'inputText' must be a text, found {kind_of(text)}")
    rules, warnings = collect_rules(inputs.get("inlineRegexRules"), inputs.get("regexRules"))
    for warning in warnings:
        context.logger.warning(warning)
        context.warn("rule_left_out", warning)
    if not rules:
        return {"outputText": text}
    call = {"text": text, "rules": rules}
    result = await context.services.scripts.call(
        "innkeeper.nodes.tavern.regex_rules:apply_rules", call, timeout_s=TOTAL_S + 2
    )
    return {"outputText": result}


definition = NodeDefinition(
    type="ApplyRegex",
    category="Processors",
    display_name="Apply regex rules",
    display_names={"zh": "应用正则规则"},
    description="Finds and replaces in a text by JavaScript regular expressions.",
    inputs={
        "inputText": Input("STRING", display_name="Text", description="The text to work on.", required=True),
        "inlineRegexRules": Input(
            "ARRAY",
            display_name="Inline rules",
            description="Rules kept in this node; they come first and hide loaded rules of the same name.",
            match_categories=("RegexRuleArray",),
            config={"defaultValue": []},
            actions=(
                {
                    "id": "edit_inline_rules",
                    "label": "Edit rules",
                    "handlerType": "open_panel",
                    "handlerArgs": {"panelId": "RegexEditorModal"},
                },
            ),
        ),
        "regexRules": Input(
            "ARRAY",
            display_name="Rules",
            description="Rules or regex scripts, as a loader gives them.",
            match_categories=("RegexRuleArray",),
        ),
    },
    outputs={"outputText": Output("STRING", display_name="Text", description="What the rules made of it.")},
    execute=apply_regex,
    deterministic=True,
    bypass_behavior=BypassBehavior(pass_through={"outputText": "inputText"}),
    width=300,
)
