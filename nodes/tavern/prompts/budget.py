"""How many tokens are left, and what stopped fitting (reference presets 5)."""

from __future__ import annotations

from collections.abc import Iterable

from innkeeper.nodes.tavern.prompts.message import ContextTooSmall, Message

REPLY_PRIMING = 3
"""Tokens that every reply starts with."""


class Budget:
    """Room for a prompt: the context without the reply. First what must go in, then what fits."""

    def __init__(self, max_context: int, max_tokens: int) -> None:
        self.total = max_context - max_tokens
        self._left = self.total - REPLY_PRIMING

    @property
    def used(self) -> int:
        return self.total - self._left

    def require(self, messages: Iterable[Message]) -> None:
        """Take room for what must be sent. Raises ContextTooSmall when there is not enough."""
        self._left -= sum(message.tokens for message in messages)
        if self._left < 0:
            raise ContextTooSmall(
                f"the prompts that must be sent need {self.used} tokens, and the context has {self.total} beside the "
                "reply; raise the context size, lower the reply length, or switch prompts off",
                details={"needed": self.used, "available": self.total},
            )

    def take(self, messages: Iterable[Message]) -> bool:
        """Take room for all of these or for none; says which."""
        tokens = sum(message.tokens for message in messages)
        if tokens > self._left:
            return False
        self._left -= tokens
        return True
