"""The host that a typed secret is for: that of the address which stands beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.nodes.hosts import web_host_of
from innkeeper.workflows.compiler.resolve import ResolvedNode
from innkeeper.workflows.compiler.slots import PlannedInputs
from innkeeper.workflows.plan import SlotKey

ADDRESS_KEYS = ("base_url", "url")
_OTHER_ADDRESS = SlotKey("use_env_vars")
"""While it is on, the address may be the operator's and not the one that was typed."""


def host_beside(values: Mapping[str, Any]) -> str | None:
    """`name:port` of the address among these values; None when there is none that can be read for certain."""
    for key in ADDRESS_KEYS:
        if key in values:
            return web_host_of(values[key])
    return None


def host_of_node(node: ResolvedNode, inputs: PlannedInputs) -> str | None:
    """The host that a node will ask, when its document says so: None when an edge brings the address."""
    switch = inputs.get(_OTHER_ADDRESS)
    if switch is not None and (switch.feeds or switch.value not in (False, None)):
        return None
    slots = {key: inputs[SlotKey(key)] for key in ADDRESS_KEYS if key in inputs}
    if any(slot.feeds for slot in slots.values()):
        return None
    typed = {key: node.config[key] for key in ADDRESS_KEYS if key in node.config}
    return host_beside(typed | {key: slot.value for key, slot in slots.items() if slot.has_value})
