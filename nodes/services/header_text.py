"""What may stand in a header of HTTP. Pure."""

from __future__ import annotations

import re

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def is_header_name(text: str) -> bool:
    """May a header have this name?"""
    return _NAME.fullmatch(text) is not None


def unsendable_at(value: str) -> int | None:
    """The place of the first character that no value of a header may hold; None: all of it can be sent."""
    return next((at for at, character in enumerate(value) if not " " <= character <= "~"), None)
