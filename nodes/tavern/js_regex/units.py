"""Texts as JavaScript counts them: characters above U+FFFF are two units (surrogates)."""

from __future__ import annotations

import re
import struct

_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def is_wide(text: str) -> bool:
    """Does it hold a character of two units?"""
    return not text.isascii() and _ASTRAL.search(text) is not None


def widen(text: str) -> str:
    """Each character above U+FFFF as two surrogates."""
    return _ASTRAL.sub(lambda match: _surrogates(match[0]), text)


def narrow(text: str) -> str:
    """Surrogates that stand together as the character they mean; lone ones stay."""
    if text.isascii():
        return text
    return _PAIR.sub(lambda match: match[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)


def pair_ends(text: str) -> list[int]:
    """Where the second halves of a widened text stand."""
    return [found.end() - 1 for found in _PAIR.finditer(text)]


def _surrogates(char: str) -> str:
    return "".join(map(chr, struct.unpack("<2H", char.encode("utf-16-le"))))
