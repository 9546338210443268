"""Keys that somebody has misspelt: of an unknown key only one that is close to a known one is worth a word."""

from __future__ import annotations

from functools import lru_cache

from innkeeper.nodes.spelling import bare, nearest

MIN_LIKENESS = 0.85
"""Far enough apart for `workflowName`, which editors write, and `workflowId`, which is read."""
MIN_PREFIX = 5


@lru_cache(maxsize=10_000)
def misspelt(key: str, known: frozenset[str]) -> str | None:
    """The known key that an unknown one is surely meant to be, None when it may be somebody else's."""
    if len(key) > 100:
        return None
    longer = [item for item in sorted(known) if len(key) >= MIN_PREFIX and bare(item).startswith(bare(key))]
    return nearest(key, known, MIN_LIKENESS) or next(iter(longer), None)
