"""The setting of nodes that ask a model once: what becomes of an answer that broke off."""

from __future__ import annotations

from innkeeper.nodes.definition import Input

_CHOICES = (("restart", "Ask anew"), ("continue", "Go on behind it"), ("accept", "Take what has come"))

ON_CRASH = Input(
    "STRING",
    display_name="After a crash",
    description="What to do with an answer that broke off when the node is tried again: ask anew, go on behind it "
    "where the model can (else ask anew), or take what has come.",
    config={"default": "restart", "suggestions": tuple({"value": value, "label": label} for value, label in _CHOICES)},
)
