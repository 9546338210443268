"""core:TestWidgets: every kind of field an editor draws, given back as it is."""

from __future__ import annotations

from typing import Any

from innkeeper.nodes.definition import Input, NodeDefinition, Output
from innkeeper.nodes.node import Inputs, NodeContext

_OUTPUTS = {
    "string_input": "string_output",
    "text_input": "text_output",
    "markdown_input": "markdown_output",
    "int_input": "int_output",
    "float_input": "float_output",
    "boolean_toggle": "boolean_output",
    "combo_select": "combo_output",
    "json_input": "json_output",
    "javascript_code_input": "javascript_code_output",
    "string_with_suggestions": "string_with_suggestions_output",
    "int_with_suggestions": "int_with_suggestions_output",
    "float_with_suggestions": "float_with_suggestions_output",
}
_MARKDOWN = "# A heading\n\nSome *text* with a [link](https://example.com).\n\n- one\n- two\n"
_JAVASCRIPT = "function area(width, height) {\n  return width * height;\n}\n"
_JSON = {"name": "Sample", "type": "object", "skill": "being an example"}


async def test_widgets(inputs: Inputs, context: NodeContext) -> dict[str, Any]:
    """Give each input back as its output. What has no value has no output; the button has none either.

    Example:
        >>> run_node(definition, {"int_input": 3})["int_output"]
        3
    """
    return {output: inputs[key] for key, output in _OUTPUTS.items() if key in inputs}


def _suggested(*values: Any) -> tuple[dict[str, Any], ...]:
    return tuple({"value": value, "label": str(value)} for value in values)


definition = NodeDefinition(
    type="TestWidgets",
    category="实用工具",
    display_name="Test widgets",
    display_names={"zh": "测试组件"},
    description="Shows every kind of field and gives back what is typed into it.",
    inputs={
        "string_input": Input(
            "STRING",
            display_name="Line",
            required=True,
            config={"default": "这是默认文本", "placeholder": "One line of text"},
        ),
        "text_input": Input(
            "STRING",
            display_name="Text",
            required=True,
            match_categories=("UiBlock", "CanPreview"),
            config={"default": "这是默认的\n多行文本", "multiline": True},
        ),
        "markdown_input": Input(
            "STRING",
            display_name="Markdown",
            match_categories=("Markdown", "CanPreview", "UiBlock"),
            config={"default": _MARKDOWN, "multiline": True, "languageHint": "markdown"},
        ),
        "int_input": Input(
            "INTEGER",
            display_name="Whole number",
            required=True,
            config={"default": 10, "min": 0, "max": 100, "step": 1},
        ),
        "float_input": Input(
            "FLOAT", display_name="Number", required=True, config={"default": 0.5, "min": 0, "max": 1, "step": 0.01}
        ),
        "boolean_toggle": Input("BOOLEAN", display_name="Switch", required=True, config={"default": True}),
        "combo_select": Input(
            "STRING",
            display_name="Choice",
            required=True,
            match_categories=("ComboOption",),
            config={"default": "选项A", "suggestions": _suggested("选项A", "选项B", "选项C")},
        ),
        "json_input": Input(
            "OBJECT",
            display_name="JSON",
            match_categories=("Json", "CanPreview", "UiBlock"),
            config={"default": _JSON},
        ),
        "javascript_code_input": Input(
            "STRING",
            display_name="JavaScript",
            match_categories=("Code", "JavaScript", "CanPreview"),
            config={"default": _JAVASCRIPT, "languageHint": "javascript"},
        ),
        "string_with_suggestions": Input(
            "STRING",
            display_name="Line with suggestions",
            config={"default": "默认值", "suggestions": _suggested("预设A", "预设B", "另一个预设")},
        ),
        "int_with_suggestions": Input(
            "INTEGER",
            display_name="Whole number with suggestions",
            config={
                "default": 512,
                "min": 64,
                "max": 4096,
                "step": 64,
                "suggestions": _suggested(256, 512, 1024, 2048),
            },
        ),
        "float_with_suggestions": Input(
            "FLOAT",
            display_name="Number with suggestions",
            config={
                "default": 7.5,
                "min": 0,
                "max": 15,
                "step": 0.5,
                "suggestions": _suggested(1, 5, 7.5, 10, 12.5),
            },
        ),
        "button_trigger": Input(
            "WILDCARD", display_name="Button", match_categories=("Trigger",), config={"label": "Press"}
        ),
    },
    outputs={
        "string_output": Output("STRING", display_name="Line"),
        "text_output": Output("STRING", display_name="Text"),
        "markdown_output": Output("STRING", display_name="Markdown", match_categories=("Markdown",)),
        "int_output": Output("INTEGER", display_name="Whole number"),
        "float_output": Output("FLOAT", display_name="Number"),
        "boolean_output": Output("BOOLEAN", display_name="Switch"),
        "combo_output": Output("STRING", display_name="Choice"),
        "json_output": Output("OBJECT", display_name="JSON", match_categories=("Json",)),
        "javascript_code_output": Output("STRING", display_name="JavaScript", match_categories=("Code", "JavaScript")),
        "string_with_suggestions_output": Output("STRING", display_name="Line with suggestions"),
        "int_with_suggestions_output": Output("INTEGER", display_name="Whole number with suggestions"),
        "float_with_suggestions_output": Output("FLOAT", display_name="Number with suggestions"),
    },
    execute=test_widgets,
    placement="inline",
)
