"""The token budget of the active texts."""

from __future__ import annotations

import math

from innkeeper.nodes.tavern.environment import CountTokens
from innkeeper.nodes.tavern.world_info.settings import Settings


def budget_of(settings: Settings, max_context: int) -> int:
    """Tokens allowed: a share of the context, at least 1, at most the cap."""
    # Rounds halves up, as JavaScript does.
    share = max(1, math.floor(settings.budget * max_context / 100 + 0.5))
    return min(share, settings.budget_cap) if settings.budget_cap > 0 else share


class Budget:
    """Counts what the texts of a pass cost, with the recursion text before them.

    Counting a growing text for each entry anew is slow with a real tokenizer. So texts are counted one by one, and the
    joined text only when the sum, with a token of doubt for every seam, comes near the limit.

    Attributes:
        overflowed: A text was refused.
    """

    def __init__(self, limit: int, count: CountTokens, *, skip_refused: bool) -> None:
        self.limit = limit
        self.overflowed = False
        self._count = count
        self._skip_refused = skip_refused
        self._base: list[str] = []
        self._base_sum = 0
        self._new: list[str] = []
        self._new_sum = 0

    def begin_pass(self, woken: str) -> None:
        """Start the next pass, after `woken` was added to the recursion text; an empty text costs nothing."""
        if woken:
            self._base.append(f"{woken}\n")
            self._base_sum += self._count(self._base[-1]) + 1
        self._new, self._new_sum = [], 0

    def add(self, content: str, *, ignores_budget: bool) -> tuple[bool, int]:
        """Whether the text fits (or ignores the budget), and its own tokens."""
        line = f"{content}\n"
        tokens = self._count(line)
        self._new.append(line)
        self._new_sum += tokens + 1
        if ignores_budget or self._fits():
            return True, tokens
        self.overflowed = True
        if self._skip_refused:
            self._new.pop()
            self._new_sum -= tokens + 1
        return False, tokens

    def _fits(self) -> bool:
        if self._base_sum + self._new_sum < self.limit:
            return True
        # The text that was woken last stands first.
        return self._count("".join(reversed(self._base))) + self._count("".join(self._new)) < self.limit
