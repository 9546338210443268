"""What Temporal's SDK and server say themselves, in words for users. Pure."""

from __future__ import annotations

import re

TOO_LARGE = "PayloadsTooLarge"
"""The SDK's own type for what does not fit into one message."""
_CODE = re.compile(r"\[TMPRL\d+\]\s*")


def worded(message: str, code: str) -> tuple[str, str]:
    """Message and code of an error for users: the SDK's `[TMPRL...]` codes mean nothing to them.

    Example:
        >>> worded("[TMPRL1100] Nondeterminism error: x", "internal_error")
        ('Nondeterminism error: x', 'internal_error')
    """
    if code == TOO_LARGE or "[TMPRL1103]" in message:
        told = "what is sent at once is larger than the engine takes"
        return f"{told}; give or return less, or write it to a file and hand its path on", "value_too_large"
    return _CODE.sub("", message), code
