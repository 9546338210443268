"""Names that somebody has misspelt, and the known ones that were meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LIKENESS = 0.6
"""From 0 to 1: above it a hint helps more often than it misleads."""


def nearest(name: str, known: Iterable[str], likeness: float = LIKENESS) -> str | None:
    """The known name that somebody may have meant; case and punctuation do not count."""
    spelt = {bare(item): item for item in known}
    near = get_close_matches(bare(name), spelt, n=1, cutoff=likeness)
    return spelt[near[0]] if near else None


def bare(name: str) -> str:
    """Letters and digits alone, of any script, in one case."""
    return "".join(character for character in name.casefold() if character.isalnum())
