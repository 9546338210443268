"""core:JsonExtract: take a part out of JSON with a JMESPath expression."""

from __future__ import annotations

from typing import Any

from innkeeper.nodes.definition import Input, NodeDefinition, Output
from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.node import Inputs, NodeContext

EXTRACT = "innkeeper.nodes.library.utilities.json_search:extract"
TIMEOUT_S = 10.0


async def json_extract(inputs: Inputs, context: NodeContext) -> dict[str, Any]:
    """Apply a JMESPath expression to an object, a list or JSON text, in a process that is ended when it takes too long.

    What is not there, and null, gives `default`; `found` then is false.

    Raises:
        NodeInputError: `data` is no JSON (`invalid_format`), or the expression is wrong (`invalid_expression`), both
            with the place.
        NodeTimeout: It ran for more than 10 s.

    Example:
        >>> run_node(definition, {"data": '{"users": [{"name": "Ann"}]}', "expression": "users[*].name"})
        {'value': ['Ann'], 'text': '["Ann"]', 'found': True}
    """
    expression = inputs.get("expression")
    if not isinstance(expression, str) or not expression.strip():
        raise NodeInputError("'expression' is empty; give a JMESPath expression such as 'items[0].name'")
    arguments = {"value": inputs.get("data"), "expression": expression, "default": inputs.get("default")}
    outputs: dict[str, Any] = await context.services.scripts.call(EXTRACT, arguments, timeout_s=TIMEOUT_S)
    return outputs


definition = NodeDefinition(
    type="JsonExtract",
    category="实用工具",
    display_name="Extract from JSON",
    display_names={"zh": "JSON 提取"},
    description="Takes a part out of an object, a list or JSON text with a JMESPath expression.",
    inputs={
        "data": Input(
            "WILDCARD",
            display_name="Data",
            description="An object, a list, or the text of JSON.",
            required=True,
            match_categories=("Json",),
        ),
        "expression": Input(
            "STRING",
            display_name="Expression",
            description="JMESPath: items[0].name, items[?price > `5`].name, length(items), ...",
            required=True,
            config={"default": "", "multiline": False, "placeholder": "items[0].name"},
        ),
        "default": Input(
            "WILDCARD", display_name="Default", description="The value when nothing is found, or null is."
        ),
    },
    outputs={
        "value": Output("WILDCARD", display_name="Value", description="What was found, else the default."),
        "text": Output("STRING", display_name="Text", description="The value as text; lists and objects as JSON."),
        "found": Output("BOOLEAN", display_name="Found", description="Whether there is a value other than null."),
    },
    execute=json_extract,
    deterministic=True,
    timeout_s=120,
)
