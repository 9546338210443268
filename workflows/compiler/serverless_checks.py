"""May a node have the queue of serverless functions? A function outlives neither a stream nor a wait."""

from __future__ import annotations

from innkeeper.nodes.call import SERVERLESS_ATTEMPT_S, SERVERLESS_QUEUE
from innkeeper.nodes.definition import NodeDefinition
from innkeeper.nodes.errors import Problem
from innkeeper.workflows.compiler.node_limits import queue_of, timeouts_of
from innkeeper.workflows.compiler.resolve import ResolvedNode

UNFIT = "unfit_for_serverless"


def serverless_problems(node: ResolvedNode) -> list[Problem]:
    """Why a node cannot run in a function, if it is to."""
    if queue_of(node.node, node.definition) != SERVERLESS_QUEUE or node.node.bypassed:
        return []
    reason = _unfit(node) or _too_long(node)
    message = f"node {node.id!r} cannot run on the queue {SERVERLESS_QUEUE!r}: {reason}"
    return [Problem(UNFIT, message, node=node.id)] if reason else []


def _unfit(node: ResolvedNode) -> str:
    definition = node.definition
    elsewhere = "remove 'queue' from the node"
    if _stays_in_the_workflow(definition):
        return f"type {definition.full_type!r} waits or steers, which the workflow itself does; {elsewhere}"
    if any(slot.is_stream for slots in (node.inputs, node.outputs) for slot in slots.values()):
        return f"type {definition.full_type!r} reads or gives a stream, which a function would cut off; {elsewhere}"
    if not definition.serverless:
        return (
            f"type {definition.full_type!r} does not say that it needs no model, no file and at most "
            f"{SERVERLESS_ATTEMPT_S:g} s; {elsewhere}, or set 'serverless' in the definition of your own type"
        )
    return ""


def _stays_in_the_workflow(definition: NodeDefinition) -> bool:
    runs_there = definition.placement == "workflow" or bool(definition.runs_workflow)
    return runs_there or definition.interface_values or definition.interface_sink


def _too_long(node: ResolvedNode) -> str:
    timeout_s, _ = timeouts_of(node.node, node.definition)
    if timeout_s <= SERVERLESS_ATTEMPT_S:
        return ""
    return (
        f"one attempt may take {timeout_s:g} s, and an invocation has at most {SERVERLESS_ATTEMPT_S:g} s left for it; "
        f"set 'timeoutSeconds' to {SERVERLESS_ATTEMPT_S:g} or less"
    )
