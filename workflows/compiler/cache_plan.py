"""Which nodes the result cache may answer for. Pure."""

from __future__ import annotations

from innkeeper.nodes.errors import Problem
from innkeeper.workflows.compiler.resolve import ResolvedNode
from innkeeper.workflows.compiler.secrets_plan import secret_keys


def is_cached(node: ResolvedNode) -> bool:
    """Does the document, or else the node type, want its results kept, and may they be?"""
    wished = node.definition.deterministic if node.node.cache is None else node.node.cache
    return wished and not node.node.bypassed and not obstacle(node)


def cache_warnings(node: ResolvedNode) -> list[Problem]:
    """A document that asks for what cannot be."""
    why = obstacle(node) if node.node.cache else ""
    if not why:
        return []
    message = f"node {node.id!r} asks for the result cache, but {why}, so it always runs; take 'cache' away"
    return [Problem("not_cached", message, level="warning", node=node.id)]


def obstacle(node: ResolvedNode) -> str:
    """Why results of a node are never kept; "" when they may be."""
    definition = node.definition
    if definition.placement == "workflow" or definition.interface_values or definition.interface_sink:
        return "it is part of the run's own course"
    slots = (*node.inputs.values(), *node.config_schema.values())
    if any(slot.is_stream for slot in (*node.inputs.values(), *node.outputs.values())):
        return "it reads or gives a stream"
    if any(secret_keys(slot) for slot in slots) or any(slot.secret_keys for slot in node.outputs.values()):
        return "secrets pass through it"
    return ""
