"""core:Merge: several ways become one again."""

from __future__ import annotations

from innkeeper.nodes.definition import Input, NodeDefinition
from innkeeper.nodes.library.control.settings import VALUE_OUT

definition = NodeDefinition(
    type="Merge",
    category="Control",
    display_name="Merge",
    display_names={"zh": "合并"},
    description="Goes on with the first value that arrives. Skipped only when none can arrive any more.",
    inputs={
        "values": Input(
            "WILDCARD",
            display_name="Values",
            description="Ways that become one again; of those that are there together the first counts.",
            required=True,
            multi=True,
        )
    },
    outputs={"value": VALUE_OUT},
    placement="workflow",
    joins=True,
)
