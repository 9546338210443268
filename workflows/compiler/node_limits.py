"""How often and how long a node may run: the document's settings over its type's over the defaults."""

from __future__ import annotations

from innkeeper.nodes.call import SERVERLESS_ATTEMPT_S, SERVERLESS_QUEUE
from innkeeper.nodes.definition import NodeDefinition, Retry
from innkeeper.workflows.document.model import DocumentNode

DEFAULT_TIMEOUT_S = 300.0
TOTAL_PER_TIMEOUT = 3.0


def queue_of(node: DocumentNode, definition: NodeDefinition) -> str | None:
    """The task queue of a node; None is that of the run."""
    return node.queue or definition.queue


def leaves_segment(node: DocumentNode, definition: NodeDefinition) -> bool:
    """An inline node with settings of its own runs as an activity of its own."""
    overrides = (node.retry, node.timeout_seconds, node.queue, node.cache or None)
    return definition.placement == "inline" and any(value is not None for value in overrides)


def retry_of(node: DocumentNode, definition: NodeDefinition) -> Retry:
    """The document's settings over the definition's over the defaults: 4 attempts, 2 with side effects."""
    base = definition.retry or Retry(maximum_attempts=2 if definition.side_effects else 4)
    overrides = {key: value for key, value in (node.retry or {}).items() if value is not None}
    return Retry(
        maximum_attempts=int(overrides.get("maximumAttempts", base.maximum_attempts)),
        initial_seconds=float(overrides.get("initialSeconds", base.initial_seconds)),
        backoff=float(overrides.get("backoff", base.backoff)),
        maximum_seconds=float(overrides.get("maximumSeconds", base.maximum_seconds)),
        non_retryable=tuple(overrides.get("nonRetryable", base.non_retryable)),
    )


def timeouts_of(node: DocumentNode, definition: NodeDefinition) -> tuple[float, float]:
    """Seconds for one attempt and for all of them."""
    if node.timeout_seconds is not None:
        return float(node.timeout_seconds), TOTAL_PER_TIMEOUT * node.timeout_seconds
    default_s = SERVERLESS_ATTEMPT_S if queue_of(node, definition) == SERVERLESS_QUEUE else DEFAULT_TIMEOUT_S
    timeout_s = float(definition.timeout_s or default_s)
    return timeout_s, float(definition.total_timeout_s or TOTAL_PER_TIMEOUT * timeout_s)
