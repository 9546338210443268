"""core:RegexRuleLoader: regex rules or regex scripts from a file."""

from __future__ import annotations

from typing import Any

from innkeeper.nodes.definition import BypassBehavior, NodeDefinition, Output
from innkeeper.nodes.library.loaders.resource import load, resource_item, tell
from innkeeper.nodes.node import Inputs, NodeContext


async def load_rules(inputs: Inputs, context: NodeContext) -> dict[str, Any]:
    """Read a list of rules, or SillyTavern's regex scripts: one, several, or those in a card or preset file.

    Items come out as they stand in the file. `.yaml` and `.yml` are read as YAML, everything else as JSON.
    Rules that would not run become warnings.

    Raises:
        NodeInputError: No file is chosen.
        ResourceError: The file is missing, too large or out of bounds.
        FormatError: The file is not JSON or YAML, or holds something else.
    """
    loaded = await load(context, "ruleResource", "regex rules", "innkeeper.nodes.tavern.regex_rules:load_rules")
    tell(context, "ruleResource", "regex rules", loaded["warnings"])
    return {"regexRules": loaded["rules"]}


definition = NodeDefinition(
    type="RegexRuleLoader",
    category="Loaders",
    display_name="Load regex rules",
    display_names={"zh": "加载正则规则"},
    description="Reads regex rules or SillyTavern regex scripts from a JSON or YAML file.",
    outputs={
        "regexRules": Output(
            "ARRAY",
            display_name="Rules",
            description="The rules as they stand in the file.",
            match_categories=("RegexRuleArray",),
        )
    },
    config_schema={
        "ruleResource": resource_item("Rule file", ("json", "yaml", "yml"), "user://library/regex/rules.json")
    },
    execute=load_rules,
    bypass_behavior=BypassBehavior(defaults={"regexRules": []}),
    width=300,
)
