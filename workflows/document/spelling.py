"""Keys that somebody has misspelt: of an unknown key only one that is close to a known one is worth a word."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from functools import lru_cache

MIN_LIKENESS = 0.85
"""Far enough apart for `workflowName`, which editors write, and `workflowId`, which is read."""
MIN_PREFIX = 5


def nearest(name: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """The known name that somebody may have meant; case and punctuation do not count."""
    spelt = {_bare(item): item for item in known}
    near = get_close_matches(_bare(name), spelt, n=1, cutoff=likeness)
    return spelt[near[0]] if near else None


@lru_cache(maxsize=10_000)
def misspelt(key: str, known: frozenset[str]) -> str | None:
    """The known key that an unknown one is surely meant to be, None when it may be somebody else's."""
    if len(key) > 100:
        return None
    longer = [item for item in sorted(known) if len(key) >= MIN_PREFIX and _bare(item).startswith(_bare(key))]
    return nearest(key, known, MIN_LIKENESS) or next(iter(longer), None)


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
