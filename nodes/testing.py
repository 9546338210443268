"""For authors of nodes: run one in a test, without a gateway, a worker or a server."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from innkeeper.nodes.definition import Input, NodeDefinition
from innkeeper.nodes.node import Chunk, NodeContext, Outputs, Services


@dataclass
class NodeRun:
    """What a node did.

    Attributes:
        outputs: Output slot to value.
        chunks: What a stream node yielded, in order.
        warnings: What it told by `context.warn`: `{"code", "message"}`.
        progress: What it told by `context.progress`: value and maximum.
    """

    outputs: dict[str, Any] = field(default_factory=dict)
    chunks: list[Chunk] = field(default_factory=list)
    warnings: list[dict[str, str]] = field(default_factory=list)
    progress: list[tuple[float, float]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text of a stream: the contents of its text chunks together."""
        return "".join(chunk.content for chunk in self.chunks if chunk.type == "text_chunk")


class _NoServices:
    """Says what to do when a node asks for a service that the test did not give."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the node uses services.{name}: give run_node one, services=MyServices()")


async def run_node(
    definition: NodeDefinition,
    inputs: Mapping[str, Any] | None = None,
    *,
    config: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    mode: str | None = None,
    services: Any = None,
) -> NodeRun:
    """Run a node once, with the defaults of its slots where nothing is given; its exceptions come through.

    Args:
        inputs: Input slot to value.
        config: Values of its settings (`config_schema`).
        settings: Options of its plugin (`context.plugin_settings`).
        mode: For a node with modes.
        services: An object with those of `llm`, `secrets`, `resources`, `blobs`, `http`, ... that the node uses.
    """
    run = NodeRun()
    chosen = definition.modes[mode] if mode is not None else None
    values = {**_defaults(chosen.inputs if chosen else definition.inputs), **(inputs or {})}
    context = NodeContext(
        prompt_id="test",
        node_id=definition.type,
        services=cast(Services, services if services is not None else _NoServices()),
        mode_id=mode,
        config_values={**_defaults(definition.config_schema), **(config or {})},
        plugin_settings=dict(settings or {}),
        progress=lambda value, maximum: run.progress.append((value, maximum)),
        warnings=run.warnings,
    )
    execute = (chosen.execute if chosen else None) or definition.execute
    assert execute is not None, f"{definition.full_type} has no execute"
    result: Any = execute(values, context)
    if hasattr(result, "__aiter__"):
        async for item in result:
            if isinstance(item, Outputs):
                run.outputs = dict(item)
            else:
                run.chunks.append(item)
        return run
    run.outputs = dict((await result if inspect.isawaitable(result) else result) or {})
    return run


def _defaults(slots: Mapping[str, Input]) -> dict[str, Any]:
    return {key: slot.config["default"] for key, slot in slots.items() if "default" in slot.config}
