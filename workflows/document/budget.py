"""What a run may spend: `budget {tokens, money}` of a submission or a stored workflow. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from innkeeper.workflows.document.json_reader import kind, quoted_names

BUDGET = "budget"
"""The key under which it stands."""
BUDGET_KEYS = frozenset({"tokens", "money"})
MAX_TOKENS = 10**15
MAX_MONEY = 10**9
NANOS = 10**9
"""Billionths in one unit of a currency: one token of a cheap model costs less than a millionth."""


@dataclass(frozen=True)
class Budget:
    """The most that may be spent; None: as much as it takes.

    Attributes:
        tokens: Input and output together.
        nanos: Money, in billionths of a unit of the currency.
    """

    tokens: int | None = None
    nanos: int | None = None

    def to_json(self) -> dict[str, Any]:
        """`{tokens?, money?}` as documents have it."""
        told = {"tokens": self.tokens, "money": None if self.nanos is None else money_of(self.nanos)}
        return {key: value for key, value in told.items() if value is not None}

    def __bool__(self) -> bool:
        return self != Budget()


def money_of(nanos: int) -> float:
    """An amount of money as JSON tells it: in units of its currency."""
    return nanos / NANOS


def nanos_of(money: float) -> int:
    """Raises OverflowError, ValueError: The number is not finite."""
    return int((Decimal(repr(money)) * NANOS).to_integral_value())


def budget_of(tokens: float | None, money: float | None) -> Budget:
    """A budget of these amounts, which are sound."""
    return Budget(None if tokens is None else int(tokens), None if money is None else nanos_of(money))


def read_budget(raw: Mapping[str, Any]) -> Budget:
    """The budget in an object without complaints."""
    return budget_of(raw.get("tokens"), raw.get("money"))


def complaints(raw: Mapping[str, Any], name: str = f"'{BUDGET}'") -> Iterator[str]:
    """What is wrong with a budget, in sentences."""
    tokens, money = raw.get("tokens"), raw.get("money")
    if tokens is not None and not (_is_amount(tokens, MAX_TOKENS) and tokens == int(tokens)):
        yield f"'tokens' of {name} must be a whole number from 0 to {MAX_TOKENS:,}, found {_found(tokens)}"
    if money is not None and not _is_amount(money, MAX_MONEY):
        yield f"'money' of {name} must be a number from 0 to {MAX_MONEY:,}, found {_found(money)}"


def unknown_key_complaint(raw: Mapping[str, Any]) -> str | None:
    """Editors may add keys to what they store; in a request an unknown key is a mistake."""
    unknown = sorted(str(key)[:40] for key in raw.keys() - BUDGET_KEYS)
    return f"'budget' has 'tokens' and 'money'; found {quoted_names(unknown)}" if unknown else None


def _is_amount(value: object, most: int) -> bool:
    # No number is in this range that is not finite.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most


def _found(value: object) -> str:
    # A whole number may have thousands of digits, which are no part of a message.
    is_short = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**20
    return f"{value:.6g}" if isinstance(value, float) or is_short else kind(value)
