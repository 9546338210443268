"""What the calls of nodes to models cost: reserved before each call, settled after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from innkeeper.nodes.services.llm.call_gate import CallEnd, CallStart


@dataclass(frozen=True)
class BudgetRefusal:
    """A call could go past a budget. The fields are those of `nodes.errors.BudgetReached.details`.

    Attributes:
        limit, used: `{tokens?, money?}`; what is reserved for calls under way counts as used.
        needed: `{tokens?, money?}`, what the call may take at most of what is limited.
        is_reserved: Calls under way have reserved what is missing, and may give it back: the call may wait for them.
    """

    scope: Literal["run", "workflow", "user", "day"]
    limit: Mapping[str, Any] = field(default_factory=dict)
    used: Mapping[str, Any] = field(default_factory=dict)
    is_reserved: bool = False
    needed: Mapping[str, Any] = field(default_factory=dict)


class Accounts(Protocol):
    """Budgets and records of calls. Each call is named by `CallStart.id`; whatever comes twice counts once."""

    async def reserve(self, start: CallStart) -> BudgetRefusal | None:
        """Take what the call may cost at most from its budgets, all of them or none, and note the call."""

    async def has_budget(self, start: CallStart) -> bool:
        """Does a budget count for the call? Its worker then waits while the gateway is away."""

    async def release(self, id: str) -> None:
        """Give back what was reserved for a call that is not made."""

    async def settle(self, end: CallEnd, start: CallStart | None = None) -> None:
        """Put what the call has cost in the place of what was reserved for it, whatever the budgets say.

        Args:
            start: Of a call that was made while the gateway was away. An unknown one counts without its run.
        """

    async def open_calls(self) -> Sequence[CallStart]:
        """The calls that are noted and of whose end nobody has told."""

    async def lost(self, ids: Sequence[str]) -> None:
        """The workers of these calls are gone: what they have cost is unknown, and what was reserved stays spent."""
