"""core:TextMerge: join texts."""

from __future__ import annotations

from innkeeper.nodes.definition import Input, NodeDefinition, Output
from innkeeper.nodes.library.utilities.text import parse_escapes, to_text
from innkeeper.nodes.node import Inputs, NodeContext

# Two characters, as typed into the field: it is read as a line break when the node runs.
DEFAULT_SEPARATOR = "\\n"


async def text_merge(inputs: Inputs, context: NodeContext) -> dict[str, str]:
    r"""Join texts in the order of their connections. What has no value counts as empty text and keeps its separators.

    Example:
        >>> run_node(definition, {"text_inputs": ["a", None, 1.0], "separator": r"\t"})
        {'merged_text': 'a\t\t1'}
    """
    parts = inputs.get("text_inputs")
    if not isinstance(parts, list):
        parts = [parts]
    separator = inputs.get("separator")
    separator = parse_escapes(DEFAULT_SEPARATOR if separator is None else to_text(separator))
    return {"merged_text": separator.join(to_text(part) for part in parts)}


definition = NodeDefinition(
    type="TextMerge",
    category="实用工具",
    display_name="Merge text",
    display_names={"zh": "合并文本"},
    description="Joins any number of texts with a separator.",
    inputs={
        "separator": Input(
            "STRING",
            display_name="Separator",
            description=r"Stands between two texts. \n is a line break, \t a tab, \\ a backslash.",
            config={"default": DEFAULT_SEPARATOR, "multiline": False},
        ),
        "text_inputs": Input(
            "STRING",
            display_name="Texts",
            description="The texts, joined in the order of their connections.",
            required=True,
            multi=True,
            match_categories=("UiBlock",),
        ),
    },
    outputs={"merged_text": Output("STRING", display_name="Text", description="All texts, joined.")},
    execute=text_merge,
    placement="inline",
)
