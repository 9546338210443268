"""Where we deliberately do not do what was recorded: one line each, with the reason."""

from __future__ import annotations

from typing import Any

SOFT_ERRORS_ARE_HARD = {
    "openai_bad_history": "an unreadable history fails the node instead of answering with an error sentence",
    "openai_bad_history_stream": "the same, while streaming",
    "openai_http_500_retries": "a provider's 500 fails the node after its attempts, instead of an error sentence",
    "openai_image_bad": "an unreadable image fails the node",
    "openai_no_prompt": "a request without prompt, image or history fails the node",
    "openai_no_prompt_stream": "the same, while streaming",
    "openaichat_bad_history": "an unreadable history fails the node",
}
"""File to reason; the nodes of the file that answered with an error text must fail."""

ASKED_AGAIN = {"openai_http_500_retries"}
"""Of these the files whose node fails only after all its attempts."""

SLOWED = {
    "interrupt_during_stream": 10,  # a stream of 0.2 s is over before an interruption could arrive
}
"""File to the factor that stretches the pauses of its streams: an interruption stops a node within 1.5 s."""

_NOT_FINITE = "NaN and Infinity are not JSON: the node fails"
FAILS = None
OUR_OUTPUTS: dict[tuple[str, str], tuple[dict[str, Any] | None, str]] = {
    ("bypass_builtin_others", "h"): ({"history": "[]"}, "bypassed, it gives an empty history instead of a role"),
    ("bypass_builtin_others", "cl"): ({}, "a bypassed loader of cards is mute: it has no card to give"),
    ("math_coercion", "text"): (FAILS, _NOT_FINITE),
    ("math_coercion", "list2"): (FAILS, _NOT_FINITE),
    ("math_coercion", "obj"): (FAILS, _NOT_FINITE),
    ("math_coercion", "under"): (FAILS, _NOT_FINITE),
    ("math_coercion", "inf"): (FAILS, _NOT_FINITE),
    ("math_coercion", "big"): (FAILS, _NOT_FINITE),
    ("math_edge_values", "logNeg"): (FAILS, _NOT_FINITE),
    ("math_edge_values", "logBase1"): (FAILS, _NOT_FINITE),
    ("math_edge_values", "powNeg"): (FAILS, _NOT_FINITE),
    ("math_edge_values", "pow00"): (FAILS, _NOT_FINITE),
    ("math_edge_values", "asin2"): (FAILS, _NOT_FINITE),
    ("math_edge_values", "expBig"): (FAILS, _NOT_FINITE),
    ("math_edge_values", "sinhBig"): (FAILS, _NOT_FINITE),
    ("math_edge_values", "minStr"): (FAILS, _NOT_FINITE),
    ("math_mode_selection", "missingForMode"): ({"result": 0}, "a numeric slot without a value is 0"),
    ("matrix_odd_inputs", "nonfinite"): (FAILS, _NOT_FINITE),
}
"""File and node to the outputs that we give instead, or FAILS, with the reason."""

EXTRA_OUTPUTS = {
    "report": "core:ContextBuilder tells what went in",
    "chatState": "core:ContextBuilder gives what the next turn needs",
    "finish_reason": "nodes that ask a model tell why the answer ended",
    "reasoning": "nodes that ask a model tell what it thought",
    "usage": "nodes that ask a model tell what it took",
    "tool_calls": "core:GenericLlmRequest gives what the model calls",
    "data": "core:GenericLlmRequest gives an answer that keeps to a schema",
}
"""Outputs that a node may have beside the recorded ones."""
