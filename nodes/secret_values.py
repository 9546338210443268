"""Whether a value holds a secret that must not leave its run. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from innkeeper.nodes.call import is_secret_id, secret_reference
from innkeeper.nodes.node import SecretRef


def holds_secret(value: Any) -> bool:
    """Is there a reference to a secret in JSON data, at any depth?

    Example:
        >>> holds_secret([{"key": {"$secret": "env:TOKEN"}}])
        True
    """
    stack = [value]
    while stack:
        item = stack.pop()
        reference = item.id if isinstance(item, SecretRef) else secret_reference(item)
        if reference is not None and (isinstance(item, SecretRef) or is_secret_id(reference)):
            return True
        if isinstance(item, Mapping):
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            stack.extend(item)
    return False
