"""How often and how long a node may run: the document's settings over its type's over the defaults."""

from __future__ import annotations

from innkeeper.nodes.call import SERVERLESS_ATTEMPT_S, SERVERLESS_QUEUE
from innkeeper.nodes.definition import NodeDefinition, Retry
from innkeeper.workflows.document.model import DocumentNode

DEFAULT_TIMEOUT_S = 300.0
TOTAL_PER_TIMEOUT = 3.0
NO_TOTAL_S = 86_400.0
"""For all attempts of a node whose limit counts silence: a stream may take as long as it goes on."""
MAX_TIMEOUTS = 2
"""Attempts that may run out of time: what was paid for in vain once is paid for once more."""


def queue_of(node: DocumentNode, definition: NodeDefinition) -> str | None:
    """The task queue of a node; None is that of the run."""
    return node.queue or definition.queue


def leaves_segment(node: DocumentNode, definition: NodeDefinition) -> bool:
    """An inline node with settings of its own runs as an activity of its own."""
    overrides = (node.retry, node.timeout_seconds, node.total_timeout_seconds, node.queue, node.cache or None)
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


def max_timeouts_of(node: DocumentNode, definition: NodeDefinition) -> int:
    """How many attempts may run out of time. How many attempts there are in all the user says for these too."""
    attempts = retry_of(node, definition).maximum_attempts
    is_asked_for = (node.retry or {}).get("maximumAttempts") is not None
    return attempts if is_asked_for else min(attempts, MAX_TIMEOUTS)


def timeouts_of(node: DocumentNode, definition: NodeDefinition) -> tuple[float, float]:
    """Seconds for one attempt (`NodeDefinition.timeout_counts`) and for all of them."""
    default_s = SERVERLESS_ATTEMPT_S if queue_of(node, definition) == SERVERLESS_QUEUE else DEFAULT_TIMEOUT_S
    timeout_s = float(node.timeout_seconds or definition.timeout_s or default_s)
    if node.total_timeout_seconds is not None:
        return timeout_s, float(node.total_timeout_seconds)
    if definition.timeout_counts == "silence":
        return timeout_s, float(definition.total_timeout_s or NO_TOTAL_S)
    total_s = None if node.timeout_seconds is not None else definition.total_timeout_s
    return timeout_s, float(total_s or TOTAL_PER_TIMEOUT * timeout_s)
