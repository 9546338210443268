"""Names that look like those of keys and passwords, and what is typed under such a name beside a declared secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from innkeeper.nodes.definition import Input

KEY_HEADER = re.compile(
    r"authorization|proxy-authorization|cookie|(.*[-_])?(api[-_]?key|key|token|secret|password|auth)", re.IGNORECASE
)
KEY_NAME = re.compile(r"(.*[-_])?(api[-_]?key|key|token|secret|password|passwd|signature|sig|auth)", re.IGNORECASE)


def stray_keys(value: Any, slot: Input | None) -> list[str]:
    """Names in an object that the slot does not declare and that look like a misspelt secret (`apiKey`)."""
    if slot is None or not slot.secret_keys or not isinstance(value, Mapping):
        return []
    return [
        key
        for key, item in value.items()
        if key not in slot.secret_keys and isinstance(item, str) and item and KEY_NAME.fullmatch(key)
    ]


def without_strays(value: Any, slot: Input | None) -> Any:
    """The value without them: nobody reads them, and in a plan they would stay readable for ever."""
    if isinstance(value, list):
        return [without_strays(item, slot) for item in value]
    strays = frozenset(stray_keys(value, slot))
    return {key: item for key, item in value.items() if key not in strays} if strays else value
