"""core:Template: fill in a Jinja template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.nodes.definition import Input, NodeDefinition, Output
from innkeeper.nodes.errors import NodeInputError
from innkeeper.nodes.json_values import MAX_VALUE_DEPTH, InvalidJson, is_number, read_json
from innkeeper.nodes.library.utilities.text import to_text
from innkeeper.nodes.node import Inputs, NodeContext
from innkeeper.nodes.tavern.documents import kind_of

RENDER = "innkeeper.nodes.library.utilities.template_text:render"
TIME_LIMIT_S = 10.0
MAX_TIME_LIMIT_S = 60.0


async def template(inputs: Inputs, context: NodeContext) -> dict[str, str]:
    """Fill in a template of Jinja's sandbox, in a process that is ended when the template never does.

    The keys of `values` are the template's names; `input` is one more, for the value of that slot. What a template
    writes follows the rules of all nodes: nothing for null, `true`, numbers as JavaScript has them, lists and objects
    as JSON. A name without a value is an error; `{{ name | default("x") }}` allows it.

    Raises:
        NodeInputError: The template (`template_error`, with its line) or `values` cannot be used.
        NodeTimeout: It ran longer than the config value `timeLimit` (10 s).

    Example:
        >>> run_node(definition, {"template": "Hello {{ name }}!", "values": {"name": "Ann"}})
        {'text': 'Hello Ann!'}
    """
    arguments = {
        "source": to_text(inputs.get("template")),
        "values": _values(inputs),
        "seed": context.random.getrandbits(32),
    }
    return {"text": await context.services.scripts.call(RENDER, arguments, timeout_s=_time_limit(context))}


def _time_limit(context: NodeContext) -> float:
    value = context.config_values.get("timeLimit", TIME_LIMIT_S)
    if not is_number(value) or not 0 < value <= MAX_TIME_LIMIT_S:
        raise NodeInputError(f"'timeLimit' must be a number of seconds above 0, at most {MAX_TIME_LIMIT_S:g}")
    return float(value)


def _values(inputs: Inputs) -> dict[str, Any]:
    values = inputs.get("values")
    if isinstance(values, str):
        values = _read_object(values) if values.strip() else None
    if values is None:
        values = {}
    if not isinstance(values, Mapping):
        raise NodeInputError(f"'values' must be an object, found {kind_of(values)}")
    given = {"input": inputs["input"]} if inputs.get("input") is not None else {}
    return {**given, **values}


def _read_object(text: str) -> Any:
    try:
        return read_json(text, max_depth=MAX_VALUE_DEPTH)
    except InvalidJson:
        raise NodeInputError("'values' is a text, but not the JSON of an object") from None


definition = NodeDefinition(
    type="Template",
    category="实用工具",
    display_name="Template",
    display_names={"zh": "模板"},
    description="Fills in a Jinja template: {{ name }}, {% if %}, {% for %}, filters.",
    inputs={
        "template": Input(
            "STRING",
            display_name="Template",
            description="Names come from 'values'; {{ input }} is the value of 'input'.",
            required=True,
            match_categories=("Prompt", "UiBlock"),
            config={"default": "", "multiline": True, "placeholder": "Hello {{ name }}!"},
        ),
        "values": Input(
            "OBJECT",
            display_name="Values",
            description="The names the template knows, and their values: an object or its JSON.",
            match_categories=("Json",),
            config={"default": {}},
        ),
        "input": Input(
            "WILDCARD", display_name="Input", description="One value of any kind, {{ input }} in the template."
        ),
    },
    outputs={"text": Output("STRING", display_name="Text", description="The template, filled in.")},
    config_schema={
        "timeLimit": Input(
            "FLOAT",
            display_name="Time limit",
            description="In seconds.",
            config={"default": TIME_LIMIT_S, "min": 0.1, "max": MAX_TIME_LIMIT_S},
        )
    },
    execute=template,
    # Not deterministic: a text may come in that uses the filter `random`.
    timeout_s=120,
)
